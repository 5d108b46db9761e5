"""A stream's bytes, event by event, from an upstream that waits for the client before each next
one: whatever were held back would stop both for good."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import orjson

from tests.support.answers import TEXT, USAGE_NANOS, delta, platform_with, usage_chunk
from tests.support.platform import Platform, PlatformFactory, TestKey, chat_body
from tests.support.raw_http import RawConnection, request
from tests.support.scripted_upstream import Script, Seen, Wire

DONE = b"data: [DONE]\n\n"
SECONDS_MAX = 20


class Turns:
    """The upstream sends when the client has read: `taken` on one side, `next` on the other."""

    def __init__(self) -> None:
        self._semaphore = asyncio.Semaphore(0)

    async def next(self) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await self._semaphore.acquire()

    def taken(self) -> None:
        self._semaphore.release()


def raw_event(value: object, line_end: bytes = b"\n") -> bytes:
    return b"data: " + orjson.dumps(value) + line_end * 2


@asynccontextmanager
async def streaming(
    platform: Platform, key: TestKey, **fields: object
) -> AsyncIterator[aiohttp.ClientResponse]:
    async with asyncio.timeout(SECONDS_MAX), platform.stream(key, model="m", **fields) as response:
        assert response.status == 200
        yield response


CUTS = (None, 1, 7, -3, -1)


async def test_each_event_is_out_before_the_next_is_sent(start_platform: PlatformFactory) -> None:
    """With every line end, and with packets that end inside the following event: that is held
    back, and nothing else. `cut` says how far inside, from its begin or from its end."""
    turns = Turns()
    values = [delta(f"{n} \u2028 é") for n in range(12)] + [delta(finish="stop")]

    async def script(seen: Seen, wire: Wire) -> None:
        line_end, cut = seen.json()["line_end"].encode(), seen.json()["cut"]
        events = [raw_event(value, line_end) for value in values]
        whole = b"".join(events) + b"data: [DONE]" + line_end * 2
        await wire.sse()
        at = sent = 0
        for event in events:
            at += len(event)
            ahead = at if cut is None else at + cut % len(event)
            await wire.chunk(whole[sent:ahead])
            sent = min(ahead, len(whole))
            await turns.next()
        await wire.chunk(whole[sent:] or b"\n")
        await wire.end()

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        key = await platform.key()
        for line_end, cut in itertools.product(("\n", "\r\n"), CUTS):
            async with streaming(platform, key, line_end=line_end, cut=cut) as response:
                for value in values:
                    event = raw_event(value, line_end.encode())
                    assert await response.content.readexactly(len(event)) == event
                    turns.taken()
                ending = f"data: [DONE]{line_end * 2}".encode()
                assert await response.content.read() == ending


async def test_no_event_waits_for_an_acknowledgement(start_platform: PlatformFactory) -> None:
    """Small writes on a connection without TCP_NODELAY come in steps of 40 ms."""
    turns = Turns()
    event = raw_event(delta("x"))

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        for _i in range(60):
            await wire.chunk(event[:9])
            await wire.chunk(event[9:])
            await turns.next()
        await wire.chunk(raw_event(delta(finish="stop")) + DONE)
        await wire.end()

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        rounds = []
        async with streaming(platform, await platform.key()) as response:
            for _i in range(60):
                began = time.perf_counter()
                await response.content.readexactly(len(event))
                rounds.append(time.perf_counter() - began)
                turns.taken()
            await response.content.read()
        assert statistics.median(rounds[5:]) < 0.025


async def test_a_comment_of_ours_never_stands_inside_an_event(
    start_platform: PlatformFactory,
) -> None:
    turns = Turns()
    event = raw_event(delta(TEXT))

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.chunk(b": THEIR COMMENT\n\n" + event + event[:20])
        await turns.next()
        await wire.chunk(event[20:] + b": theirs again\n" + raw_event(delta(finish="stop")) + DONE)
        await wire.end()

    async with platform_with(start_platform, {"m": script}, keepalive_comment_seconds=1) as (
        platform,
        _,
    ):
        async with streaming(platform, await platform.key()) as response:
            assert await response.content.readexactly(len(event)) == event
            comment = await response.content.readuntil(b"\n\n")
            assert comment == b": keep-alive\n\n"
            turns.taken()
            rest = await response.content.read()
        rest = rest.replace(b": keep-alive\n\n", b"")
        assert rest == event + raw_event(delta(finish="stop")) + DONE


async def test_no_comment_comes_before_the_upstream_has_accepted(
    start_platform: PlatformFactory,
) -> None:
    """A status cannot be taken back: while the upstream may still refuse, nothing is sent."""
    asked, turns = asyncio.Event(), Turns()

    async def script(_: Seen, wire: Wire) -> None:
        asked.set()
        await turns.next()
        await wire.json({"error": {"message": "too long", "type": "invalid_request_error"}}, 400)

    async with platform_with(start_platform, {"m": script}, keepalive_comment_seconds=1) as (
        platform,
        _,
    ):
        key = await platform.key()
        waiting = asyncio.get_running_loop().create_task(platform.chat(key, model="m", stream=True))
        await asked.wait()
        for _i in range(3):
            platform.running.gateway.comment_once()
            await asyncio.sleep(0)
        turns.taken()
        answer = await waiting
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")


USAGE_SCRIPTS: dict[str, Callable[[], list[dict]]] = {
    "own-chunk": lambda: [delta(TEXT), delta(finish="stop"), usage_chunk()],
    "beside-finish": lambda: [delta(TEXT), {**usage_chunk(), **delta(finish="stop")}],
    "null-before": lambda: [
        delta(TEXT, usage=None),
        delta(finish="stop", usage=None),
        usage_chunk(),
    ],
}


def sending(chunks: list[dict]) -> Script:
    async def script(seen: Seen, wire: Wire) -> None:
        assert seen.json()["stream_options"] == {"include_usage": True}
        await wire.sse()
        for chunk in chunks:
            await wire.event(chunk)
        await wire.chunk(DONE)
        await wire.end()

    return script


async def test_usage_is_asked_of_every_upstream_and_told_to_who_asked(
    start_platform: PlatformFactory,
) -> None:
    scripts = {name: sending(make()) for name, make in USAGE_SCRIPTS.items()}
    async with platform_with(start_platform, scripts) as (platform, _):
        for name, make in USAGE_SCRIPTS.items():
            for options in (None, {}, {"include_usage": False}):
                key = await platform.key()
                fields = {} if options is None else {"stream_options": options}
                answer = await platform.chat(key, model=name, stream=True, **fields)
                assert b"usage" not in answer.body
                assert answer.events() == [delta(TEXT), delta(finish="stop")]
                await platform.charged(key, answer, USAGE_NANOS, status="ok", source="reported")
            key = await platform.key()
            asking = {"stream_options": {"include_usage": True}}
            answer = await platform.chat(key, model=name, stream=True, **asking)
            (told,) = [event["usage"] for event in answer.events() if event.get("usage")]
            assert told["cost_nanos"] == USAGE_NANOS
            assert told["cost"] == USAGE_NANOS / 10**9
            assert len(answer.events()) == len(make())


async def test_an_event_beyond_the_bound_ends_the_stream(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        await wire.event(delta(TEXT))
        await wire.chunk(b'data: {"canary":"')
        while not wire.gone.is_set():
            await wire.chunk(b"canary" * 10_000)

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=True)
        assert answer.events()[0] == delta(TEXT)
        assert answer.events()[-1]["error"]["code"] == "upstream_error"
        assert b"canary" not in answer.body
        assert len(answer.events()) == 2
        await platform.charged(key, answer, None, status="upstream_cut", source="estimated")


async def test_an_event_just_below_the_bound_passes_whole(start_platform: PlatformFactory) -> None:
    text = "x" * (8 * 2**20 - 1000)

    async def script(_: Seen, wire: Wire) -> None:
        await wire.sse()
        raw = raw_event(delta(text))
        for at in range(0, len(raw), 50_000):
            await wire.chunk(raw[at : at + 50_000])
        await wire.chunk(raw_event(delta(finish="stop")) + DONE)
        await wire.end()

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        answer = await platform.chat(await platform.key(), model="m", stream=True)
        assert answer.events()[0] == delta(text)
        assert answer.body.endswith(DONE)


async def test_on_the_wire_a_stream_is_framed_for_its_client(
    start_platform: PlatformFactory,
) -> None:
    events = [delta(TEXT), delta(finish="stop"), usage_chunk()]
    async with platform_with(start_platform, {"m": sending(events)}) as (platform, _):
        key = await platform.key()
        port = int(platform.running.base_url.rpartition(":")[2])
        body = orjson.dumps(chat_body("m", stream=True))
        head = request("/v1/chat/completions", f"authorization: Bearer {key}", body=body)
        for version in ("1.0", "1.1"):
            async with await RawConnection.open(port) as connection:
                connection.write(head.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
                answer = await connection.answer()
            assert answer.body == raw_event(delta(TEXT)) + raw_event(delta(finish="stop")) + DONE
            assert ("transfer-encoding" in answer.headers) == (version == "1.1")
            assert answer.is_last == (version == "1.0")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers["x-accel-buffering"] == "no"
