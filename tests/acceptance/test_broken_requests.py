"""The table of what a broken request costs, row by row, over real sockets and stores.

Prices: 1000 nanos per input token, 2000 per output token. Every test ends with no hold left and
the charge that the row states.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.platform import Platform, PlatformFactory
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
USAGE_NANOS = 7 * 1000 + 5 * 2000
TEXT = "four letters are a token "


def delta(text: str | None = None, finish: str | None = None, **extra: object) -> dict:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up-m",
        "choices": [choice],
        **extra,
    }


def usage_chunk() -> dict:
    return {**delta(), "choices": [], "usage": USAGE}


def completion(**extra: object) -> dict:
    message = {"role": "assistant", "content": TEXT}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "up-m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        **extra,
    }


@asynccontextmanager
async def one_route(
    start_platform: PlatformFactory, script: object, *, up: dict | None = None, **settings: object
) -> AsyncIterator[tuple[Platform, ScriptedUpstream]]:
    async with ScriptedUpstream(script).running() as scripted:
        text = table(upstream("one", scripted.url, **(up or {})), model("m", "one"))
        async with start_platform(text, **settings) as platform:
            yield platform, scripted


async def test_no_upstream_accepted_it(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.json({"error": {"message": "boom"}}, 500)

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m")
        assert answer.status == 502
        assert answer.json()["error"]["code"] == "upstream_error"
        assert answer.headers["x-apilink-attempts"] == "1"
        await platform.charged(key, answer, 0, status="upstream_error", source="none")


async def test_upstream_finished(start_platform: PlatformFactory) -> None:
    async def script(seen: Seen, wire: Wire) -> None:
        assert seen.json()["model"] == "up-m"
        await wire.json(completion(usage=USAGE))

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m")
        assert answer.status == 200
        assert answer.headers["x-apilink-cost-nanos"] == str(USAGE_NANOS)
        assert answer.json()["usage"]["cost_nanos"] == USAGE_NANOS
        await platform.charged(key, answer, USAGE_NANOS, status="ok", source="reported")


async def test_upstream_finished_without_usage(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.json(completion())

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m")
        assert answer.status == 200
        row = await platform.charged(key, answer, None, status="ok", source="estimated")
        assert row["output"] == -(-len(TEXT) // 4)


async def test_client_left_before_a_request_was_written(start_platform: PlatformFactory) -> None:
    # A listener whose queue is full: the connection is neither taken nor refused.
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        text = table(upstream("one", url), model("m", "one"))
        async with start_platform(text) as platform:
            key = await platform.key()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await platform.chat(key, model="m")
            await platform.charged(key, None, 0, status="client_closed", source="none")


async def _read_first(platform: Platform, key: object, gone: asyncio.Event) -> None:
    """Streams until the first event has come, then hangs up."""
    async with platform.stream(key, model="m") as response:
        await response.content.readuntil(b"\n\n")
        response.close()
    gone.set()


async def test_client_left_and_the_upstream_stops(start_platform: PlatformFactory) -> None:
    closed = asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await wire.gone.wait()
        closed.set()

    async with one_route(start_platform, script, up={"on_cancel": "stops"}) as (platform, _):
        key = await platform.key()
        await _read_first(platform, key, asyncio.Event())
        async with asyncio.timeout(5):
            await closed.wait()
        row = await platform.charged(key, None, None, status="client_closed", source="estimated")
        assert row["output"] == -(-len(TEXT) // 4)


async def test_client_left_and_the_upstream_continues(start_platform: PlatformFactory) -> None:
    gone = asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await gone.wait()
        for _i in range(50):
            await wire.event(delta(TEXT))
        await wire.event(delta(finish="stop"))
        await wire.event(usage_chunk())
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        await _read_first(platform, key, gone)
        await platform.charged(key, None, USAGE_NANOS, status="client_closed", source="reported")


async def test_drain_ends_at_its_byte_limit(start_platform: PlatformFactory) -> None:
    gone, closed = asyncio.Event(), asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await gone.wait()
        try:
            while not wire.gone.is_set():
                await wire.event(delta(TEXT * 100))
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with one_route(start_platform, script, drain_bytes_max=50_000) as (platform, _):
        key = await platform.key()
        await _read_first(platform, key, gone)
        async with asyncio.timeout(10):
            await closed.wait()
        await platform.charged(key, None, None, status="client_closed", source="estimated")


async def test_client_left_while_the_head_is_awaited(start_platform: PlatformFactory) -> None:
    got, gone = asyncio.Event(), asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        got.set()
        await gone.wait()
        await wire.json(completion(usage=USAGE))

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        task = asyncio.get_running_loop().create_task(platform.chat(key, model="m"))
        await got.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await platform.client_noticed()
        gone.set()
        await platform.charged(key, None, USAGE_NANOS, status="client_closed", source="reported")


@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_upstream_cut_mid_stream(start_platform: PlatformFactory, how: str) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        if how == "reset":
            await asyncio.sleep(0.1)
            wire.reset()
        raise ConnectionResetError

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=True)
        assert answer.status == 200
        events = answer.events()
        assert events[0]["choices"][0]["delta"]["content"] == TEXT
        assert events[-1]["error"]["code"] == "upstream_error"
        assert b"[DONE]" not in answer.body
        row = await platform.charged(key, answer, None, status="upstream_cut", source="estimated")
        assert row["output"] == -(-len(TEXT) // 4)


async def test_upstream_silent_mid_stream(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await wire.gone.wait()

    up = {"timeouts": "{idle_seconds: 1}"}
    async with one_route(start_platform, script, up=up) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=True)
        assert answer.events()[-1]["error"]["code"] == "upstream_error"
        await platform.charged(key, answer, None, status="upstream_cut", source="estimated")


async def test_first_byte_timeout_is_not_tried_elsewhere(start_platform: PlatformFactory) -> None:
    async def silent(_: Seen, wire: Wire) -> None:
        await wire.gone.wait()

    async def never(_: Seen, wire: Wire) -> None:
        await wire.json(completion(usage=USAGE))

    slow = "{first_byte_seconds: 1}"
    async with (
        ScriptedUpstream(silent).running() as one,
        ScriptedUpstream(never).running() as two,
    ):
        ups = upstream("one", one.url, timeouts=slow) + upstream("two", two.url)
        async with start_platform(table(ups, model("m", "one", "two"))) as platform:
            key = await platform.key()
            answer = await platform.chat(key, model="m")
            assert answer.status == 504
            assert answer.json()["error"]["code"] == "upstream_timeout"
            assert not two.seen
            await platform.charged(key, answer, 0, status="upstream_timeout", source="none")


async def test_error_inside_a_stream_before_output(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event({"error": {"message": "overloaded", "code": 529}})
        await wire.end()

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=True)
        assert answer.events()[-1]["error"]["message"] == "overloaded"
        await platform.charged(key, answer, 0, status="upstream_error", source="none")


async def test_error_inside_a_stream_after_output(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await wire.event({"error": {"message": "overloaded", "code": 529}})
        await wire.end()

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=True)
        assert answer.events()[-1]["error"]["message"] == "overloaded"
        await platform.charged(key, answer, None, status="upstream_error", source="estimated")


async def test_error_inside_a_body(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.json({"error": {"message": "no", "code": 400}})

    async with one_route(start_platform, script) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m")
        assert answer.status == 502
        assert answer.json()["error"]["message"] == "no"
        await platform.charged(key, answer, 0, status="upstream_error", source="none")


async def test_hold_that_cannot_be_extended(start_platform: PlatformFactory) -> None:
    """The first hold covers 20 output tokens; the balance covers it, and not its double."""

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        while not wire.gone.is_set():
            await wire.event(delta(TEXT))
            await asyncio.sleep(0.002)

    async with one_route(start_platform, script, default_output_tokens=20) as (platform, _):
        hold = await platform.refused_hold_nanos(model="m", stream=True)
        key = await platform.key(nanos=hold + 19 * 2000)
        answer = await platform.chat(key, model="m", stream=True)
        error = answer.events()[-1]["error"]
        assert error["code"] == "insufficient_balance"
        assert error["type"] == "insufficient_quota"
        row = await platform.charged(key, answer, None, status="cut_balance", source="estimated")
        delivered = sum(
            len(event["choices"][0]["delta"]["content"]) for event in answer.events()[:-1]
        )
        assert row["output"] == -(-delivered // 4)


async def test_shutdown_cuts_a_stream(start_platform: PlatformFactory) -> None:
    first = asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        first.set()
        await wire.gone.wait()

    async with one_route(start_platform, script, shutdown_seconds_max=1) as (platform, _):
        key = await platform.key()
        task = asyncio.get_running_loop().create_task(platform.chat(key, model="m", stream=True))
        await first.wait()
        await platform.stop_gateway()
        answer = await task
        assert answer.events()[-1]["error"]["code"] == "overloaded"
        await platform.charged(key, answer, None, status="cut_drain", source="estimated")


async def test_client_gone_while_shutting_down(start_platform: PlatformFactory) -> None:
    """Two cancellations of one request: its drain is cut, and it is charged once."""

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await wire.gone.wait()

    async with one_route(start_platform, script, shutdown_seconds_max=1) as (platform, _):
        key = await platform.key()
        stop = asyncio.get_running_loop()
        async with platform.stream(key, model="m") as response:
            await response.content.readuntil(b"\n\n")
            stopping = stop.create_task(platform.stop_gateway())
            await asyncio.sleep(0.2)
            response.close()
        await stopping
        await platform.charged(key, None, None, status="client_closed", source="estimated")


async def test_upstream_refusal_of_the_content_passes(start_platform: PlatformFactory) -> None:
    refusal = {"error": {"message": "too long", "type": "invalid_request_error", "code": "x"}}

    async def script(_: Seen, wire: Wire) -> None:
        await wire.json(refusal, 400)

    async with (
        ScriptedUpstream(script).running() as one,
        ScriptedUpstream(script).running() as two,
    ):
        ups = upstream("one", one.url) + upstream("two", two.url)
        async with start_platform(table(ups, model("m", "one", "two"))) as platform:
            key = await platform.key()
            answer = await platform.chat(key, model="m")
            assert (answer.status, answer.json()) == (400, refusal)
            assert not two.seen
            await platform.charged(key, answer, 0, status="upstream_refused", source="none")


@pytest.mark.parametrize("status", [401, 402, 403, 404, 408, 429, 500, 503])
async def test_other_refusals_try_the_next_route(
    start_platform: PlatformFactory, status: int
) -> None:
    async def refuse(_: Seen, wire: Wire) -> None:
        await wire.json({"error": {"message": "our secret account", "code": "x"}}, status)

    async def serve(_: Seen, wire: Wire) -> None:
        await wire.json(completion(usage=USAGE))

    async with (
        ScriptedUpstream(refuse).running() as one,
        ScriptedUpstream(serve).running() as two,
    ):
        ups = upstream("one", one.url) + upstream("two", two.url, party="beta")
        async with start_platform(table(ups, model("m", "one", "two"))) as platform:
            key = await platform.key()
            answer = await platform.chat(key, model="m")
            assert answer.status == 200
            assert answer.headers["x-apilink-provider"] == "beta"
            assert answer.headers["x-apilink-attempts"] == "2"
            assert answer.headers["x-apilink-jurisdictions"] == "FR"
            await platform.charged(key, answer, USAGE_NANOS, status="ok", source="reported")


async def test_unreachable_upstream_tries_the_next_route(start_platform: PlatformFactory) -> None:
    async def serve(_: Seen, wire: Wire) -> None:
        await wire.json(completion(usage=USAGE))

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with ScriptedUpstream(serve).running() as two:
        ups = upstream("one", url) + upstream("two", two.url)
        async with start_platform(table(ups, model("m", "one", "two"))) as platform:
            key = await platform.key()
            answer = await platform.chat(key, model="m")
            assert (answer.status, answer.headers["x-apilink-attempts"]) == (200, "2")
            await platform.charged(key, answer, USAGE_NANOS, status="ok", source="reported")


async def test_an_answer_to_our_account_is_never_shown(start_platform: PlatformFactory) -> None:
    async def refuse(_: Seen, wire: Wire) -> None:
        await wire.json({"error": {"message": "Incorrect API key sk-secret-of-ours"}}, 401)

    async with one_route(start_platform, refuse) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m")
        assert answer.status == 503
        assert answer.json()["error"]["code"] == "no_route_available"
        assert b"secret" not in answer.body
        assert int(answer.headers["retry-after"]) <= 60
        await platform.charged(key, answer, 0, status="no_route_available", source="none")


async def test_silent_upstream_is_bridged_by_comments(start_platform: PlatformFactory) -> None:
    commented = asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await commented.wait()
        await wire.event(delta(finish="stop"))
        await wire.event(usage_chunk())
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    async with one_route(start_platform, script, keepalive_comment_seconds=1) as (platform, _):
        key = await platform.key()
        async with platform.stream(key, model="m") as response:
            while (line := await response.content.readline()) and not line.startswith(b":"):
                pass
            assert line.startswith(b":")
            commented.set()
            rest = await response.content.read()
            assert rest.rstrip().endswith(b"data: [DONE]")
        assert isinstance(response, aiohttp.ClientResponse)
        await platform.charged(key, None, USAGE_NANOS, status="ok", source="reported")
