"""What every test may ask for: servers on this machine, and the recorded traffic.

The servers run for the whole session, in short private directories. Redis has no per-test cleaning
here: a test takes its own keys or flushes what it made. Postgres: make a database per test or
module (`CREATE DATABASE`), connected through `.url`.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from proxy.dev.servers import NoServerError, Server, run_postgres, run_redis

ROOT = Path(__file__).resolve().parent.parent
DEBIAN_REDIS = Path("/usr/bin/redis-server")
DEBIAN_POSTGRES = Path("/usr/lib/postgresql/15/bin")
# Tests lose nothing in a power cut.
POSTGRES_FOR_TESTS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# The same examples in every run, and no verdict by the speed of the machine.
hypothesis_settings.register_profile("suite", derandomize=True, deadline=None)
hypothesis_settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also what takes a minute or more")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: a minute or more; run with --slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def short_dir() -> Iterator[Path]:
    """A session's directory under /tmp, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="al-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server(short_dir: Path) -> Iterator[Server]:
    """The embedded one: what `make run` uses."""
    with ExitStack() as stack:
        yield _redis(stack, short_dir / "redis", None)


@pytest.fixture(scope="session")
def postgres_server(short_dir: Path) -> Iterator[Server]:
    """The embedded one: what `make run` uses."""
    with ExitStack() as stack:
        yield _postgres(stack, short_dir / "postgres", None)


@pytest.fixture(scope="session", params=["embedded", "debian"])
def any_redis(
    request: pytest.FixtureRequest, redis_server: Server, short_dir: Path
) -> Iterator[Server]:
    """Each in turn: the embedded Valkey and Debian's Redis."""
    if request.param == "embedded":
        yield redis_server
        return
    if not DEBIAN_REDIS.exists():
        pytest.skip(f"{DEBIAN_REDIS} is not installed (apt-get install redis-server)")
    with ExitStack() as stack:
        yield _redis(stack, short_dir / "debian-redis", DEBIAN_REDIS)


@pytest.fixture(scope="session", params=["embedded", "debian"])
def any_postgres(
    request: pytest.FixtureRequest, postgres_server: Server, short_dir: Path
) -> Iterator[Server]:
    """Each in turn: the embedded Postgres and Debian's."""
    if request.param == "embedded":
        yield postgres_server
        return
    if not (DEBIAN_POSTGRES / "postgres").exists():
        pytest.skip(f"{DEBIAN_POSTGRES} is not installed (apt-get install postgresql-15)")
    with ExitStack() as stack:
        yield _postgres(stack, short_dir / "debian-postgres", DEBIAN_POSTGRES)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with recorded traffic: RECORDINGS_DIR, else `shared` beside the checkout."""
    path = Path(os.environ.get("RECORDINGS_DIR") or ROOT.parent / "shared")
    if not (path / "corpus").is_dir():
        pytest.skip(f"no recorded traffic at {path} (set RECORDINGS_DIR)")
    return path


def _redis(stack: ExitStack, directory: Path, binary: Path | None) -> Server:
    try:
        return stack.enter_context(run_redis(directory, binary=binary))
    except NoServerError as error:
        pytest.skip(str(error))


def _postgres(stack: ExitStack, directory: Path, bin_dir: Path | None) -> Server:
    server = run_postgres(directory, bin_dir=bin_dir, settings=POSTGRES_FOR_TESTS)
    try:
        return stack.enter_context(server)
    except NoServerError as error:
        pytest.skip(str(error))
