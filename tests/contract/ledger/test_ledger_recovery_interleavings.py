"""Recoveries that are themselves disturbed: by another loss, another worker, a gateway that knows
more or less than Postgres does."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.domain.account import ApiKey
from proxy.domain.errors import ApiError
from proxy.domain.outcome import Hold, Outcome
from proxy.domain.ports import FencedError, Shard, ShardState, Suspicion
from proxy.ledger.calls import shard_key
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.opening import open_worker_ledger
from proxy.ledger.worker_ledger import WorkerLedger
from routing.money import Nanos
from tests.support.ledger_world import (
    USD,
    World,
    charge,
    held,
    nothing_to_restore,
    reconnected,
    recovered,
    until,
)
from tests.support.memory_books import MemoryBooks


async def _settled(world: World, ledger: RedisLedger, key: ApiKey, nanos: int) -> Hold:
    hold = await held(ledger, key, world.id(), 300)
    await ledger.record(hold, charge(hold, nanos))
    assert await ledger.drain(seconds=5)
    return hold


def _dumped(world: World) -> dict[Any, Any]:
    return {name: world.client.dump(name) for name in world.client.keys("al:*")}


def _restored(world: World, dumped: dict[Any, Any]) -> None:
    world.client.flushdb()
    for name, value in dumped.items():
        world.client.restore(name, 0, value)


def _phase(world: World) -> Any:
    return world.client.hget(shard_key(0), "phase")


async def test_a_worker_whose_lease_ended_skips_nothing_that_it_drains(world: World) -> None:
    """What it cannot write another must, before the shard goes on."""
    key = world.account()
    async with world.gateway() as ledger:
        for _ in range(3):
            await _settled(world, ledger, key, 100)
    await world.worker.suspect(0, Suspicion.OPERATOR)
    world.books.owner = None
    slow = _SlowDrain(world.books)
    async with _worker(world, slow) as other:
        async with asyncio.TaskGroup() as group:
            tending = group.create_task(_fenced(other))
            await slow.drains.wait()
            world.books.owner = "worker"  # its lease ended here
            slow.goes_on.set()
            await tending
        assert world.books.shard.state is ShardState.DRAINING
        world.books.owner = None
        await recovered(world)
    assert world.books.balance(key.account_id) == USD - 300


async def test_a_store_lost_while_postgres_is_behind_recovers_all_the_same(world: World) -> None:
    """What Postgres forgot was in that store alone: nobody can wait for it."""
    asked = []

    async def restore(wallets: Any, shard: Shard) -> None:
        asked.append(await wallets.snapshot(UUID(int=1), 0, generation=shard.generation))

    async with _worker(world, world.books, restore=restore) as worker:
        world.books.owner = None
        await worker.tend_shards_once()
        await worker.suspect(0, Suspicion.POSTGRES)
        world.client.flushdb()
        reports = await worker.tend_shards_once()
        assert [report.is_open for report in reports] == [True]
        assert asked == []
        await worker.suspect(0, Suspicion.POSTGRES)
        await worker.tend_shards_once()
        assert asked == [None]


async def test_a_store_that_goes_back_to_before_its_opening_is_lost_again(world: World) -> None:
    """It forgot charges of the generation that it was about to open, and a greeting to a closed
    shard finds nothing out."""
    key = world.account()
    async with world.gateway() as ledger:
        await ledger._attendant.close()
        ghost = "a gateway that is slow"
        world.books.live.add(ghost)
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await world.worker.tend_shards_once()
        closed = _dumped(world)
        assert _phase(world) == b"closed"
        await world.books.report(ghost, world.books.shard)
        await world.worker.tend_shards_once()
        assert world.books.shard.state is ShardState.REASSERTING
        await ledger._generations.refresh()
        hold = _hold(world, key)
        await ledger.record(hold, charge(hold, 100))
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 100, 0)
        _restored(world, closed)
        generation = world.books.generation
        world.books.live.clear()
        await recovered(world)
        assert world.books.generation == generation + 1
        await ledger.attend_once()
        assert world.books.balance(key.account_id) == USD - 100


async def test_what_an_older_store_took_while_it_was_drained_is_drained_too(world: World) -> None:
    """No disk for the journal, and a store that comes back from before it was closed."""
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 100)
        await ledger._attendant.close()
        before = _dumped(world)
        hold = await held(ledger, key, world.id(), 300)
        world.books.live.add("a gateway that is slow")
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await world.worker.tend_shards_once()
        assert world.books.shard.state is ShardState.DRAINING
        _restored(world, before)
        ledger._recorder._journal.append = _no_space  # type: ignore[assignment, method-assign]
        await ledger.record(hold, charge(hold, 20))
        assert await ledger.drain(seconds=5)
        world.books.live.clear()
        await recovered(world)
        assert world.books.balance(key.account_id) == USD - 120


async def test_a_journal_that_cannot_be_read_keeps_no_shard_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it comes later, as sequenced debits."""
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 100)
        segments = ledger._recorder._journal.segments
        read = type(segments).read
        monkeypatch.setattr(type(segments), "read", _no_space)
        world.client.flushdb()
        await recovered(world)
        assert world.books.balance(key.account_id) == USD
        monkeypatch.setattr(type(segments), "read", read)
        await until(lambda: world.books.late == [(key.account_id, 100)])


