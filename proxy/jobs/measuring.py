"""How far Postgres is behind Redis, shard by shard."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.errors import LedgerUnavailableError, StoreUnavailableError
from proxy.domain.outcome import Unflushed
from proxy.domain.ports import Cursor, Wallets

_AT_ONCE: Final = 32
_MS: Final = 1000


class Measuring:
    """While Postgres is away the cursors stand still, so the last ones are measured against: that
    is when the lag matters. While Redis is away nothing is known, and nothing is said."""

    def __init__(
        self,
        cursors: Callable[[], Awaitable[Mapping[int, Cursor]]],
        wallets: Wallets,
        clock: Clock,
    ) -> None:
        self._load_cursors = cursors
        self._wallets = wallets
        self._clock = clock
        self._cursors: Mapping[int, Cursor] = {}
        self._found: dict[int, Unflushed] = {}
        self._at_ms = 0

    async def measure_once(self) -> None:
        """Raises LedgerUnavailableError."""
        with contextlib.suppress(StoreUnavailableError):
            self._cursors = await self._load_cursors()
        found: dict[int, Unflushed] = {}
        try:
            shards = sorted(self._cursors)
            for begin in range(0, len(shards), _AT_ONCE):
                batch = shards[begin : begin + _AT_ONCE]
                states = await asyncio.gather(*map(self._measure, batch))
                found |= dict(zip(batch, states, strict=True))
        except LedgerUnavailableError:
            self._found = {}
            raise
        self._found, self._at_ms = found, self._clock.unix_ms()

    def entries(self) -> dict[str, int]:
        """By shard."""
        return {str(shard): state.entries for shard, state in self._found.items()}

    def lag_seconds(self) -> dict[str, float]:
        """By shard: the age of its oldest charge that Postgres does not have, when measured."""
        return {str(shard): self._age_ms(state) / _MS for shard, state in self._found.items()}

    def _age_ms(self, state: Unflushed) -> int:
        return 0 if state.oldest_ms is None else max(0, self._at_ms - state.oldest_ms)

    async def _measure(self, shard: int) -> Unflushed:
        return await self._wallets.unflushed(shard, self._cursors[shard])
