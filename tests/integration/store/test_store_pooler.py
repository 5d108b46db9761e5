"""Everything that asks Postgres, through a real pooler in transaction mode with two servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from proxy.dev.servers import Server
from proxy.domain.clock import SystemClock
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.ids import mint_uuid7
from proxy.store.books import MovementKind
from proxy.store.migrate import load_migrations, migrate
from proxy.store.movements import Movement
from proxy.store.pool import Store, open_store
from routing.money import Nanos
from tests.support.charges import make_charge
from tests.support.databases import cloned
from tests.support.pooler import PgBouncer, run_pgbouncer
from tests.support.processes import paused

ACCOUNTS = 4
TURNS = 10


@pytest.fixture(scope="module")
def pooler(any_postgres: Server) -> Iterator[PgBouncer]:
    with run_pgbouncer(any_postgres.url) as running:
        yield running


@pytest.fixture
def empty(any_postgres: Server, pooler: PgBouncer) -> Iterator[str]:
    with cloned(any_postgres.url, "template1") as dsn:
        yield pooler.of(dsn)


@pytest_asyncio.fixture
async def pooled(empty: str) -> AsyncIterator[Store]:
    await migrate(empty)
    async with open_store(empty, timeout_seconds=5) as store:
        await store.deployment.check(shards=1)
        yield store


async def make_accounts(store: Store) -> list[UUID]:
    made = [mint_uuid7(SystemClock()) for _ in range(ACCOUNTS)]
    for account_id in made:
        email = f"{account_id}@example.com"
        assert await store.accounts.create(account_id=account_id, email=email, shard=0)
    return made


async def test_it_breaks_what_keeps_statements(empty: str) -> None:
    """Else the tests below would show nothing."""
    connections = [await asyncpg.connect(empty) for _ in range(4)]

    async def ask() -> None:
        while True:
            await asyncio.gather(*(connection.fetchval("SELECT 1") for connection in connections))

    try:
        with pytest.raises(
            (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
        ):
            await asyncio.wait_for(ask(), 20)
    finally:
        for connection in connections:
            connection.terminate()


async def test_migrators_at_the_same_time_apply_each_once(empty: str) -> None:
    names = [migration.name for migration in load_migrations()]
    applied = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(name for some in applied for name in some) == names


async def test_rows_money_and_books_agree(pooled: Store) -> None:
    accounts = await make_accounts(pooled)

    async def flush() -> None:
        for turn in range(TURNS):
            cursor = await pooled.flushes.acquire(0, "flusher", 60)
            assert cursor is not None
            charges = [make_charge(account_id, 1) for account_id in accounts]
            entries = [(f"{turn + 1}-{n}", charge) for n, charge in enumerate(charges)]
            assert await pooled.flushes.write(0, "flusher", cursor, entries) == ACCOUNTS

    async def move(account_id: UUID) -> None:
        for turn in range(TURNS):
            movement = Movement(account_id, MovementKind.TOP_UP, Nanos(100), f"r{turn}", "eve", "")
            assert (await pooled.movements.post(movement)).sequence == turn + 1
            await pooled.movements.unacknowledged(10)
            await pooled.movements.acknowledge(account_id, turn + 1)

    async def read(account_id: UUID) -> None:
        for _ in range(TURNS):
            assert account_id in await pooled.directory.load_wallets([account_id])
            assert await pooled.directory.find_key("absent") is None
            await pooled.usage.list_usage(account_id)
            assert [p.account_id async for p in pooled.audit.positions()] == sorted(accounts)
            await pooled.partitions.ensure_once(now_ms=SystemClock().unix_ms())

    async with asyncio.TaskGroup() as group:
        group.create_task(flush())
        for account_id in accounts:
            group.create_task(move(account_id))
            group.create_task(read(account_id))
    for account_id in accounts:
        state = (await pooled.directory.load_wallets([account_id]))[account_id]
        assert (state.balance_nanos, state.sequence) == (TURNS * 99, TURNS)
        assert len(await pooled.usage.list_usage(account_id)) == TURNS
    assert await pooled.audit.book_differences() == []
    assert (await pooled.audit.check_chains()).broken == ()
    last_month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).replace(day=1).date()
    assert (await pooled.closes.close(last_month, "eve")).is_new


async def test_nothing_of_a_transaction_s_settings_stays(pooled: Store) -> None:
    """What a session keeps, its next user behind the pooler would get. Both servers are asked."""
    (account_id, *_) = await make_accounts(pooled)
    movement = Movement(account_id, MovementKind.TOP_UP, Nanos(100), "r", "eve", "")
    await pooled.movements.post(movement)
    await pooled.partitions.ensure_once(now_ms=SystemClock().unix_ms(), months_ahead=5)
    query = """
        SELECT
            (SELECT json_agg(name) FROM pg_settings WHERE source = 'session') AS changed,
            (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS statements,
            (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks
    """
    for _ in range(4):
        row = await pooled.database.fetchrow(query)
        assert row is not None
        changed = set(json.loads(row["changed"] or "[]"))
        assert changed <= {"application_name", "client_encoding"}  # the pooler's own doing
        assert (row["statements"], row["locks"]) == (0, 0)


@pytest.mark.parametrize("stands_still", [False, True])
async def test_a_pooler_that_is_gone_is_a_postgres_that_is_away(
    pooled: Store, pooler: PgBouncer, *, stands_still: bool
) -> None:
    await pooled.ping()
    try:
        if stands_still:
            with paused(pooler):
                await is_away(lambda: pooled.directory.find_key("any"))
                pooler.kill()
        else:
            pooler.kill()
            await is_away(pooled.ping)
    finally:
        pooler.start()
    async with asyncio.timeout(15):
        while True:
            try:
                await pooled.ping()
            except StoreUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


async def is_away(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(StoreUnavailableError):
        await call()
