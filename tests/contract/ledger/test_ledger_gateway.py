"""The gateway's ledger: loading, races, ambiguity, cancellation, leases, replay."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.domain.account import Reset
from proxy.domain.clock import SystemClock, ms_of
from proxy.domain.errors import LedgerUnavailableError, OverloadedError, StoreUnavailableError
from proxy.domain.outcome import Outcome
from proxy.domain.usage import UsageSource
from proxy.ledger.faults import LedgerSetupError, RefusedError
from routing.money import Nanos
from tests.support.ledger_bench import USD, hold_of
from tests.support.ledger_world import World, charge, held, until

SHORT_MS = 150


async def test_a_cold_ledger_loads_key_and_wallet_once(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        assert await world.wallet(key) == (USD, 300)
        await ledger.record(hold, charge(hold, 120))
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)
        await held(ledger, key, world.id(), 300)
    assert world.books.loads == [[key.account_id]]


async def test_the_state_of_a_key_loads_key_and_wallet_as_a_reservation_does(world: World) -> None:
    key = world.account(limit=1_000)
    async with world.gateway() as ledger:
        outcome, state, wallet = await ledger.key_state(key)
        assert (outcome, state.limit_nanos, wallet.balance_nanos) == (Outcome.OK, 1_000, USD)


async def test_what_postgres_does_not_know_is_answered_and_not_asked_twice(world: World) -> None:
    stranger = world.account()
    del world.books.credits[stranger.account_id]
    unknown = replace(stranger, key_id="nobody")
    async with world.gateway() as ledger:
        reserved = await ledger.reserve(unknown, world.id(), Nanos(1), 0)
        assert (reserved.outcome, reserved.hold) == (Outcome.STALE_KEY, None)
        reserved = await ledger.reserve(stranger, world.id(), Nanos(1), 0)
        assert reserved.outcome is Outcome.UNKNOWN_WALLET
        assert world.books.loads == [[stranger.account_id]]


async def test_a_key_that_changed_under_the_gateway_is_stale(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await held(ledger, key, world.id(), 1)
        revoked = replace(key, epoch=2, revoked=True)
        world.books.keys[key.key_id] = revoked
        await world.worker.wallets.publish_key(revoked)
        assert (await ledger.reserve(key, world.id(), Nanos(1), 0)).outcome is Outcome.STALE_KEY
        outcome, _, _ = await ledger.key_state(revoked)
        assert outcome is Outcome.STALE_KEY
        fresh = replace(key, epoch=3)
        world.books.keys[key.key_id] = fresh  # not published: the ledger learns it by the load
        await held(ledger, fresh, world.id(), 1)


@pytest.mark.parametrize("reset", [Reset.NONE, Reset.MONTHLY])
async def test_a_key_is_loaded_with_its_windows_spend_whatever_windows_it_had_since(
    world: World, reset: Reset
) -> None:
    """Its limit was daily for a while: those windows are later than the one that counts now."""
    key = world.account(limit=1_000, reset=reset)
    now = datetime.now(UTC)
    month_ms = ms_of(datetime(now.year, now.month, 1, tzinfo=UTC))
    current = 0 if reset is Reset.NONE else month_ms
    windows = [current, *(month_ms + day * 86_400_000 for day in range(1, 12))]
    for window in windows:
        past = replace(charge(hold_of(key, world.id(), 0), 600), window_ms=window)
        world.books.rows[past.request_id] = past
    async with world.gateway() as ledger:
        reserved = await ledger.reserve(key, world.id(), Nanos(401), 0)
        assert (reserved.outcome, reserved.key.spent_nanos) == (Outcome.KEY_LIMIT_EXCEEDED, 600)


async def test_wallets_of_one_turn_are_loaded_together(world: World) -> None:
    keys = [world.account() for _ in range(30)]
    async with world.gateway() as ledger:
        requests = [(key, world.id()) for key in keys for _ in range(3)]
        holds = await asyncio.gather(*(held(ledger, key, id_, 5) for key, id_ in requests))
        assert len(holds) == 90
    asked = [account_id for batch in world.books.loads for account_id in batch]
    assert sorted(asked) == sorted(key.account_id for key in keys)
    assert len(world.books.loads) < 10


async def test_two_hundred_at_once_on_a_wallet_of_five_hundred_holds(world: World) -> None:
    key = world.account(nanos=100 * 7)  # seven holds of a hundred
    async with world.gateway() as ledger:
        ids = [world.id() for _ in range(200)]
        answers = await asyncio.gather(*(ledger.reserve(key, i, Nanos(100), 0) for i in ids))
        taken = [answer.hold for answer in answers if answer.hold is not None]
        refused = {answer.outcome for answer in answers if answer.hold is None}
        assert len(taken) == 7
        assert refused == {Outcome.INSUFFICIENT_BALANCE}
        for hold in taken:
            await ledger.record(hold, charge(hold, 100))
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (0, 0)


async def test_the_answer_tells_what_is_left(world: World) -> None:
    key = world.account(limit=1_000, reset=Reset.MONTHLY, rpm=10, tpm=500)
    async with world.gateway() as ledger:
        reserved = await ledger.reserve(key, world.id(), Nanos(300), 120)
        assert reserved.wallet.available_nanos == USD - 300
        assert (reserved.key.requests_limit, reserved.key.requests_remaining) == (10, 9)
        assert (reserved.key.tokens_limit, reserved.key.tokens_remaining) == (500, 380)
        assert (reserved.key.limit_nanos, reserved.key.held_nanos) == (1_000, 300)
        assert 0 < reserved.key.reset_ms <= 60_000
        outcome, state, wallet = await ledger.key_state(key)
        assert (outcome, state.held_nanos, wallet.held_nanos) == (Outcome.OK, 300, 300)


async def test_a_charge_of_no_source_releases_and_leaves_its_row(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        nothing = replace(charge(hold, 0), usage_source=UsageSource.NONE, status="upstream_error")
        await ledger.record(hold, nothing)
        assert await ledger.drain(seconds=5)
    assert await world.wallet(key) == (USD, 0)
    assert await world.worker.flusher(0).flush_once() == 1
    assert world.books.rows[hold.request_id].status == "upstream_error"


# Ambiguity


async def test_a_reservation_that_is_run_late_finds_that_it_was_given_back(world: World) -> None:
    key = world.account()
    async with world.gateway(timeout_ms=SHORT_MS) as ledger:
        await held(ledger, key, world.id(), 1)
        world.proxy.hold_requests()
        with pytest.raises(LedgerUnavailableError):
            await ledger.reserve(key, world.id(), Nanos(300), 0)
        world.proxy.resume()
        assert await ledger.drain(seconds=5)  # the release is there first
        await world.proxy.deliver_held()
        assert await world.wallet(key) == (USD, 1)
        assert b"released" in world.client.hvals(world.keys.done)


async def test_a_reservation_whose_answer_was_lost_is_given_back(world: World) -> None:
    key = world.account()
    async with world.gateway(timeout_ms=SHORT_MS) as ledger:
        await held(ledger, key, world.id(), 1)
        world.proxy.hold_answers()
        with pytest.raises(LedgerUnavailableError) as raised:
            await ledger.reserve(key, world.id(), Nanos(300), 0)
        assert raised.value.retry_after_seconds == 1
        assert await world.wallet(key) == (USD, 301)  # it was taken, unseen
        world.proxy.resume()
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD, 1)


@pytest.mark.parametrize("answered_first", [False, True])
async def test_a_cancelled_reservation_leaves_no_hold(
    world: World, *, answered_first: bool
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await held(ledger, key, world.id(), 1)
        (world.proxy.hold_answers if answered_first else world.proxy.hold_requests)()
        world.proxy.seen.clear()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ledger.reserve(key, world.id(), Nanos(300), 0))
            await world.proxy.seen.wait()
            task.cancel()
        assert task.cancelled()
        world.proxy.resume()
        await world.proxy.deliver_held()
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD, 1)
        assert ledger.open_holds == 1


async def test_one_late_answer_makes_every_open_call_ambiguous(world: World) -> None:
    key = world.account()
    async with world.gateway(timeout_ms=SHORT_MS) as ledger:
        await held(ledger, key, world.id(), 1)
        world.proxy.hold_answers()
        requests = [ledger.reserve(key, world.id(), Nanos(1), 0) for _ in range(20)]
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(answer) for answer in answers} == {LedgerUnavailableError}
        world.proxy.resume()
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD, 1)


async def test_a_settlement_is_repeated_until_it_is_answered_and_charges_once(
    world: World,
) -> None:
    key = world.account()
    async with world.gateway(timeout_ms=SHORT_MS) as ledger:
        hold = await held(ledger, key, world.id(), 300)
        world.proxy.hold_answers()
        await ledger.record(hold, charge(hold, 120))
        await until(lambda: not world.client.exists(world.keys.hold(hold.request_id)))
        world.proxy.cut()
        world.proxy.resume()
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)
        assert world.client.xlen(world.keys.charges) == 1


async def test_without_redis_the_journal_is_enough_to_finish_an_answer(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        world.proxy.is_refusing = True
        world.proxy.cut()
        async with asyncio.timeout(2):
            await ledger.record(hold, charge(hold, 120))
        with pytest.raises(LedgerUnavailableError):
            await ledger.reserve(key, world.id(), Nanos(1), 0)
        assert await world.wallet(key) == (USD, 300)
        world.proxy.is_refusing = False
        assert await ledger.drain(seconds=5)
    assert await world.wallet(key) == (USD - 120, 0)


async def test_a_backlog_beyond_memory_is_read_from_the_journal(world: World) -> None:
    key = world.account()
    async with world.gateway(queue_max=10) as ledger:
        holds = [await held(ledger, key, world.id(), 10) for _ in range(500)]
        world.proxy.is_refusing = True
        world.proxy.cut()
        for begin in range(0, 500, 50):
            turn = holds[begin : begin + 50]
            await asyncio.gather(*(ledger.record(hold, charge(hold, 7)) for hold in turn))
        assert ledger.backlog <= 10 + 2 * 50  # and what came in the turns that filled it
        world.proxy.is_refusing = False
        assert await ledger.drain(seconds=10)
        assert await world.wallet(key) == (USD - 500 * 7, 0)
        assert world.client.xlen(world.keys.charges) == 500


async def test_what_a_dead_gateway_journaled_is_settled_by_the_next(world: World) -> None:
    key = world.account()
    async with world.gateway() as first:
        settled = await held(first, key, world.id(), 300)
        await first.record(settled, charge(settled, 100))
        assert await first.drain(seconds=5)
        hold = await held(first, key, world.id(), 300)
        world.proxy.is_refusing = True
        world.proxy.cut()
        await first.record(hold, charge(hold, 120))
    world.proxy.is_refusing = False
    assert await world.wallet(key) == (USD - 100, 300)
    async with world.gateway() as second:
        assert await second.drain(seconds=5)
        assert await world.wallet(key) == (USD - 220, 0)
        assert await world.worker.flusher(0).flush_once() == 2
        assert await second.prune_once(world.books) == 1
    journals = list((world.data_dir / "journal").iterdir())
    assert len(journals) == 1  # the second's own


# Leases and generations


async def test_a_lease_is_renewed_as_long_as_its_hold_is_open(world: World) -> None:
    key = world.account()
    async with world.gateway(lease_seconds=1) as ledger:
        hold = await held(ledger, key, world.id(), 300)
        first = hold.lease_until_ms
        await until(lambda: hold.lease_until_ms > first)
        assert hold.is_live(world.clock.monotonic_ms())
        assert await ledger.extend(hold, Nanos(500)) is Outcome.OK
        world.client.delete(world.keys.hold(hold.request_id))
        again = hold.lease_until_ms
        await until(lambda: hold.lease_until_ms > again)
        amount = world.client.hget(world.keys.hold(hold.request_id), "amount")
        assert amount == b"500"


async def test_a_server_whose_clock_jumped_ahead_still_renews_and_loads(world: World) -> None:
    """No reservation comes by that would show the server's time."""
    key, other = world.account(), world.account()
    async with world.gateway(lease_seconds=1) as ledger:
        hold = await held(ledger, key, world.id(), 300)
        first = hold.lease_until_ms
        await until(lambda: hold.lease_until_ms > first)
        last = hold.lease_until_ms
        jumped_ms = world.clock.unix_ms() - 3_600_000  # as the gateway thought that it was
        ledger._server_clock.observe(jumped_ms, world.clock.monotonic_ms())
        await until(lambda: hold.lease_until_ms > last)
        ledger._server_clock.observe(jumped_ms, world.clock.monotonic_ms())
        late = hold_of(other, world.id(), 300)
        await ledger.record(late, charge(late, 120))  # its wallet has to be loaded first
        assert await ledger.drain(seconds=5)
        assert await world.wallet(other) == (USD - 120, 0)


