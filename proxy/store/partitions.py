"""The monthly partitions of the usage rows."""

from typing import Final

from proxy.domain.clock import at_ms
from proxy.store.database import Database
from proxy.store.queries import Queries

MONTHS_AHEAD: Final = 2


class Partitions:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def ensure_once(self, *, now_ms: int, months_ahead: int = MONTHS_AHEAD) -> int:
        """Makes those that are missing, from last month on. Returns how many were made.

        There is no default partition: making the next month would have to read it under a lock
        that stops every flush. A row of a month without a partition is quarantined instead.
        """
        made = await self._database.fetchval(
            self._queries.ensure_partitions, at_ms(now_ms), months_ahead
        )
        return int(made)
