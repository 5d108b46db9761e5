"""A gateway's and a worker's ledger on a real server, with the books in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import redis

from proxy.domain.account import ApiKey
from proxy.domain.charge import Charge
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_uuid7
from proxy.domain.outcome import Hold, Outcome
from proxy.ledger.calls import ShardKeys
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.opening import open_ledger, open_worker_ledger
from proxy.ledger.worker_ledger import WorkerLedger
from routing.money import Nanos
from tests.support.ledger_bench import api_key, charge_of
from tests.support.memory_books import MemoryBooks
from tests.support.pausing_proxy import PausingProxy, pausing_proxy

USD = 10**9


@dataclass(slots=True)
class World:
    """The gateway goes through `proxy`; the worker and `client` go straight to the server."""

    url: str
    socket: Path
    data_dir: Path
    proxy: PausingProxy
    client: "redis.Redis"
    worker: WorkerLedger
    books: MemoryBooks
    clock: SystemClock = field(default_factory=SystemClock)

    def gateway(self, **given: Any) -> AbstractAsyncContextManager[RedisLedger]:
        return open_ledger(
            **{
                "redis_url": f"unix://{self.socket}",
                "data_dir": self.data_dir,
                "directory": self.books,
                "shards": self.books,
                "flushes": self.books,
                "clock": self.clock,
                "lease_seconds": 60,
                "timeout_ms": 2_000,
                "unflushed_entries_max": 10**6,
                **given,
            }
        )

    def account(self, nanos: int = USD, **limits: Any) -> ApiKey:
        """A key of a new account, known to Postgres alone."""
        account_id = mint_uuid7(self.clock)
        key = api_key(f"key-{account_id}", account_id=account_id, **limits)
        self.books.add_account(account_id, nanos)
        self.books.keys[key.key_id] = key
        return key

    def id(self) -> UUID:
        return mint_uuid7(self.clock)

    @property
    def keys(self) -> ShardKeys:
        """Names in Redis, of the generation that is now."""
        return ShardKeys(0, self.books.generation)

    async def wallet(self, key: ApiKey) -> tuple[int, int]:
        """(balance, held) as the ledger has it."""
        seen = await self.worker.wallets.snapshot(key.account_id, key.shard)
        assert seen is not None
        return seen.balance_nanos, seen.held_nanos


async def held(ledger: RedisLedger, key: ApiKey, id_: UUID, nanos: int) -> Hold:
    reserved = await ledger.reserve(key, id_, Nanos(nanos), 0)
    assert reserved.outcome is Outcome.OK
    assert reserved.hold is not None
    return reserved.hold


def charge(hold: Hold, nanos: int) -> Charge:
    return replace(charge_of(hold, nanos), incarnation="", number=0)


@asynccontextmanager
async def open_world(url: str, directory: Path) -> AsyncIterator[World]:
    client = redis.Redis.from_url(url, protocol=2)
    client.flushall()
    socket = directory / "proxy.sock"
    books = MemoryBooks()
    async with (
        pausing_proxy(url.removeprefix("unix://"), socket) as proxy,
        open_worker_ledger(
            redis_url=url,
            directory=books,
            shards=books,
            flushes=books,
            clock=SystemClock(),
            restore=nothing_to_restore,
            owner="worker",
            lease_seconds=60,
            timeout_ms=2_000,
            flush_entries_max=100,
        ) as worker,
    ):
        assert [report.is_open for report in await worker.tend_shards_once()] == [True]
        yield World(url, socket, directory, proxy, client, worker, books)
    client.flushall()
    client.close()


async def nothing_to_restore(wallets: object, shard: object) -> None:
    """Postgres is not older than Redis here."""


async def recovered(world: World) -> None:
    """Until gateways and worker have brought the shard back."""
    async with asyncio.timeout(10):
        while not (await world.worker.tend_shards_once())[0].is_open:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)


async def until(condition: Any, *, seconds: int = 5) -> None:
    """Waits for what has no event of its own."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.005)


async def reconnected(world: World, ledger: RedisLedger) -> None:
    link = ledger._fenced._link
    before = link._connection
    world.proxy.cut()
    await until(lambda: link.is_up and link._connection is not before)
