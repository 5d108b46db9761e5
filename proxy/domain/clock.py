"""Time is an argument. Wall time is integer milliseconds since the epoch, in UTC."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def unix_ms(self) -> int: ...

    def monotonic_ms(self) -> int: ...


class SystemClock:
    """The machine's clocks."""

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def at_ms(unix_ms: int) -> datetime:
    """The moment, exact to the millisecond."""
    return _EPOCH + timedelta(milliseconds=unix_ms)


def ms_of(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(milliseconds=1)