async def test_an_attendant_outlives_whatever_its_turn_meets(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.gateway() as ledger:
        failed = asyncio.Event()

        async def fail(_: MemoryBooks, incarnation: str) -> Mapping[int, Shard]:
            failed.set()
            raise KeyError("what nobody thought of")

        with monkeypatch.context() as patched:
            patched.setattr(MemoryBooks, "attend", fail)
            await asyncio.wait_for(failed.wait(), 5)
        world.client.flushdb()
        await recovered(world)
        assert ledger.is_connected


async def test_a_refused_gateway_attends_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        await held(ledger, key, world.id(), 1)
        attended: list[float] = []
        attend = MemoryBooks.attend

        async def count(books: MemoryBooks, incarnation: str) -> Mapping[int, Shard]:
            attended.append(asyncio.get_running_loop().time())
            return await attend(books, incarnation)

        monkeypatch.setattr(MemoryBooks, "attend", count)
        await until(lambda: attended)  # a turn has just been: the next is a second away
        world.client.flushdb()
        with pytest.raises(ApiError):
            await ledger.reserve(key, world.id(), Nanos(1), 0)
        await until(lambda: len(attended) > 1)
        assert attended[1] - attended[0] < 0.5


async def test_generations_that_postgres_and_redis_both_forgot_are_passed_over(
    world: World,
) -> None:
    """A site that was restored from its backups, beside gateways that lived on."""
    key = world.account()
    async with world.gateway() as ledger:
        for _ in range(3):
            await world.worker.suspect(0, Suspicion.OPERATOR)
            await recovered(world)
        await ledger.attend_once()
        await _settled(world, ledger, key, 100)
        known = world.books.generation
        world.client.flushdb()
        world.books.shard = Shard(0, 1)
        world.books.rows.clear()
        world.books.numbers.clear()
        async with asyncio.timeout(10):
            while (await _try_reserve(world, ledger, key)) is not Outcome.OK:
                await world.worker.tend_shards_once()
        assert world.books.generation > known
        assert world.books.balance(key.account_id) == USD - 100


async def test_journals_of_a_generation_that_both_stores_forgot_are_posted(world: World) -> None:
    """Here no gateway lived on: only their journals know."""
    key = world.account()
    async with world.gateway() as ledger:
        for _ in range(3):
            await world.worker.suspect(0, Suspicion.OPERATOR)
            await recovered(world)
        await ledger.attend_once()
        await _settled(world, ledger, key, 100)
    world.client.flushdb()
    world.books.shard = Shard(0, 1)
    world.books.rows.clear()
    world.books.numbers.clear()
    await recovered(world)
    async with world.gateway():
        async with asyncio.timeout(10):
            while world.books.balance(key.account_id) == USD:
                await world.worker.tend_shards_once()
                await asyncio.sleep(0.01)
    assert world.books.balance(key.account_id) == USD - 100


async def test_a_key_that_was_read_before_it_was_revoked_is_not_loaded_after_a_recovery(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its revocation was published to the generation before, and would not be again."""
    key = world.account()
    async with world.gateway() as ledger:
        find_key, asked, goes_on = MemoryBooks.find_key, asyncio.Event(), asyncio.Event()

        async def find_late(books: MemoryBooks, key_id: str) -> ApiKey | None:
            found = await find_key(books, key_id)
            asked.set()
            await goes_on.wait()
            return found

        async with asyncio.TaskGroup() as group:
            with monkeypatch.context() as patched:
                patched.setattr(MemoryBooks, "find_key", find_late)
                reserving = group.create_task(_try_reserve(world, ledger, key))
                await asked.wait()
            revoked = replace(key, epoch=2, revoked=True)
            world.books.keys[key.key_id] = revoked
            await world.worker.wallets.publish_key(revoked)
            await world.worker.suspect(0, Suspicion.OPERATOR)
            await recovered(world)
            await ledger.attend_once()
            goes_on.set()
        assert reserving.result() is not Outcome.OK
        assert await _try_reserve(world, ledger, key) is Outcome.STALE_KEY


async def test_a_hold_that_ended_while_its_generation_was_looked_up_is_not_taken_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await ledger._attendant.close()
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await recovered(world)
        every, asked, goes_on = MemoryBooks.all, asyncio.Event(), asyncio.Event()

        async def all_late(books: MemoryBooks) -> Mapping[int, Shard]:
            asked.set()
            await goes_on.wait()
            return await every(books)

        monkeypatch.setattr(MemoryBooks, "all", all_late)
        async with asyncio.TaskGroup() as group:
            group.create_task(ledger._keeper.renew(hold))
            await asked.wait()
            await ledger.record(hold, charge(hold, 100))
            goes_on.set()
        assert world.client.exists(world.keys.hold(hold.request_id)) == 0


class _SlowDrain(MemoryBooks):
    """Another worker's view of the same books. Its lease ends while it drains."""

    def __init__(self, books: MemoryBooks) -> None:
        super().__init__()
        self.books = books
        self.drains, self.goes_on = asyncio.Event(), asyncio.Event()
        self.acquired = 0

    def __getattribute__(self, name: str) -> Any:
        own = ("books", "drains", "goes_on", "acquired", "acquire_any", "__class__")
        if name in own:
            return super().__getattribute__(name)
        return getattr(super().__getattribute__("books"), name)

    async def acquire_any(self, shard: int, owner: str, lease_seconds: int) -> Any:
        if self.books.shard.state is ShardState.DRAINING:
            self.acquired += 1
            if self.acquired == 2:
                self.drains.set()
                await self.goes_on.wait()
        return await self.books.acquire_any(shard, owner, lease_seconds)


def _worker(world: World, books: Any, *, restore: Any = nothing_to_restore) -> Any:
    return open_worker_ledger(
        redis_url=world.url,
        directory=books,
        shards=books,
        flushes=books,
        clock=world.clock,
        restore=restore,
        owner="another worker",
        lease_seconds=60,
        timeout_ms=2_000,
        flush_entries_max=1,
    )


async def _fenced(worker: WorkerLedger) -> None:
    with pytest.raises(FencedError):
        await worker.tend_shards_once()


async def _try_reserve(world: World, ledger: RedisLedger, key: ApiKey) -> Outcome | None:
    try:
        return (await ledger.reserve(key, world.id(), Nanos(1), 0)).outcome
    except ApiError:
        return None


def _hold(world: World, key: ApiKey) -> Hold:
    """One that was taken before all of this."""
    return Hold(world.id(), key.account_id, key.key_id, 0, key.epoch, Nanos(300), 0, 0)


def _no_space(*_: object) -> Any:
    raise OSError(28, os.strerror(28), str(Path("journal")))


async def test_what_was_settled_for_a_gateway_that_died_is_missed_too(world: World) -> None:
    """A store that forgot it did not forget anything of whoever settled it."""
    key = world.account()
    async with world.gateway() as ledger:
        await _settled(world, ledger, key, 1)
        hold = await held(ledger, key, world.id(), 300)
        world.proxy.is_refusing = True
        world.proxy.cut()
        await ledger.record(hold, charge(hold, 100))
    world.proxy.is_refusing = False
    before = _dumped(world)
    async with world.gateway() as heir:
        await until(lambda: heir.counts.settled == 2)
        assert await world.wallet(key) == (USD - 101, 0)
        _restored(world, before)
        await reconnected(world, heir)
        assert heir.lost_shards == {0}
        await until(lambda: world.books.shard.suspicion is Suspicion.TAIL)
        await recovered(world)
        assert world.books.balance(key.account_id) == USD - 101
        await heir.prune_once(world.books)  # nothing of the one that died is left
        await reconnected(world, heir)
        assert heir.lost_shards == set()
