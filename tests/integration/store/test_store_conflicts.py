"""Postgres takes another transaction's side: ours is tried again, a few times, and posts once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from proxy.domain.errors import StoreUnavailableError
from proxy.domain.outcome import Outcome
from proxy.store.books import MovementKind
from proxy.store.database import Database, Executor
from proxy.store.movements import Movement
from proxy.store.pool import Store, open_store
from routing.money import Nanos
from tests.support.charges import make_charge
from tests.support.store_fixtures import SHARDS, MakeAccount

_BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND $1 = ANY(pg_blocking_pids(pid))
"""


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """Time enough to close the circle before Postgres looks for one, which it does once."""
    async with open_store(f"{database}&deadlock_timeout=1500ms") as opened:
        await opened.deployment.check(shards=SHARDS)
        yield opened


class Intruder:
    """A transaction that takes locks the other way round, and is never the victim."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def run(self, statement: str, *args: object) -> None:
        await self._connection.execute(statement, *args)

    async def has_blocked(self) -> None:
        """Waits until somebody waits for us."""
        pid = self._connection.get_server_pid()
        async with asyncio.timeout(10):
            while not await self._connection.fetchval(_BLOCKED, pid):  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.005)


@asynccontextmanager
async def intruding(dsn: str) -> AsyncIterator[Intruder]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL deadlock_timeout = '60s'")
            yield Intruder(connection)
    finally:
        await connection.close()


async def _deadlocks(store: Store) -> int:
    """Statistics arrive as a backend goes idle: it is asked until they are there."""
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(await store.database.fetchval(query))


async def _balance(store: Store, account_id: UUID) -> int:
    return (await store.directory.load_wallets([account_id]))[account_id].balance_nanos


async def _flush(store: Store, account_id: UUID) -> None:
    cursor = await store.flushes.acquire(0, "flusher", 60)
    assert cursor is not None
    assert await store.flushes.write(0, "flusher", cursor, [("7-0", make_charge(account_id))]) == 1


async def _move(store: Store, account_id: UUID) -> None:
    movement = Movement(account_id, MovementKind.TOP_UP, Nanos(1_000), "r1", "eve", "")
    assert (await store.movements.post(movement)).outcome is Outcome.OK


async def _sweep(store: Store, account_id: UUID) -> None:
    """A statement by itself is a transaction too."""
    await store.database.execute("UPDATE wallets SET balance_nanos = balance_nanos + 5")


_CHAIN = "SELECT 1 FROM ledger_chains FOR UPDATE"
_FIRST = "SELECT 1 FROM wallets ORDER BY ctid LIMIT 1 FOR UPDATE"
_LAST = "SELECT 1 FROM wallets ORDER BY ctid DESC LIMIT 1 FOR UPDATE"


@pytest.mark.parametrize(
    ("post", "first", "then", "nanos"),
    [
        (_flush, _CHAIN, _FIRST, -1_000),
        (_move, _CHAIN, _FIRST, 1_000),
        (_sweep, _LAST, _FIRST, 5),
    ],
)
async def test_the_victim_of_a_deadlock_posts_once(
    store: Store,
    database: str,
    make_account: MakeAccount,
    post: Callable[[Store, UUID], Awaitable[None]],
    first: str,
    then: str,
    nanos: int,
) -> None:
    account_id, _ = await make_account(), await make_account()
    before = await _deadlocks(store)
    async with intruding(database) as intruder, asyncio.TaskGroup() as group:
        await intruder.run(first)
        posting = group.create_task(post(store, account_id))
        await intruder.has_blocked()
        await intruder.run(then)  # the circle is closed: goes on once the other is the victim
        assert not posting.done()
        await intruder.run("ROLLBACK")
    assert await _balance(store, account_id) == nanos
    async with asyncio.timeout(10):
        while await _deadlocks(store) == before:  # noqa: ASYNC110 - statistics arrive by themselves
            await asyncio.sleep(0.01)
    assert (await store.audit.check_chains()).broken == ()


class Turns:
    """Work that meets a change by another in its first turns, however often that is."""

    def __init__(self, database: str, conflicts: int) -> None:
        self.count = 0
        self._database = database
        self._conflicts = conflicts

    async def __call__(self, executor: Executor) -> int:
        self.count += 1
        found = int(await executor.fetchval("SELECT sum(balance_nanos) FROM wallets"))
        if self.count <= self._conflicts:
            connection = await asyncpg.connect(self._database)
            try:
                await connection.execute("UPDATE wallets SET balance_nanos = balance_nanos + 100")
            finally:
                await connection.close()
        await executor.execute("UPDATE wallets SET balance_nanos = balance_nanos + 1")
        return found


async def test_a_serialization_failure_begins_again_with_what_is_there_then(
    store: Store, database: str, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    turns = Turns(database, conflicts=2)
    assert await store.database.transact(turns, isolation="repeatable_read") == 200
    assert turns.count == 3
    assert await _balance(store, account_id) == 201


async def test_whoever_always_loses_is_told_to_come_back(
    store: Store, database: str, make_account: MakeAccount
) -> None:
    """After pauses of random length, each at most double the one before."""
    account_id = await make_account()
    bounds: list[int] = []

    def draw(below: int) -> int:
        bounds.append(below)
        return 0

    impatient = Database(
        store.database._pool, seconds=10, silence=store.database._silence, draw=draw
    )
    turns = Turns(database, conflicts=100)
    with pytest.raises(StoreUnavailableError):
        await impatient.transact(turns, isolation="repeatable_read")
    assert bounds == [10, 20, 40, 80]
    assert turns.count == 5
    assert await _balance(store, account_id) == 500
