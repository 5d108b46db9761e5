import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from proxy.dev.servers import Server
from proxy.domain.clock import ms_of
from proxy.store.migrate import Migration, MigrationError, load_migrations, migrate
from proxy.store.pool import open_store
from tests.support.charges import make_charge, make_orphan
from tests.support.databases import cloned, execute

NAMES = [migration.name for migration in load_migrations()]


@pytest.fixture
def empty(any_postgres: Server) -> Iterator[str]:
    with cloned(any_postgres.url, "template1") as dsn:
        yield dsn


async def _fetch(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def test_an_empty_database_gets_everything_and_then_nothing(empty: str) -> None:
    assert await migrate(empty) == NAMES
    assert await migrate(empty) == []
    extensions = await _fetch(empty, "SELECT extname FROM pg_extension")
    assert [row["extname"] for row in extensions] == ["plpgsql"]


async def test_migrators_at_the_same_time_apply_each_once(empty: str) -> None:
    applied = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(name for names in applied for name in names) == NAMES


async def test_a_migration_that_has_changed_is_refused(empty: str) -> None:
    first = Migration("0001_first", "CREATE TABLE schema_migrations (name text, checksum bytea)")
    bad = "relation .usage. does not exist|ensure_usage_partition"
    with pytest.raises(asyncpg.PostgresError, match=bad):  # the partitions of no table
        await migrate(empty, (first,))
    with pytest.raises(MigrationError, match="0001_first was applied and has changed"):
        await migrate(empty, (Migration("0001_first", first.sql + " -- changed"),))


async def test_a_database_of_a_newer_program_is_refused(empty: str) -> None:
    await migrate(empty)
    with pytest.raises(MigrationError, match="unknown here"):
        await migrate(empty, load_migrations()[:-1])


async def test_a_migration_before_an_applied_one_is_refused(empty: str) -> None:
    await migrate(empty)
    with pytest.raises(MigrationError, match="0001_a_late_one comes before"):
        await migrate(empty, (*load_migrations(), Migration("0001_a_late_one", "SELECT 1")))


async def test_a_failing_migration_leaves_nothing_of_itself(empty: str) -> None:
    broken = Migration("9999_broken", "CREATE TABLE half (); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty, (*load_migrations(), broken))
    assert await _fetch(empty, "SELECT 1 FROM pg_class WHERE relname = 'half'") == []
    assert await migrate(empty) == []


async def test_partitions_meet_at_the_month_s_first_millisecond(empty: str) -> None:
    await migrate(empty)
    async with open_store(empty) as store:
        await store.partitions.ensure_once(now_ms=ms_of(datetime(2031, 2, 10, tzinfo=UTC)))
        assert (
            await store.partitions.ensure_once(now_ms=ms_of(datetime(2031, 3, 1, tzinfo=UTC))) == 1
        )
    bounds = await _fetch(
        empty,
        """
        SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class
        WHERE relispartition AND relkind = 'r' AND relname IN ('usage_2031_02', 'usage_2031_03')
        ORDER BY relname
        """,
    )
    march = f"{ms_of(datetime(2031, 3, 1, tzinfo=UTC)):012x}"
    edge = f"'{march[:8]}-{march[8:]}-0000-0000-000000000000'"
    assert bounds[0]["bound"].endswith(f"TO ({edge})")
    assert f"FROM ({edge})" in bounds[1]["bound"]


async def test_a_partition_is_made_beside_an_open_transaction_that_writes(empty: str) -> None:
    await migrate(empty)
    connection = await asyncpg.connect(empty)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE usage IN ROW EXCLUSIVE MODE")  # as an insert does
            async with open_store(empty) as store:
                now_ms = ms_of(datetime(2040, 1, 1, tzinfo=UTC))
                assert await store.partitions.ensure_once(now_ms=now_ms, months_ahead=0) == 2
    finally:
        await connection.close()


async def test_an_owner_without_superuser_can_do_all_but_rewrite_the_books(
    any_postgres: Server,
) -> None:
    """As on a managed Postgres: the program's role owns its tables and is nothing more."""
    with cloned(any_postgres.url, "template1") as dsn:
        role = urlsplit(dsn).path[1:].replace("test_", "role_")
        execute(dsn, f"CREATE ROLE {role} LOGIN", f"GRANT ALL ON SCHEMA public TO {role}")
        try:
            await _use_as_owner(_as(dsn, role))
        finally:
            execute(dsn, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def _as(dsn: str, role: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{role}@"))


async def _use_as_owner(dsn: str) -> None:
    assert await migrate(dsn) == NAMES
    async with open_store(dsn) as store:
        await store.deployment.check(shards=1)
        account_id = make_charge(None).request_id  # type: ignore[arg-type]  # any id
        await store.accounts.create(account_id=account_id, email="a@example.com", shard=0)
        cursor = await store.flushes.acquire(0, "flusher", 60)
        assert cursor is not None
        orphan = make_orphan(account_id)
        charges = [make_charge(account_id), orphan]
        entries = [(f"1-{n}", charge) for n, charge in enumerate(charges, 1)]
        assert await store.flushes.write(0, "flusher", cursor, entries) == 2
        last_month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).replace(day=1).date()
        assert (await store.closes.close(last_month, "eve")).is_new
    closes = ("closes", "closed_accounts", "closed_codes", "closed_chains")
    for table in ("ledger_entries", "ledger_batches", "movements", "price_revisions", *closes):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=table):
            await _fetch(dsn, f"DELETE FROM {table}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _fetch(dsn, "UPDATE ledger_entries SET amount_nanos = 1")
