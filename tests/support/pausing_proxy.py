"""A unix socket in front of a server that a test can stop, cut, and make forget answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.domain.finish import TaskSet


class PausingProxy:
    """`hold_requests`: what clients send waits here. `hold_answers`: the server runs every call,
    and the answers wait here. `cut` closes every connection; what was held still reaches the server
    when `deliver_after_cut` is set, as a network may do."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._tasks = TaskSet()
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: set[asyncio.StreamWriter] = set()
        self.requests = asyncio.Event()
        self.answers = asyncio.Event()
        self.requests.set()
        self.answers.set()
        self.seen = asyncio.Event()  # a request arrived
        self.held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self.is_refusing = False

    def hold_requests(self) -> None:
        self.requests.clear()

    def hold_answers(self) -> None:
        self.answers.clear()

    def resume(self) -> None:
        self.requests.set()
        self.answers.set()

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def deliver_held(self) -> None:
        """What clients sent into connections that they have given up reaches the server now."""
        held, self.held = self.held, []
        for writer, data in held:
            writer.write(data)
            await writer.drain()
        for writer, _ in held:
            writer.close()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            writer.transport.abort()
            return
        server_reader, server = await asyncio.open_unix_connection(self._target)
        self._writers.add(writer)
        self._servers.add(server)
        _ = self._tasks.start(self._answers(server_reader, writer), name="answers")
        while data := await _read(reader):
            self.seen.set()
            if self.requests.is_set():
                server.write(data)
            else:
                self.held.append((server, data))
        self._writers.discard(writer)
        if not any(held is server for held, _ in self.held):
            server.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await _read(reader):
            await self.answers.wait()
            if not writer.is_closing():
                writer.write(data)
        writer.close()

    async def close(self) -> None:
        self.cut()
        for server in self._servers:
            server.transport.abort()
        await self._tasks.cancel()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(2**16)
    except OSError:
        return b""


@asynccontextmanager
async def pausing_proxy(target: str, path: Path) -> AsyncIterator[PausingProxy]:
    proxy = PausingProxy(target)
    server = await asyncio.start_unix_server(proxy.accept, path)
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()
        await server.wait_closed()
