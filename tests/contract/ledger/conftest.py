import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.dev.servers import Server
from tests.support.ledger_bench import LedgerBench
from tests.support.ledger_world import World, open_world


@pytest.fixture
def bench(any_redis: Server) -> Iterator[LedgerBench]:
    """One open shard whose clock stands still until a test moves it."""
    bench = LedgerBench.open(any_redis.url)
    yield bench
    bench.client.flushall()
    bench.client.close()


@pytest.fixture
async def world(any_redis: Server) -> AsyncIterator[World]:
    """The ledger's own clients, on the library as production loads it."""
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory:
        async with open_world(any_redis.url, Path(directory)) as world:
            yield world
