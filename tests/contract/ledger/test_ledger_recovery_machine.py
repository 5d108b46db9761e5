"""Seeded walks through everything that can befall a shard, in any order: stores emptied or put back
to an earlier moment, gateways that die, stand still or lose their journals, a worker and a Postgres
that fail between any two steps. Gateways, worker and server are the real ones.

In the end everybody is well again, and the books must say what was done, to the nano.
"""

import asyncio
import inspect
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from proxy.dev.servers import Server
from proxy.domain.errors import ApiError, StoreUnavailableError
from proxy.domain.outcome import Hold
from proxy.domain.ports import FencedError, ShardState, Suspicion
from proxy.ledger.faults import StoreBehindError, StreamLostError
from proxy.ledger.gateway_ledger import RedisLedger
from routing.money import Nanos
from tests.support.ledger_world import World, charge, open_world
from tests.support.memory_books import MemoryBooks

SEEDS: Final = 24
STEPS: Final = 150
FAILURES: Final = (ApiError, FencedError, StoreBehindError, StreamLostError)


@dataclass(slots=True)
class Fuse:
    """After so many calls to Postgres one fails, before it did anything or after it did it all."""

    left: int | None = None
    is_after: bool = False

    def burns(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        return self.left == 0


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    fuse = Fuse()
    for name, method in inspect.getmembers(MemoryBooks, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            monkeypatch.setattr(MemoryBooks, name, _fused(fuse, method))
    return fuse


def _fused(fuse: Fuse, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def call(*args: Any, **given: Any) -> Any:
        burns = fuse.burns()
        if burns and not fuse.is_after:
            raise StoreUnavailableError("Postgres is away")
        found = await method(*args, **given)
        if burns:
            raise StoreUnavailableError("Postgres is away")
        return found

    return call


@dataclass(slots=True, eq=False)
class Gateway:
    ledger: RedisLedger
    scope: AbstractAsyncContextManager[RedisLedger]
    directory: Path
    holds: list[Hold] = field(default_factory=list)

    @property
    def incarnation(self) -> str:
        return self.ledger._attendant._incarnation


@dataclass(slots=True)
class Recorded:
    account_id: UUID
    nanos: int
    directory: Path  # of the journal that has it


class Walk:
    def __init__(self, world: World, fuse: Fuse, seed: int) -> None:
        self.world = world
        self.fuse = fuse
        self.random = random.Random(seed)
        self.keys = [world.account() for _ in range(3)]
        self.gateways: list[Gateway] = []
        self.directories = 0
        self.left: list[Path] = []  # by gateways that died
        self.destroyed: set[Path] = set()
        self.recorded: dict[UUID, Recorded] = {}
        self.dump: dict[Any, Any] | None = None
        self.done: list[str] = []

    # What is done

    async def start_gateway(self) -> None:
        if len(self.gateways) == 3:
            return
        if not self.left or self.random.random() < 0.5:
            self.left.append(self.world.data_dir / f"g{self.directories}")
            self.directories += 1
        await self._start(self.left[-1])  # a new one, or again where one died

    async def _start(self, directory: Path) -> None:
        scope = self.world.gateway(data_dir=directory)
        ledger = await scope.__aenter__()
        await ledger._attendant._tasks.cancel()  # it attends when it is told to
        self.left.remove(directory)
        self.gateways.append(Gateway(ledger, scope, directory))

    async def kill_gateway(self) -> None:
        if not self.gateways:
            return
        gateway = self.gateways.pop(self.random.randrange(len(self.gateways)))
        ledger = gateway.ledger
        ledger._pump._is_closed = True  # nothing leaves it any more

        async def stop(*_: object) -> None:
            """It does not say that it goes."""

        ledger._attendant._shards = _Silent()  # type: ignore[assignment]
        ledger._attendant._post_stranded = stop  # type: ignore[method-assign]
        await gateway.scope.__aexit__(None, None, None)
        self.left.append(gateway.directory)
        if self.random.random() < 0.3:
            self.left.remove(gateway.directory)
            self.destroyed.add(gateway.directory)
            shutil.rmtree(gateway.directory)

    async def stop_waiting(self) -> None:
        """As ten seconds after it was seen last; it may come back."""
        if self.world.books.live:
            self.world.books.live.discard(self.random.choice(sorted(self.world.books.live)))

    async def reserve(self) -> None:
        if gateway := self._any_gateway():
            key = self.random.choice(self.keys)
            amount = Nanos(self.random.randint(0, 500))
            reserved = await gateway.ledger.reserve(key, self.world.id(), amount, 0)
            if reserved.hold is not None:
                gateway.holds.append(reserved.hold)

    async def extend(self) -> None:
        gateway = self._any_gateway()
        if gateway and gateway.holds:
            hold = self.random.choice(gateway.holds)
            await gateway.ledger.extend(hold, Nanos(hold.amount_nanos + 7))

    async def record(self) -> None:
        gateway = self._any_gateway()
        if gateway and gateway.holds:
            holds = gateway.holds
            hold = holds.pop(self.random.randrange(len(holds)))
            nanos = self.random.randint(0, 600)
            found = Recorded(hold.account_id, nanos, gateway.directory)
            self.recorded[hold.request_id] = found
            await gateway.ledger.record(hold, charge(hold, nanos))

    async def renew(self) -> None:
        if gateway := self._any_gateway():
            await gateway.ledger._keeper.renew_once()

    async def attend(self) -> None:
        if gateway := self._any_gateway():
            await gateway.ledger.attend_once()

    async def prune(self) -> None:
        if gateway := self._any_gateway():
            await gateway.ledger.prune_once(self.world.books)

    async def tend(self) -> None:
        if self.random.random() < 0.3:
            self.world.books.owner = None  # its lease ended
            self.world.worker._recovery._drained.clear()  # another worker takes it up
        await self.world.worker.tend_shards_once()

    async def heal(self) -> None:
        """A calm moment, in which all who live do their part."""
        self._bury()
        for _ in range(6):
            for gateway in self.gateways:
                await gateway.ledger.attend_once()
            reports = await self.world.worker.tend_shards_once()
            if all(report.is_open for report in reports):
                break

    async def flush(self) -> None:
        await self.world.worker.flusher(0).flush_once()

    async def sweep(self) -> None:
        await self.world.worker.sweep_once(0, 5)

    async def suspect(self) -> None:
        await self.world.worker.suspect(0, Suspicion.OPERATOR)

    async def deliver(self) -> None:
        """Late debits, in the order of their account's sequence."""
        for key in self.keys:
            state = await self.world.worker.wallets.snapshot(key.account_id, 0)
            late = [nanos for id_, nanos in self.world.books.late if id_ == key.account_id]
            for sequence in range(state.sequence + 1 if state else 2, len(late) + 2):
                amount = Nanos(-late[sequence - 2])
                await self.world.worker.wallets.apply(key.account_id, 0, sequence, amount)

    async def lose_store(self) -> None:
        self.world.client.flushdb()
        self.world.proxy.cut()

    async def keep_dump(self) -> None:
        self.dump = {name: self.world.client.dump(name) for name in self.world.client.keys("al:*")}

    async def restore_dump(self) -> None:
        """Connections break at once: the server was started again."""
        if self.dump is None:
            return
        pipeline = self.world.client.pipeline()
        pipeline.flushdb()
        for name, dumped in self.dump.items():
            pipeline.restore(name, 0, dumped)
        self.world.proxy.cut()
        pipeline.execute()

    async def cut(self) -> None:
        self.world.proxy.cut()

    async def pause(self) -> None:
        await asyncio.sleep(self.random.choice((0, 0.002, 0.02)))

    def _bury(self) -> None:
        """Who died is not waited for any more."""
        living = {gateway.incarnation for gateway in self.gateways}
        self.world.books.live.intersection_update(living)

    def _any_gateway(self) -> Gateway | None:
        return self.random.choice(self.gateways) if self.gateways else None

    # The walk

    async def go(self) -> None:
        weighted: dict[Callable[[], Awaitable[None]], int] = {
            self.reserve: 24,
            self.record: 18,
            self.extend: 2,
            self.renew: 2,
            self.attend: 8,
            self.tend: 10,
            self.heal: 8,
            self.flush: 6,
            self.deliver: 2,
            self.sweep: 2,
            self.prune: 2,
            self.pause: 8,
            self.cut: 2,
            self.suspect: 2,
            self.lose_store: 2,
            self.keep_dump: 3,
            self.restore_dump: 2,
            self.start_gateway: 3,
            self.kill_gateway: 1,
            self.stop_waiting: 2,
        }
        for _ in range(2):
            await self.start_gateway()
        steps = self.random.choices(list(weighted), list(weighted.values()), k=STEPS)
        for step in steps:
            self.done.append(step.__name__)
            if self.random.random() < 0.15:
                self.fuse.left = self.random.randint(1, 8)
                self.fuse.is_after = self.random.random() < 0.5
            try:
                async with asyncio.timeout(10):
                    await step()
            except FAILURES as error:
                self.done.append(f"  {type(error).__name__}")
            self.fuse.left = None

    async def settle_down(self) -> None:
        """Everybody is well again, all that was left is started again, all requests have ended."""
        self.fuse.left = None
        for directory in list(self.left):
            await self._start(directory)
        self._bury()
        for gateway in self.gateways:
            while gateway.holds:
                hold = gateway.holds.pop()
                self.recorded[hold.request_id] = Recorded(hold.account_id, 3, gateway.directory)
                await gateway.ledger.record(hold, charge(hold, 3))
        await self._until_calm()
        await self.check()
        # Once more, undisturbed: no hold of who died is left, and every journal was read.
        generation = self.world.books.generation
        await self.suspect()
        while self.world.books.generation == generation:
            await self._until_calm()

    async def _until_calm(self) -> None:
        async with asyncio.timeout(20):
            while not await self._is_calm():  # noqa: ASYNC110 - each look is a turn of everybody's work
                await asyncio.sleep(0.005)

    async def _is_calm(self) -> bool:
        for gateway in self.gateways:
            if not await self._do(gateway.ledger.attend_once):
                return False
        # First all is settled, then flushed.
        is_well = not any(g.ledger.backlog or g.ledger.lost_shards for g in self.gateways)
        for step in (self.tend_well, self.flush_all, self.deliver):
            is_well = await self._do(step) and is_well
        shard = self.world.books.shard
        return is_well and shard.state is ShardState.OPEN and shard.suspicion is None

    async def tend_well(self) -> None:
        self.world.books.owner = None
        await self.world.worker.tend_shards_once()

    async def flush_all(self) -> None:
        while await self.world.worker.flusher(0).flush_once():
            pass

    async def _do(self, step: Callable[[], Awaitable[object]]) -> bool:
        try:
            await step()
        except FAILURES:
            return False
        return True

    # What must be so

    async def check(self) -> int:
        """Raises AssertionError. Returns what is held, in nanos."""
        rows = self.world.books.rows
        for request_id, recorded in self.recorded.items():
            row = rows.get(request_id)
            if recorded.directory not in self.destroyed:
                assert row is not None, f"{request_id} was recorded and is not charged"
            assert row is None or row.charged_nanos == recorded.nanos
        assert rows.keys() <= self.recorded.keys()
        held = 0
        for key in self.keys:
            state = await self.world.worker.wallets.snapshot(key.account_id, 0)
            if state is not None:
                assert state.balance_nanos == self.world.books.balance(key.account_id)
                held += state.held_nanos
        return held

    async def end(self) -> None:
        for gateway in self.gateways:
            await gateway.scope.__aexit__(None, None, None)


class _Silent:
    async def leave(self, _: object) -> None:
        """It does not say that it goes."""


@asynccontextmanager
async def walk_of(url: str, fuse: Fuse, seed: int) -> AsyncIterator[Walk]:
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory:
        async with open_world(url, Path(directory)) as world:
            walk = Walk(world, fuse, seed)
            try:
                yield walk
            finally:
                await walk.end()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_befalls_a_shard(redis_server: Server, fuse: Fuse, seed: int) -> None:
    async with walk_of(redis_server.url, fuse, seed) as walk:
        try:
            await walk.go()
            await walk.settle_down()
            assert await walk.check() == 0
        except BaseException as error:
            error.add_note("\n".join(walk.done))
            raise
