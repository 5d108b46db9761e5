"""Neither disk nor ledger takes the charge: the answer is not finished, and says so."""

import asyncio
import os

import pytest
import redis.asyncio

from tests.support.answers import TEXT, completion, delta, platform_with, usage_chunk
from tests.support.platform import Platform, PlatformFactory
from tests.support.scripted_upstream import Seen, Wire


async def _lose_both(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    async with redis.asyncio.Redis.from_url(platform.settings.redis_url) as client:
        await client.shutdown(nosave=True, now=True)
    async with asyncio.timeout(5):
        while platform.running.ledger.is_connected:  # noqa: ASYNC110 - the link tells nobody
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_whose_charge_is_nowhere_is_not_finished(
    start_platform: PlatformFactory, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        if stream:
            await wire.sse()
            await wire.event(delta(TEXT))
        begun.set()
        await goes_on.wait()
        if not stream:
            await wire.json(completion())
            return
        await wire.event(delta(finish="stop"))
        await wire.event(usage_chunk())
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        key = await platform.key()
        task = asyncio.get_running_loop().create_task(platform.chat(key, model="m", stream=stream))
        await begun.wait()
        await _lose_both(platform, monkeypatch)
        goes_on.set()
        answer = await task
        monkeypatch.undo()
        if not stream:
            assert (answer.status, answer.json()["error"]["code"]) == (503, "ledger_unavailable")
            return
        assert answer.events()[0]["choices"][0]["delta"]["content"] == TEXT
        assert answer.events()[-1]["error"]["code"] == "ledger_unavailable"
        assert b"[DONE]" not in answer.body
