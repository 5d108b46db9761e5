"""Between clients and a server: passes every byte on, and knows what was asked and answered."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

# JSON escapes line ends, so neither can match inside a body.
_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Connection:
    sent: bytearray = field(default_factory=bytearray)  # by the client
    received: bytearray = field(default_factory=bytearray)

    def asked(self, key: str) -> Iterator[Asked]:
        for method, path, lines in _REQUEST.findall(bytes(self.sent)):
            pairs = (line.partition(":") for line in lines.decode("latin-1").split("\r\n"))
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            if headers.get("authorization") == f"Bearer {key}":
                yield Asked(method.decode(), path.decode(), headers)

    def statuses(self) -> set[int]:
        return {int(found) for found in _STATUS.findall(bytes(self.received))}


class Wiretap:
    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._connections: list[_Connection] = []
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yields the address to use in the server's place."""
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._pass_on(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def asked(self, key: str) -> list[Asked]:
        """The requests made with this API key, in their order on each connection."""
        return [asked for connection in self._connections for asked in connection.asked(key)]

    async def wait_answered(self, key: str, status: int) -> None:
        """Returns once a connection that used this API key has seen this status."""

        def was_answered() -> bool:
            return any(
                status in connection.statuses() and any(connection.asked(key))
                for connection in self._connections
            )

        async with self._changed:
            await self._changed.wait_for(was_answered)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            far_reader, far_writer = await asyncio.open_connection(*self._server)
            connection = _Connection()
            self._connections.append(connection)
            try:
                # Whichever side leaves first, the other is told by the close of its connection.
                there = self._copy(reader, far_writer, connection.sent)
                back = self._copy(far_reader, writer, connection.received)
                loop = asyncio.get_running_loop()
                ways = {loop.create_task(there), loop.create_task(back)}
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
            finally:
                far_writer.close()
                writer.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray
    ) -> None:
        while data := await reader.read(2**16):
            seen += data
            async with self._changed:
                self._changed.notify_all()
            writer.write(data)
            await writer.drain()
