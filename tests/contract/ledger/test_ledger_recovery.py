"""A shard that lost its memory comes back: nothing is lost, nothing is charged twice."""

import asyncio
from dataclasses import replace

import pytest

from proxy.domain.account import ApiKey
from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.outcome import Hold, Outcome
from proxy.domain.ports import Suspicion
from proxy.ledger.calls import shard_key
from proxy.ledger.faults import StoreBehindError
from proxy.ledger.gateway_ledger import RedisLedger
from routing.money import Nanos
from tests.support.ledger_world import USD, World, charge, held, reconnected, recovered, until


async def _settled(world: World, ledger: RedisLedger, key: ApiKey, nanos: int) -> Hold:
    hold = await held(ledger, key, world.id(), 300)
    await ledger.record(hold, charge(hold, nanos))
    assert await ledger.drain(seconds=5)
    return hold


async def _flush(world: World) -> None:
    flusher = world.worker.flusher(0)
    while await flusher.flush_once():
        pass


async def test_a_store_that_was_emptied_gets_everything_back(world: World) -> None:
    """What was flushed is in Postgres, what was not is in the journal, what is held is held."""
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 100)
        await _flush(world)
        await _settled(world, ledger, key, 20)
        running = await held(ledger, key, world.id(), 300)
        world.client.flushdb()
        with pytest.raises(LedgerUnavailableError):
            await ledger.reserve(key, world.id(), Nanos(1), 0)
        await recovered(world)
        assert await world.wallet(key) == (USD - 120, 300)
        await ledger.record(running, charge(running, 3))
        assert await ledger.drain(seconds=5)
        assert ledger.counts.late == 0
        assert await world.wallet(key) == (USD - 123, 0)
        await _flush(world)
        assert world.books.balance(key.account_id) == USD - 123
        assert world.books.late == []


async def test_a_store_that_is_older_gets_back_what_it_forgot(world: World) -> None:
    """As after a failover to a replica that lagged: the gateway finds out, and tells."""
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 100)
        older = {name: world.client.dump(name) for name in world.client.keys("al:*")}
        await _settled(world, ledger, key, 20)
        world.client.flushdb()
        for name, dumped in older.items():
            world.client.restore(name, 0, dumped)
        assert await world.wallet(key) == (USD - 100, 0)
        await reconnected(world, ledger)
        assert ledger.lost_shards == {0}
        with pytest.raises(LedgerUnavailableError):
            await ledger.reserve(key, world.id(), Nanos(1), 0)
        await until(lambda: world.books.shard.suspicion is Suspicion.TAIL)
        await recovered(world)
        assert ledger.lost_shards == set()
        await held(ledger, key, world.id(), 1)
        assert await world.wallet(key) == (USD - 120, 1)


