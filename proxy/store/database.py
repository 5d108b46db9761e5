"""A pool of connections to Postgres, and its failures in our words.

Safe behind a pooler that changes the server connection with every transaction: no statement is
kept by name, no session state is set, and nothing has to be reset on release.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol, TypeVar

import asyncpg

from proxy.domain.errors import StoreUnavailableError
from proxy.store.silence import Silence, SilentError

T = TypeVar("T")

_ATTEMPTS_MAX: Final = 5
_RETRY_SECONDS: Final = 5
_CONNECT_SECONDS_MAX: Final = 5
_PAUSE_MS: Final = 10  # the longest before the second attempt; doubled for each one after it
_PROBE_SECONDS: Final = 1
_MOMENT_SECONDS: Final = 0.5
_ARRAYS: Final = "SELECT $1::text[], $2::uuid[], $3::bigint[], $4::jsonb[]"

# Postgres took another's side: the same transaction may be tried again. Not after `lock_timeout`:
# that took its seconds already, and whoever holds the lock holds it still.
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
    """Everything here raises StoreUnavailableError where Postgres is away, full or read-only.

    A single statement is answered or given up within `seconds` and a moment, its wait for a
    connection included; in a transaction, each statement is.
    """

    def __init__(
        self,
        pool: Any,
        *,
        seconds: int,
        silence: Silence,
        draw: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._pool = pool
        self._seconds = seconds
        self._silence = silence
        self._draw = draw

    def within(self, seconds: int) -> "Database":
        """The same connections, for callers whom somebody waits for."""
        return Database(
            self._pool,
            seconds=min(seconds, self._seconds),
            silence=self._silence,
            draw=self._draw,
        )

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        return list(
            await self._ask(lambda connection, left: connection.fetch(query, *args, timeout=left))
        )

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        return await self._ask(
            lambda connection, left: connection.fetchrow(query, *args, timeout=left)
        )

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await self._ask(
            lambda connection, left: connection.fetchval(query, *args, timeout=left)
        )

    async def execute(self, query: str, *args: Any) -> str:
        """Postgres's word for what was done, such as "UPDATE 1"."""
        return str(
            await self._ask(lambda connection, left: connection.execute(query, *args, timeout=left))
        )

    async def transact(
        self, work: Callable[[Executor], Awaitable[T]], *, isolation: str = "read_committed"
    ) -> T:
        """Runs `work` in one transaction, again from its start where Postgres chose it as the
        victim of a conflict. An error while committing is ambiguous: callers are idempotent."""

        async def once() -> T:
            async with (
                self._connection() as connection,
                connection.transaction(isolation=isolation),
            ):
                return await work(connection)

        return await self._repeated(once)

    async def _ask(self, statement: Callable[[Any, float], Awaitable[Any]]) -> Any:
        """A statement by itself is its own transaction, which a conflict may also choose."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._seconds

        async def once() -> Any:
            async with self._connection() as connection:
                return await statement(connection, max(ends_at - loop.time(), _MOMENT_SECONDS))

        return await self._repeated(once)

    async def _repeated(self, once: Callable[[], Awaitable[T]]) -> T:
        """After a pause of random length, or those that met would meet again."""
        for attempt in range(_ATTEMPTS_MAX):
            try:
                return await once()
            except _CONFLICTS as error:
                if attempt == _ATTEMPTS_MAX - 1:
                    raise _unavailable() from error
            await asyncio.sleep((1 + self._draw(_PAUSE_MS << attempt)) / 1000)
        raise AssertionError("the loop returns or raises")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with translated():
            async with self._silence.passing() as is_probe:
                connection = await self._acquire(_PROBE_SECONDS if is_probe else self._seconds)
                try:
                    if is_probe:
                        await connection.fetchval("SELECT 1", timeout=_PROBE_SECONDS)
                        self._silence.end()
                    yield connection
                finally:
                    await self._release(connection)

    async def _acquire(self, seconds: int) -> Any:
        try:
            return await self._pool.acquire(timeout=seconds)
        except TimeoutError as error:
            if (
                self._pool.get_idle_size() == 0
                and self._pool.get_size() == self._pool.get_max_size()
            ):
                raise _unavailable() from error  # all of ours are busy: no sign of a silence
            raise

    async def _release(self, connection: Any) -> None:
        """A statement that was given up is cancelled at the server, which may not answer that
        either: the connection is then closed instead of waited for."""
        with suppress(TimeoutError, *_AWAY, asyncpg.InterfaceError):
            await self._pool.release(connection, timeout=_MOMENT_SECONDS)


@contextmanager
def translated() -> Iterator[None]:
    """Postgres's ways of being away, as StoreUnavailableError."""
    try:
        yield
    except (*_AWAY, SilentError) as error:
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


async def _learn_arrays(connection: Any) -> None:
    """asyncpg asks once for the types of arrays, with `jit` switched off for the session and on
    again: transactions that may reach two sessions behind a pooler. Here they are one, which
    takes it back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.fetchrow(_ARRAYS, [], [], [], [])
    finally:
        await transaction.rollback()


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
            init=_learn_arrays,
            server_settings={"application_name": "apilink"},
        )
    try:
        silence = Silence(lambda: time.monotonic_ns() // 1_000_000)
        yield Database(pool, seconds=timeout_seconds, silence=silence)
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
