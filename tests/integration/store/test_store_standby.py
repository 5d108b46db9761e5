"""A Postgres that may not be written to, or not yet: away, and nobody's entry is at fault."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.dev.servers import Server, open_postgres
from proxy.domain.clock import SystemClock
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.ids import mint_uuid7
from proxy.store.books import MovementKind
from proxy.store.migrate import migrate
from proxy.store.movements import Movement
from proxy.store.pool import Store, open_store
from routing.money import Nanos
from tests.conftest import POSTGRES_FOR_TESTS
from tests.support.charges import make_charge


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Store]:
    async with (
        open_postgres(directory, settings=POSTGRES_FOR_TESTS) as server,
        open_store(server.url) as store,
    ):
        yield store


async def is_away(call: Awaitable[object], sqlstate: str) -> bool:
    with pytest.raises(StoreUnavailableError) as raised:
        await call
    cause: Any = raised.value.__cause__
    assert cause.sqlstate == sqlstate
    return True


async def test_a_standby_reads_and_writes_nothing(short_dir: Path) -> None:
    directory = short_dir / "standby-postgres"
    account_id = mint_uuid7(SystemClock())
    async with open_postgres(directory, settings=POSTGRES_FOR_TESTS) as server:
        await migrate(server.url)
        async with open_store(server.url) as store:
            await store.deployment.check(shards=1)
            await store.accounts.create(account_id=account_id, email="a@example.com", shard=0)
            cursor = await store.flushes.acquire(0, "flusher", 60)
    assert cursor is not None
    entries = [("7-0", make_charge(account_id))]
    movement = Movement(account_id, MovementKind.TOP_UP, Nanos(1_000), "r1", "eve", "")
    (directory / "data" / "standby.signal").touch()
    async with opened(directory) as store:
        assert await store.database.fetchval("SELECT pg_is_in_recovery()")
        assert account_id in await store.directory.load_wallets([account_id])
        for write in (
            store.flushes.acquire(0, "flusher", 60),
            store.flushes.write(0, "flusher", cursor, entries),
            store.movements.post(movement),
            store.movements.unacknowledged(10),
            store.accounts.create(account_id=account_id, email="b@example.com", shard=0),
            store.deployment.check(shards=1),
            store.partitions.ensure_once(now_ms=SystemClock().unix_ms(), months_ahead=9),
        ):
            assert await is_away(write, "25006")
    (directory / "data" / "standby.signal").unlink()
    async with opened(directory) as store:  # promoted
        assert await store.flushes.write(0, "flusher", cursor, entries) == 1
        assert (await store.movements.post(movement)).sequence == 1
        assert await store.audit.count_quarantine() == 0
        assert await store.audit.book_differences() == []


async def test_a_server_that_takes_nobody_in_is_away(short_dir: Path) -> None:
    """As it says of itself while it starts, recovers or shuts down."""
    async with open_postgres(short_dir / "ending-postgres", settings=POSTGRES_FOR_TESTS) as server:
        last = await asyncpg.connect(server.url)
        try:
            async with open_store(server.url, connections_max=2) as store:
                await store.ping()
                server.signal(signal.SIGTERM)  # it waits for those who are in
                await _closed_to_others(server)
                one = store.database.fetchval("SELECT pg_sleep(0.2)")
                assert await asyncio.gather(one, is_away(store.ping(), "57P03")) == [None, True]
            assert await last.fetchval("SELECT 7") == 7
        finally:
            await last.close()


async def _closed_to_others(server: Server) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                connection = await asyncpg.connect(server.url)
            except asyncpg.CannotConnectNowError:
                return
            await connection.close()
