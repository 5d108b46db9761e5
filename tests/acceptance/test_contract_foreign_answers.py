"""A success that is none: pages of proxies, empty answers, the wrong form. What the client gets is
an error of ours, none of their bytes and headers, and no bill."""

import pytest

from tests.support.answers import TEXT, delta, platform_with
from tests.support.platform import PlatformFactory
from tests.support.raw_http import RawConnection, request
from tests.support.scripted_upstream import Seen, Wire

PAGE = b"<html><body>Account 1234 is blocked, ray id 77</body></html>"


async def page(_: Seen, wire: Wire) -> None:
    await wire.answer(200, PAGE, content_type="text/html; charset=utf-8", set_cookie="a=b")


async def page_as_xml(_: Seen, wire: Wire) -> None:
    await wire.answer(200, b"<?xml version='1.0'?><Error/>", content_type="application/xml")


async def nothing(_: Seen, wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")


async def events(_: Seen, wire: Wire) -> None:
    await wire.sse()
    await wire.event(delta(TEXT))
    await wire.event(delta(finish="stop"))
    await wire.end()


CASES = [(script, stream) for script in (page, page_as_xml, nothing) for stream in (False, True)]


@pytest.mark.parametrize(("script", "stream"), [*CASES, (events, False)])
async def test_a_success_in_a_foreign_form_is_the_upstreams_error(
    start_platform: PlatformFactory, script: object, *, stream: bool
) -> None:
    async with platform_with(start_platform, {"m": script}) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=stream)
        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_error")
        assert answer.headers["content-type"] == "application/json"
        assert b"ray id" not in answer.body
        assert "set-cookie" not in answer.headers
        await platform.charged(key, answer, 0, status="upstream_error", source="none")


async def test_a_stream_is_a_200_whatever_success_the_upstream_says(
    start_platform: PlatformFactory,
) -> None:
    """206 and the like say something of a resource; 204 would end the message before its body."""

    async def partial(_: Seen, wire: Wire) -> None:
        await wire.head(206, content_type="text/event-stream")
        await wire.event(delta(TEXT))
        await wire.event(delta(finish="stop"))
        await wire.end()

    async with platform_with(start_platform, {"m": partial}) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=True)
        assert answer.status == 200
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_an_empty_success_leaves_the_connection_in_order(
    start_platform: PlatformFactory,
) -> None:
    """Chunks behind a 204 would be read as the beginning of the next answer."""
    async with platform_with(start_platform, {"m": nothing}) as (platform, _):
        key = await platform.key()
        port = int(platform.running.base_url.rpartition(":")[2])
        auth = f"authorization: Bearer {key}"
        body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}'
        async with await RawConnection.open(port) as connection:
            connection.write(request("/v1/chat/completions", auth, body=body))
            assert (await connection.answer()).status == 502
            connection.write(request("/v1/models", auth, method="GET"))
            assert (await connection.answer()).status == 200
