"""Postgres that stands still: connections are taken and nothing is answered."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.dev.servers import Server, open_postgres
from proxy.domain.errors import StoreUnavailableError
from proxy.store.database import Database, Executor, open_database
from proxy.store.silence import Silence, SilentError
from tests.conftest import POSTGRES_FOR_TESTS
from tests.support.processes import paused

SECONDS = 2
# A statement that is given up may be cancelled at the server; then its connection is dropped.
GIVEN_UP_SECONDS = SECONDS + 1
AT_ONCE_SECONDS = 0.5


@pytest_asyncio.fixture
async def server(short_dir: Path) -> AsyncIterator[Server]:
    async with open_postgres(short_dir / "silent-postgres", settings=POSTGRES_FOR_TESTS) as opened:
        yield opened


@pytest_asyncio.fixture
async def database(server: Server) -> AsyncIterator[Database]:
    async with open_database(server.url, connections_max=4, timeout_seconds=SECONDS) as opened:
        yield opened


async def refused_seconds(call: Awaitable[object]) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        await call
    return time.monotonic() - began


async def back(database: Database) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                assert await database.fetchval("SELECT 7") == 7
            except StoreUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_the_first_waits_for_a_moment_and_the_next_not_at_all(
    server: Server, database: Database
) -> None:
    await database.fetchval("SELECT 1")
    with paused(server):
        first = [refused_seconds(database.fetchval("SELECT 1")) for _ in range(12)]
        waited = await asyncio.gather(*first)
        assert max(waited) < GIVEN_UP_SECONDS
        # One of them in a second asks for all whether it is back.
        later = [await refused_seconds(database.fetchrow("SELECT 1")) for _ in range(50)]
        assert sorted(later)[-2] < AT_ONCE_SECONDS
        assert sum(later) < GIVEN_UP_SECONDS
    await back(database)
    answers = await asyncio.gather(*(database.fetchval("SELECT 7") for _ in range(12)))
    assert answers == [7] * 12


async def test_a_transaction_ends_too(server: Server, database: Database) -> None:
    async def work(executor: Executor) -> None:
        with paused(server):
            await executor.fetchval("SELECT 1")

    assert await refused_seconds(database.transact(work)) < 2 * GIVEN_UP_SECONDS
    await back(database)


async def test_a_slow_statement_is_no_silence_for_the_others(database: Database) -> None:
    """It is given up, and the server said to end it; whoever comes next is answered."""
    assert await refused_seconds(database.fetchval("SELECT pg_sleep(60)")) < GIVEN_UP_SECONDS
    assert await database.fetchval("SELECT 7") == 7
    query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
    assert await database.fetchval(query) == 1


async def test_busy_connections_are_no_silence(database: Database) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(database.fetchval("SELECT pg_sleep(1.5)"))
        await asyncio.sleep(0)
        hurried = database.within(1)
        assert await refused_seconds(hurried.fetchval("SELECT 1")) < GIVEN_UP_SECONDS
        assert await database.fetchval("SELECT 7") == 7


async def test_one_in_a_second_asks_for_all() -> None:
    now = 0
    silence = Silence(lambda: now, probe_ms=1_000)

    async def times_out(*, is_probe: bool) -> None:
        async with silence.passing() as asks_first:
            assert asks_first is is_probe
            if is_probe:
                await turned_away()
            raise TimeoutError

    async def fail(*, is_probe: bool) -> None:
        with pytest.raises(TimeoutError):
            await times_out(is_probe=is_probe)

    async def turned_away() -> None:
        with pytest.raises(SilentError):
            await silence.passing().__aenter__()

    await fail(is_probe=False)
    await fail(is_probe=True)
    now = 999
    await turned_away()
    now = 1_000
    await fail(is_probe=True)
    now = 1_999
    await turned_away()
    now = 2_000
    async with silence.passing() as asks_first:
        assert asks_first
        waiting = asyncio.gather(*(_passes(silence) for _ in range(3)))
        await asyncio.sleep(0)
        silence.end()
        assert await waiting == [False] * 3
    assert await _passes(silence) is False


async def _passes(silence: Silence) -> bool:
    async with silence.passing() as asks_first:
        return asks_first
