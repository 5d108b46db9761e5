"""Every class that a price names is charged, and every charge can be recomputed from its row."""

from uuid import UUID

import pytest

from proxy.billing.explain import explain
from tests.support.answers import USAGE, USAGE_NANOS, completion, delta
from tests.support.platform import Answer, Platform, PlatformFactory
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream

FEE_NANOS = 3_000_000
WITH_FEE = '{input: "1.00", cached_input: "0.10", output: "2.00", fees: {request: "0.003"}}'


async def assert_explained(platform: Platform, answer: Answer) -> None:
    found = await explain(platform.store, UUID(answer.headers["x-request-id"]))
    assert found is not None
    assert found.matches, found


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fee_for_each_request_is_shown_and_charged(
    start_platform: PlatformFactory, *, stream: bool
) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        if not stream:
            await wire.json(completion(usage=USAGE))
            return
        await wire.sse()
        await wire.event(delta(finish="stop", usage=USAGE))
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    async with ScriptedUpstream(script).running() as scripted:
        text = table(upstream("one", scripted.url), model("m", "one", price=WITH_FEE))
        async with start_platform(text) as platform:
            key = await platform.key()
            wanted = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
            answer = await platform.chat(key, model="m", **wanted)
            nanos = USAGE_NANOS + FEE_NANOS
            shown = answer.events()[-1] if stream else answer.json()
            assert shown["usage"]["cost_nanos"] == nanos
            row = await platform.charged(key, answer, nanos, status="ok", source="reported")
            assert row["request"] == 1
            await assert_explained(platform, answer)


async def test_no_fee_where_no_upstream_accepted_it(start_platform: PlatformFactory) -> None:
    async def script(_: Seen, wire: Wire) -> None:
        await wire.json({"error": {"message": "boom"}}, 500)

    async with ScriptedUpstream(script).running() as scripted:
        text = table(upstream("one", scripted.url), model("m", "one", price=WITH_FEE))
        async with start_platform(text) as platform:
            key = await platform.key()
            answer = await platform.chat(key, model="m")
            await platform.charged(key, answer, 0, status="upstream_error", source="none")


async def test_a_side_that_has_no_price_is_free_and_explained(
    start_platform: PlatformFactory,
) -> None:
    """Some hosts state output for embeddings, which sell input alone."""

    async def script(_: Seen, wire: Wire) -> None:
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        await wire.json({"object": "list", "data": data, "model": "e", "usage": USAGE})

    fields = {"endpoints": "[embeddings]", "accepts": "[text]", "price": '{input: "1.00"}'}
    async with ScriptedUpstream(script).running() as scripted:
        text = table(upstream("one", scripted.url), model("m", "one", **fields))
        async with start_platform(text) as platform:
            key = await platform.key()
            answer = await platform.post(key, "/embeddings", {"model": "m", "input": "x"})
            assert answer.status == 200
            await platform.charged(key, answer, 7 * 1000, status="ok", source="reported")
            await assert_explained(platform, answer)
