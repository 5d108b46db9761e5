"""Which generation each shard is at, by Postgres; and calls that carry it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from proxy.domain.finish import TaskSet
from proxy.domain.ports import Shard, Shards, ShardState
from proxy.ledger.connection import Command
from proxy.ledger.faults import NO_SHARD, STALE_GENERATION, NotSentError, RefusedError
from proxy.ledger.link import Link


class Generations:
    """A copy of Postgres' table. One look-up at a time, whoever asks."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self.on_doubt: list[Callable[[], None]] = []
        self._known: Mapping[int, Shard] = {}
        self._ahead: dict[int, int] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks = TaskSet()

    def find(self, shard: int) -> int | None:
        known = self._known.get(shard)
        return None if known is None else known.generation

    def all(self) -> Mapping[int, Shard]:
        return self._known

    async def loadable(self, shard: int) -> int:
        """The generation whose wallets may be loaded from what Postgres has from now on: all that
        older ones charged was in it before. Raises NotSentError while some of it is not, and
        StoreUnavailableError."""
        known = self._known.get(shard)
        if known is None or known.state is ShardState.DRAINING:
            await self.refresh()
            known = self._known.get(shard)
        if known is None or known.state is ShardState.DRAINING:
            raise NotSentError(f"shard {shard} is being drained")
        return known.generation

    def doubt(self, shard: int, generation: int, refused: RefusedError) -> None:
        """The ledger refused a call that carried this generation: what is known here, or there, may
        be old. Tells whoever may want to look."""
        if refused.code not in (STALE_GENERATION, NO_SHARD):
            return
        if refused.code == STALE_GENERATION and int(refused.detail) < generation:
            self._ahead[shard] = max(generation, self._ahead.get(shard, 0))
        for call in self.on_doubt:
            call()

    def ahead_of(self, shard: Shard) -> int | None:
        """A generation that was once, and of which neither Postgres nor the ledger knows any more:
        both were restored. None where there is none."""
        ahead = self._ahead.get(shard.number, 0)
        return ahead if ahead > shard.generation else None

    def learn(self, shards: Mapping[int, Shard]) -> None:
        """What was read elsewhere. Generations only rise: the older of two answers may be last."""
        for number, shard in shards.items():
            known = self._known.get(number)
            if known is not None and known.generation > shard.generation:
                return
        self._known = shards

    async def refresh(self) -> None:
        """Raises StoreUnavailableError."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._tasks.start(self._read(), name="shard generations")
        await asyncio.shield(self._refreshing)

    async def close(self) -> None:
        await self._tasks.cancel()

    async def _read(self) -> None:
        self.learn(dict(await self._shards.all()))


class FencedCalls:
    """Calls that carry their shard's generation. A stale one is looked up and sent once more:
    the ledger refused it, so it did nothing."""

    def __init__(self, link: Link, generations: Generations) -> None:
        self._link = link
        self._generations = generations

    @property
    def is_up(self) -> bool:
        """Of a cluster: some of its masters."""
        return self._link.is_partly_up

    async def call(self, shard: int, command: Callable[[int], Command]) -> Any:
        """Raises LedgerFault, or StoreUnavailableError where the look-up fails."""
        generation = self._generations.find(shard)
        if generation is None:
            generation = await self._look_up(shard)
        try:
            return await self._link.call(*command(generation))
        except RefusedError as refused:
            self._generations.doubt(shard, generation, refused)
            if refused.code != STALE_GENERATION:
                raise
        return await self._link.call(*command(await self._look_up(shard)))

    async def _look_up(self, shard: int) -> int:
        await self._generations.refresh()
        generation = self._generations.find(shard)
        if generation is None:
            raise NotSentError(f"Postgres knows no shard {shard}")
        return generation
