"""One client's large body is not everybody's pause."""

import asyncio
import io
import time

import orjson

from tests.support.answers import USAGE, completion, platform_with
from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import Seen, Wire

# As many messages as a body may have: nearly a second of parsing, which is most of the request.
MESSAGES = 130_000
PAUSE_SHARE_MAX = 0.5


async def test_others_are_served_while_a_large_body_is_parsed(
    start_platform: PlatformFactory,
) -> None:
    """The tests' own client and upstream share the loop, so its longest pause is measured."""
    message = {"role": "user", "content": "x" * 100}
    raw = orjson.dumps({"model": "m", "stream": 7, "messages": [message] * MESSAGES})
    pauses: list[float] = []

    async def answer(_: Seen, wire: Wire) -> None:
        await wire.json(completion(usage=USAGE))

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            pauses.append(time.perf_counter() - began)

    async with platform_with(start_platform, {"m": answer}) as (platform, _):
        key = await platform.key()
        assert (await platform.chat(key, model="m")).status == 200
        watching = asyncio.get_running_loop().create_task(watch())
        headers = {**key.headers, "content-type": "application/json"}
        url = f"{platform.base_url}/chat/completions"
        began = time.perf_counter()
        async with platform.http.post(url, data=io.BytesIO(raw), headers=headers) as response:
            # Refused at the end of it all: by then every message has been read.
            assert response.status == 400
            assert (await response.json())["error"]["param"] == "stream"
        seconds = time.perf_counter() - began
        await asyncio.sleep(0.01)  # a pause is known once it is over
        watching.cancel()
        assert max(pauses) < seconds * PAUSE_SHARE_MAX
