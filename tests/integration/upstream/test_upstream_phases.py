"""What a failure before the answer's head is called, and what had left the house by then."""

import asyncio
import socket

import pytest

from proxy.domain.errors import (
    FirstByteTimeoutError,
    NoAnswerError,
    NotConnectedError,
    UpstreamError,
)
from proxy.upstream.client import HttpUpstreams
from routing.table import Timeouts
from tests.support.byte_server import Conversation, byte_server
from tests.support.routes import make_request, make_route, make_upstream, read_all, route_to

QUICK = Timeouts(connect_seconds=1, first_byte_seconds=1, idle_seconds=1)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Written:
    """Counts how often a request began to leave."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


async def fail(upstreams: HttpUpstreams, port: int, expected: type[UpstreamError]) -> int:
    """Opens, expects exactly this phase, and says how often the request was written."""
    written = Written()
    with pytest.raises(expected) as caught:
        async with upstreams.open(route_to(port, timeouts=QUICK), make_request(on_written=written)):
            pytest.fail("there was no answer")
    assert type(caught.value) is expected
    assert "sk-acme-secret" not in repr(caught.value)
    assert caught.value.__context__ is None
    return written.times


async def test_refused_connection_is_not_connected(upstreams: HttpUpstreams) -> None:
    with socket.socket() as bound:  # bound, not listening: nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        assert await fail(upstreams, bound.getsockname()[1], NotConnectedError) == 0


async def test_unknown_host_is_not_connected(upstreams: HttpUpstreams) -> None:
    route = make_route(make_upstream("http://nowhere.invalid/v1"), timeouts=QUICK)
    with pytest.raises(NotConnectedError):
        async with upstreams.open(route, make_request()):
            pytest.fail("there was no answer")


async def test_connect_timeout_is_not_connected(upstreams: HttpUpstreams) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):  # the queue is full: a further SYN is not answered
                filler.settimeout(0)
                filler.connect_ex(full.getsockname())
            assert await fail(upstreams, full.getsockname()[1], NotConnectedError) == 0


async def test_silence_after_the_request_is_a_first_byte_timeout(upstreams: HttpUpstreams) -> None:
    async def silent(talk: Conversation) -> None:
        await talk.request()
        await talk.ended()

    async with byte_server(silent) as server:
        assert await fail(upstreams, server.port, FirstByteTimeoutError) == 1
        await server.until_open(0)


async def test_a_head_that_never_ends_is_a_first_byte_timeout(upstreams: HttpUpstreams) -> None:
    async def trickle(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000):
            await talk.send(b"x-%d: y\r\n" % number)
            await asyncio.sleep(0.1)

    async with byte_server(trickle) as server:
        assert await fail(upstreams, server.port, FirstByteTimeoutError) == 1


async def test_a_server_that_does_not_read_is_a_first_byte_timeout(
    upstreams: HttpUpstreams,
) -> None:
    async def deaf(talk: Conversation) -> None:
        await asyncio.sleep(60)
        del talk

    request = make_request(b"x" * 16 * 2**20)
    async with byte_server(deaf) as server:
        with pytest.raises(FirstByteTimeoutError):
            async with upstreams.open(route_to(server.port, timeouts=QUICK), request):
                pytest.fail("there was no answer")


async def test_writing_and_waiting_have_limits_of_their_own(upstreams: HttpUpstreams) -> None:
    """Longer in all than the limit on connecting, and than one limit on the first byte."""
    body_bytes = 32 * 2**20

    async def slow(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.2)
        await talk.reader.readexactly(body_bytes)
        await asyncio.sleep(1.2)
        await talk.send(OK)

    limits = Timeouts(connect_seconds=1, first_byte_seconds=2, idle_seconds=1)
    async with byte_server(slow) as server:
        opening = upstreams.open(
            route_to(server.port, timeouts=limits), make_request(b"x" * body_bytes)
        )
        async with opening as reply:
            assert await read_all(reply) == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="half a head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="interim only"),
        pytest.param(b"SMTP ready\r\n\r\n", id="garbage"),
        pytest.param(b"HTTP/1.1 2OO OK\r\n\r\n", id="bad status"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", id="bad length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", id="long header"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(500)) + b"\r\n",
            id="many headers",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two framings",
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            id="upgrade",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx",
            id="a coding we did not ask for and cannot read",
        ),
    ],
)
async def test_an_end_or_garbage_instead_of_a_head_is_no_answer(
    upstreams: HttpUpstreams, answer: bytes
) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(answer)

    async with byte_server(script) as server:
        assert await fail(upstreams, server.port, NoAnswerError) == 1
        await server.until_open(0)
        assert len(server.conversations) == 1


async def test_a_reset_after_the_request_is_no_answer(upstreams: HttpUpstreams) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        talk.reset()

    async with byte_server(script) as server:
        assert await fail(upstreams, server.port, NoAnswerError) == 1
        assert len(server.conversations) == 1


async def test_interim_answers_are_passed_over(upstreams: HttpUpstreams) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", OK
        )

    async with (
        byte_server(script) as server,
        upstreams.open(route_to(server.port), make_request()) as reply,
    ):
        assert reply.status == 200
        assert await read_all(reply) == b"ok"


async def test_redirects_are_answers_and_not_followed(upstreams: HttpUpstreams) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/\r\n"
            b"content-length: 0\r\n\r\n"
        )
        await talk.ended()

    async with (
        byte_server(script) as server,
        upstreams.open(route_to(server.port), make_request()) as reply,
    ):
        assert reply.status == 307
        assert reply.headers["location"] == "http://127.0.0.1:9/"
        assert await reply.read() == b""


async def test_what_the_upstream_gets(upstreams: HttpUpstreams) -> None:
    seen: list[tuple[str, bytes]] = []

    async def script(talk: Conversation) -> None:
        seen.append(await talk.request())
        await talk.send(OK)

    headers = {
        "Anthropic-Beta": "x",
        "Authorization": "Bearer customer",
        "X-Api-Key": "customer",
        "Accept-Encoding": "gzip",
        "Transfer-Encoding": "chunked",
        "Cookie": "a=b",
    }
    async with byte_server(script) as server:
        upstream = make_upstream(f"http://127.0.0.1:{server.port}/v1")
        route = make_route(upstream, headers={"X-Route": "r"})
        async with upstreams.open(route, make_request(b"{}", headers)) as reply:
            await read_all(reply)
    head, body = seen[0]
    lines = head.lower().split("\r\n")
    assert lines[0] == "post /v1/chat/completions http/1.1"
    assert body == b"{}"
    given = dict(line.split(": ", 1) for line in lines[1:] if line)
    assert given.pop("host") == f"127.0.0.1:{server.port}"
    assert given.pop("user-agent").startswith("apilink/")
    assert given == {
        "authorization": "bearer sk-acme-secret",
        "accept-encoding": "identity",
        "content-length": "2",
        "content-type": "application/json",
        "anthropic-beta": "x",
        "x-route": "r",
    }
    assert "customer" not in head


async def test_an_answer_before_the_body_was_written_is_read_and_not_pooled(
    upstreams: HttpUpstreams,
) -> None:
    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await talk.ended()

    async with byte_server(script) as server:
        route = route_to(server.port)
        async with upstreams.open(route, make_request(b"x" * 16 * 2**20)) as reply:
            assert reply.status == 413
            assert await read_all(reply) == b"no"
        await server.until_open(0)
