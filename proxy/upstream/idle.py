"""One timer for the silence of every open answer, instead of one per read."""

import asyncio
from typing import Final, Protocol

TICK_SECONDS: Final = 1.0


class Watched(Protocol):
    def check_idle(self, now: float) -> None:
        """Ends its own waiting where it has lasted too long. `now` is the loop's time."""


class IdleWatch:
    """Looks at what is open once a tick, and not at all while nothing is."""

    def __init__(self, *, tick_seconds: float = TICK_SECONDS) -> None:
        self._tick_seconds = tick_seconds
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: Watched) -> None:
        self._watched.add(watched)
        if self._timer is None:
            self._schedule()

    def remove(self, watched: Watched) -> None:
        self._watched.discard(watched)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for watched in tuple(self._watched):
            watched.check_idle(now)
        if self._watched:
            self._schedule()
