"""Shards and their generations: what fences a store that lost its memory, and who recovers it."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from proxy.domain.ports import Cursor, Shard, ShardState, Suspicion
from proxy.store.database import Database, Record
from proxy.store.queries import Queries


class PostgresShards:
    """`proxy.domain.ports.Shards`."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def all(self) -> Mapping[int, Shard]:
        rows = await self._database.fetch(self._queries.list_shards)
        return {row["shard"]: shard_of_row(row) for row in rows}

    async def cursors(self) -> Mapping[int, Cursor]:
        """How far each shard's charges are in here."""
        rows = await self._database.fetch(self._queries.list_cursors)
        return {row["shard"]: cursor_of_row(row) for row in rows}

    async def suspect(self, shard: int, generation: int, suspicion: Suspicion) -> None:
        await self._database.execute(
            self._queries.suspect_shard, shard, generation, suspicion.value
        )

    async def bump(
        self, shard: int, generation: int, *, above: int = 0, restored: bool = False
    ) -> int | None:
        found = await self._database.fetchval(
            self._queries.bump_generation, shard, generation, above, restored
        )
        return None if found is None else int(found)

    async def adopt(self, shard: Shard, generation: int) -> None:
        await self._database.execute(
            self._queries.adopt_generation, shard.number, shard.generation, generation
        )

    async def advance(self, shard: Shard, to: ShardState) -> bool:
        status = await self._database.execute(
            self._queries.advance_shard, shard.number, shard.generation, shard.state.value, to.value
        )
        return status == "UPDATE 1"

    async def attend(self, incarnation: str) -> Mapping[int, Shard]:
        await self._database.execute(self._queries.attend_gateway, incarnation)
        return await self.all()

    async def leave(self, incarnations: Iterable[str]) -> None:
        await self._database.execute(self._queries.leave_gateways, sorted(incarnations))

    async def forget_gateways(self) -> None:
        """Those that nobody has seen for a day."""
        await self._database.execute(self._queries.forget_gateways)

    async def report(self, incarnation: str, shard: Shard) -> None:
        await self._database.execute(
            self._queries.insert_gateway_step,
            incarnation,
            shard.number,
            shard.generation,
            shard.state.value,
        )

    async def waited_for(self, shard: Shard, *, seconds: int) -> Sequence[str]:
        rows = await self._database.fetch(
            self._queries.list_waited_for,
            shard.number,
            shard.generation,
            shard.state.value,
            seconds,
        )
        return [row["incarnation"] for row in rows]

    async def active_accounts(self, shard: int, *, since: UUID, limit: int) -> Sequence[UUID]:
        rows = await self._database.fetch(self._queries.list_active_accounts, shard, since, limit)
        return [row["account_id"] for row in rows]


def shard_of_row(row: Record) -> Shard:
    suspicion = row["suspect"]
    return Shard(
        row["shard"],
        row["generation"],
        ShardState(row["state"]),
        None if suspicion is None else Suspicion(suspicion),
        row["restored_generation"],
    )


def cursor_of_row(row: Record) -> Cursor:
    return Cursor(row["cursor_generation"], row["cursor_stream_id"])


def shard_of(account_id: UUID, shards: int) -> int:
    """Where a new account goes; from then on its row says it."""
    return account_id.int % shards
