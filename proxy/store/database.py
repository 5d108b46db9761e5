"""A pool of connections to Postgres, and its failures in our words.

Safe behind a pooler that changes the server connection with every transaction: no statement is
kept by name, no session state is set, and nothing has to be reset on release.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol, TypeVar

import asyncpg

from proxy.domain.errors import StoreUnavailableError

T = TypeVar("T")

_ATTEMPTS_MAX: Final = 5
_RETRY_SECONDS: Final = 5
_CONNECT_SECONDS_MAX: Final = 5

# Postgres took another's side: the same transaction may be tried again.
_CONFLICTS: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # lock_timeout among them
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that has not been promoted yet
    asyncpg.InternalClientError,  # an answer and the server's farewell in one read confuse it
)

Record = Any  # asyncpg.Record: a row that is read by column name


class Executor(Protocol):
    """What a transaction offers."""

    async def fetch(self, query: str, *args: Any) -> list[Record]: ...

    async def fetchrow(self, query: str, *args: Any) -> Record | None: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    async def execute(self, query: str, *args: Any) -> str: ...

    def transaction(self) -> Any: ...


class Database:
    """Everything here raises StoreUnavailableError where Postgres is away, full or read-only."""

    def __init__(self, pool: Any, *, acquire_seconds: int) -> None:
        self._pool = pool
        self._acquire_seconds = acquire_seconds

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        async with self._connection() as connection:
            return list(await connection.fetch(query, *args))

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        async with self._connection() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        async with self._connection() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> str:
        """Postgres's word for what was done, such as "UPDATE 1"."""
        async with self._connection() as connection:
            return str(await connection.execute(query, *args))

    async def transact(
        self, work: Callable[[Executor], Awaitable[T]], *, isolation: str = "read_committed"
    ) -> T:
        """Runs `work` in one transaction, again from its start where Postgres chose it as the
        victim of a conflict. An error while committing is ambiguous: callers are idempotent."""
        for attempt in range(_ATTEMPTS_MAX):
            try:
                async with (
                    self._connection() as connection,
                    connection.transaction(isolation=isolation),
                ):
                    return await work(connection)
            except _CONFLICTS as error:
                if attempt == _ATTEMPTS_MAX - 1:
                    raise _unavailable() from error
        raise AssertionError("the loop returns or raises")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with translated():
            async with self._pool.acquire(timeout=self._acquire_seconds) as connection:
                yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Postgres's ways of being away, as StoreUnavailableError."""
    try:
        yield
    except _AWAY as error:
        raise _unavailable() from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # an argument of the wrong type: our mistake
            raise
        raise _unavailable() from error


def _unavailable() -> StoreUnavailableError:
    return StoreUnavailableError(
        "The account store does not answer. Try again shortly.", retry_after_seconds=_RETRY_SECONDS
    )


class BadDsnError(Exception):
    """No connection can be made with this DSN, ever. Does not repeat it: a password is in it."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is untyped
    def get_reset_query(self) -> str:
        return ""


@asynccontextmanager
async def open_database(
    dsn: str, *, connections_max: int, timeout_seconds: int
) -> AsyncIterator[Database]:
    """Raises BadDsnError, or StoreUnavailableError where Postgres cannot be reached."""
    with translated(), dsn_checked():
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=connections_max,
            statement_cache_size=0,
            timeout=min(timeout_seconds, _CONNECT_SECONDS_MAX),
            command_timeout=timeout_seconds,
            connection_class=_Connection,
            server_settings={"application_name": "apilink"},
        )
    try:
        yield Database(pool, acquire_seconds=timeout_seconds)
    finally:
        await _close(pool, timeout_seconds)


@contextmanager
def dsn_checked() -> Iterator[None]:
    """Raises BadDsnError."""
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise BadDsnError(str(error)) from error
    except (ValueError, OverflowError) as error:  # its words would quote what it could not read
        raise BadDsnError(
            "is not a URL of Postgres such as postgresql://USER:PASSWORD@HOST:5432/DATABASE "
            "(with %-escapes for special characters)"
        ) from error


async def _close(pool: Any, seconds: int) -> None:
    try:
        async with asyncio.timeout(seconds):
            await pool.close()
    except (TimeoutError, *_AWAY, asyncpg.InterfaceError):
        pool.terminate()
