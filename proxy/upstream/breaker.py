"""When to leave an upstream alone, and when to try it again."""

from enum import IntEnum
from typing import Final

FAILURES_MAX: Final = 5  # consecutive
OPEN_MS_MIN: Final = 1_000
OPEN_MS_MAX: Final = 60_000
TRIAL_MS: Final = 30_000  # a trial that never reports (its client left) lapses


class BreakerState(IntEnum):
    CLOSED = 0
    HALF_OPEN = 1  # a trial may begin, or runs
    OPEN = 2


class Breaker:
    """Closed → open after consecutive failures → half open: one trial → closed, or open longer.

    Pure: every method takes the monotonic time in milliseconds. `jitter` is in [0, 1) and places
    the opening in the upper half of its span, so that gateways do not come back together.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._openings = 0
        self._open_until_ms: int | None = None
        self._trial_until_ms = 0

    def allows(self, now_ms: int) -> bool:
        """Whether a request would be let through. Changes nothing."""
        if self._open_until_ms is None:
            return True
        return now_ms >= self._open_until_ms and now_ms >= self._trial_until_ms

    def state(self, now_ms: int) -> BreakerState:
        if self._open_until_ms is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_ms < self._open_until_ms else BreakerState.HALF_OPEN

    def enter(self, now_ms: int) -> bool:
        """The same for a request that begins: half open, it becomes the one trial."""
        if not self.allows(now_ms):
            return False
        if self._open_until_ms is not None:
            self._trial_until_ms = now_ms + TRIAL_MS
        return True

    def record(self, now_ms: int, *, healthy: bool, jitter: float) -> None:
        if self._open_until_ms is not None and now_ms < self._open_until_ms:
            return  # began before it opened: says nothing about now
        if healthy:
            self._failures = self._openings = self._trial_until_ms = 0
            self._open_until_ms = None
            return
        self._failures += 1
        if self._open_until_ms is not None or self._failures >= FAILURES_MAX:
            self._open(now_ms, jitter)

    def _open(self, now_ms: int, jitter: float) -> None:
        span_ms = min(OPEN_MS_MIN << min(self._openings, 16), OPEN_MS_MAX)
        self._openings += 1
        self._trial_until_ms = 0
        self._open_until_ms = now_ms + span_ms // 2 + int(span_ms / 2 * jitter)
