"""All journals that this process answers for: its own, and those that others left behind."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from proxy.domain.ports import Flushes, Shard
from proxy.ledger import calls
from proxy.ledger.connection import Command
from proxy.ledger.faults import LedgerFault
from proxy.ledger.generations import FencedCalls
from proxy.ledger.journal import (
    START,
    AdoptedJournal,
    Committed,
    Journal,
    Record,
    Segments,
    adopt_journals,
)
from proxy.ledger.pump import Pump
from proxy.ledger.recorder import JournalSource

POST_MAX: Final = 500


class Journals:
    def __init__(self, root: Path, own: Journal, fenced: FencedCalls) -> None:
        self._root = root
        self._own = own
        self._fenced = fenced
        self._adopted: list[AdoptedJournal] = []
        self._pump: Pump | None = None

    @property
    def adopted(self) -> tuple[str, ...]:
        """The incarnations whose journals were left to this process."""
        return tuple(journal.incarnation for journal in self._adopted)

    def size_bytes(self) -> int:
        """On the disk, as of now."""
        adopted = sum(journal.segments.size_bytes() for journal in self._adopted)
        return self._own.segments.size_bytes() + adopted

    def adopt(self, pump: Pump) -> int:
        """Takes what no living process holds, and settles it again: what was settled stays so."""
        self._pump = pump
        found = adopt_journals(self._root)
        for journal in found:
            pump.add_source(JournalSource(journal.segments))
        self._adopted.extend(found)
        return len(found)

    async def post_older(self, flushes: Flushes, current: Mapping[int, Shard]) -> int:
        """Every record of these shards that is of an older generation goes into Postgres, whatever
        became of it in the ledger. Returns how many rows were new.

        Not of restored ones: what was settled is in balances, and what was not strands. Their rows
        stay away.

        Raises StoreUnavailableError, and, once the others are done, OSError where a journal cannot
        be read.
        """
        incarnations = [self._own.incarnation, *self.adopted]
        committed = await flushes.committed(incarnations)
        segments = [self._own.segments, *(journal.segments for journal in self._adopted)]
        new, unreadable = 0, None
        for of_one in segments:
            try:
                new += await _post_older(flushes, of_one, current, committed)
            except OSError as error:
                unreadable = error
        if unreadable is not None:
            raise unreadable
        return new

    async def prune_once(self, flushes: Flushes) -> int:
        """Raises StoreUnavailableError."""
        incarnations = [self._own.incarnation, *(j.incarnation for j in self._adopted)]
        committed = await flushes.committed(incarnations)
        pruned = self._own.prune(committed)
        for journal in list(self._adopted):
            try:
                pruned += await self._prune(journal, committed)
            except OSError:  # it cannot be read: it stays, and the others are not its fault
                continue
        return pruned

    async def _prune(self, journal: AdoptedJournal, committed: Committed) -> int:
        places = await asyncio.to_thread(journal.places)
        pruned = journal.prune(committed)
        if journal.is_empty:
            await self._forget(places)
            self._adopted.remove(journal)
            journal.remove()
        return pruned

    def close(self) -> None:
        for journal in self._adopted:
            journal.close()
        self._own.close()

    async def _forget(self, places: frozenset[tuple[str, int]]) -> None:
        for incarnation, shard in places:
            if self._pump is not None:
                self._pump.forget(incarnation)
            try:
                await self._fenced.call(shard, _forget(shard, incarnation))
            except LedgerFault:  # a few bytes stay in the ledger
                continue


def _forget(shard: int, incarnation: str) -> Callable[[int], Command]:
    return lambda generation: calls.forget(shard, generation, incarnation)


async def _post_older(
    flushes: Flushes, segments: Segments, current: Mapping[int, Shard], committed: Committed
) -> int:
    new, position = 0, START
    while True:
        records, position = await asyncio.to_thread(segments.read, position, POST_MAX)
        if not records:
            return new
        for shard in current.values():
            older = [r for r in records if _is_older(r, shard, committed)]
            posted = [(r.generation, r.charge) for r in older if r.generation > shard.restored]
            forgone = [
                (r.charge.incarnation, r.charge.number)
                for r in older
                if r.generation <= shard.restored
            ]
            if posted:
                new += await flushes.post(shard.number, posted)
            if forgone:
                await flushes.forgo(shard.number, forgone)


def _is_older(record: Record, shard: Shard, committed: Committed) -> bool:
    charge = record.charge
    return (
        charge.shard == shard.number
        and record.generation < shard.generation
        and charge.number > committed.get((charge.incarnation, charge.shard), 0)
    )
