"""What reaches the ledger from Postgres, the fence around it, and what is read of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.account import Reset
from proxy.domain.clock import ms_of
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Cursor
from proxy.ledger import calls
from proxy.ledger.library import LIBRARY
from tests.support.ledger_bench import (
    LEASE_MS,
    SHARD,
    START_MS,
    USD,
    LedgerBench,
    api_key,
    charge_of,
    hold_of,
    request_id,
)

DAY = timedelta(days=1)


# Wallets


def test_a_wallet_is_loaded_only_where_there_is_none(bench: LedgerBench) -> None:
    assert bench.wallet(5, sequence=3) is Outcome.OK
    assert bench.wallet(99, sequence=9) is Outcome.EXISTS
    wallet = bench.snapshot()
    assert wallet is not None
    assert (wallet.balance_nanos, wallet.held_nanos, wallet.sequence) == (5, 0, 3)
    assert wallet.last_stream_id == "0-0"


def test_a_balance_that_arrives_late_makes_no_wallet(bench: LedgerBench) -> None:
    """It may lack a movement that was counted as delivered, because no wallet was there."""
    with pytest.raises(redis.ResponseError, match="DEADLINE"):
        bench.wallet(5, within_ms=-1)
    assert bench.snapshot() is None
    assert bench.wallet(5, within_ms=0) is Outcome.OK


def test_movements_are_applied_in_their_order_and_once(bench: LedgerBench) -> None:
    assert bench.apply(1, 10) is Outcome.UNKNOWN_WALLET
    bench.wallet(0, sequence=0)
    assert bench.apply(2, 20) is Outcome.NOT_FOUND
    assert bench.apply(1, 10) is Outcome.OK
    assert bench.apply(1, 10) is Outcome.EXISTS
    assert bench.apply(2, -25) is Outcome.OK
    assert bench.apply(3, 0) is Outcome.OK
    wallet = bench.snapshot()
    assert wallet is not None
    assert (wallet.balance_nanos, wallet.sequence) == (-15, 3)


@pytest.mark.parametrize("balance", ["1.5", "1e3", "", "-", "+1", "9007199254740992"])
def test_an_amount_that_is_no_whole_number_is_refused(bench: LedgerBench, balance: str) -> None:
    command = calls.load_wallet(SHARD, 1, request_id(1), balance, 1, deadline_ms=bench.now_ms)  # type: ignore[arg-type]
    with pytest.raises(redis.ResponseError, match="BADCALL"):
        bench.call(command)


# Keys


def test_an_epoch_only_rises(bench: LedgerBench) -> None:
    bench.wallet(USD)
    bench.key(api_key(epoch=3, limit=10))
    assert bench.publish(api_key(epoch=2, limit=99)) is Outcome.EXISTS
    assert bench.publish(api_key(epoch=3, limit=99)) is Outcome.EXISTS
    assert bench.key(api_key(epoch=2, limit=99)) is Outcome.STALE_KEY
    assert bench.key(api_key(epoch=3, limit=99)) is Outcome.EXISTS
    assert bench.state(api_key(epoch=3)).key.limit_nanos == 10
    assert bench.publish(api_key(epoch=4, limit=99)) is Outcome.OK
    assert bench.state(api_key(epoch=4)).key.limit_nanos == 99
    assert bench.key(api_key(epoch=5)) is Outcome.OK
    assert bench.state(api_key(epoch=5)).key.limit_nanos is None


def test_a_load_that_read_an_older_row_does_not_bring_a_revoked_key_back(
    bench: LedgerBench,
) -> None:
    bench.wallet(USD)
    assert bench.publish(api_key(epoch=2, revoked=True)) is Outcome.OK  # nothing is loaded yet
    assert bench.key(api_key(epoch=1)) is Outcome.STALE_KEY
    assert bench.reserve(api_key(epoch=1), request_id(1), 1).outcome is Outcome.STALE_KEY
    assert bench.key(api_key(epoch=2, revoked=True)) is Outcome.OK
    assert bench.reserve(api_key(epoch=2), request_id(1), 1).outcome is Outcome.STALE_KEY


def test_a_key_is_loaded_with_the_spend_of_its_current_window(bench: LedgerBench) -> None:
    key = api_key(limit=100, reset=Reset.DAILY)
    bench.key(key, {START_MS - 86_400_000: 99, START_MS: 40})
    bench.wallet(USD)
    assert bench.state(key).key.spent_nanos == 40
    assert bench.reserve(key, request_id(1), 61).outcome is Outcome.KEY_LIMIT_EXCEEDED
    assert bench.key(key, {START_MS: 0}) is Outcome.EXISTS
    assert bench.state(key).key.spent_nanos == 40


def test_new_limits_keep_what_was_spent(bench: LedgerBench) -> None:
    bench.wallet(USD)
    bench.key(api_key(limit=100))
    bench.settle(charge_of(bench.held(api_key(), request_id(1), 50), 50))
    bench.publish(api_key(epoch=2, limit=60))
    seen = bench.reserve(api_key(epoch=2), request_id(2), 11)
    assert seen.outcome is Outcome.KEY_LIMIT_EXCEEDED


def _window_of(when: datetime, reset: Reset) -> datetime | None:
    day = when.replace(hour=0, minute=0, second=0, microsecond=0)
    match reset:
        case Reset.NONE:
            return None
        case Reset.DAILY:
            return day
        case Reset.WEEKLY:
            return day - when.weekday() * DAY
        case Reset.MONTHLY:
            return day.replace(day=1)


@given(
    when=st.datetimes(datetime(2000, 1, 1), datetime(2400, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    reset=st.sampled_from(Reset),
)
@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_window_starts_at_midnight_of_the_day_of_monday_of_the_first(
    bench: LedgerBench, when: datetime, reset: Reset
) -> None:
    bench.client.delete(*bench.client.keys("al:*"))
    bench.at(ms_of(when))
    bench.open_shard()
    key = api_key(reset=reset)
    bench.key(key)
    start = _window_of(when, reset)
    assert bench.state(key).window_ms == (0 if start is None else ms_of(start))


# The fence


def test_every_call_is_refused_by_a_shard_of_another_generation(bench: LedgerBench) -> None:
    bench.wallet(USD)
    bench.key(api_key())
    hold = bench.held(api_key(), request_id(1), 10)
    charge = charge_of(hold, 5)
    other = LedgerBench(bench.client, generation=2)
    attempts = [
        lambda: other.wallet(1),
        lambda: other.key(api_key(epoch=9)),
        lambda: other.publish(api_key(epoch=9)),
        lambda: other.reserve(api_key(), request_id(2), 1),
        lambda: other.extend(hold, 20),
        lambda: other.renew(hold),
        lambda: other.settle(charge),
        lambda: other.release(charge),
        lambda: other.expire(hold),
        lambda: other.apply(2, 1),
        lambda: other.state(api_key()),
        other.snapshot,
        other.due,
        lambda: other.call(calls.heartbeat(SHARD, 2, "gateway")),
        lambda: other.call(calls.forget(SHARD, 2, "gateway")),
        lambda: other.call(calls.read_charges(SHARD, Cursor(2, "0-0"), "0-0", 1)),
        lambda: other.call(calls.flushed(SHARD, Cursor(2, "0-0"), retain_ms=1, retain_entries=1)),
    ]
    for attempt in attempts:
        with pytest.raises(redis.ResponseError, match="STALEGENERATION 1"):
            attempt()
    assert bench.balance() == (USD, 10)


def test_a_shard_that_is_not_open_is_told_from_a_stale_one(bench: LedgerBench) -> None:
    bench.client.delete(calls.shard_key(SHARD))
    bench.at(START_MS)
    with pytest.raises(redis.ResponseError, match="NOSHARD"):
        bench.snapshot()


def test_a_generation_only_rises_and_postpones_expiry(bench: LedgerBench) -> None:
    bench.wallet(USD)
    bench.key(api_key())
    hold = bench.held(api_key(), request_id(1), 10)
    assert bench.open_shard() is Outcome.EXISTS
    bench.generation = 2
    bench.sleep(LEASE_MS)
    assert bench.open_shard() is Outcome.OK
    bench.wallet(USD)
    bench.key(api_key())
    assert bench.renew(hold) is Outcome.OK
    assert bench.due() == []
    bench.generation = 1
    with pytest.raises(redis.ResponseError, match="STALEGENERATION 2"):
        bench.open_shard()


# A full store


@contextmanager
def _full(bench: LedgerBench) -> Iterator[None]:
    bench.client.config_set("maxmemory", 1)
    yield
    bench.client.config_set("maxmemory", 0)


def test_a_full_store_refuses_holds_and_still_ends_them(bench: LedgerBench) -> None:
    bench.wallet(USD)
    bench.key(api_key())
    settled, released, expired = (bench.held(api_key(), request_id(n), 10) for n in (1, 2, 3))
    with _full(bench):
        with pytest.raises(redis.OutOfMemoryError):
            bench.reserve(api_key(), request_id(4), 10)
        assert bench.renew(settled) is Outcome.OK
        assert bench.renew(hold_of(api_key(), request_id(5), 7)) is Outcome.OK
        assert bench.settle(charge_of(settled, 5)) is Outcome.OK
        assert bench.release(charge_of(released, 0)) is Outcome.OK
        assert bench.apply(2, 5) is Outcome.OK
        assert bench.publish(api_key(epoch=2, revoked=True)) is Outcome.OK
    for _ in range(4):
        bench.sleep(LEASE_MS // 3)
        bench.due()
    with _full(bench):
        assert bench.expire(expired) is Outcome.OK
    assert bench.balance() == (USD, 7)


# The stream


def _charge(bench: LedgerBench, count: int) -> list[str]:
    for n in range(count):
        bench.settle(charge_of(bench.held(api_key(), request_id(n + 1), 1), n + 1, number=n + 1))
    return [id_.decode() for id_, _ in bench.client.xrange(bench.keys.charges)]


@pytest.fixture
def charged(bench: LedgerBench) -> tuple[LedgerBench, list[str]]:
    """Ten charges of 1 to 10 nanos, and their ids."""
    bench.wallet(USD)
    bench.key(api_key())
    return bench, _charge(bench, 10)


def _flushed(bench: LedgerBench, cursor: str, **retain: int) -> list[int]:
    bounds = {"retain_ms": 3_600_000, "retain_entries": 10**6, **retain}
    command = calls.flushed(SHARD, Cursor(1, cursor), **bounds)  # type: ignore[arg-type]
    return list(bench.call(command))


def test_the_backlog_is_what_lies_behind_the_cursor(
    charged: tuple[LedgerBench, list[str]],
) -> None:
    bench, ids = charged
    assert _flushed(bench, "0-0") == [10, 10]
    assert _flushed(bench, ids[3]) == [6, 10]
    assert _flushed(bench, ids[3]) == [6, 10]
    assert _flushed(bench, ids[1]) == [6, 10]  # a flusher that is behind the last one
    bench.reserve(api_key(), request_id(20), 1, unflushed_max=6)
    with pytest.raises(redis.ResponseError, match="BACKLOG"):
        bench.reserve(api_key(), request_id(21), 1, unflushed_max=5)


def test_trimming_never_passes_the_cursor(charged: tuple[LedgerBench, list[str]]) -> None:
    bench, ids = charged
    assert _flushed(bench, ids[3], retain_entries=0) == [6, 7]
    left = [id_.decode() for id_, _ in bench.client.xrange(bench.keys.charges)]
    assert left == ids[3:]
    assert _flushed(bench, ids[5], retain_entries=3) == [4, 7]
    bench.at(2 * int(ids[-1].partition("-")[0]))  # long after the last entry
    assert _flushed(bench, ids[8])[0] == 1
    left = [id_.decode() for id_, _ in bench.client.xrange(bench.keys.charges)]
    assert left == ids[8:]


def test_a_stream_that_lost_the_cursors_entry_is_not_read(
    charged: tuple[LedgerBench, list[str]],
) -> None:
    bench, ids = charged
    read = calls.read_charges(SHARD, Cursor(1, ids[3]), ids[4], 2)
    assert [entry[0].decode() for entry in bench.call(read)] == ids[5:7]
    bench.client.xdel(bench.keys.charges, ids[3])
    with pytest.raises(redis.ResponseError, match="STREAMLOST"):
        bench.call(read)


def test_the_sum_between_two_ids(charged: tuple[LedgerBench, list[str]]) -> None:
    bench, ids = charged
    account = api_key().account_id
    assert bench.call(calls.charged(SHARD, account, Cursor(1, ids[1]), ids[4], 99))[0] == 3 + 4 + 5
    assert bench.call(calls.charged(SHARD, account, Cursor(1, "0-0"), "+", 4)) == [
        10,
        ids[3].encode(),
        4,
    ]
    assert bench.call(calls.charged(SHARD, request_id(1), Cursor(1, "0-0"), "+", 99))[0] == 0


# The library itself


def test_every_function_declares_every_key_that_it_touches() -> None:
    """No key is made up inside: the only names are those that were given."""
    for line in LIBRARY.read_text().splitlines():
        code = line.partition("--")[0]
        assert "'al:" not in code
        assert '"al:' not in code
