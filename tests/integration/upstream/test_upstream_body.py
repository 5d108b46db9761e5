"""Bytes as they come, and the three ways an answer's body can end: properly, cut, silent."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.domain.errors import UpstreamCutError, UpstreamIdleError
from proxy.domain.ports import Reply
from proxy.upstream.client import HttpUpstreams
from routing.table import Timeouts
from tests.support.byte_server import ByteServer, Conversation, byte_server
from tests.support.routes import make_request, read_all, route_to

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
QUICK = Timeouts(connect_seconds=1, first_byte_seconds=1, idle_seconds=1)


def sized(body: bytes, claimed: int | None = None, extra: bytes = b"") -> bytes:
    length = len(body) if claimed is None else claimed
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n%s" % (length, extra, body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def answered(
    upstreams: HttpUpstreams, *parts: bytes, then: Callable[[Conversation], None] | None = None
) -> AsyncIterator[tuple[Reply, ByteServer]]:
    """An open reply to a server that sends these parts, and then closes unless told otherwise."""

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(*parts)
        if then is not None:
            then(talk)

    async with (
        byte_server(script) as server,
        upstreams.open(route_to(server.port, timeouts=QUICK), make_request()) as reply,
    ):
        yield reply, server


PROPER = {
    "length": ((sized(b"hello"),), b"hello"),
    "length in parts": ((sized(b"", 5), b"hel", b"lo"), b"hello"),
    "length split inside a character": ((sized(b"", 2), b"\xc3", b"\xa9"), "é".encode()),
    "length zero": ((sized(b""),), b""),
    "no content": ((b"HTTP/1.1 204 No Content\r\n\r\n",), b""),
    "chunks": ((CHUNKED, chunk(b"a"), chunk(b"b"), b"0\r\n\r\n"), b"ab"),
    "chunks in one segment": ((CHUNKED + chunk(b"a") + chunk(b"b") + b"0\r\n\r\n",), b"ab"),
    "split chunk header": ((CHUNKED, b"0", b"3\r", b"\nabc\r", b"\n0\r\n\r\n"), b"abc"),
    "chunk extension": ((CHUNKED, b"3;a=b\r\nabc\r\n0\r\n\r\n"), b"abc"),
    "trailers": ((CHUNKED, chunk(b"a"), b"0\r\nx-trailer: y\r\n\r\n"), b"a"),
    "until the end": ((TO_THE_END, b"hel", b"lo"), b"hello"),
    "HTTP/1.0": ((b"HTTP/1.0 200 OK\r\n\r\nhello",), b"hello"),
}


@pytest.mark.parametrize(("parts", "body"), PROPER.values(), ids=PROPER.keys())
async def test_proper_ends(upstreams: HttpUpstreams, parts: tuple[bytes, ...], body: bytes) -> None:
    async with answered(upstreams, *parts) as (reply, _):
        assert await read_all(reply) == body
        assert reply.is_at_end
        assert await reply.read() == b""


CUT = {
    "length short": ((sized(b"hel", 5),), b"hel"),
    "length, nothing": ((sized(b"", 5),), b""),
    "no last chunk": ((CHUNKED, chunk(b"a")), b"a"),
    "inside a chunk": ((CHUNKED, b"5\r\nab"), b"ab"),
    "inside a chunk's header": ((CHUNKED, chunk(b"a"), b"1"), b"a"),
    "inside the last chunk": ((CHUNKED, chunk(b"a"), b"0\r\n"), b"a"),
    "garbage for a chunk's header": ((CHUNKED, chunk(b"a"), b"zz\r\nab"), b"a"),
}


async def read_to_cut(reply: Reply) -> bytes:
    """What came before the cut. Fails where the body ends properly."""
    got = b""
    try:
        while data := await reply.read():
            got += data
    except UpstreamCutError:
        return got
    pytest.fail(f"ended properly after {got!r}")


@pytest.mark.parametrize(("parts", "body"), CUT.values(), ids=CUT.keys())
async def test_a_body_that_ends_short_of_its_framing_is_cut(
    upstreams: HttpUpstreams, parts: tuple[bytes, ...], body: bytes
) -> None:
    async with answered(upstreams, *parts) as (reply, _):
        assert await read_to_cut(reply) == body
        assert not reply.is_at_end
        with pytest.raises(UpstreamCutError):  # and stays so
            await reply.read()


@pytest.mark.parametrize(
    "parts",
    [(sized(b"hel", 5),), (CHUNKED, chunk(b"hel")), (TO_THE_END, b"hel")],
    ids=["length", "chunks", "until the end"],
)
async def test_a_reset_is_a_cut_whatever_the_framing(
    upstreams: HttpUpstreams, parts: tuple[bytes, ...]
) -> None:
    async with answered(upstreams, *parts, then=Conversation.reset) as (reply, _):
        assert await read_to_cut(reply) == b"hel"
        assert not reply.is_at_end


async def test_what_came_before_a_cut_is_not_lost_while_nobody_reads(
    upstreams: HttpUpstreams,
) -> None:
    async with answered(upstreams, CHUNKED, chunk(b"one"), chunk(b"two")) as (reply, server):
        await server.until_open(0)  # the client is slow; meanwhile the upstream has gone
        await asyncio.sleep(0.05)
        assert await read_to_cut(reply) == b"onetwo"


async def test_the_end_is_known_with_the_last_bytes(upstreams: HttpUpstreams) -> None:
    last = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(CHUNKED + chunk(b"first"))
        await last.wait()
        await talk.send(chunk(b"last") + b"0\r\n\r\n")
        await talk.ended()

    async with (
        byte_server(script) as server,
        upstreams.open(route_to(server.port), make_request()) as reply,
    ):
        assert await reply.read() == b"first"
        assert not reply.is_at_end
        last.set()
        assert await reply.read() == b"last"
        assert reply.is_at_end


async def test_silence_is_idle_and_data_is_not(upstreams: HttpUpstreams) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(CHUNKED)
        for _ in range(4):  # longer in all than the limit, never silent for so long
            await asyncio.sleep(0.4)
            await talk.send(chunk(b"."))
        await talk.ended()

    async with byte_server(script) as server:
        loop = asyncio.get_running_loop()
        async with upstreams.open(route_to(server.port, timeouts=QUICK), make_request()) as reply:
            for _ in range(4):
                assert await reply.read() == b"."
            since = loop.time()
            with pytest.raises(UpstreamIdleError):
                await reply.read()
            assert 0.9 < loop.time() - since < 1.5
            with pytest.raises(UpstreamIdleError):
                await reply.read()
            assert not reply.is_at_end
        await server.until_open(0)


async def test_a_slow_reader_is_not_an_idle_upstream(upstreams: HttpUpstreams) -> None:
    async with answered(upstreams, CHUNKED, chunk(b"a"), then=None) as (reply, _):
        await asyncio.sleep(1.3)
        assert await reply.read() == b"a"


async def test_an_upstream_is_read_no_faster_than_the_client_takes_it(
    upstreams: HttpUpstreams,
) -> None:
    sent = 0

    async def flood(talk: Conversation) -> None:
        nonlocal sent
        await talk.request()
        await talk.send(sized(b"", 2**40))
        while True:
            talk._writer.write(b"x" * 65536)
            await talk._writer.drain()
            sent += 65536

    async with byte_server(flood) as server:
        async with upstreams.open(route_to(server.port), make_request()) as reply:
            before = -1
            while before != sent:  # until the buffers of both sides are full
                before = sent
                await asyncio.sleep(0.1)
            assert sent < 16 * 2**20
            assert len(await reply.read()) <= 512 * 1024
        await server.until_open(0)


GZIP = b"content-encoding: gzip\r\n"
TEXT = b"data: {}\n\n" * 100


@pytest.mark.parametrize(
    ("body", "header"),
    [
        pytest.param(gzip.compress(TEXT), GZIP, id="gzip"),
        pytest.param(gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:]), GZIP, id="two members"),
        pytest.param(zlib.compress(TEXT), b"Content-Encoding: Deflate\r\n", id="deflate"),
        pytest.param(TEXT, b"content-encoding: identity\r\n", id="identity"),
        pytest.param(b"", GZIP, id="empty"),
    ],
)
async def test_a_compressed_body_is_decoded(
    upstreams: HttpUpstreams, body: bytes, header: bytes
) -> None:
    head = sized(b"", len(body), header)
    async with answered(upstreams, head, body[:30], body[30:]) as (reply, _):
        assert await read_all(reply) == (TEXT if body else b"")
        assert reply.is_at_end
        if b"identity" not in header:
            assert "content-encoding" not in reply.headers
            assert "content-length" not in reply.headers


@pytest.mark.parametrize(
    "body", [gzip.compress(TEXT)[:-9], b"not compressed at all"], ids=["short", "not gzip"]
)
async def test_a_compressed_body_that_cannot_be_decoded_is_cut(
    upstreams: HttpUpstreams, body: bytes
) -> None:
    async with answered(upstreams, sized(body, extra=GZIP)) as (reply, _):
        await read_to_cut(reply)


async def test_repeated_headers_are_joined_and_cookies_left_out(upstreams: HttpUpstreams) -> None:
    head = sized(b"", extra=b"X-A: 1\r\nx-a: 2\r\nSet-Cookie: secret=1\r\n")
    async with answered(upstreams, head) as (reply, _):
        assert reply.headers["x-a"] == "1, 2"
        assert "set-cookie" not in reply.headers
        assert all(name == name.lower() for name in reply.headers)
