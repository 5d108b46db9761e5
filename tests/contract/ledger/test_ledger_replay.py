"""What one gateway leaves behind and another settles."""

import pytest

from proxy.domain.account import ApiKey
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.outcome import Hold, Outcome
from proxy.ledger.gateway_ledger import RedisLedger
from tests.support.ledger_bench import USD, hold_of, request_id
from tests.support.ledger_world import World, charge, held, reconnected, until

HOUR_MS = 3_600_000


async def test_the_charges_of_a_dead_gateway_are_not_counted_as_ones_own(world: World) -> None:
    """The next one settles numbers far above its own: that is no tail that the store has lost."""
    key = world.account()
    async with world.gateway() as first:
        holds = [await held(first, key, world.id(), 300) for _ in range(5)]
        world.proxy.is_refusing = True
        world.proxy.cut()
        for hold in holds:
            await first.record(hold, charge(hold, 120))
    world.proxy.is_refusing = False
    async with world.gateway() as second:
        assert await second.drain(seconds=5)
        assert await world.wallet(key) == (USD - 5 * 120, 0)
        await reconnected(world, second)
        assert second.lost_shards == set()
        await held(second, key, world.id(), 300)


# Older than what the ledger remembers


async def test_a_charge_that_comes_after_two_hours_is_made_once_postgres_was_asked(
    world: World,
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await _old_hold(world, ledger, key)
        await ledger.record(hold, charge(hold, 120))
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD, 0)
        await ledger.prune_once(world.books)
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)
        assert await world.worker.flusher(0).flush_once() == 1
        assert world.books.rows[hold.request_id].charged_nanos == 120
        assert ledger.counts.stranded == 0


async def test_a_journal_that_is_older_than_every_mark_charges_nothing_twice(
    world: World,
) -> None:
    key = world.account()
    async with world.gateway() as first:
        hold = await _settled_and_forgotten(world, first, key)
        assert await world.worker.flusher(0).flush_once() == 1
    async with world.gateway() as second:
        assert await second.drain(seconds=5)
        await second.prune_once(world.books)
        assert await second.drain(seconds=5)
        assert second.counts.stranded == 0
        assert await world.wallet(key) == (USD - 120, 0)
        await second.prune_once(world.books)
    assert [hold.request_id] == list(world.books.rows)
    assert len(list((world.data_dir / "journal").iterdir())) == 1  # the second's own


async def test_postgres_is_not_believed_before_its_cursor_is_past_the_settlement(
    world: World,
) -> None:
    key = world.account()
    async with world.gateway() as first:
        await _settled_and_forgotten(world, first, key)
    async with world.gateway() as second:
        assert await second.drain(seconds=5)
        await second.prune_once(world.books)
        assert await second.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)  # it is in the stream, and nowhere else
        assert await world.worker.flusher(0).flush_once() == 1
        await second.prune_once(world.books)
        assert await second.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)
        assert world.books.balance(key.account_id) == USD - 120


async def test_a_store_that_is_away_while_old_charges_are_looked_up_loses_none(
    world: World,
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await _old_hold(world, ledger, key)
        world.books.is_away = True
        await ledger.record(hold, charge(hold, 120))
        assert await ledger.drain(seconds=5)
        with pytest.raises(StoreUnavailableError):
            await ledger.prune_once(world.books)
        world.books.is_away = False
        world.proxy.is_refusing = True
        world.proxy.cut()
        await until(lambda: not ledger.is_connected)
        await ledger.prune_once(world.books)
        world.proxy.is_refusing = False
        await until(lambda: ledger.is_connected)
        await ledger.prune_once(world.books)
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)


async def _old_hold(world: World, ledger: RedisLedger, key: ApiKey) -> Hold:
    """Of a request that began two hours ago, and of which the ledger knows nothing any more."""
    outcome, _, _ = await ledger.key_state(key)  # loads key and wallet
    assert outcome is Outcome.OK
    return hold_of(key, request_id(7, world.clock.unix_ms() - 2 * HOUR_MS), 300)


async def _settled_and_forgotten(world: World, ledger: RedisLedger, key: ApiKey) -> Hold:
    hold = await _old_hold(world, ledger, key)
    await ledger.record(hold, charge(hold, 120))
    assert await ledger.drain(seconds=5)
    await ledger.prune_once(world.books)
    assert await ledger.drain(seconds=5)
    assert await world.wallet(key) == (USD - 120, 0)
    assert world.client.hdel(world.keys.done, str(hold.request_id)) == 1
    return hold
