"""Brings a database's schema up to date."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from proxy.store.database import Database, dsn_checked, translated
from proxy.store.partitions import MONTHS_AHEAD
from proxy.store.queries import SQL_DIR, load_queries

# Any number that nothing else in the database takes: "apilink" in ASCII.
_LOCK: Final = int.from_bytes(b"apilink", "big")
_CONNECT_SECONDS: Final = 10


class MigrationError(Exception):
    """The database's past is not this program's, or not all of it: nothing was changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def checksum(self) -> bytes:
        return hashlib.sha256(self.sql.encode()).digest()


def load_migrations(directory: Path = SQL_DIR / "migrations") -> tuple[Migration, ...]:
    return tuple(Migration(p.stem, p.read_text()) for p in sorted(directory.glob("*.sql")))


async def migrate(dsn: str, migrations: tuple[Migration, ...] | None = None) -> list[str]:
    """Applies what is missing, each in a transaction, and makes the next months' partitions.

    Returns the names that were applied. Any number of callers may run at once; a transaction-mode
    pooler may stand between. Raises MigrationError, BadDsnError, StoreUnavailableError, or
    Postgres's own error for a statement that fails: what came before it stays.
    """
    wanted = load_migrations() if migrations is None else migrations
    with translated():
        with dsn_checked():
            connection = await asyncpg.connect(
                dsn, statement_cache_size=0, timeout=_CONNECT_SECONDS
            )
        try:
            applied = [m.name for m in wanted if await _apply(connection, m, wanted)]
            now = await connection.fetchval("SELECT now()")
            await connection.execute(load_queries().ensure_partitions, now, MONTHS_AHEAD)
        finally:
            await connection.close()
    return applied


async def check_migrated(database: Database) -> None:
    """Raises MigrationError where the schema lacks something. More than we know is no fault: the
    next release's migrations run while this one serves."""
    past: set[str] = set()
    if await database.fetchval("SELECT to_regclass('schema_migrations')") is not None:
        past = {row["name"] for row in await database.fetch("SELECT name FROM schema_migrations")}
    missing = [migration.name for migration in load_migrations() if migration.name not in past]
    if missing:
        raise MigrationError(f"the database lacks {', '.join(missing)}: run `apilink migrate`")


async def _apply(connection: Any, migration: Migration, wanted: tuple[Migration, ...]) -> bool:
    async with connection.transaction():
        # Held to the transaction's end: a session's lock would be lost in a pooler.
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        past = await _past(connection)
        _check(past, wanted)
        if migration.name in past:
            return False
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)",
            migration.name,
            migration.checksum,
        )
        return True


async def _past(connection: Any) -> dict[str, bytes]:
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    rows = await connection.fetch("SELECT name, checksum FROM schema_migrations")
    return {row["name"]: row["checksum"] for row in rows}


def _check(past: dict[str, bytes], wanted: tuple[Migration, ...]) -> None:
    known = {migration.name: migration.checksum for migration in wanted}
    for name, checksum in sorted(past.items()):
        if name not in known:
            raise MigrationError(f"{name} was applied and is unknown here: an older program?")
        if known[name] != checksum:
            raise MigrationError(f"{name} was applied and has changed since: add a new migration")
    missing = sorted(name for name in known if name not in past)
    if missing and past and missing[0] < max(past):
        raise MigrationError(f"{missing[0]} comes before {max(past)}, which was applied already")
