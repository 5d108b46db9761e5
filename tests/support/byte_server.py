"""An upstream whose every byte a test decides: a real socket and a script per connection."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Script = Callable[["Conversation"], Awaitable[None]]


class Conversation:
    """One accepted connection. `number` counts connections from 1."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self._writer = writer
        self.is_open = True

    async def request(self) -> tuple[str, bytes]:
        """The next request's head and body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.partition(":")[2])
            for line in head.splitlines()
            if line.lower().startswith("content-length:")
        )
        return head, await self.reader.readexactly(length)

    async def send(self, *parts: bytes) -> None:
        """Each part in a segment of its own, as far as loopback allows it."""
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()
            await asyncio.sleep(0.002)

    async def ended(self) -> None:
        """The other side has closed, or reset."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def close(self) -> None:
        self.is_open = False
        self._writer.close()

    def shut_down_now(self) -> None:
        """A FIN at once, without a turn of the loop."""
        self._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """An RST instead of a FIN."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_open = False
        self._writer.transport.abort()


class ByteServer:
    def __init__(self, script: Script) -> None:
        self._script = script
        self.conversations: list[Conversation] = []
        self.port = 0
        self._changed = asyncio.Condition()

    @property
    def open_count(self) -> int:
        return sum(conversation.is_open for conversation in self.conversations)

    async def until_open(self, count: int) -> None:
        """Until so many connections are open: what a leak would never reach."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.open_count == count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(len(self.conversations) + 1, reader, writer)
        self.conversations.append(conversation)
        await self._tell()
        try:
            await self._script(conversation)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side left: what most of these tests are about
        finally:
            conversation.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def byte_server(
    script: Script, *, ssl_context: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[ByteServer]:
    served = ByteServer(script)
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await served.serve(reader, writer)
        finally:
            running.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=ssl_context)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        for _ in range(4):  # what waits to be accepted gets its transport: close() would leak it
            await asyncio.sleep(0)
        server.close()
        while server._active_count:  # type: ignore[attr-defined]  # 3.11's wait_closed() does not wait
            for task in tuple(running):
                task.cancel()
            await asyncio.sleep(0.001)
