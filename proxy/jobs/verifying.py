"""The scheduled verification: what it last found, for metrics, and one line of the log."""

import math
from collections.abc import Awaitable, Callable

import structlog

from proxy.billing.verify import Verdict, Verification
from proxy.domain.clock import Clock

_MS = 1000


class Verifying:
    """`last` is None before the first. Who could not find out has found nothing: a store that was
    away, or a turn that was cut, reads `unknown`, never a difference of zero."""

    def __init__(
        self,
        verify: Callable[[], Awaitable[Verification]],
        suspect: Callable[[int], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self.last: Verification | None = None
        self._verify = verify
        self._suspect = suspect
        self._clock = clock
        self._known_ms: int | None = None
        self._told = (0, 0)

    async def verify_once(self) -> None:
        try:
            found = await self._verify()
        except BaseException:
            self.last = Verification(away="it did not end")
            raise
        self.last = found
        if found.verdict is not Verdict.UNKNOWN:
            self._known_ms = self._clock.unix_ms()
            self._tell(found)
        for shard in sorted(found.ahead_shards):  # Postgres is older than the ledger
            await self._suspect(shard)

    @property
    def verdict(self) -> Verdict:
        return Verdict.UNKNOWN if self.last is None else self.last.verdict

    def read(self, of: Callable[[Verification], int]) -> float:
        """A number of the last verification, NaN where it did not come to know."""
        if self.last is None or self.verdict is Verdict.UNKNOWN:
            return math.nan
        return of(self.last)

    def verdicts(self) -> dict[str, int]:
        """1 for the verdict that stands."""
        return {verdict.value: int(verdict is self.verdict) for verdict in Verdict}

    def known_seconds(self) -> float | None:
        """When a verification last came to know, in Unix time."""
        return None if self._known_ms is None else self._known_ms / _MS

    def _tell(self, found: Verification) -> None:
        """Once for each difference, however long it stands."""
        now = (found.total_difference_nanos, len(found.faults))
        if now == self._told:
            return
        self._told = now
        log = structlog.get_logger()
        if found.verdict is Verdict.DIFFERENT:
            log.error("ledger_differs", difference_nanos=now[0], count=now[1])
        else:
            log.info("ledger_agrees")
