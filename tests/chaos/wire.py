"""A TCP link between two processes that can break in the ways that networks do.

`Wire.mode` is switched at run time and applies to open and new connections alike; `reset`,
`half_open` and `cut_next` happen at once to the connections that are open.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.domain.finish import TaskSet

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]

DELAY_SECONDS = 2
_READ_BYTES = 2**16
_LINGER_NOT = struct.pack("ii", 1, 0)  # close() sends a reset


class Mode(StrEnum):
    PASS = "pass"
    RESET = "reset"  # whoever connects is reset, as by a host without a listener
    BLACK_HOLE = "black_hole"  # nothing arrives; afterwards all of it does, as TCP sends again
    ONE_WAY = "one_way"  # what is asked arrives, and the answers come afterwards
    DELAY = "delay"  # what is read waits for two seconds, and what comes meanwhile waits with it


@dataclass(eq=False)
class _Connection:
    near: asyncio.StreamWriter  # whoever connected
    far: asyncio.StreamWriter
    is_deaf: bool = False  # half-open: the far side is gone, and the near side is not told
    will_cut: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def abort(self) -> None:
        for writer in (self.near, self.far):
            _reset(writer)
        self.ended.set()


class Wire:
    def __init__(self, name: str, dial: Dial) -> None:
        self.name = name
        self.dial = dial
        self.port = 0
        self._open: set[_Connection] = set()
        self._tasks = TaskSet()
        self._there = asyncio.Event()  # set while bytes flow to the far side
        self._back = asyncio.Event()
        self.mode = Mode.PASS

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        _let(self._there, flow=mode is not Mode.BLACK_HOLE)
        _let(self._back, flow=mode not in (Mode.BLACK_HOLE, Mode.ONE_WAY))
        if mode is Mode.RESET:
            self.reset()

    def reset(self) -> None:
        for connection in list(self._open):
            connection.abort()

    def half_open(self) -> None:
        """The far side sees its peer gone; the near side sees nothing, ever."""
        for connection in self._open:
            connection.is_deaf = True
            _reset(connection.far)

    def cut_next(self) -> None:
        """Each open connection passes half of the next bytes that come, and is reset."""
        for connection in self._open:
            connection.will_cut = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.mode = Mode.PASS
            self.reset()
            await self._tasks.wait(seconds=5)
            await self._tasks.cancel()

    def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        _ = self._tasks.start(self._serve(reader, near), name=f"wire {self.name}")

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        await self._there.wait()
        if self._mode is Mode.RESET:
            _reset(near)
            return
        try:
            far_reader, far = await self.dial()
        except OSError:
            _reset(near)
            return
        connection = _Connection(near, far)
        self._open.add(connection)
        ways = (
            self._pump(connection, reader, far),
            self._pump(connection, far_reader, near),
        )
        tasks = [self._tasks.start(way, name=f"way {self.name}") for way in ways]
        try:
            await connection.ended.wait()
        finally:
            self._open.discard(connection)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for writer in (near, far):
                writer.close()

    async def _pump(
        self, connection: _Connection, source: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        """One direction. The first of the two that ends ends the connection, except of a half-open
        one: that stays silent until its near side leaves."""
        flows = self._back if to is connection.near else self._there
        with suppress(OSError):
            while data := await source.read(_READ_BYTES):
                if connection.is_deaf:
                    continue
                if self._mode is Mode.DELAY:
                    await asyncio.sleep(DELAY_SECONDS)
                await flows.wait()
                if connection.will_cut:
                    to.write(data[: len(data) // 2])
                    with suppress(OSError, TimeoutError):
                        await asyncio.wait_for(to.drain(), 1)
                    connection.abort()
                    return
                to.write(data)
                await to.drain()
        if connection.is_deaf and to is connection.near:
            return
        await flows.wait()  # a farewell is lost in a black hole as well
        await self._bid_farewell(to)
        connection.ended.set()

    async def _bid_farewell(self, to: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):
            if not to.is_closing():
                to.close()
                await asyncio.wait_for(to.wait_closed(), 1)


def _let(event: asyncio.Event, *, flow: bool) -> None:
    if flow:
        event.set()
    else:
        event.clear()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_INET and not writer.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


def dial_unix(path: str) -> Dial:
    return lambda: asyncio.open_unix_connection(path)


def dial_port(find_port: Callable[[], int]) -> Dial:
    """`find_port` is asked each time: whoever is restarted gets another port; 0 is none yet."""

    async def dial() -> Streams:
        port = find_port()
        if not port:
            raise ConnectionRefusedError("nobody listens")
        return await asyncio.open_connection("127.0.0.1", port)

    return dial
