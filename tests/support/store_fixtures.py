"""Fixtures for tests on Postgres: a migrated database of one's own, and the store on it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import UUID

import pytest
import pytest_asyncio

from proxy.dev.servers import Server
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_uuid7
from proxy.store.pool import Store, open_store
from proxy.store.shards import shard_of
from tests.support.databases import cloned, empty, make_template

SHARDS = 2
MakeAccount = Callable[[], Awaitable[UUID]]


@pytest.fixture(scope="session")
def template(postgres_server: Server) -> str:
    return make_template(postgres_server.url)


@pytest.fixture(scope="session")
def reused_database(postgres_server: Server, template: str) -> Iterator[str]:
    with cloned(postgres_server.url, template) as dsn:
        yield dsn


@pytest.fixture
def database(reused_database: str) -> Iterator[str]:
    """The DSN of a database as its migrations leave it."""
    yield reused_database
    empty(reused_database)


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """With two shards."""
    async with open_store(database) as opened:
        await opened.deployment.check(shards=SHARDS)
        yield opened


@pytest.fixture
def make_account(store: Store) -> MakeAccount:
    """Accounts of shard 0, so that a test knows where its charges go."""

    async def make() -> UUID:
        clock = SystemClock()
        account_id = next(
            found for found in iter(lambda: mint_uuid7(clock), None) if shard_of(found, SHARDS) == 0
        )
        made = await store.accounts.create(
            account_id=account_id, email=f"{account_id}@example.com", shard=0
        )
        assert made
        return account_id

    return make