async def test_what_survives_of_a_stream_that_lost_its_cursor_is_read_whole(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        first = await _settled(world, ledger, key, 100)
        await _flush(world)
        world.client.xdel(world.keys.charges, world.books.cursor.stream_id)
        second = await _settled(world, ledger, key, 20)
    with pytest.raises(Exception, match="STREAMLOST"):
        await _flush(world)
    assert world.books.shard.suspicion is Suspicion.STREAM
    await recovered(world)
    assert set(world.books.rows) == {first.request_id, second.request_id}
    assert world.books.late == []


async def test_who_was_away_during_a_recovery_is_not_waited_for_and_debits_late(
    world: World,
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 100)
        await ledger._attendant.close()  # as a gateway that stands still
        world.client.flushdb()
        await recovered(world)
        assert world.books.late == []
        assert await ledger.attend_once() is False
        assert world.books.late == [(key.account_id, 100)]
        assert await ledger.attend_once() is False
        assert world.books.late == [(key.account_id, 100)]


async def test_the_journal_of_a_dead_gateway_is_posted_by_the_next(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        world.proxy.is_refusing = True
        world.proxy.cut()
        await ledger.record(hold, charge(hold, 100))
    world.client.flushdb()
    await recovered(world)
    world.proxy.is_refusing = False
    async with world.gateway() as second:
        await until(lambda: second.counts.stranded == 1)
        assert await second.drain(seconds=5)
        assert world.books.late == [(key.account_id, 100)]
        await second.prune_once(world.books)
    assert len(list((world.data_dir / "journal").iterdir())) == 1  # the second's own


async def test_a_charge_of_a_generation_that_is_over_never_moves_a_wallet(world: World) -> None:
    """It is recorded before its gateway knows: the ledger refuses it, Postgres takes it."""
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await ledger._attendant.close()
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await recovered(world)
        await ledger.record(hold, charge(hold, 100))
        await until(lambda: ledger.counts.stranded == 1)
        await ledger.attend_once()
        assert await ledger.drain(seconds=5)
        assert world.books.late == [(key.account_id, 100)]
        assert await world.worker.wallets.snapshot(key.account_id, 0) is None


async def test_nobody_is_admitted_before_gateways_hold_again(world: World) -> None:
    key = world.account(1_000)
    async with world.gateway() as ledger, world.gateway() as other:
        await held(ledger, key, world.id(), 700)
        await ledger._attendant.close()
        world.books.live.add(ledger._attendant._incarnation)
        world.client.flushdb()
        await until(lambda: world.books.generation == 1)
        (report,) = await world.worker.tend_shards_once()
        assert not report.is_open
        assert ledger._attendant._incarnation in report.waits_for
        await ledger.attend_once()
        await until(lambda: len(world.books.reports) >= 1)
        with pytest.raises(LedgerUnavailableError):
            await other.reserve(key, world.id(), Nanos(700), 0)
        async with asyncio.timeout(10):
            while not (await world.worker.tend_shards_once())[0].is_open:
                await ledger.attend_once()
        reserved = await other.reserve(key, world.id(), Nanos(700), 0)
        assert reserved.outcome is Outcome.INSUFFICIENT_BALANCE


async def test_a_wallet_that_was_read_before_the_recovery_is_not_loaded_after_it(
    world: World,
) -> None:
    """Postgres' answer may be older than what journals have brought since."""
    key = world.account()
    async with world.gateway() as ledger:
        world.books.gate = asyncio.Event()

        async def reserve() -> None:
            with pytest.raises(LedgerUnavailableError):
                await ledger.reserve(key, world.id(), Nanos(1), 0)

        async with asyncio.TaskGroup() as group:
            group.create_task(reserve())
            await until(lambda: world.books.loads)
            await world.worker.suspect(0, Suspicion.OPERATOR)
            await recovered(world)
            world.books.gate.set()
        assert await world.worker.wallets.snapshot(key.account_id, 0) is None
        await held(ledger, key, world.id(), 1)


async def test_concurrency_counts_the_holds_that_were_taken_again(world: World) -> None:
    key = world.account(concurrency=2)
    async with world.gateway() as ledger:
        holds = [await held(ledger, key, world.id(), 10) for _ in range(2)]
        world.client.flushdb()
        await recovered(world)
        reserved = await ledger.reserve(key, world.id(), Nanos(1), 0)
        assert reserved.outcome is Outcome.CONCURRENCY_LIMITED
        await ledger.record(holds[0], charge(holds[0], 1))
        assert await ledger.drain(seconds=5)
        await held(ledger, key, world.id(), 10)
        reserved = await ledger.reserve(key, world.id(), Nanos(1), 0)
        assert reserved.outcome is Outcome.CONCURRENCY_LIMITED


async def test_a_stream_that_outgrows_a_lost_hold_takes_it_again(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        world.client.delete(world.keys.hold(hold.request_id))
        assert await ledger.extend(hold, Nanos(900)) is Outcome.OK
        assert hold.amount_nanos == 900


async def test_a_revoked_key_stays_revoked_through_a_recovery(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await held(ledger, key, world.id(), 1)
        revoked = replace(key, epoch=2, revoked=True)
        world.books.keys[key.key_id] = revoked
        await world.worker.wallets.publish_key(revoked)
        world.client.flushdb()
        await recovered(world)
        reserved = await ledger.reserve(key, world.id(), Nanos(1), 0)
        assert reserved.outcome is Outcome.STALE_KEY


async def test_a_postgres_that_forgot_is_found_by_the_flusher(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 100)
        before = world.books.cursor
        rows = dict(world.books.rows)
        await _flush(world)
        world.books.cursor, world.books.rows = before, rows  # a restored backup
        with pytest.raises(StoreBehindError):
            await _flush(world)
        assert world.books.shard.suspicion is Suspicion.POSTGRES
        await recovered(world)
        assert world.books.balance(key.account_id) == USD - 100
        assert (await ledger.key_state(key))[0] is Outcome.OK
        assert await world.wallet(key) == (USD - 100, 0)


async def test_what_balances_have_already_no_journal_brings_again(world: World) -> None:
    """Postgres was restored, and rows that no stream has are in the adjustment: see billing."""
    key = world.account()
    async with world.gateway() as ledger:
        before, cursor = dict(world.books.rows), world.books.cursor
        await _settled(world, ledger, key, 100)
        await _settled(world, ledger, key, 20)
        await _flush(world)
        world.client.xtrim(world.keys.charges, maxlen=1, approximate=False)
        world.books.rows, world.books.cursor = before, cursor
        world.books.numbers = {}
        world.books.credits[key.account_id].append(-100)  # what the ledger had beyond Postgres
        with pytest.raises(StoreBehindError):
            await _flush(world)
        await recovered(world)
        assert [row.charged_nanos for row in world.books.rows.values()] == [20]
        assert (await ledger.key_state(key))[0] is Outcome.OK
        assert await world.wallet(key) == (USD - 120, 0)
        assert list(world.books.numbers.values()) == [{1, 2}]  # no gap keeps the journal
        hold = await held(ledger, key, world.id(), 300)
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await recovered(world)
        await ledger.record(hold, charge(hold, 3))  # and later generations are posted as ever
        assert await ledger.drain(seconds=5)
        await _flush(world)
        assert world.books.balance(key.account_id) == USD - 123


async def test_a_postgres_that_forgot_whole_generations_takes_them_on(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        shard, cursor = world.books.shard, world.books.cursor
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await recovered(world)
        await _settled(world, ledger, key, 100)
        world.books.shard, world.books.cursor = shard, cursor
        await recovered(world)
        assert world.books.generation == shard.generation + 2
        assert world.books.balance(key.account_id) == USD - 100
        await held(ledger, key, world.id(), 1)
        assert await world.wallet(key) == (USD - 100, 1)


async def test_what_older_generations_left_is_removed_bit_by_bit(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 100)
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await recovered(world)
        await held(ledger, key, world.id(), 1)
        assert world.client.keys("al:{s0}:1:*")
        while await world.worker.sweep_once(0, 2):
            pass
        assert world.client.keys("al:{s0}:1:*") == []
        assert await world.wallet(key) == (USD - 100, 1)
        assert world.client.exists(shard_key(0))
        assert await world.worker.sweep_once(0, 2) is False
