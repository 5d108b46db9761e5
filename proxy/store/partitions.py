"""The monthly partitions of the usage rows."""

from typing import Final

import structlog

from proxy.domain.clock import at_ms, ms_of
from proxy.store.database import Database
from proxy.store.queries import Queries

MONTHS_AHEAD: Final = 3
_ALARM_MS: Final = 8 * 86_400_000  # a week before the last one ends, and a day to notice
_MS: Final = 1000


class Partitions:
    """`covered_until_ms`: up to there every month has its partition, as of the last turn."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self.covered_until_ms: int | None = None
        self._database = database
        self._queries = queries

    async def ensure_once(self, *, now_ms: int, months_ahead: int = MONTHS_AHEAD) -> int:
        """Makes those that are missing, from last month on. Returns how many were made.

        There is no default partition: making the next month would have to read it under a lock
        that stops every flush. A row of a month without a partition is quarantined instead, so
        what is left is looked at whether or not any could be made: an alarm, a week ahead.
        """
        try:
            made = await self._database.fetchval(
                self._queries.ensure_partitions, at_ms(now_ms), months_ahead
            )
        finally:
            await self._look(now_ms)
        return int(made)

    def seconds_left(self, *, now_ms: int) -> int | None:
        """Until a row finds no partition; None before the first turn."""
        until_ms = self.covered_until_ms
        return None if until_ms is None else max(0, until_ms - now_ms) // _MS

    async def _look(self, now_ms: int) -> None:
        until = await self._database.fetchval(self._queries.find_covered_until, at_ms(now_ms))
        self.covered_until_ms = now_ms if until is None else ms_of(until)
        if self.covered_until_ms - now_ms < _ALARM_MS:
            structlog.get_logger().error(
                "usage_partitions_end", seconds=self.seconds_left(now_ms=now_ms)
            )
