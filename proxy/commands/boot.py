"""What keeps a long-running command from starting, in words and with exit status 2."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.commands.context import fail, settings_of
from proxy.domain.errors import ApiError, LedgerUnavailableError, StoreUnavailableError
from proxy.domain.settings import Settings
from proxy.edge.live_table import LiveTable
from proxy.http.admin import AdminAddressError
from proxy.ledger.address import parse_redis_url
from proxy.ledger.faults import LedgerSetupError
from proxy.store.database import BadDsnError
from proxy.store.deployment import ShardCountError
from proxy.store.migrate import MigrationError
from routing.errors import ConfigError
from routing.load import load_table


class BootError(Exception):
    """One reason why there is no start."""


@contextmanager
def booting(settings: Settings) -> Iterator[None]:
    """Around what is opened at the start, and nothing after it. Raises BootError."""
    try:
        yield
    except StoreUnavailableError as error:
        raise BootError(
            f"APILINK_DATABASE_URL: Postgres does not answer: {_cause(error)}"
        ) from error
    except BadDsnError as error:
        raise BootError(f"APILINK_DATABASE_URL: {error}") from error
    except LedgerUnavailableError as error:
        raise BootError(f"APILINK_REDIS_URL: Redis does not answer: {_cause(error)}") from error
    except LedgerSetupError as error:
        raise BootError(f"APILINK_REDIS_URL: {error}") from error
    except (ShardCountError, MigrationError, AdminAddressError) as error:
        raise BootError(str(error)) from error
    except ApiError as error:
        raise BootError(f"{error.code}: {error.message}") from error
    except OSError as error:
        raise BootError(_where(error, settings)) from error


def settings_for_boot() -> Settings:
    """Exits with status 2 and every mistake."""
    settings = settings_of(None)
    try:
        parse_redis_url(settings.redis_url)
    except ValueError as error:
        fail(f"APILINK_REDIS_URL: {error}")
    return settings


def said_of(metrics_url: str | None) -> dict[str, str]:
    """For the line that says ready."""
    return {} if metrics_url is None else {"metrics_url": metrics_url}


def live_table_of(settings: Settings) -> LiveTable:
    """Exits with status 2 and every problem of the file."""
    try:
        return LiveTable(settings.routing, load_table(settings.routing))
    except ConfigError as error:
        fail(*map(str, error.problems))
    except OSError as error:
        fail(f"{settings.routing}: cannot be read: {error.strerror}")


def _where(error: OSError, settings: Settings) -> str:
    """A file is named by the error; without one it is the address."""
    if error.filename is not None:
        return f"APILINK_DATA_DIR: {error.filename}: {error.strerror}"
    reason = error.strerror if error.errno is None else os.strerror(error.errno)
    return f"APILINK_LISTEN: cannot listen at {settings.listen}: {reason}"


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__
