"""What a refusal says is affordable, is."""

import re

import pytest

from tests.support.answers import USAGE, completion, platform_with
from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import Seen, Wire


async def _served(_: Seen, wire: Wire) -> None:
    await wire.json(completion(usage=USAGE))


@pytest.mark.parametrize("choices", [1, 3])
async def test_the_largest_max_tokens_is_for_each_choice(
    start_platform: PlatformFactory, choices: int
) -> None:
    async with platform_with(start_platform, {"m": _served}) as (platform, _):
        wanted = {"model": "m", "n": choices}
        covered = await platform.refused_hold_nanos(**wanted, max_tokens=40)
        key = await platform.key(nanos=covered)
        refused = await platform.chat(key, **wanted, max_tokens=90)
        assert refused.status == 402
        said = re.search(r"max_tokens = (\d+)", refused.json()["error"]["message"])
        assert said is not None
        assert int(said[1]) == 40
        again = await platform.chat(key, **wanted, max_tokens=41)
        assert again.status == 402
        taken = await platform.chat(key, **wanted, max_tokens=40)
        assert taken.status == 200
