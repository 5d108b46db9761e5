"""The real function library on a real server, with a clock that a test sets.

Only the line that reads Redis' time is replaced; everything else is what production loads.
"""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.domain.account import ApiKey, KeyLimits, Reset
from proxy.domain.charge import Charge
from proxy.domain.outcome import Hold, Outcome, WalletState
from proxy.domain.usage import UsageSource
from proxy.ledger import calls
from proxy.ledger.library import LIBRARY, Library
from proxy.ledger.replies import Seen, parse_outcome, parse_snapshot
from routing.money import Nanos
from routing.price import Quantities

CLOCK_LINE = "local function server_ms(_) "
TEST_CLOCK = (
    "local function server_ms(shard) return tonumber(redis.call('HGET', shard, 'test_ms')) end"
)
START_MS = 1_795_046_400_000  # 2026-11-19 00:00 UTC, a Thursday
LEASE_MS = 60_000
SHARD = 0
ACCOUNT = UUID(int=0xA)
USD = 10**9


def test_clock_library() -> Library:
    lines = LIBRARY.read_text().splitlines()
    clocks = [n for n, line in enumerate(lines) if line.startswith(CLOCK_LINE)]
    assert len(clocks) == 1
    lines[clocks[0]] = TEST_CLOCK
    return Library("\n".join(lines) + "\n")


test_clock_library.__test__ = False  # type: ignore[attr-defined]


def request_id(number: int, at_ms: int = START_MS) -> UUID:
    return UUID(int=at_ms << 80 | 0x7 << 76 | 0b10 << 62 | number)


def api_key(
    key_id: str = "key",
    *,
    account_id: UUID = ACCOUNT,
    epoch: int = 1,
    revoked: bool = False,
    limit: int | None = None,
    reset: Reset = Reset.NONE,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
) -> ApiKey:
    return ApiKey(
        key_id=key_id,
        account_id=account_id,
        shard=SHARD,
        epoch=epoch,
        secret_hash=b"",
        revoked=revoked,
        limits=KeyLimits(
            spend_nanos=None if limit is None else Nanos(limit),
            reset=reset,
            requests_per_minute=rpm,
            tokens_per_minute=tpm,
            concurrency=concurrency,
        ),
    )


