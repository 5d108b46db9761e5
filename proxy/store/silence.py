"""A server that takes connections and answers nothing: who asks next must not wait for it again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

_PROBE_MS: Final = 1_000
_PATIENCE_SECONDS: Final = 0.1  # a server that is well answers long before


class SilentError(Exception):
    """Nothing was asked: the server did not answer a moment ago, and somebody is finding out."""


class Silence:
    """Begins with a call that ran out of time. From then on one caller first asks whether the
    server is back, and after a failure the next one a second later; all others wait for that no
    longer than a moment."""

    def __init__(self, now_ms: Callable[[], int], *, probe_ms: int = _PROBE_MS) -> None:
        self._now_ms = now_ms
        self._probe_ms = probe_ms
        self._is_silent = False
        self._probe: asyncio.Event | None = None
        self._probe_at_ms = 0

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[bool]:
        """True for the caller that must ask first, and call `end`. TimeoutErrors pass through.

        Raises SilentError.
        """
        if self._probe is not None:
            await _wait(self._probe)
        is_probe = self._is_silent
        if is_probe:
            if self._probe is not None or self._now_ms() < self._probe_at_ms:
                raise SilentError
            self._probe = asyncio.Event()
        try:
            yield is_probe
        except TimeoutError:
            self._is_silent = True
            raise
        finally:
            if is_probe and self._is_silent:
                self._probe_at_ms = self._now_ms() + self._probe_ms
                self._end_probe()

    def end(self) -> None:
        self._is_silent = False
        self._probe_at_ms = 0
        self._end_probe()

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.set()
            self._probe = None


async def _wait(probe: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await probe.wait()
    except TimeoutError:
        return
