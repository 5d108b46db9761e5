from collections.abc import Iterator

import pytest

from proxy.dev.servers import Server
from tests.support.ledger_bench import LedgerBench


@pytest.fixture
def bench(any_redis: Server) -> Iterator[LedgerBench]:
    """One open shard whose clock stands still until a test moves it."""
    bench = LedgerBench.open(any_redis.url)
    yield bench
    bench.client.flushall()
    bench.client.close()
