"""Postgres and Redis of a test's own: killed, stopped, started again on whatever data a test likes.

Their addresses stay.
"""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from redis import Redis

from proxy.dev.servers import Server, run_postgres, run_redis
from tests.support.processes import children_of, until

# What a killed server had committed is in the kernel's hands: the machine stays up.
_POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


class OwnStore:
    """Runs from `start` to `stop` or `kill`, any number of times."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: ExitStack | None = None
        self._server: Server | None = None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def url(self) -> str:
        return self._there.url

    @property
    def pid(self) -> int:
        return self._there.pid

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def stop(self) -> None:
        """In order, as an operator does it."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def kill(self) -> None:
        """kill -9, of all its processes at once."""
        for pid in [self.pid, *children_of(self.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop()

    @property
    def _there(self) -> Server:
        assert self._server is not None, "started"
        return self._server

    def _enter(self, scope: AbstractContextManager[Server]) -> None:
        self._running = ExitStack()
        self._server = self._running.enter_context(scope)

    def copy_data(self, to: Path) -> Path:
        """What is in its files now; whole where the store stands still or is down."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.data, to)
        return to

    def replace_data(self, by: Path | None) -> None:
        """While it is down: with a copy, or with nothing at all."""
        assert not self.is_running
        shutil.rmtree(self.data)
        if by is not None:
            shutil.copytree(by, self.data)


class OwnRedis(OwnStore):
    def __init__(self, directory: Path, binary: Path | None = None) -> None:
        super().__init__(directory)
        self._binary = binary

    @property
    def socket(self) -> str:
        return self.url.removeprefix("unix://")

    def start(self) -> None:
        self._enter(run_redis(self.directory, binary=self._binary))

    @contextmanager
    def client(self) -> Iterator["Redis"]:
        with Redis.from_url(self.url, decode_responses=True) as client:
            yield client

    @contextmanager
    def replica(self, directory: Path) -> Iterator["Replica"]:
        """A real one, in step with its master when entered."""
        with self.client() as master:
            port = _listen(master)
        with run_redis(directory) as server, Redis.from_url(server.url) as client:
            client.replicaof("127.0.0.1", port)
            until(lambda: _is_in_step(client))
            yield Replica(client, directory / "data")


class Replica:
    def __init__(self, client: "Redis", data: Path) -> None:
        self.data = data
        self._client = client

    def stops_following(self) -> None:
        """From here on it lags: what its master writes it never gets."""
        self._client.replicaof("NO", "ONE")


def _listen(master: "Redis") -> int:
    """On a port that was free a moment ago, where it has none yet."""
    master.config_set("bind", "127.0.0.1")
    master.config_set("repl-diskless-sync-delay", 0)  # it waits 5 s for other replicas
    if not int(master.config_get("port")["port"]):
        master.config_set("port", _free_port())
    return int(master.config_get("port")["port"])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _is_in_step(replica: "Redis") -> bool:
    found = replica.info()
    is_linked = found["master_link_status"] == "up" and not found["master_sync_in_progress"]
    return bool(is_linked and not found["aof_rewrite_in_progress"])


class OwnPostgres(OwnStore):
    @property
    def socket(self) -> str:
        (directory,) = parse_qs(urlsplit(self.url).query)["host"]
        return f"{directory}/.s.PGSQL.5432"

    def start(self, **settings: str) -> None:
        self._enter(run_postgres(self.directory, settings=_POSTGRES_SETTINGS | settings))

    def kill_backend(self) -> None:
        """kill -9 of one that serves a client."""
        backend = next(pid for pid in children_of(self.pid) if b"apilink" in _title(pid))
        os.kill(backend, signal.SIGKILL)

    def become_standby(self) -> None:
        """While it is down: started again, it is in recovery until it is promoted."""
        (self.data / "standby.signal").touch()

    def promote(self) -> None:
        (self.data / "promote").touch()
        os.kill(self.pid, signal.SIGUSR1)  # it looks for the file then
        until(lambda: not (self.data / "standby.signal").exists())


def _title(pid: int) -> bytes:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
