"""A unix socket in front of a server that a test can stop, cut, and make forget answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from proxy.domain.finish import TaskSet


class PausingProxy:
    """`hold_requests`: what clients send waits here, even where they give up; `deliver_held` lets
    it reach the server afterwards, as a network may do. `hold_answers`: the server runs every call,
    and the answers wait here. `cut` closes every connection; `is_refusing` new ones as well."""

    def __init__(self, target: str) -> None:
        self.seen = asyncio.Event()  # a request arrived
        self.is_refusing = False
        self._target = target
        self._is_holding = False
        self._answers_flow = asyncio.Event()
        self._answers_flow.set()
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._clients: set[asyncio.StreamWriter] = set()
        self._servers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._passing: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._tasks = TaskSet()

    def hold_requests(self) -> None:
        self._is_holding = True

    def hold_answers(self) -> None:
        self._answers_flow.clear()

    def resume(self) -> None:
        self._is_holding = False
        self._answers_flow.set()

    def cut(self) -> None:
        for client in self._clients:
            client.transport.abort()

    async def deliver_held(self) -> None:
        held, self._held = self._held, []
        for server, data in held:
            server.write(data)
        for server in {server for server, _ in held}:
            server.write_eof()
            if (passing := self._passing.pop(server, None)) is not None:
                await asyncio.wait({passing})  # the server ends it when it has run everything
            await self._closed(server)

    async def accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        if not self.is_refusing:
            await self._serve(reader, client)
        client.transport.abort()
        await _wait_closed(client)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_unix_connection(self._target)
        self._clients.add(client)
        self._servers.add(server)
        passing = self._tasks.start(self._pass_answers(answers, client), name="answers")
        while data := await _read(reader):
            self.seen.set()
            if self._is_holding:
                self._held.append((server, data))
            else:
                server.write(data)
        self._clients.discard(client)
        if any(held is server for held, _ in self._held):
            self._passing[server] = passing
        else:
            passing.cancel()
            await self._closed(server)

    async def _pass_answers(
        self, answers: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        while data := await _read(answers):
            await self._answers_flow.wait()
            if not client.is_closing():
                client.write(data)
        client.close()

    async def _closed(self, server: asyncio.StreamWriter) -> None:
        self._servers.discard(server)
        server.close()
        await _wait_closed(server)

    async def close(self) -> None:
        self.cut()
        while self._handlers:
            await asyncio.wait(self._handlers)
        await self._tasks.cancel()
        for server in list(self._servers):
            await self._closed(server)


async def _wait_closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.wait_closed()


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
        server.close()
        await proxy.close()
        await server.wait_closed()
