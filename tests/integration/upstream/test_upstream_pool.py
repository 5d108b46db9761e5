"""Which connections are used again, and that none is ever lost."""

import asyncio

import pytest

from proxy.domain.errors import NoAnswerError, NotConnectedError
from proxy.upstream.client import HttpUpstreams
from tests.support.byte_server import Conversation, byte_server
from tests.support.routes import make_request, read_all, route_to

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def ask(upstreams: HttpUpstreams, port: int) -> bytes:
    async with upstreams.open(route_to(port), make_request()) as reply:
        return await read_all(reply)


async def answer_all(talk: Conversation) -> None:
    while True:
        await talk.request()
        await talk.send(OK)


async def test_a_read_answer_gives_its_connection_back(upstreams: HttpUpstreams) -> None:
    async with byte_server(answer_all) as server:
        for _ in range(5):
            assert await ask(upstreams, server.port) == b"ok"
        assert len(server.conversations) == 1


async def test_a_body_at_its_end_gives_its_connection_back_unread(
    upstreams: HttpUpstreams,
) -> None:
    async with byte_server(answer_all) as server:
        for _ in range(3):
            async with upstreams.open(route_to(server.port), make_request()) as reply:
                while not reply.is_at_end:
                    await reply.read()
        assert len(server.conversations) == 1


async def test_as_many_at_once_as_are_asked_for(upstreams: HttpUpstreams) -> None:
    together = asyncio.Barrier(200)

    async def script(talk: Conversation) -> None:
        await talk.request()
        await together.wait()
        await talk.send(OK)

    async with byte_server(script) as server, asyncio.timeout(10):
        answers = await asyncio.gather(*(ask(upstreams, server.port) for _ in range(200)))
        assert answers == [b"ok"] * 200


async def test_connection_close_is_obeyed(upstreams: HttpUpstreams) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        await talk.ended()

    async with byte_server(script) as server:
        assert await ask(upstreams, server.port) == b"ok"
        assert await ask(upstreams, server.port) == b"ok"
        assert len(server.conversations) == 2
        await server.until_open(0)


async def test_leaving_early_closes_the_connection(upstreams: HttpUpstreams) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(STREAM + b"1\r\na\r\n")
        await talk.ended()

    async with byte_server(script) as server:
        async with upstreams.open(route_to(server.port), make_request()) as reply:
            assert await reply.read() == b"a"
        await server.until_open(0)


async def test_a_connection_that_died_idle_is_replaced_before_anything_is_written(
    upstreams: HttpUpstreams,
) -> None:
    """The peer's FIN is in the kernel, and the loop has had no turn to see it."""
    requests = 0

    async def script(talk: Conversation) -> None:
        nonlocal requests
        while True:
            await talk.request()
            requests += 1
            await talk.send(OK)

    async with byte_server(script) as server:
        assert await ask(upstreams, server.port) == b"ok"
        server.conversations[0].shut_down_now()
        assert await ask(upstreams, server.port) == b"ok"
        assert requests == 2
        assert len(server.conversations) == 2


async def test_an_answer_nobody_asked_for_is_given_to_nobody(upstreams: HttpUpstreams) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(OK)
        if talk.number == 1:
            await talk.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await talk.ended()

    async with byte_server(script) as server:
        assert await ask(upstreams, server.port) == b"ok"
        await asyncio.sleep(0.02)  # the stray bytes are in the pooled connection's buffer
        assert await ask(upstreams, server.port) == b"ok"
        assert len(server.conversations) == 2
        await server.until_open(1)


async def test_a_connection_that_dies_with_the_request_on_it_is_no_answer_and_not_repeated(
    upstreams: HttpUpstreams,
) -> None:
    """Whether the upstream has worked on it cannot be known: it is not sent twice."""
    received = 0

    async def script(talk: Conversation) -> None:
        nonlocal received
        await talk.request()
        received += 1
        await talk.send(OK)
        await talk.request()
        received += 1

    async with byte_server(script) as server:
        assert await ask(upstreams, server.port) == b"ok"
        with pytest.raises(NoAnswerError):
            await ask(upstreams, server.port)
        assert received == 2
        assert len(server.conversations) == 1


async def test_a_restarted_upstream_is_reached_again(upstreams: HttpUpstreams) -> None:
    async with byte_server(answer_all) as server:
        port = server.port
        await asyncio.gather(*(ask(upstreams, port) for _ in range(5)))
    with pytest.raises(NotConnectedError):
        await ask(upstreams, port)
    async with byte_server(answer_all, port=port):
        assert await ask(upstreams, port) == b"ok"


async def hang_before_reading(talk: Conversation) -> None:
    await talk.ended() if talk.number > 1 else await asyncio.sleep(3600)


async def hang_after_the_request(talk: Conversation) -> None:
    await talk.request()
    await talk.ended()


async def hang_in_the_head(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    await talk.ended()


async def hang_in_the_body(talk: Conversation) -> None:
    await talk.request()
    await talk.send(STREAM + b"1\r\na\r\n")
    await talk.ended()


@pytest.mark.parametrize("body_bytes", [10, 16 * 2**20], ids=["small", "large"])
@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 50])
@pytest.mark.parametrize("script", [hang_after_the_request, hang_in_the_head, hang_in_the_body])
async def test_cancellation_leaks_nothing(
    upstreams: HttpUpstreams, script: object, turns: int, body_bytes: int
) -> None:
    """Cancelled after so many turns of the loop: in connect, write, the head and the body."""
    assert callable(script)

    async def hang(port: int) -> None:
        async with upstreams.open(route_to(port), make_request(b"x" * body_bytes)) as reply:
            await read_all(reply)

    async with byte_server(script) as server:
        task = asyncio.get_running_loop().create_task(hang(server.port))
        for _ in range(turns):
            await asyncio.sleep(0.001 if turns == 50 else 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until_open(0)
    connector = upstreams._transport._session.connector
    assert connector is not None
    assert not connector._acquired
    assert not connector._conns
    assert not upstreams._transport._idle._watched


async def test_cancelled_while_the_upstream_does_not_read(upstreams: HttpUpstreams) -> None:
    async with byte_server(hang_before_reading) as server:
        opening = upstreams.open(route_to(server.port), make_request(b"x" * 16 * 2**20))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(opening.__aenter__(), 0.2)
        connector = upstreams._transport._session.connector
        assert connector is not None
        assert not connector._acquired


async def test_closing_ends_every_connection(upstreams: HttpUpstreams) -> None:
    async with byte_server(answer_all) as server:
        await asyncio.gather(*(ask(upstreams, server.port) for _ in range(4)))
        assert server.open_count > 0
        await upstreams._transport._session.close()
        await server.until_open(0)
