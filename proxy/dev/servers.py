"""Postgres and a Redis-compatible server for one machine, without installing either.

    async with open_postgres(directory) as postgres, open_redis(other) as redis:
        ...  # postgres.url, redis.url

Data survives restarts and crashes; both servers end with this process, however it ends. The work is
written once as generators that yield while they wait: `open_…` resumes them from an event loop,
`run_…` from ordinary code.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from proxy.dev.binaries import NoServerError, find_postgres, find_redis
from proxy.dev.children import (
    TICK_SECONDS,
    Claim,
    Identity,
    ServerError,
    Steps,
    give_to,
    kill_child,
    reachable_programs,
    remove,
    socket_dir,
    spawn,
    tail,
    unprivileged,
)
from proxy.domain.finish import finish

__all__ = [
    "NoServerError",
    "Server",
    "ServerError",
    "open_postgres",
    "open_redis",
    "run_postgres",
    "run_redis",
]

_START_TICKS_MAX: Final = 12_000  # 60 s: crash recovery or a large append-only file
_STOP_TICKS_MAX: Final = 4_000  # 20 s, then SIGKILL: both survive it
_LOG_BYTES_MAX: Final = 2**20

_POSTGRES_SETTINGS: Final = {
    "unix_socket_permissions": "0700",
    "listen_addresses": "",
    "port": "5432",  # names the socket; nothing listens on TCP
    "max_connections": "100",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # containers have a small /dev/shm
    "logging_collector": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
}


class Server:
    """A running server. `url` is what a client is configured with."""

    def __init__(self, name: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.url = url
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_exited(self) -> bool:
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)  # does nothing where it has ended

    def kill(self) -> None:
        kill_child(self._process)


@asynccontextmanager
async def open_postgres(
    data_dir: Path, *, bin_dir: Path | None = None, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """Raises NoServerError, or ServerError where it cannot run. `settings` override ours."""
    async with _opened(_Postgres(data_dir, bin_dir, settings or {}, os.environ)) as server:
        yield server


@asynccontextmanager
async def open_redis(data_dir: Path, *, binary: Path | None = None) -> AsyncIterator[Server]:
    """Raises NoServerError, or ServerError where it cannot run."""
    async with _opened(_Redis(data_dir, binary, os.environ)) as server:
        yield server


@contextmanager
def run_postgres(
    data_dir: Path, *, bin_dir: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`open_postgres` for code without an event loop."""
    with _ran(_Postgres(data_dir, bin_dir, settings or {}, os.environ)) as server:
        yield server


@contextmanager
def run_redis(data_dir: Path, *, binary: Path | None = None) -> Iterator[Server]:
    """`open_redis` for code without an event loop."""
    with _ran(_Redis(data_dir, binary, os.environ)) as server:
        yield server


class _Kind(Protocol):
    """What differs between the two servers."""

    name: str
    directory: Path
    stop_signal: signal.Signals
    death_signal: signal.Signals

    def preparing(self, claim: Claim) -> Steps: ...

    def spawn(self, claim: Claim) -> subprocess.Popen[bytes]: ...

    def is_ready(self) -> bool: ...

    @property
    def url(self) -> str: ...

    def tidy(self) -> None: ...


