"""Shards and their generations: what fences a store that lost its memory."""

from collections.abc import Mapping
from uuid import UUID

from proxy.store.database import Database, Executor
from proxy.store.queries import Queries


class ShardCountError(Exception):
    """The deployment was made with another number of shards, and accounts stay where they are."""


class PostgresShards:
    """`proxy.domain.ports.Shards`."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def ensure(self, count: int) -> None:
        """Makes the shards of a new deployment. Raises ShardCountError where the count differs."""

        async def step(executor: Executor) -> int:
            await executor.execute(self._queries.insert_deployment, count)
            found = int(await executor.fetchval(self._queries.find_deployment))
            if found == count:
                await executor.execute(self._queries.insert_shards, count)
            return found

        found = await self._database.transact(step)
        if found != count:
            raise ShardCountError(
                f"APILINK_SHARDS is {count}, but this deployment has {found}: it never changes"
            )

    async def count(self) -> int:
        """0 before the deployment's first boot."""
        return int(await self._database.fetchval(self._queries.find_deployment) or 0)

    async def generations(self) -> Mapping[int, int]:
        rows = await self._database.fetch(self._queries.list_generations)
        return {row["shard"]: row["generation"] for row in rows}

    async def bump(self, shard: int) -> int:
        """Raises LookupError where there is no such shard."""
        generation = await self._database.fetchval(self._queries.bump_generation, shard)
        if generation is None:
            raise LookupError(f"no shard {shard}")
        return int(generation)


def shard_of(account_id: UUID, shards: int) -> int:
    """Where a new account goes; from then on its row says it."""
    return account_id.int % shards
