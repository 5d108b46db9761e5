"""What an upstream states may be anything, and the request is charged all the same."""

import pytest

from tests.support.answers import TEXT, completion, delta, platform_with
from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import Seen, Wire


@pytest.mark.parametrize("stream", [False, True])
async def test_a_count_that_no_wallet_could_pay_is_counted_here(
    start_platform: PlatformFactory, *, stream: bool
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2**40, "total_tokens": 2**40 + 7}

    async def script(_: Seen, wire: Wire) -> None:
        if not stream:
            await wire.json(completion(usage=usage))
            return
        await wire.sse()
        await wire.event(delta(TEXT))
        await wire.event(delta(finish="stop", usage=usage))
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m", stream=stream)
        assert answer.status == 200
        row = await platform.charged(key, answer, None, status="ok", source="estimated")
        assert row["output"] == -(-len(TEXT) // 4)
