from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import redis

from proxy.dev.servers import Server
from proxy.store.pool import Store
from tests.support.money_world import MoneyWorld, open_money_world
from tests.support.store_fixtures import database, make_account, reused_database, store, template

__all__ = ["database", "make_account", "reused_database", "store", "template"]


@pytest_asyncio.fixture
async def world(store: Store, redis_server: Server, tmp_path: Path) -> AsyncIterator[MoneyWorld]:
    """Everything real: Postgres, Redis, a gateway's ledger and a worker's."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    async with open_money_world(store, redis_server.url, tmp_path) as opened:
        yield opened
