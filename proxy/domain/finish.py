"""Ends a step whatever is cancelled, and keeps a reference to what runs beside."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish(step: Coroutine[Any, Any, T]) -> T:
    """Runs the step to its end however often the caller is cancelled, then re-raises.

    One `asyncio.shield` is not enough: a second cancel ends the waiting, and the step's result
    is lost. `asyncio.wait` does not pass a cancel on, so the loop waits until it is done.
    """
    task = asyncio.get_running_loop().create_task(step)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # seen: the cancellation is what the caller learns
        raise asyncio.CancelledError
    return task.result()


class TaskSet:
    """Tasks that outlive their caller, each named and referenced until it ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, step: Coroutine[Any, Any, T], *, name: str) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(step, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn(self, step: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Starts a step whose end nobody awaits."""
        self.start(step, name=name)  # type: ignore[unused-awaitable]

    async def wait(self, *, seconds: int) -> bool:
        """True where all ended in time. Cancels nothing."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        return not self._tasks

    async def cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
