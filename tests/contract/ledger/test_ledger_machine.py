"""A random walk over the real functions beside a small model: calls doubled, delayed and reordered,
and a clock that jumps both ways.

A rule writes a call down and delivers it at once or not yet; another delivers any call that was
ever written, again or for the first time. The model judges each delivery, and afterwards the two
must agree to the nano.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from proxy.dev.servers import Server
from proxy.domain.account import ApiKey, Reset
from proxy.domain.outcome import Hold, Outcome
from tests.support.ledger_bench import (
    ACCOUNT,
    LEASE_MS,
    START_MS,
    LedgerBench,
    api_key,
    charge_of,
    hold_of,
    request_id,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MARK_MS = HOUR_MS + 20 * 60_000
SKEW_MS = 10 * 60_000
AMOUNTS = st.one_of(st.integers(0, 400), st.sampled_from((0, 100, 500, 1_000)))
YOUNG = 5
IDS = st.integers(1, 2 * YOUNG)  # of now, and of before the last great jump
PATIENCE = st.sampled_from((60_000, 540_000))
WHEN = st.sampled_from(("now", "now", "now", "later"))
REFUSED = "refused"
INSPECT = """
local found = redis.call('HMGET', KEYS[1], 'balance', 'held')
for _, value in ipairs(redis.call('HMGET', 'al:{s0}:1:k:key', 'spent', 'held', 'open', 'window',
    'epoch')) do
  table.insert(found, value)
end
local names, held, gone = redis.call('KEYS', 'al:{s0}:1:h:*'), 0, 0
for _, name in ipairs(names) do
  held = held + redis.call('HGET', name, 'amount')
end
for _, entry in ipairs(redis.call('XRANGE', 'al:{s0}:1:charges', '-', '+')) do
  gone = gone + entry[2][6]
