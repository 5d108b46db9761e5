"""What the ledger's functions answer: a closed set, one reason each."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from routing.money import Nanos


class Outcome(StrEnum):
    OK = "ok"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_AMOUNT = "exists_with_different_amount"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    KEY_LIMIT_EXCEEDED = "key_limit_exceeded"
    RATE_LIMITED = "rate_limited"
    CONCURRENCY_LIMITED = "concurrency_limited"
    STALE_KEY = "stale_key"
    UNKNOWN_WALLET = "unknown_wallet"
    NOT_FOUND = "not_found"
    ALREADY_SETTLED = "already_settled"
    SETTLED_LATE = "settled_late"
    ALREADY_RELEASED = "already_released"


@dataclass(frozen=True, slots=True)
class KeyState:
    """The limits of a key as the ledger sees them after a call. None = unlimited."""

    requests_limit: int | None = None
    requests_remaining: int | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    reset_ms: int = 0  # until the running minute ends
    limit_nanos: Nanos | None = None
    spent_nanos: Nanos = Nanos(0)
    held_nanos: Nanos = Nanos(0)


@dataclass(frozen=True, slots=True)
class WalletState:
    """A wallet as one function saw it. `balance_nanos` includes what is held."""

    balance_nanos: Nanos
    held_nanos: Nanos
    sequence: int
    last_stream_id: str = "0-0"

    @property
    def available_nanos(self) -> Nanos:
        return Nanos(self.balance_nanos - self.held_nanos)


@dataclass(frozen=True, slots=True)
class Unflushed:
    """A shard's charges that are past a cursor; the oldest one's moment, None where none is.
    `is_open`: false where the ledger has lost the shard, and what was in it."""

    entries: int
    oldest_ms: int | None
    is_open: bool = True


@dataclass(slots=True)
class Hold:
    """An open reservation. The ledger renews its lease; `amount_nanos` grows by extension."""

    request_id: UUID
    account_id: UUID
    key_id: str
    shard: int
    epoch: int
    amount_nanos: Nanos
    window_ms: int
    lease_until_ms: int  # on the gateway's monotonic clock

    def is_live(self, monotonic_ms: int) -> bool:
        return monotonic_ms < self.lease_until_ms


@dataclass(frozen=True, slots=True)
class Reserved:
    """The answer to a reservation: `hold` where the outcome is ok, `wallet` and `key` always."""

    outcome: Outcome
    hold: Hold | None
    wallet: WalletState
    key: KeyState
    retry_after_ms: int = 0
