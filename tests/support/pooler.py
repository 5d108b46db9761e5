"""A pooler in transaction mode: between two transactions a client's server connection changes.

As much of it as shows what breaks behind one: names of prepared statements and the state of a
session do not survive a transaction, for the next one runs elsewhere.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

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
