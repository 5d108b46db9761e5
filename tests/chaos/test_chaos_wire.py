"""Each way in which a wire breaks, on an echo server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.wire import DELAY_SECONDS, Mode, Streams, Wire, dial_port

SOON = 0.2


class Echo:
    """Answers what it gets; `heard` is all of it, `gone` counts connections that ended."""

    def __init__(self) -> None:
        self.heard = b""
        self.changed = asyncio.Event()
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1024):
                self.heard += data
                self.changed.set()
                writer.write(data)
                await writer.drain()
        self.gone.set()
        writer.transport.abort()

    async def hears(self, data: bytes) -> None:
        async with asyncio.timeout(5):
            while data not in self.heard:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Echo, Wire]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = Wire("test", dial_port(lambda: port))
    try:
        async with wire.running():
            yield echo, wire
    finally:
        server.close()


@asynccontextmanager
async def connected(wire: Wire) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def said(streams: Streams, data: bytes) -> bytes:
    streams[1].write(data)
    async with asyncio.timeout(5):
        return await streams[0].readexactly(len(data))


async def is_silent(streams: Streams) -> bool:
    try:
        async with asyncio.timeout(SOON):
            await streams[0].read(1)
    except TimeoutError:
        return True
    return False


async def test_bytes_and_farewells_pass() -> None:
    async with echoing() as (echo, wire):
        async with connected(wire) as streams:
            assert await said(streams, b"x" * 200_000) == b"x" * 200_000
        async with asyncio.timeout(5):
            await echo.gone.wait()


async def test_a_reset_reaches_both_and_whoever_comes() -> None:
    async with echoing() as (echo, wire), connected(wire) as streams:
        await said(streams, b"one")
        wire.mode = Mode.RESET
        with pytest.raises(ConnectionResetError):
            await streams[0].readexactly(1)
        await asyncio.wait_for(echo.gone.wait(), 5)
        async with connected(wire) as late:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await said(late, b"two")
        wire.mode = Mode.PASS
        async with connected(wire) as again:
            assert await said(again, b"three") == b"three"
        assert b"two" not in echo.heard


async def test_a_black_hole_delivers_when_it_ends_also_for_those_who_left() -> None:
    async with echoing() as (echo, wire):
        async with connected(wire) as streams:
            await said(streams, b"one")
            wire.mode = Mode.BLACK_HOLE
            streams[1].write(b"two")
            assert await is_silent(streams)
            assert echo.heard == b"one"
        wire.mode = Mode.PASS
        await echo.hears(b"two")


async def test_one_way_asks_and_hears_no_answer_until_later() -> None:
    async with echoing() as (echo, wire), connected(wire) as streams:
        await said(streams, b"one")
        wire.mode = Mode.ONE_WAY
        streams[1].write(b"two")
        await echo.hears(b"two")
        assert await is_silent(streams)
        wire.mode = Mode.PASS
        assert await asyncio.wait_for(streams[0].readexactly(3), 5) == b"two"


async def test_a_delay() -> None:
    async with echoing() as (_, wire), connected(wire) as streams:
        wire.mode = Mode.DELAY
        begun = asyncio.get_running_loop().time()
        streams[1].write(b"late")
        await asyncio.wait_for(streams[0].readexactly(4), 4 * DELAY_SECONDS)
        assert asyncio.get_running_loop().time() - begun >= DELAY_SECONDS


async def test_half_open_the_far_side_is_told_and_the_near_side_never() -> None:
    async with echoing() as (echo, wire), connected(wire) as streams:
        await said(streams, b"one")
        wire.half_open()
        await asyncio.wait_for(echo.gone.wait(), 5)
        streams[1].write(b"two")
        assert await is_silent(streams)
        assert echo.heard == b"one"
        async with connected(wire) as other:
            assert await said(other, b"three") == b"three"


async def test_a_cut_passes_half() -> None:
    async with echoing() as (echo, wire), connected(wire) as streams:
        await said(streams, b"one")
        wire.cut_next()
        streams[1].write(b"12345678")
        await echo.hears(b"1234")
        await asyncio.wait_for(echo.gone.wait(), 5)
        assert echo.heard == b"one1234"


async def test_nobody_listens() -> None:
    wire = Wire("test", dial_port(lambda: 0))
    async with wire.running(), connected(wire) as streams:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await said(streams, b"one")
