"""An upstream that plays what a test writes: exact bytes, at exact moments, on a real socket."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it reached the upstream."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict:
        return orjson.loads(self.body)


@dataclass(slots=True)
class Wire:
    """What a script writes to."""

    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, **headers: str) -> None:
        """Starts a chunked answer; underscores in names stand for dashes."""
        lines = [f"HTTP/1.1 {status} Whatever", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def sse(self) -> None:
        await self.head(content_type="text/event-stream; charset=utf-8")

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, value: object) -> None:
        await self.chunk(b"data: %b\n\n" % orjson.dumps(value))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    async def answer(self, status: int, body: bytes, **headers: str) -> None:
        headers.setdefault("content_type", "application/json")
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def json(self, value: object, status: int = 200) -> None:
        await self.answer(status, orjson.dumps(value))

    def reset(self) -> None:
        """Ends the connection with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Seen, Wire], Awaitable[None]]


@dataclass(slots=True)
class ScriptedUpstream:
    """`script` plays for each request; `seen` is what came."""

    script: Script
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedUpstream"]:
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen = await _read_request(reader)
                if seen is None:
                    break
                self.seen.append(seen)
                await self._play(seen, Wire(writer), reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _play(self, seen: Seen, wire: Wire, reader: asyncio.StreamReader) -> None:
        async def watch() -> None:
            while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            wire.gone.set()

        watcher = asyncio.get_running_loop().create_task(watch())
        try:
            await self.script(seen, wire)
        finally:
            watcher.cancel()


async def _read_request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)
