"""Runs steps on their intervals until told to stop. One that fails is told of and tried again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from proxy.domain.finish import TaskSet

_STOP_SECONDS: Final = 10  # for turns that are under way


@dataclass(frozen=True, slots=True)
class Job:
    """`step` is one turn; a result above `full` says that more waits: the next turn is at once."""

    name: str
    interval_ms: int
    timeout_seconds: int
    step: Callable[[], Awaitable[Any]]
    full: int | None = None


@asynccontextmanager
async def running_jobs(jobs: Sequence[Job]) -> AsyncIterator[None]:
    """Until left; then every job ends after the turn that it is in, or is cut past its timeout."""
    stop = asyncio.Event()
    tasks = TaskSet()
    for job in jobs:
        tasks.spawn(_run(job, stop), name=f"job {job.name}")
    try:
        yield
    finally:
        stop.set()
        await tasks.wait(seconds=_STOP_SECONDS)
        await tasks.cancel()


async def _run(job: Job, stop: asyncio.Event) -> None:
    log = structlog.get_logger()
    while not stop.is_set():
        more = False
        try:
            async with asyncio.timeout(job.timeout_seconds):
                done = await job.step()
            more = job.full is not None and isinstance(done, int) and done >= job.full
        except Exception as error:  # noqa: BLE001 - a job must outlive whatever its step meets
            log.warning("job_failed", job=job.name, error_class=type(error).__name__)
        if not more:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), job.interval_ms / 1000)
