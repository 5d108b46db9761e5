"""All wires are in this process: while it stands still, as on a machine that is busy elsewhere,
nothing passes on any. That is a disturbance like one that was meant, and is told as one."""

import asyncio
import faulthandler
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from proxy.domain.clock import SystemClock
from proxy.domain.finish import TaskSet
from tests.chaos.records import Disturbance

STALL = "wire_stall"
_BEAT_SECONDS = 0.1
_LATE_MS = 600  # less than the deadline of a call
_CLOCK = SystemClock()

Tell = Callable[[Disturbance], None]


@asynccontextmanager
async def watched(log: Path, tell: Tell) -> AsyncIterator[None]:
    """Each time that it stood still is told, and where is in the log."""
    tasks = TaskSet()
    with log.open("w") as file:
        _ = tasks.start(_watch(file, tell), name="pulse")
        try:
            yield
        finally:
            await tasks.cancel()
            faulthandler.cancel_dump_traceback_later()


async def _watch(file: TextIO, tell: Tell) -> None:
    while True:
        faulthandler.dump_traceback_later(_LATE_MS / 1000, file=file)
        begin_ms, since_ms = _CLOCK.unix_ms(), _CLOCK.monotonic_ms()
        await asyncio.sleep(_BEAT_SECONDS)
        if _CLOCK.monotonic_ms() - since_ms > _LATE_MS:
            tell(Disturbance(STALL, "all", begin_ms, _CLOCK.unix_ms()))
