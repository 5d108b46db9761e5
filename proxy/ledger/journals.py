"""All journals that this process answers for: its own, and those that others left behind."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from proxy.domain.charge import Charge
from proxy.domain.ports import Flushes
from proxy.ledger import calls
from proxy.ledger.connection import Command
from proxy.ledger.faults import LedgerFault
from proxy.ledger.generations import FencedCalls
from proxy.ledger.journal import (
    START,
    AdoptedJournal,
    Committed,
    Journal,
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

    async def post_older(self, flushes: Flushes, current: Mapping[int, int]) -> int:
        """Every record of these shards (number → generation) that is of an older generation goes
        into Postgres, whatever became of it in the ledger. Returns how many rows were new.

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
    flushes: Flushes, segments: Segments, current: Mapping[int, int], committed: Committed
) -> int:
    new, position = 0, START
    while True:
        records, position = await asyncio.to_thread(segments.read, position, POST_MAX)
        if not records:
            return new
        by_shard: dict[int, list[tuple[int, Charge]]] = {}
        for record in records:
            charge = record.charge
            is_older = record.generation < current.get(charge.shard, 0)
            if is_older and charge.number > committed.get((charge.incarnation, charge.shard), 0):
                by_shard.setdefault(charge.shard, []).append((record.generation, charge))
        for shard, charges in by_shard.items():
            new += await flushes.post(shard, charges)
