"""Months end, also of years: every row finds its partition, or somebody is told in time."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from proxy.dev.servers import Server
from proxy.domain.clock import ms_of
from proxy.domain.errors import StoreUnavailableError
from proxy.store.partitions import MONTHS_AHEAD
from proxy.store.pool import Store, open_store
from tests.support.charges import make_charge
from tests.support.databases import cloned

DAY_MS = 86_400_000


@pytest.fixture
def database(postgres_server: Server, template: str) -> Iterator[str]:
    """Of one's own: partitions outlive a test that shares its database."""
    with cloned(postgres_server.url, template) as dsn:
        yield dsn


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with open_store(database) as opened:
        await opened.deployment.check(shards=1)
        yield opened


def at(*when: int) -> int:
    return ms_of(datetime(*when, tzinfo=UTC))  # type: ignore[arg-type,misc]  # year, month, day, …


def id_at(ms: int, last: str) -> UUID:
    """The first (`0`) or the last (`f`) id of a millisecond."""
    return UUID(f"{ms:012x}7{last * 3}{'8' if last == '0' else 'b'}{last * 15}")


async def months(store: Store) -> set[str]:
    rows = await store.database.fetch(
        "SELECT relid::text AS name FROM pg_partition_tree('usage') WHERE isleaf"
    )
    return {row["name"].removeprefix("usage_") for row in rows}


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ((2031, 1, 1), {"2030_11", "2030_12", "2031_01", "2031_02", "2031_03"}),
        ((2031, 3, 1), {"2031_01", "2031_02", "2031_03", "2031_04", "2031_05"}),
        ((2032, 3, 1), {"2032_01", "2032_02", "2032_03", "2032_04", "2032_05"}),
        ((2031, 11, 1), {"2031_09", "2031_10", "2031_11", "2031_12", "2032_01"}),
    ],
)
async def test_at_a_month_s_last_millisecond_and_the_next(
    store: Store, end: tuple[int, ...], expected: set[str]
) -> None:
    before = await months(store)
    last_ms = at(*end) - 1
    assert await store.partitions.ensure_once(now_ms=last_ms) == MONTHS_AHEAD + 2
    assert await months(store) - before == expected
    assert await store.partitions.ensure_once(now_ms=last_ms + 1) == 1
    account_id = UUID(int=1)
    await store.accounts.create(account_id=account_id, email="a@example.com", shard=0)
    cursor = await store.flushes.acquire(0, "flusher", 60)
    assert cursor is not None
    ids = [id_at(last_ms, "0"), id_at(last_ms, "f"), id_at(last_ms + 1, "0")]
    # Clocks differ: months off the edge have partitions as well.
    ids += [id_at(last_ms - 40 * DAY_MS, "0"), id_at(last_ms + 60 * DAY_MS, "f")]
    entries = [(f"{n}-0", make_charge(account_id, 1, request_id=i)) for n, i in enumerate(ids, 1)]
    assert await store.flushes.write(0, "flusher", cursor, entries) == len(ids)
    assert await store.audit.count_quarantine() == 0


async def test_three_months_without_a_worker_are_survived(store: Store) -> None:
    await store.partitions.ensure_once(now_ms=at(2031, 1, 31, 23))
    assert store.partitions.covered_until_ms == at(2031, 5, 1)
    assert {"2031_02", "2031_03", "2031_04"} <= await months(store)
    assert "2031_05" not in await months(store)


async def test_somebody_is_told_a_week_ahead(store: Store, database: str) -> None:
    """Here a table stands in the way that only bears the partition's name."""
    await store.partitions.ensure_once(now_ms=at(2031, 1, 1))
    assert store.partitions.covered_until_ms == at(2031, 5, 1)
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("ALTER TABLE usage DETACH PARTITION usage_2031_03")
    finally:
        await connection.close()
    with capture_logs() as log:
        now_ms = at(2031, 2, 20)
        await store.partitions.ensure_once(now_ms=now_ms)
        assert log == []
        assert store.partitions.seconds_left(now_ms=now_ms) == 9 * 86_400
        now_ms = at(2031, 2, 22)
        await store.partitions.ensure_once(now_ms=now_ms)
    left = int(timedelta(days=7).total_seconds())
    assert log == [{"event": "usage_partitions_end", "log_level": "error", "seconds": left}]
    now_ms = at(2031, 3, 5)
    with capture_logs() as log:
        await store.partitions.ensure_once(now_ms=now_ms)
    assert log[0]["seconds"] == store.partitions.seconds_left(now_ms=now_ms) == 0


async def test_somebody_is_told_where_none_can_be_made(store: Store, database: str) -> None:
    await store.partitions.ensure_once(now_ms=at(2031, 1, 1))
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE usage IN SHARE UPDATE EXCLUSIVE MODE")
            with capture_logs() as log, pytest.raises(StoreUnavailableError):
                await store.partitions.ensure_once(now_ms=at(2031, 4, 29))
    finally:
        await connection.close()
    assert [line["seconds"] for line in log] == [2 * 86_400]