@dataclass(slots=True)
class LedgerBench:
    """One open shard. Every method sends one call and returns what it brought."""

    client: "redis.Redis"
    generation: int = 1

    @classmethod
    def open(cls, url: str) -> "LedgerBench":
        client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2)
        bench = cls(client)
        client.flushall()
        client.execute_command("FUNCTION", "LOAD", "REPLACE", test_clock_library()._source)
        bench.at(START_MS)
        assert bench.open_shard() is Outcome.OK
        bench.at(START_MS + LEASE_MS)  # past the postponement that opening brings
        return bench

    def call(self, command: calls.Command) -> Any:
        return self.client.execute_command(*command)

    def outcome(self, command: calls.Command) -> Outcome:
        return parse_outcome(self.call(command))

    def at(self, now_ms: int) -> None:
        self.client.hset(calls.shard_key(SHARD), "test_ms", now_ms)

    @property
    def now_ms(self) -> int:
        return int(self.client.hget(calls.shard_key(SHARD), "test_ms"))

    def sleep(self, milliseconds: int) -> None:
        self.at(self.now_ms + milliseconds)

    @property
    def keys(self) -> calls.ShardKeys:
        """Names in Redis."""
        return calls.ShardKeys(SHARD, self.generation)

    def open_shard(self) -> Outcome:
        for phase in calls.Phase:
            outcome = self.outcome(calls.move_shard(SHARD, self.generation, phase, LEASE_MS))
        return outcome

    def wallet(
        self,
        nanos: int,
        *,
        account_id: UUID = ACCOUNT,
        sequence: int = 1,
        within_ms: int = 2_000,
    ) -> Outcome:
        deadline_ms = self.now_ms + within_ms
        return self.outcome(
            calls.load_wallet(
                SHARD, self.generation, account_id, nanos, sequence, deadline_ms=deadline_ms
            )
        )

    def key(self, key: ApiKey, spend: dict[int, int] | None = None) -> Outcome:
        nanos = {start: Nanos(spent) for start, spent in (spend or {}).items()}
        return self.outcome(calls.load_key(self.generation, key, nanos))

    def publish(self, key: ApiKey) -> Outcome:
        return self.outcome(calls.publish_key(self.generation, key))

    def reserve(
        self,
        key: ApiKey,
        id_: UUID,
        amount: int,
        *,
        tokens: int = 0,
        within_ms: int = 2_000,
        unflushed_max: int = 10**6,
    ) -> Seen:
        return Seen(
            self.call(
                calls.reserve(
                    self.generation,
                    key,
                    id_,
                    amount,
                    tokens,
                    deadline_ms=self.now_ms + within_ms,
                    lease_ms=LEASE_MS,
                    unflushed_max=unflushed_max,
                )
            )
        )

    def held(self, key: ApiKey, id_: UUID, amount: int, **given: Any) -> Hold:
        """A reservation that must succeed."""
        seen = self.reserve(key, id_, amount, **given)
        assert seen.outcome is Outcome.OK
        return hold_of(key, id_, amount, seen.window_ms)

    def extend(self, hold: Hold, total: int) -> Outcome:
        return self.outcome(calls.extend(self.generation, hold, total))

    def renew(self, hold: Hold, *, within_ms: int = 2_000) -> Outcome:
        deadline_ms = self.now_ms + within_ms
        return self.outcome(
            calls.renew(self.generation, hold, deadline_ms=deadline_ms, lease_ms=LEASE_MS)
        )

    def settle(self, charge: Charge, *, known_ms: int = 0) -> Outcome:
        return self.outcome(
            calls.settle(self.generation, charge, charge.to_bytes(), known_ms=known_ms)
        )

    def release(self, charge: Charge) -> Outcome:
        return self.outcome(calls.release(self.generation, charge, charge.to_bytes()))

    def give_back(self, key: ApiKey, id_: UUID) -> Outcome:
        return self.outcome(calls.give_back(self.generation, key, id_))

    def due(self) -> list[str]:
        return [id_.decode() for id_ in self.call(calls.due(SHARD, self.generation, 100))]

    def expire(self, hold: Hold) -> Outcome:
        charge = replace(charge_of(hold, 0), status="orphaned", incarnation="", number=0)
        return self.outcome(calls.expire(self.generation, charge, charge.to_bytes()))

    def apply(self, sequence: int, nanos: int, *, account_id: UUID = ACCOUNT) -> Outcome:
        return self.outcome(calls.apply(SHARD, self.generation, account_id, sequence, nanos))

    def state(self, key: ApiKey) -> Seen:
        return Seen(self.call(calls.key_state(self.generation, key)))

    def snapshot(self, account_id: UUID = ACCOUNT) -> WalletState | None:
        return parse_snapshot(self.call(calls.snapshot(SHARD, self.generation, account_id)))

    def balance(self) -> tuple[int, int]:
        """(balance, held) of the one account."""
        wallet = self.snapshot()
        assert wallet is not None
        return wallet.balance_nanos, wallet.held_nanos

    def stream(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(self.keys.charges)]


def hold_of(key: ApiKey, id_: UUID, amount: int, window_ms: int = 0) -> Hold:
    return Hold(
        request_id=id_,
        account_id=key.account_id,
        key_id=key.key_id,
        shard=key.shard,
        epoch=key.epoch,
        amount_nanos=Nanos(amount),
        window_ms=window_ms,
        lease_until_ms=0,
    )


def charge_of(
    hold: Hold,
    nanos: int,
    *,
    tokens: int = 0,
    number: int = 1,
    incarnation: str = "gateway",
    source: UsageSource = UsageSource.REPORTED,
) -> Charge:
    return Charge(
        request_id=hold.request_id,
        account_id=hold.account_id,
        key_id=hold.key_id,
        shard=hold.shard,
        charged_nanos=Nanos(nanos),
        hold_nanos=hold.amount_nanos,
        window_ms=hold.window_ms,
        status="ok",
        usage_source=source,
        model="m",
        endpoint="chat",
        stream=False,
        quantities=Quantities(input=tokens),
        incarnation=incarnation,
        number=number,
    )
