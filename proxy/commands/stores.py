"""Postgres and the ledger for the length of one command."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from proxy.commands.context import fail, run, settings_of
from proxy.domain.clock import SystemClock
from proxy.domain.errors import LedgerUnavailableError, StoreUnavailableError
from proxy.domain.ports import Wallets
from proxy.domain.settings import Settings
from proxy.ledger.faults import LedgerSetupError
from proxy.ledger.opening import open_wallets
from proxy.store.database import BadDsnError
from proxy.store.deployment import ShardCountError
from proxy.store.migrate import MigrationError, check_migrated
from proxy.store.pool import Store, open_store

T = TypeVar("T")

EXIT_REFUSED: Final = 1
EXIT_AWAY: Final = 3  # a store did not answer: the same command may succeed later


def with_settings(data_dir: Path | None, step: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    """Runs the command's one coroutine; a store that is away ends it with a sentence."""
    settings = settings_of(data_dir, or_dev=True)
    try:
        return run(step(settings))
    except StoreUnavailableError as error:
        exit_with(
            EXIT_AWAY,
            f"Postgres does not answer ({_cause(error)}): check "
            "APILINK_DATABASE_URL, or give --data-dir DIR for a running `apilink dev`.",
        )
    except LedgerUnavailableError as error:
        exit_with(EXIT_AWAY, f"Redis does not answer ({_cause(error)}): check APILINK_REDIS_URL.")
    except (ShardCountError, LedgerSetupError, MigrationError) as error:
        exit_with(EXIT_REFUSED, str(error))
    except BadDsnError as error:
        fail(f"APILINK_DATABASE_URL: {error}")


def with_store(
    data_dir: Path | None,
    step: Callable[[Store], Coroutine[Any, Any, T]],
    *,
    timeout_seconds: int = 10,
) -> T:
    async def opened(settings: Settings) -> T:
        async with open_migrated(settings, timeout_seconds=timeout_seconds) as store:
            return await step(store)

    return with_settings(data_dir, opened)


@asynccontextmanager
async def open_migrated(
    settings: Settings, *, connections_max: int = 2, timeout_seconds: int = 10
) -> AsyncIterator[Store]:
    """Raises StoreUnavailableError, BadDsnError, or MigrationError where the schema is old."""
    async with open_store(
        settings.database_url, connections_max=connections_max, timeout_seconds=timeout_seconds
    ) as store:
        await check_migrated(store.database)
        yield store


@asynccontextmanager
async def open_both(
    settings: Settings, *, timeout_seconds: int = 10
) -> AsyncIterator[tuple[Store, Wallets]]:
    """Raises StoreUnavailableError or LedgerUnavailableError."""
    async with (
        open_migrated(settings, connections_max=10, timeout_seconds=timeout_seconds) as store,
        open_redis_wallets(settings, store) as wallets,
    ):
        yield store, wallets


def open_redis_wallets(settings: Settings, store: Store) -> AbstractAsyncContextManager[Wallets]:
    return open_wallets(
        redis_url=settings.redis_url,
        shards=store.shards,
        clock=SystemClock(),
        timeout_ms=settings.ledger_timeout_ms,
    )


def exit_with(status: int, *reasons: str) -> NoReturn:
    for reason in reasons:
        click.echo(reason, err=True)
    raise SystemExit(status)


def _cause(error: BaseException) -> str:
    cause = error.__cause__
    return (
        type(error).__name__ if cause is None else f"{type(cause).__name__}: {cause}".rstrip(": ")
    )