class _Postgres:
    name = "Postgres"
    stop_signal = signal.SIGINT  # "fast": open transactions are rolled back
    death_signal = signal.SIGINT

    def __init__(
        self,
        data_dir: Path,
        bin_dir: Path | None,
        settings: Mapping[str, str],
        environ: Mapping[str, str],
    ) -> None:
        self.directory = data_dir.absolute()
        self._bin_dir = bin_dir
        self._settings = settings
        self._environ = environ
        self._identity = Identity()
        self._sockets: Path | None = None

    @property
    def url(self) -> str:
        return f"postgresql://apilink@/postgres?host={quote(str(self._socket_dir), safe='')}"

    @property
    def _socket_dir(self) -> Path:
        assert self._sockets is not None, "prepared"
        return self._sockets

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def preparing(self, claim: Claim) -> Steps:
        bin_dir = self._bin_dir or find_postgres(self._environ)
        self._identity = unprivileged(self._environ)
        self._bin_dir = reachable_programs(bin_dir, self.directory, self._identity)
        give_to(self._identity, self.directory)
        self._sockets = socket_dir(self.directory, self._identity)
        for stale in (self._data / "postmaster.pid", *self._socket_dir.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        if not self._data.is_dir():
            yield from self._initialising(claim)

    def _initialising(self, claim: Claim) -> Steps:
        """Into a directory that gets its name when it is whole: a killed initdb leaves no half."""
        unfinished = self.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = "-U apilink -A trust -E UTF8 --locale=C --no-sync --no-instructions".split()
        initdb = self._spawn(["initdb", "-D", unfinished, *options], claim)
        try:
            while initdb.poll() is None:
                yield
        finally:
            kill_child(initdb)
        if initdb.returncode != 0:
            raise ServerError(f"initdb failed: {tail(self.directory / 'server.log')}")
        unfinished.rename(self._data)

    def spawn(self, claim: Claim) -> subprocess.Popen[bytes]:
        settings = _POSTGRES_SETTINGS | {"unix_socket_directories": str(self._socket_dir)}
        options = (f"{name}={text}" for name, text in (settings | dict(self._settings)).items())
        flags = [word for option in options for word in ("-c", option)]
        return self._spawn(["postgres", "-D", self._data, *flags], claim)

    def _spawn(self, argv: list[str | Path], claim: Claim) -> subprocess.Popen[bytes]:
        assert self._bin_dir is not None
        return spawn(
            [self._bin_dir / argv[0], *argv[1:]],
            identity=self._identity,
            environ=self._environ,
            log=self.directory / "server.log",
            death_signal=self.death_signal,
            keep_open=[claim.server_fd],
        )

    def is_ready(self) -> bool:
        """The postmaster writes its state into the last line of its pid file, for `pg_ctl -w`."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return bool(lines) and lines[-1].strip() in ("ready", "standby")

    def tidy(self) -> None:
        remove(self._sockets)


class _Redis:
    name = "Redis"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGTERM

    def __init__(self, data_dir: Path, binary: Path | None, environ: Mapping[str, str]) -> None:
        self.directory = data_dir.absolute()
        self._binary = binary
        self._environ = environ
        self._sockets: Path | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        assert self._sockets is not None, "prepared"
        return self._sockets / "redis.sock"

    def preparing(self, claim: Claim) -> Steps:
        del claim
        self._binary = self._binary or find_redis(self._environ)
        self._sockets = socket_dir(self.directory, Identity())
        self._socket.unlink(missing_ok=True)
        (self.directory / "data").mkdir(exist_ok=True)
        yield from ()

    def spawn(self, claim: Claim) -> subprocess.Popen[bytes]:
        """As ourselves, root or not: unlike Postgres it does not mind."""
        assert self._binary is not None
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.directory / "data"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        flags = [word for name, text in options.items() for word in (f"--{name}", text)]
        return spawn(
            [self._binary, *flags],
            identity=Identity(),
            environ=self._environ,
            log=self.directory / "server.log",
            death_signal=self.death_signal,
            keep_open=[claim.server_fd],
        )

    def is_ready(self) -> bool:
        """Answers PING: not while it still loads its file."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def tidy(self) -> None:
        remove(self._sockets)


def _starting(kind: _Kind, claim: Claim) -> Steps:
    """Claims the directory, prepares it, starts the server and waits until it serves."""
    kind.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    yield from claim.taking(kind.stop_signal)
    try:
        return (yield from _started(kind, claim))
    except BaseException:
        kind.tidy()
        raise


def _started(kind: _Kind, claim: Claim) -> Steps:
    log = kind.directory / "server.log"
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.unlink()
    yield from kind.preparing(claim)
    server = Server(kind.name, kind.url, kind.spawn(claim), log)
    try:
        claim.note(server.pid)
        yield from _becoming_ready(kind, server)
    except BaseException:
        server.kill()
        raise
    return server


def _becoming_ready(kind: _Kind, server: Server) -> Steps:
    for _ in range(_START_TICKS_MAX):
        if server.has_exited:
            raise ServerError(f"{kind.name} ended at its start: {tail(server.log)}")
        if kind.is_ready():
            return
        yield
    raise ServerError(f"{kind.name} is not ready after a minute: {tail(server.log)}")


def _stopping(kind: _Kind, server: Server) -> Steps:
    server.signal(kind.stop_signal)
    for _ in range(_STOP_TICKS_MAX):
        if server.has_exited:
            break
        yield
    server.kill()
    kind.tidy()


@asynccontextmanager
async def _opened(kind: _Kind) -> AsyncIterator[Server]:
    claim = Claim(kind.directory, kind.name)
    try:
        server = await _resume(_starting(kind, claim))
        try:
            yield server
        finally:
            await finish(_resume(_stopping(kind, server)))
    finally:
        claim.release()


@contextmanager
def _ran(kind: _Kind) -> Iterator[Server]:
    claim = Claim(kind.directory, kind.name)
    try:
        server = _resume_blocking(_starting(kind, claim))
        try:
            yield server
        finally:
            _resume_blocking(_stopping(kind, server))
    finally:
        claim.release()


async def _resume(steps: Steps) -> Any:
    try:
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value
            await asyncio.sleep(TICK_SECONDS)
    finally:
        steps.close()


def _resume_blocking(steps: Steps) -> Any:
    try:
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value
            time.sleep(TICK_SECONDS)
    finally:
        steps.close()