async def test_a_lease_that_cannot_be_renewed_runs_out(world: World) -> None:
    key = world.account()
    async with world.gateway(lease_seconds=1, timeout_ms=SHORT_MS) as ledger:
        hold = await held(ledger, key, world.id(), 300)
        world.proxy.hold_requests()
        await until(lambda: not hold.is_live(world.clock.monotonic_ms()))
        assert await world.wallet(key) == (USD, 300)


async def test_a_full_stream_stops_admission(world: World) -> None:
    key = world.account()
    async with world.gateway(unflushed_entries_max=2) as ledger:
        for _ in range(3):
            hold = await held(ledger, key, world.id(), 10)
            await ledger.record(hold, charge(hold, 1))
            assert await ledger.drain(seconds=5)
        with pytest.raises(LedgerUnavailableError):
            await ledger.reserve(key, world.id(), Nanos(1), 0)
        assert await world.worker.flusher(0).flush_once() == 3
        await held(ledger, key, world.id(), 10)


# Bounds and boot


async def test_more_loads_than_postgres_can_bear_are_refused(world: World) -> None:
    world.books.gate = asyncio.Event()
    async with world.gateway() as ledger:
        ledger._loader._loads_max = 5
        keys = [world.account() for _ in range(6)]
        for key in keys:
            await ledger._loader.load_key(key.key_id)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(ledger.reserve(key, world.id(), Nanos(1), 0)) for key in keys[:5]
            ]
            await until(lambda: len(ledger._loader._wallets) == 5)
            with pytest.raises(OverloadedError):
                await ledger.reserve(keys[5], world.id(), Nanos(1), 0)
            world.books.gate.set()
        assert {task.result().outcome for task in tasks} == {Outcome.OK}


