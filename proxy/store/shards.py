"""Shards and their generations: what fences a store that lost its memory."""

from collections.abc import Mapping
from uuid import UUID

from proxy.store.database import Database
from proxy.store.queries import Queries


class PostgresShards:
    """`proxy.domain.ports.Shards`."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def generations(self) -> Mapping[int, int]:
        rows = await self._database.fetch(self._queries.list_generations)
        return {row["shard"]: row["generation"] for row in rows}

    async def cursors(self) -> Mapping[int, str]:
        """How far each shard's charges are in here: a stream id."""
        rows = await self._database.fetch(self._queries.list_cursors)
        return {row["shard"]: row["cursor_stream_id"] for row in rows}

    async def bump(self, shard: int) -> int:
        """Raises LookupError where there is no such shard."""
        generation = await self._database.fetchval(self._queries.bump_generation, shard)
        if generation is None:
            raise LookupError(f"no shard {shard}")
        return int(generation)


def shard_of(account_id: UUID, shards: int) -> int:
    """Where a new account goes; from then on its row says it."""
    return account_id.int % shards
