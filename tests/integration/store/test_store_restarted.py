"""Postgres is restarted while its answers lie unread: that is "away", and no mistake of ours."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from proxy.dev.servers import Server, open_postgres
from proxy.domain.errors import StoreUnavailableError
from proxy.store.database import Database, open_database
from tests.conftest import POSTGRES_FOR_TESTS

ASKING = 24
CONNECTIONS = 10


async def ask_until_away(database: Database) -> None:
    while True:
        await database.fetchrow("SELECT 1")


def stop_while_nobody_reads(server: Server) -> None:
    """Blocks the loop on purpose: an answer and the server's farewell are then read as one."""
    server.signal(signal.SIGINT)
    limit = time.monotonic() + 20
    while not server.has_exited:
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("after_ms", [2, 10, 20, 30])
async def test_whoever_asks_is_told_that_it_is_away(short_dir: Path, after_ms: int) -> None:
    directory = short_dir / "restarted-postgres"
    async with (
        open_postgres(directory, settings=POSTGRES_FOR_TESTS) as server,
        open_database(server.url, connections_max=CONNECTIONS, timeout_seconds=3) as database,
        asyncio.TaskGroup() as group,
    ):
        asking = [group.create_task(_ended(database)) for _ in range(ASKING)]
        await asyncio.sleep(after_ms / 1000)
        stop_while_nobody_reads(server)
        errors = await asyncio.gather(*asking)
    assert {type(error) for error in errors} == {StoreUnavailableError}


async def _ended(database: Database) -> Exception:
    try:
        await ask_until_away(database)
    except Exception as error:  # noqa: BLE001 - which one is the question
        return error
    raise AssertionError("it never went away")
