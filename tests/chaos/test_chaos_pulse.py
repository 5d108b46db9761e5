"""A harness that stands still says so: nothing passes on its wires meanwhile."""

import asyncio
import time
from pathlib import Path

from tests.chaos.pulse import STALL, watched
from tests.chaos.records import Disturbance


async def test_a_process_that_stood_still_tells_it(tmp_path: Path) -> None:
    told: list[Disturbance] = []
    async with watched(tmp_path / "stalls", told.append):
        await asyncio.sleep(0.2)
        assert told == []
        time.sleep(0.8)  # noqa: ASYNC251 - what is to be noticed
        await asyncio.sleep(0.2)
    assert [(one.kind, one.target) for one in told] == [(STALL, "all")]
    assert "test_a_process_that_stood_still" in (tmp_path / "stalls").read_text()
