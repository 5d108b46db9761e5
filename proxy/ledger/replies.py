"""What the library's functions answer, as the domain's types. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from proxy.domain.outcome import KeyState, Outcome, WalletState
from proxy.ledger.calls import Phase
from routing.money import Nanos

_OUTCOMES: Final = {outcome.value.encode(): outcome for outcome in Outcome}


def parse_outcome(reply: Any) -> Outcome:
    """Raises KeyError for a word that is none of the closed set."""
    return _OUTCOMES[reply]


class Seen:
    """The answer of `reserve` and `key_state`: the outcome and the state it was judged by."""

    __slots__ = ("_reply", "outcome", "server_ms")

    def __init__(self, reply: Any) -> None:
        self._reply = reply
        self.outcome = parse_outcome(reply[0])
        self.server_ms: int = reply[1]

    @property
    def retry_after_ms(self) -> int:
        return int(self._reply[2])

    @property
    def window_ms(self) -> int:
        return int(self._reply[6])

    @property
    def wallet(self) -> WalletState:
        balance, held, sequence = self._reply[3:6]
        return WalletState(Nanos(balance), Nanos(held), sequence)

    @property
    def key(self) -> KeyState:
        limit, spent, held, rpm, requests, tpm, tokens, minute_left_ms = self._reply[7:15]
        return KeyState(
            requests_limit=_limit(rpm),
            requests_remaining=_left(rpm, requests),
            tokens_limit=_limit(tpm),
            tokens_remaining=_left(tpm, tokens),
            reset_ms=minute_left_ms,
            limit_nanos=None if limit < 0 else Nanos(limit),
            spent_nanos=Nanos(spent),
            held_nanos=Nanos(held),
        )


@dataclass(frozen=True, slots=True)
class ShardInRedis:
    """`generation` is 0 where the ledger has no such shard. `reaches_back`: its stream still has
    the entry that the cursor stands on."""

    generation: int
    phase: Phase
    unflushed: int
    reaches_back: bool

    @property
    def is_open(self) -> bool:
        return self.generation > 0 and self.phase is not Phase.CLOSED


def parse_shard_state(reply: Any) -> ShardInRedis:
    generation, unflushed, has_cursor, phase = reply
    return ShardInRedis(
        int(generation or 0),
        Phase(phase.decode()) if phase else Phase.CLOSED,
        unflushed,
        bool(has_cursor),
    )


def parse_snapshot(reply: Any) -> WalletState | None:
    if not reply:
        return None
    balance, held, sequence, last_id = reply
    return WalletState(Nanos(balance), Nanos(held), sequence, last_id.decode())


def _limit(stated: int) -> int | None:
    return None if stated < 0 else stated


def _left(stated: int, used: int) -> int | None:
    return None if stated < 0 else max(0, stated - used)
