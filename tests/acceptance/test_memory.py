"""What a long answer keeps in memory: not the request that asked for it."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator

from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream

PROMPT_BYTES = 12 * 2**20
WORD = b"word "
THE_UPSTREAMS_OWN = tracemalloc.Filter(
    inclusive=False, filename_pattern="*/asyncio/streams.py"
)  # its read of the request


async def _body() -> AsyncIterator[bytes]:
    """In pieces, so that the client does not hold it either."""
    yield b'{"model": "m", "stream": true, "max_tokens": 5, '
    yield b'"messages": [{"role": "user", "content": "'
    for _ in range(PROMPT_BYTES // (len(WORD) * 1024)):
        yield WORD * 1024
    yield b'"}]}'


async def test_a_body_is_freed_at_the_first_byte(start_platform: PlatformFactory) -> None:
    let_go = asyncio.Event()

    async def script(seen: Seen, wire: Wire) -> None:
        assert len(seen.body) > PROMPT_BYTES * 9 // 10
        await wire.sse()
        upstreams.seen.clear()
        del seen
        choice = {"index": 0, "delta": {"content": "hi"}, "finish_reason": None}
        await wire.event({"id": "c", "choices": [choice]})
        await let_go.wait()
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await wire.event({"id": "c", "choices": [choice]})
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    upstreams = ScriptedUpstream(script)
    async with upstreams.running() as up:
        wide = {"context_tokens": 100_000_000}
        text = table(upstream("one", up.url), model("m", "one", **wide))
        async with start_platform(text) as platform:
            key = await platform.key(nanos=10**14)
            tracemalloc.start()
            try:
                async with platform.http.post(
                    f"{platform.base_url}/chat/completions",
                    data=_body(),
                    headers={**key.headers, "content-type": "application/json"},
                ) as response:
                    assert response.status == 200, await response.read()
                    await response.content.readuntil(b"\n\n")
                    gc.collect()
                    snapshot = tracemalloc.take_snapshot().filter_traces([THE_UPSTREAMS_OWN])
                    let_go.set()
                    assert b"[DONE]" in await response.content.read()
            finally:
                tracemalloc.stop()
            top = snapshot.statistics("lineno")[0]
            assert top.size < PROMPT_BYTES // 4, top
            await platform.quiet(key, rows=1)
