"""What a deployment can never change."""

from proxy.store.database import Database, Executor
from proxy.store.queries import Queries


class ShardCountError(Exception):
    """The deployment was made with another number of shards, and accounts stay where they are."""


class Deployment:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def check(self, *, shards: int) -> None:
        """Makes the shards of a new deployment. Raises ShardCountError where the count differs."""

        async def step(executor: Executor) -> int:
            await executor.execute(self._queries.insert_deployment, shards)
            found = int(await executor.fetchval(self._queries.find_deployment))
            if found == shards:
                await executor.execute(self._queries.insert_shards, shards)
            return found

        found = await self._database.transact(step)
        if found != shards:
            raise ShardCountError(
                f"APILINK_SHARDS is {shards}, but this deployment has {found}: it never changes"
            )