end
for _, sum in ipairs({held, #names, redis.call('ZCARD', 'al:{s0}:1:leases'), gone}) do
  table.insert(found, tostring(sum))
end
return found
"""


@dataclass
class ModelHold:
    amount: int
    window: int
    roll: int | None  # None: counts in no window of the key
    lease: int


@dataclass
class Model:
    """One wallet and one key with a daily limit. `charged` is what each request paid."""

    balance: int = 1_000
    paid_in: int = 1_000
    sequence: int = 1
    epoch: int = 1
    revoked: bool = False
    limit: int | None = 900
    window: int = START_MS
    roll: int = 0
    spent: int = 0
    key_held: int = 0
    open: int = 0
    raw: int = START_MS
    last: int = START_MS
    not_before: int = 0
    holds: dict[int, ModelHold] = field(default_factory=dict)
    marks: dict[int, tuple[str, int]] = field(default_factory=dict)
    charged: dict[int, int] = field(default_factory=dict)
    minted: dict[int, int] = field(default_factory=dict)  # request → the time in its id
    forgotten: int = 0

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.holds.values())

    def tick(self) -> None:
        now = max(self.raw, self.last)
        if abs(self.raw - self.last) * 2 > LEASE_MS:
            self.not_before = max(self.not_before, now + LEASE_MS)
        self.last = now

    def mark(self, n: int, how: str) -> None:
        self.marks[n] = (how, self.last)
        self.forget(4)

    def forget(self, count_max: int) -> None:
        old = sorted((at, n) for n, (_, at) in self.marks.items() if at <= self.last - MARK_MS)
        for _, forgotten in old[:count_max]:
            del self.marks[forgotten]
            self.forgotten = max(self.forgotten, self.minted[forgotten])

    def ended(self, n: int, amount: int | None = None) -> Outcome | None:
        how = self.marks.get(n, ("expired", 0))[0]
        if how == "expired":
            return None
        if how == "released":
            return Outcome.ALREADY_RELEASED
        if amount is None or how == f"settled:{amount}":
            return Outcome.ALREADY_SETTLED
        return Outcome.EXISTS_WITH_DIFFERENT_AMOUNT

    def is_forgotten(self, n: int) -> bool:
        at = self.minted[n]
        return at <= self.forgotten or at < self.last - HOUR_MS or at > self.last + SKEW_MS

    def bring_up(self) -> tuple[int, int, int, int]:
        start = self.last // DAY_MS * DAY_MS
        if start > self.window:
            return start, 0, 0, self.roll + 1
        return self.window, self.spent, self.key_held, self.roll

    def reserve(self, n: int, epoch: int, amount: int, deadline: int) -> Any:
        self.tick()
        minted = self.minted[n]
        if self.raw > deadline or abs(self.raw - minted) > SKEW_MS or minted <= self.forgotten:
            return REFUSED
        if outcome := self.before(n, amount):
            return outcome
        if epoch != self.epoch or self.revoked:
            return Outcome.STALE_KEY
        if self.open >= 6:
            return Outcome.CONCURRENCY_LIMITED
        window, spent, held, roll = self.bring_up()
        if amount and self.limit is not None and spent + held + amount > self.limit:
            return Outcome.KEY_LIMIT_EXCEEDED
        if amount and self.balance - self.held < amount:
            return Outcome.INSUFFICIENT_BALANCE
        self.window, self.spent, self.key_held, self.roll = window, spent, held + amount, roll
        self.open += 1
        self.holds[n] = ModelHold(amount, window, roll, self.last + LEASE_MS)
        return Outcome.OK

    def before(self, n: int, amount: int) -> Outcome | None:
        """What an earlier call of this id came to."""
        if n in self.marks and self.marks[n][0] == "expired":
            return Outcome.ALREADY_RELEASED
        if outcome := self.ended(n):
            return outcome
        if n in self.holds:
            same = self.holds[n].amount == amount
            return Outcome.EXISTS if same else Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
        return None

    def extend(self, n: int, total: int) -> Outcome:
        self.tick()
        hold = self.holds.get(n)
        if hold is None:
            return self.ended(n) or Outcome.NOT_FOUND
        more = total - hold.amount
        if more <= 0:
            return Outcome.EXISTS
        counts = hold.roll == self.roll
        if counts and self.limit is not None and self.spent + self.key_held + more > self.limit:
            return Outcome.KEY_LIMIT_EXCEEDED
        if self.balance - self.held < more:
            return Outcome.INSUFFICIENT_BALANCE
        hold.amount = total
        self.key_held += more if counts else 0
        return Outcome.OK

    def renew(self, n: int, amount: int, window: int, deadline: int) -> Any:
        self.tick()
        if self.raw > deadline:
            return REFUSED
        if n not in self.holds:
            if outcome := self.ended(n):
                return outcome
            if n not in self.marks and self.minted[n] <= self.forgotten:
                return Outcome.NOT_FOUND
            counts = window == self.window
            self.holds[n] = ModelHold(amount, window, self.roll if counts else None, 0)
            self.open += 1
            self.key_held += amount if counts else 0
            self.marks.pop(n, None)
        self.holds[n].lease = self.last + LEASE_MS
        return Outcome.OK

    def free(self, n: int) -> None:
        hold = self.holds.pop(n)
        self.key_held -= hold.amount if hold.roll == self.roll else 0
        self.open -= 1

    def settle(self, n: int, amount: int, window: int) -> Outcome:
        self.tick()
        if outcome := self.ended(n, amount):
            return outcome
        is_held = n in self.holds
        if not is_held and n not in self.marks and self.is_forgotten(n):
            return Outcome.NOT_FOUND
        if is_held:
            self.free(n)
        self.balance -= amount
        assert n not in self.charged, "charged twice"
        self.charged[n] = amount
        self.spent += amount if window == self.window else 0
        self.mark(n, f"settled:{amount}")
        return Outcome.OK if is_held else Outcome.SETTLED_LATE

    def release(self, n: int) -> Outcome:
        self.tick()
        if outcome := self.ended(n):
            return outcome
        is_held = n in self.holds
        if is_held:
            self.free(n)
        self.mark(n, "released")
        return Outcome.OK if is_held else Outcome.NOT_FOUND

    def expire(self, n: int, amount: int) -> Outcome:
        self.tick()
        hold = self.holds.get(n)
        if hold is None:
            return Outcome.NOT_FOUND
        if self.last < self.not_before or hold.lease > self.last or hold.amount != amount:
            return Outcome.EXISTS
        self.free(n)
        self.mark(n, "expired")
        return Outcome.OK

    def credit(self, sequence: int, amount: int) -> Outcome:
        self.tick()
        if sequence <= self.sequence:
            return Outcome.EXISTS
        if sequence > self.sequence + 1:
            return Outcome.NOT_FOUND
        self.sequence = sequence
        self.balance += amount
        self.paid_in += amount
        return Outcome.OK

    def publish(self, key: ApiKey) -> Outcome:
        self.tick()
        if key.epoch <= self.epoch:
            return Outcome.EXISTS
        self.epoch, self.revoked, self.limit = key.epoch, key.revoked, key.limits.spend_nanos
        return Outcome.OK


@dataclass
class Call:
    """A call on its way: what it does to the model, and to the ledger."""

    name: str
    model: Callable[[], Any]
    real: Callable[[], Any]


class Machine(RuleBasedStateMachine):
    url: str
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.bench = LedgerBench.open(self.url)
        self.model = Model(raw=self.bench.now_ms, last=START_MS, not_before=START_MS + LEASE_MS)
        self.key = api_key(limit=900, reset=Reset.DAILY, concurrency=6)
        self.jumps = 0
        assert self.bench.wallet(1_000) is Outcome.OK
        assert self.bench.key(self.key) is Outcome.OK
        self.model.tick()

    def teardown(self) -> None:
        self.bench.client.close()

    def number(self, n: int) -> int:
        """Old requests can no longer be reserved: after a jump of hours there are young ones."""
        return n + YOUNG * self.jumps if n <= YOUNG else n - YOUNG + YOUNG * max(0, self.jumps - 1)

    def id_of(self, n: int) -> Any:
        return request_id(n, self.model.minted.setdefault(n, self.model.raw))

    def hold(self, n: int, amount: int) -> Hold:
        known = self.model.holds.get(n)
        window = known.window if known else self.model.window
        return hold_of(self.key, self.id_of(n), amount, window)

    # Calls are written down

    @rule(
        target=calls,
        when=WHEN,
        n=IDS,
        amount=AMOUNTS,
        patience=PATIENCE,
        behind=st.sampled_from((0, 0, 0, 1)),
    )
    def write_reserve(self, when: str, n: int, amount: int, patience: int, behind: int) -> Call:
        call = self._reserve(self.number(n), amount, patience=patience, behind=behind)
        return self._written(when, call.name, call.model, call.real)

    def _reserve(self, n: int, amount: int, *, patience: int = 60_000, behind: int = 0) -> Call:
        id_, epoch, deadline = self.id_of(n), self.model.epoch - behind, self.model.raw + patience
        key = replace(self.key, epoch=epoch)
        return Call(
            f"reserve {n} {amount}",
            lambda: self.model.reserve(n, epoch, amount, deadline),
            lambda: (
                self.bench.reserve(key, id_, amount, within_ms=deadline - self.bench.now_ms).outcome
            ),
        )

    @rule(target=calls, when=WHEN, n=IDS, total=AMOUNTS)
    def write_extend(self, when: str, n: int, total: int) -> Call:
        n = self.number(n)
        hold = self.hold(n, 0)
        return self._written(
            when,
            f"extend {n} {total}",
            lambda: self.model.extend(n, total),
            lambda: self.bench.extend(hold, total),
        )

    @rule(target=calls, when=WHEN, n=IDS, amount=AMOUNTS)
    def write_renew(self, when: str, n: int, amount: int) -> Call:
        n = self.number(n)
        known = self.model.holds.get(n)
        hold = self.hold(n, known.amount if known else amount)
        deadline = self.model.raw + 60_000
        return self._written(
            when,
            f"renew {n}",
            lambda: self.model.renew(n, hold.amount_nanos, hold.window_ms, deadline),
            lambda: self.bench.renew(hold, within_ms=deadline - self.bench.now_ms),
        )

    @rule(target=calls, when=WHEN, n=IDS, amount=AMOUNTS)
    def write_settle(self, when: str, n: int, amount: int) -> Call:
        return self._settle(when, self.number(n), amount)

    def _settle(self, when: str, n: int, amount: int) -> Call:
        charge = charge_of(self.hold(n, 0), amount, number=n)
        return self._written(
            when,
            f"settle {n} {amount}",
            lambda: self.model.settle(n, amount, charge.window_ms),
            lambda: self.bench.settle(charge),
        )

    @rule(target=calls, when=WHEN, n=IDS, with_row=st.booleans())
    def write_release(self, when: str, n: int, *, with_row: bool) -> Call:
        n = self.number(n)
        id_, charge = self.id_of(n), charge_of(self.hold(n, 0), 0, number=n)
        real = (
            (lambda: self.bench.release(charge))
            if with_row
            else (lambda: self.bench.give_back(self.key, id_))
        )
        return self._written(when, f"release {n}", lambda: self.model.release(n), real)

    @rule(target=calls, when=WHEN, n=IDS)
    def write_expire(self, when: str, n: int) -> Call:
        return self._expire(when, n)

    def _expire(self, when: str, n: int) -> Call:
        n = self.number(n)
        known = self.model.holds.get(n)
        hold = self.hold(n, known.amount if known else 0)
        return self._written(
            when,
            f"expire {n}",
            lambda: self.model.expire(n, hold.amount_nanos),
            lambda: self.bench.expire(hold),
        )

    @rule(target=calls, when=WHEN, ahead=st.integers(0, 2), amount=st.integers(-300, 900))
    def write_credit(self, when: str, ahead: int, amount: int) -> Call:
        sequence = self.model.sequence + ahead
        return self._written(
            when,
            f"credit {sequence} {amount}",
            lambda: self.model.credit(sequence, amount),
            lambda: self.bench.apply(sequence, amount),
        )

    @rule(
        target=calls,
        when=WHEN,
        rise=st.integers(0, 2),
        revoked=st.sampled_from((False,) * 7 + (True,)),
        limit=st.one_of(st.none(), st.integers(0, 2_000)),
    )
    def write_publish(self, when: str, rise: int, limit: int | None, *, revoked: bool) -> Call:
        key = api_key(
            epoch=self.model.epoch + rise,
            revoked=revoked,
            limit=limit,
            reset=Reset.DAILY,
            concurrency=6,
        )
        return self._written(
            when,
            f"publish {key.epoch}",
            lambda: self.model.publish(key),
            lambda: self.bench.publish(key),
        )

    # and delivered, once or more often, in any order

    @rule(call=calls)
    def deliver(self, call: Call) -> None:
        self._deliver(call)

    @rule(call=consumes(calls))
    def deliver_for_the_last_time(self, call: Call) -> None:
        self._deliver(call)

    def _written(
        self, when: str, name: str, model: Callable[[], Any], real: Callable[[], Any]
    ) -> Call:
        call = Call(name, model, real)
        if when == "now":
            self._deliver(call)
        return call

    def _deliver(self, call: Call) -> None:
        expected = call.model()
        if expected is REFUSED:
            with pytest.raises(redis.ResponseError, match=r"^(DEADLINE|SKEW) "):
                call.real()
        else:
            assert call.real() == expected, call.name

    @rule(
        jump=st.one_of(
            st.sampled_from((1, 20_000, LEASE_MS // 2, LEASE_MS // 2, LEASE_MS // 2 + 1)),
            st.sampled_from((1, 20_000, LEASE_MS // 2, LEASE_MS // 2, LEASE_MS)),
            st.sampled_from((HOUR_MS, MARK_MS, DAY_MS, -1_000, -HOUR_MS, -DAY_MS)),
        )
    )
    def move_the_clock(self, jump: int) -> None:
        self.move_by(jump)

    def move_by(self, jump: int) -> None:
        self.model.raw += jump
        self.bench.at(self.model.raw)
        self.jumps += abs(jump) > SKEW_MS

    @rule(target=calls, n=IDS)
    def let_leases_run_out(self, n: int) -> Call:
        """Time passes in steps that are no gap, so that what is not renewed may expire."""
        for _ in range(4):
            self.model.raw += LEASE_MS // 3
            self.bench.at(self.model.raw)
            self.model.tick()
            self.model.forget(100)
            assert set(self.bench.due()) == self._due()
        return self._expire("now", n)

    def _due(self) -> set[str]:
        if self.model.last < self.model.not_before:
            return set()
        due = (n for n, hold in self.model.holds.items() if hold.lease <= self.model.last)
        return {str(self.id_of(n)) for n in due}

    @rule(target=calls, when=WHEN, n=IDS)
    def let_a_day_pass(self, when: str, n: int) -> Call:
        """The next reservation opens another window, while holds of the last one are open."""
        self.move_by(DAY_MS)
        self._deliver(self._reserve(self.number(1), 50))
        return self._settle(when, self.number(n), 40)

    # What must hold at every moment

    @invariant()
    def the_ledger_agrees_with_the_model(self) -> None:
        balance, held, spent, key_held, opened, window, epoch, *sums = self.inspect()
        model = self.model
        assert (balance, held) == (model.balance, model.held)
        assert (spent, key_held, opened) == (model.spent, model.key_held, model.open)
        assert (window, epoch) == (model.window, model.epoch)
        assert min(held, spent, key_held, opened) >= 0
        held_by_holds, holds, leases, gone = sums
        assert held_by_holds == held
        assert holds == leases == opened
        assert gone == sum(model.charged.values())
        assert balance == model.paid_in - gone

    def inspect(self) -> list[int]:
        return [
            int(found) for found in self.bench.client.eval(INSPECT, 1, f"al:{{s0}}:1:w:{ACCOUNT}")
        ]


def test_the_ledger_against_a_model(any_redis: Server) -> None:
    machine = type("BoundMachine", (Machine,), {"url": any_redis.url})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=100, stateful_step_count=80, deadline=None)
    )


@pytest.fixture(autouse=True)
def _clean(any_redis: Server) -> Any:
    yield
    with redis.Redis.from_url(any_redis.url) as client:
        client.flushall()
