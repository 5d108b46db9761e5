"""Poolers in transaction mode: between two transactions a client's server connection changes.

`open_pooler` is as much of one as shows what breaks behind it, on any machine: names of prepared
statements and the state of a session do not survive a transaction, for the next one runs
elsewhere. `run_pgbouncer` is the real thing.
"""

import asyncio
import os
import signal
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from proxy.dev.children import give_to, kill_child, spawn, unprivileged
from tests.support.processes import until

_SSL_REQUEST = 80877103
_TERMINATE = b"X"
_READY = b"Z"


class _Upstreams:
    """Server connections, each used in turn."""

    def __init__(self, socket: Path, startup: bytes) -> None:
        self._socket = socket
        self._startup = startup
        self.greeting = b""
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._freed = asyncio.Condition()
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self, count: int) -> None:
        for _ in range(count):
            reader, writer = await asyncio.open_unix_connection(self._socket)
            writer.write(self._startup)
            greeting = b""
            kind = b""
            while kind != _READY:
                kind, message = await _message(reader)
                greeting += message
            self.greeting = greeting
            self._idle.append((reader, writer))
            self.writers.append(writer)

    async def take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._freed:
            await self._freed.wait_for(lambda: bool(self._idle))
            return self._idle.popleft()

    async def give(self, server: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        async with self._freed:
            self._idle.append(server)
            self._freed.notify()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
    return head[:1], head + body


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    while True:
        head = await reader.readexactly(8)
        rest = await reader.readexactly(int.from_bytes(head[:4], "big") - 8)
        if int.from_bytes(head[4:], "big") != _SSL_REQUEST:
            return head + rest
        writer.write(b"N")


@asynccontextmanager
async def open_pooler(dsn: str, directory: Path, *, servers: int = 3) -> AsyncIterator[str]:
    """The DSN of the pooler in front of a server on a unix socket."""
    socket = Path(parse_qs(urlsplit(dsn).query)["host"][0]) / ".s.PGSQL.5432"
    clients: set[asyncio.Task[Any]] = set()
    pools: list[_Upstreams] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        try:
            startup = await _startup(reader, writer)
            if not pools:
                pools.append(_Upstreams(socket, startup))
                await pools[0].open(servers)
            writer.write(pools[0].greeting)
            await _relay(pools[0], reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            clients.discard(task)
            writer.close()

    listener = await asyncio.start_unix_server(serve, directory / ".s.PGSQL.5432")
    try:
        query = f"host={quote(str(directory), safe='')}"
        yield urlsplit(dsn)._replace(query=query).geturl()
    finally:
        listener.close()
        for task in list(clients):
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for pool in pools:
            for server in pool.writers:
                server.close()


async def _relay(
    pool: _Upstreams, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A server is held from a transaction's first message to its end, and then given back."""
    loop = asyncio.get_running_loop()
    ask = loop.create_task(_message(reader))
    try:
        while (await ask)[0] != _TERMINATE:
            server = await pool.take()
            server[1].write(ask.result()[1])
            ask = loop.create_task(_message(reader))
            answer = loop.create_task(_message(server[0]))
            is_open = True
            while is_open:
                await asyncio.wait({ask, answer}, return_when=asyncio.FIRST_COMPLETED)
                if answer.done():
                    kind, message = answer.result()
                    writer.write(message)
                    is_open = not (kind == _READY and message[-1:] == b"I")
                    if is_open:
                        answer = loop.create_task(_message(server[0]))
                else:
                    server[1].write(ask.result()[1])
                    ask = loop.create_task(_message(reader))
            await pool.give(server)
    finally:
        ask.cancel()
        await asyncio.gather(ask, return_exceptions=True)


PGBOUNCER = Path("/usr/sbin/pgbouncer")

_CONFIG = """
[databases]
* = host={servers} port=5432 user=apilink

[pgbouncer]
pool_mode = transaction
default_pool_size = {pool_size}
server_round_robin = 1
max_client_conn = 200
auth_type = any
listen_addr =
listen_port = 6432
unix_socket_dir = {directory}
unix_socket_mode = 0777
server_login_retry = 1
query_wait_timeout = 10
"""


class PgBouncer:
    """The real one, in transaction mode, before a server on a unix socket. Its servers take turns,
    so that hardly any two transactions of a client run on the same."""

    def __init__(self, server_url: str, directory: Path, *, pool_size: int) -> None:
        self._directory = directory
        self._identity = unprivileged(os.environ)  # it refuses root, as Postgres does
        self._config = directory / "pgbouncer.ini"
        servers = parse_qs(urlsplit(server_url).query)["host"][0]
        text = _CONFIG.format(servers=servers, directory=directory, pool_size=pool_size)
        self._config.write_text(text)
        for path in (directory, self._config):
            give_to(self._identity, path)
        self.start()

    def of(self, dsn: str) -> str:
        """The same database, through here."""
        query = f"host={quote(str(self._directory), safe='')}&port=6432"
        return urlsplit(dsn)._replace(query=query).geturl()

    def start(self) -> None:
        """Ready once this returns."""
        socket = self._directory / ".s.PGSQL.6432"
        socket.unlink(missing_ok=True)
        self._process = spawn(
            [PGBOUNCER, "-q", self._config],
            identity=self._identity,
            environ=os.environ,
            log=self.log,
            death_signal=signal.SIGKILL,
        )
        until(lambda: socket.exists() or self._process.poll() is not None)
        assert self._process.poll() is None, self.log.read_text()

    def kill(self) -> None:
        kill_child(self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> Path:
        return self._directory / "pgbouncer.log"


@contextmanager
def run_pgbouncer(server_url: str, *, pool_size: int = 2) -> Iterator[PgBouncer]:
    """Skips the test where it is not installed."""
    if not PGBOUNCER.exists():
        pytest.skip(f"{PGBOUNCER} is not installed (apt-get install pgbouncer)")
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory:
        pooler = PgBouncer(server_url, Path(directory), pool_size=pool_size)
        try:
            yield pooler
        finally:
            pooler.kill()
