"""`sql/`: every statement is valid and used, and the schema is what its migrations make."""

import re
from collections.abc import Iterator
from dataclasses import asdict, fields

import asyncpg
import pytest

from proxy.dev.servers import Server
from proxy.store.migrate import Migration, load_migrations, migrate
from proxy.store.queries import SQL_DIR, Queries, load_queries
from tests.support.databases import cloned, execute
from tests.support.sources import Source

# What a schema is, as rows that two databases can be compared by. Partitions are left out: which
# there are depends on the date.
CATALOG = {
    "tables": """
        SELECT relname, relkind, reloptions, relpersistence, relrowsecurity, relacl::text,
            pg_get_partkeydef(oid), obj_description(oid, 'pg_class')
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND NOT relispartition
            AND relkind IN ('r', 'p', 'S', 'v', 'm')
            AND relname NOT LIKE 'usage_2___\\___'
    """,
    "columns": """
        SELECT attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod),
            attnotnull, attidentity, attgenerated, attacl::text,
            pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
        FROM pg_attribute
        INNER JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND NOT relispartition
            AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint INNER JOIN pg_class ON pg_class.oid = conrelid
        WHERE connamespace = 'public'::regnamespace AND NOT relispartition
            AND conname NOT LIKE '%\\_usage\\_2%'
    """,
    "indexes": """
        SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid)
        FROM pg_index INNER JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace AND NOT relispartition
    """,
    "triggers": """
        SELECT tgrelid::regclass::text, pg_get_triggerdef(oid), tgenabled
        FROM pg_trigger WHERE NOT tgisinternal
    """,
    "functions": """
        SELECT proname, pg_get_functiondef(oid), obj_description(oid, 'pg_proc')
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """,
    "types": """
        SELECT typname, typtype FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
    """,
    "chart of accounts": "SELECT code, kind, purpose FROM book_accounts",
}


@pytest.fixture(scope="module")
def two_schemas(postgres_server: Server) -> Iterator[tuple[str, str]]:
    """A database from the migrations, and one from the schema."""
    with (
        cloned(postgres_server.url, "template1") as migrated,
        cloned(postgres_server.url, "template1") as described,
    ):
        execute(described, (SQL_DIR / "schema.sql").read_text())
        yield migrated, described


@pytest.mark.parametrize("part", CATALOG)
async def test_the_schema_is_what_all_migrations_make(
    two_schemas: tuple[str, str], part: str
) -> None:
    migrated, described = two_schemas
    await migrate(migrated)
    rows = [await _rows(dsn, CATALOG[part]) for dsn in (migrated, described)]
    assert rows[0] == rows[1]
    assert rows[0] or part == "types"


async def _rows(dsn: str, query: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return sorted(repr(tuple(row)) for row in await connection.fetch(query))
    finally:
        await connection.close()


async def test_every_statement_prepares_on_the_migrated_schema(any_postgres: Server) -> None:
    with cloned(any_postgres.url, "template1") as dsn:
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        try:
            for name, statement in asdict(load_queries()).items():
                try:
                    await connection.prepare(statement)
                except asyncpg.PostgresError as error:
                    pytest.fail(f"{name}: {error}")
        finally:
            await connection.close()


@pytest.mark.parametrize("migration", load_migrations(), ids=lambda migration: migration.name)
def test_a_migration_waits_for_nobody_for_long(migration: Migration) -> None:
    head = migration.sql.splitlines()[:2]
    assert re.fullmatch(r"SET LOCAL lock_timeout = '\d+s';", head[0])
    assert re.fullmatch(r"SET LOCAL statement_timeout = '\d+s';", head[1])


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [int(migration.name[:4]) for migration in load_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_statement_is_used(sources: list[Source]) -> None:
    store = "".join(source.text for source in sources if source.name.startswith("proxy/store/"))
    used = set(re.findall(r"queries(?:\(\))?\.([a-z_0-9]+)", store))
    assert {field.name for field in fields(Queries)} - used == set()


def test_a_file_holds_one_statement() -> None:
    many = [name for name, text in asdict(load_queries()).items() if ";" in _code(text)]
    assert many == []


def _code(statement: str) -> str:
    return "\n".join(line.partition("--")[0] for line in statement.splitlines())


def test_a_stranger_among_the_files_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        load_queries(SQL_DIR / "migrations" / "absent")
    with pytest.raises(ValueError, match="no field of Queries for 0001_create_accounts"):
        load_queries(SQL_DIR / "migrations")