async def test_a_balance_that_was_read_long_ago_makes_no_wallet(world: World) -> None:
    """A gateway that slept between the two may have missed a credit: without a wallet to go to, it
    counts as delivered after ten minutes."""
    key = world.account()
    clock = _MovableClock()
    world.books.gate = asyncio.Event()

    async def sleep_while_it_is_read() -> None:
        await until(lambda: world.books.loads)
        clock.moved_ms = 0
        assert world.books.gate is not None
        world.books.gate.set()

    async with world.gateway(clock=clock) as ledger:
        load = ledger._loader.load_wallet
        clock.moved_ms = -2 * 60_000  # so it was two minutes ago that it asked
        refused, _ = await asyncio.gather(
            load(key.account_id, key.shard), sleep_while_it_is_read(), return_exceptions=True
        )
        assert isinstance(refused, RefusedError)
        assert refused.code == "DEADLINE"
        assert await world.worker.wallets.snapshot(key.account_id, key.shard) is None
        assert await load(key.account_id, key.shard)
        assert await world.wallet(key) == (USD, 0)


class _MovableClock(SystemClock):
    moved_ms = 0

    def monotonic_ms(self) -> int:
        return super().monotonic_ms() + self.moved_ms


async def test_postgres_away_is_said_and_tried_again(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        world.books.is_away = True
        with pytest.raises(StoreUnavailableError):
            await ledger.reserve(key, world.id(), Nanos(1), 0)
        world.books.is_away = False
        await held(ledger, key, world.id(), 1)


async def test_a_store_that_evicts_is_refused_at_boot(world: World) -> None:
    world.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(LedgerSetupError, match="noeviction"):
            async with world.gateway():
                pass
    finally:
        world.client.config_set("maxmemory-policy", "noeviction")


async def test_a_store_that_became_a_replica_is_left_until_it_is_a_master_again(
    world: World,
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        world.client.replicaof("127.0.0.1", 1)
        try:
            with pytest.raises(LedgerUnavailableError):
                await ledger.reserve(key, world.id(), Nanos(1), 0)
            await until(lambda: not ledger.is_connected)
            with pytest.raises(LedgerUnavailableError):
                async with world.gateway():
                    pass
            await ledger.record(hold, charge(hold, 120))
        finally:
            world.client.replicaof("NO", "ONE")
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)


async def test_a_store_that_is_not_there_is_said_at_boot(world: World, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailableError):
        async with world.gateway(redis_url=f"unix://{tmp_path}/none.sock"):
            pass
