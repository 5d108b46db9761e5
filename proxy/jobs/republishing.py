"""What the ledger may have forgotten is sent again: epochs of keys, movements of the last day."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from proxy.domain.clock import Clock

_EVERY_MS: Final = 3_600_000


class Republishing:
    """`mark` changes with every new connection and every new generation: behind either may be a
    store that is older than the one before."""

    def __init__(
        self,
        mark: Callable[[], Hashable],
        publish_keys: Callable[[], Awaitable[object]],
        redeliver: Callable[[], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._mark = mark
        self._publish_keys = publish_keys
        self._redeliver = redeliver
        self._clock = clock
        self._done: Hashable = None
        self._done_ms = -_EVERY_MS

    async def republish_once(self) -> None:
        """Raises StoreUnavailableError or LedgerUnavailableError: then it is done at the next turn.
        Movements go out with the next sweep."""
        mark = self._mark()
        now_ms = self._clock.monotonic_ms()
        if mark == self._done and now_ms < self._done_ms + _EVERY_MS:
            return
        await self._redeliver()
        await self._publish_keys()
        self._done, self._done_ms = mark, now_ms
