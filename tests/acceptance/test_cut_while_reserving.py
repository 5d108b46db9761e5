"""A shutdown that meets a request before anything was reserved for it."""

import asyncio

import redis.asyncio

from tests.support.answers import USAGE, completion, platform_with
from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import Seen, Wire


async def _served(_: Seen, wire: Wire) -> None:
    await wire.json(completion(usage=USAGE))


async def test_who_waits_for_the_ledger_is_told_of_the_shutdown_and_keeps_no_hold(
    start_platform: PlatformFactory,
) -> None:
    settings = {"shutdown_seconds_max": 1, "ledger_timeout_ms": 10_000}
    async with platform_with(start_platform, {"m": _served}, **settings) as (platform, found):
        key = await platform.key()
        assert (await platform.chat(key, model="m")).status == 200
        async with redis.asyncio.Redis.from_url(platform.settings.redis_url) as client:
            await client.client_pause(60_000, all=False)  # what writes
            task = asyncio.get_running_loop().create_task(platform.chat(key, model="m"))
            async with asyncio.timeout(5):
                while not platform.running.gateway._open:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.005)
            stopping = asyncio.get_running_loop().create_task(platform.stop_gateway())
            async with asyncio.timeout(5):
                answer = await task
            await client.client_unpause()
        await stopping
        assert (answer.status, answer.json()["error"]["code"]) == (503, "overloaded")
        assert len(found["m"].seen) == 1
        state = await platform.quiet(key, rows=1)
        assert state.held_nanos == 0
        await platform.assert_clean()
