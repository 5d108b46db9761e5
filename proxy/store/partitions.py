"""The monthly partitions of the usage rows."""

from proxy.store.database import Database
from proxy.store.queries import Queries


class Partitions:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def ensure_partitions_once(self, months_ahead: int) -> int:
        """Makes those that are missing, from last month on. Returns how many were made.

        There is no default partition: making the next month would have to read it under a lock
        that stops every flush. A row of a month without a partition is quarantined instead.
        """
        return int(await self._database.fetchval(self._queries.ensure_partitions, months_ahead))
