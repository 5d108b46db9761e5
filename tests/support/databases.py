"""Databases for tests: migrated once per server, then cloned, or emptied and used again."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from proxy.store.migrate import migrate


def in_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def run_apart(step: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """In a thread and a loop of its own: for code that may stand inside or outside of a loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(step())).result()


def execute(dsn: str, *statements: str) -> None:
    """Each by itself, for what refuses to run in a transaction."""

    async def step() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    run_apart(step)


def make_template(server_url: str) -> str:
    """A migrated database to clone from; its name."""
    name = f"template_{uuid.uuid4().hex}"
    execute(server_url, f"CREATE DATABASE {name}")
    run_apart(lambda: migrate(in_database(server_url, name)))
    return name


@contextmanager
def cloned(server_url: str, template: str) -> Iterator[str]:
    """A database of one's own; its DSN."""
    name = f"test_{uuid.uuid4().hex}"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield in_database(server_url, name)
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def empty(dsn: str) -> None:
    """As it was after its migrations, and nobody else connected. Quicker than another clone."""
    execute(dsn, _EMPTY)


_EMPTY = """
    SET session_replication_role = replica; -- no triggers: the books are append-only otherwise
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    DO $$
    DECLARE name text;
    BEGIN
        FOR name IN
            SELECT tablename FROM pg_tables
            WHERE schemaname = 'public' AND tablename NOT IN ('schema_migrations', 'book_accounts')
        LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
    END $$;
    ALTER SEQUENCE ledger_batches_batch_id_seq RESTART;
"""
