"""The worker's ledger: opening shards, flushing, poison, trimming, orphans."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from proxy.domain.account import ApiKey
from proxy.domain.clock import SystemClock
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Cursor, FencedError, Shard
from proxy.domain.usage import UsageSource
from proxy.ledger import calls
from proxy.ledger.calls import shard_key
from proxy.ledger.faults import StreamLostError
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.opening import open_wallets, open_worker_ledger
from routing.money import Nanos
from tests.support.ledger_world import USD, World, charge, held, nothing_to_restore
from tests.support.memory_books import MemoryBooks


async def _charge(world: World, ledger: RedisLedger, key: ApiKey, count: int) -> list[UUID]:
    holds = [await held(ledger, key, world.id(), 10) for _ in range(count)]
    await asyncio.gather(*(ledger.record(hold, charge(hold, 3)) for hold in holds))
    assert await ledger.drain(seconds=5)
    return [hold.request_id for hold in holds]


# Opening


async def test_a_fresh_shard_is_opened_once(world: World) -> None:
    assert world.books.generation == 1
    (report,) = await world.worker.tend_shards_once()
    assert (report.generation, report.is_open) == (1, True)
    assert world.books.generation == 1


async def test_only_who_flushes_a_shard_recovers_it(world: World) -> None:
    await world.books.bump(0, 1)
    world.books.owner = "another worker"
    (report,) = await world.worker.tend_shards_once()
    assert not report.is_open
    world.books.owner = None
    (report,) = await world.worker.tend_shards_once()
    assert report.is_open


async def test_two_workers_that_start_together_recover_a_shard_once(world: World) -> None:
    """A second generation would end what was settled in the first."""
    world.client.flushdb()
    late = _LateBooks(world.books)
    async with open_worker_ledger(
        redis_url=world.url,
        directory=world.books,
        shards=world.books,
        flushes=late,
        clock=world.clock,
        restore=nothing_to_restore,
        owner="late",
        lease_seconds=60,
        timeout_ms=2_000,
        flush_entries_max=100,
    ) as second:
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(second.tend_shards_once())
            await late.asked.wait()
            (report,) = await world.worker.tend_shards_once()
            assert (report.generation, report.is_open) == (2, True)
            world.books.owner = None  # as its lease ends
            late.goes_on.set()
        assert world.books.generation == 2
        assert [report.is_open for report in opening.result()] == [True]


class _LateBooks(MemoryBooks):
    """Asks for the lease when told to."""

    def __init__(self, books: MemoryBooks) -> None:
        super().__init__()
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()
        self._books = books

    async def acquire_any(
        self, shard: int, owner: str, lease_seconds: int
    ) -> tuple[Shard, Cursor] | None:
        self.asked.set()
        await self.goes_on.wait()
        return await self._books.acquire_any(shard, owner, lease_seconds)


# Flushing


async def test_a_flush_moves_each_charge_once_and_the_cursor_with_it(world: World) -> None:
    key = world.account()
    flusher = world.worker.flusher(0)
    async with world.gateway() as ledger:
        ids = await _charge(world, ledger, key, 5)
        assert await flusher.flush_once() == 5
        assert await flusher.flush_once() == 0
        assert set(world.books.rows) == set(ids)
        assert world.books.balance(key.account_id) == USD - 15
        assert flusher.unflushed == 0
        await _charge(world, ledger, key, 250)
        assert [await flusher.flush_once() for _ in range(4)] == [100, 100, 50, 0]
    assert world.books.balance(key.account_id) == (await world.wallet(key))[0]


async def test_a_flush_that_was_not_told_of_its_commit_repeats_without_harm(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await _charge(world, ledger, key, 3)
        flusher = world.worker.flusher(0)
        await flusher.flush_once()
        world.client.hset(shard_key(0), "flushed", 0)  # a crash before the ledger was told
        assert await world.worker.flusher(0).flush_once() == 0
        assert world.client.hget(shard_key(0), "flushed") == b"3"


async def test_poison_is_set_aside_and_stops_nothing(world: World) -> None:
    key = world.account()
    flusher = world.worker.flusher(0)
    async with world.gateway() as ledger:
        await _charge(world, ledger, key, 1)
        broken = world.client.xadd(world.keys.charges, {"d": "not a charge"})
        await _charge(world, ledger, key, 1)
        entry = dict(world.client.xrevrange(world.keys.charges, count=1)[0][1])
        changed = world.client.xadd(
            world.keys.charges, {**entry, b"c": b"4"}
        )  # one nano more than its row
        assert await flusher.flush_once() == 4
        assert set(world.books.poison) == {broken.decode(), changed.decode()}
        assert len(world.books.rows) == 2
        assert await flusher.flush_once() == 0
        for _ in range(150):  # more than a batch of nothing else
            world.client.xadd(world.keys.charges, {"d": "{}"})
        await _charge(world, ledger, key, 1)
        assert await flusher.flush_once() == 151
        assert len(world.books.rows) == 3
        assert len(world.books.poison) == 152
        assert flusher.unflushed == 0


async def test_without_the_lease_nothing_is_flushed(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await _charge(world, ledger, key, 2)
    world.books.owner = "another worker"
    assert await world.worker.flusher(0).flush_once() == 0
    assert world.books.rows == {}


async def test_a_flusher_that_lost_its_lease_on_the_way_trims_nothing(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await _charge(world, ledger, key, 2)
    quarantine = world.client.xadd(world.keys.charges, {"d": "poison"})
    flusher = world.worker.flusher(0)
    acquire = world.books.acquire

    class Stolen:
        async def acquire(self, shard: int, owner: str, lease_seconds: int) -> object:
            cursor = await acquire(shard, owner, lease_seconds)
            world.books.owner = "thief"
            return cursor

        quarantine = world.books.quarantine
        write = world.books.write

    flusher._flushes = Stolen()  # type: ignore[assignment]
    with pytest.raises(FencedError):
        await flusher.flush_once()
    assert world.client.xlen(world.keys.charges) == 3
    assert quarantine.decode() in world.books.poison


async def test_a_stream_that_does_not_reach_the_cursor_is_not_flushed(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await _charge(world, ledger, key, 2)
        await world.worker.flusher(0).flush_once()
        world.client.xdel(world.keys.charges, world.books.cursor.stream_id)
        await _charge(world, ledger, key, 1)
    with pytest.raises(StreamLostError):
        await world.worker.flusher(0).flush_once()
    assert len(world.books.rows) == 2


# Orphans


async def test_the_hold_of_a_killed_gateway_comes_back_and_leaves_a_row(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        name = str(hold.request_id)
        world.client.hset(shard_key(0), "not_before_ms", 0)
        world.client.zadd(world.keys.leases, {name: 1})
        assert await world.worker.expire_once(0, 10) == 1
        assert await world.worker.expire_once(0, 10) == 0
        assert await world.wallet(key) == (USD, 0)
        assert await world.worker.flusher(0).flush_once() == 1
        row = world.books.rows[hold.request_id]
        assert (row.status, row.charged_nanos, row.hold_nanos) == ("orphaned", 0, 300)
        assert (row.usage_source, row.key_id) == (UsageSource.NONE, key.key_id)
        await ledger.record(
            hold, charge(hold, 120)
        )  # it was only slow: its charge replaces the row
        assert await ledger.drain(seconds=5)
        await world.worker.flusher(0).flush_once()
        assert world.books.rows[hold.request_id].charged_nanos == 120
        assert await world.wallet(key) == (USD - 120, 0)


async def test_a_lease_without_its_hold_is_cleared(world: World) -> None:
    world.client.hset(shard_key(0), "not_before_ms", 0)
    world.client.zadd(world.keys.leases, {str(world.id()): 1})
    assert await world.worker.expire_once(0, 10) == 0
    assert world.client.zcard(world.keys.leases) == 0
    assert world.client.xlen(world.keys.charges) == 0


# Wallets, as commands use them


async def test_wallets_for_commands(world: World) -> None:
    key = world.account()
    async with (
        world.gateway() as ledger,
        open_wallets(
            redis_url=world.url, shards=world.books, clock=SystemClock(), timeout_ms=2_000
        ) as wallets,
    ):
        assert await wallets.snapshot(key.account_id, 0) is None
        assert await wallets.apply(key.account_id, 0, 2, Nanos(5)) is Outcome.UNKNOWN_WALLET
        ids = await _charge(world, ledger, key, 3)
        before = await wallets.snapshot(key.account_id, 0)
        assert before is not None
        await _charge(world, ledger, key, 2)
        after = await wallets.snapshot(key.account_id, 0)
        assert after is not None
        between = (Cursor(1, before.last_stream_id), after.last_stream_id)
        assert await wallets.charged_between(key.account_id, 0, *between) == 6
        assert await wallets.charged_between(ids[0], 0, *between) == 0
        assert await wallets.apply(key.account_id, 0, 2, Nanos(5)) is Outcome.OK
        await wallets.publish_key(replace(key, epoch=2, revoked=True))
        assert (await ledger.reserve(key, world.id(), Nanos(1), 0)).outcome is Outcome.STALE_KEY


async def test_the_sum_over_more_than_a_page(world: World) -> None:
    key = world.account()
    pipeline = world.client.pipeline()
    for _ in range(2_500):
        pipeline.xadd(world.keys.charges, {"a": str(key.account_id), "c": "7"})
    ids = pipeline.execute()
    last = ids[-1].decode()
    assert (
        await world.worker.wallets.charged_between(key.account_id, 0, Cursor(1, "0-0"), last)
        == 17_500
    )


# The library


async def test_a_newer_library_stays(world: World) -> None:
    newer = "#!lua name=apilink_ledger\nredis.register_function('ledger_version', function() "
    newer += "return '999:newer' end)"
    world.client.execute_command("FUNCTION", "LOAD", "REPLACE", newer)
    async with open_wallets(
        redis_url=world.url, shards=world.books, clock=SystemClock(), timeout_ms=2_000
    ):
        assert world.client.execute_command(*calls.version()) == b"999:newer"
    world.client.execute_command("FUNCTION", "DELETE", "apilink_ledger")


async def test_a_library_that_is_missing_or_other_is_put_there(world: World) -> None:
    version = world.client.execute_command(*calls.version())
    older = "#!lua name=apilink_ledger\nredis.register_function('ledger_version', function() "
    older += "return '0:older' end)"
    for prepare in (
        ("FUNCTION", "DELETE", "apilink_ledger"),
        ("FUNCTION", "LOAD", "REPLACE", older),
    ):
        _ = world.client.execute_command(*prepare)
        async with open_wallets(
            redis_url=world.url, shards=world.books, clock=SystemClock(), timeout_ms=2_000
        ):
            assert world.client.execute_command(*calls.version()) == version
