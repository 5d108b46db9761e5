"""All journals that this process answers for: its own, and those that others left behind."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from proxy.domain.ports import Flushes
from proxy.ledger import calls
from proxy.ledger.connection import Command
from proxy.ledger.faults import LedgerFault
from proxy.ledger.generations import FencedCalls
from proxy.ledger.journal import AdoptedJournal, Committed, Journal, adopt_journals
from proxy.ledger.pump import Pump
from proxy.ledger.recorder import JournalSource


class Journals:
    def __init__(self, root: Path, own: Journal, fenced: FencedCalls) -> None:
        self._root = root
        self._own = own
        self._fenced = fenced
        self._adopted: list[AdoptedJournal] = []

    @property
    def adopted(self) -> int:
        return len(self._adopted)

    def size_bytes(self) -> int:
        """On the disk, as of now."""
        adopted = sum(journal.segments.size_bytes() for journal in self._adopted)
        return self._own.segments.size_bytes() + adopted

    def adopt(self, pump: Pump) -> int:
        """Takes what no living process holds, and settles it again: what was settled stays so."""
        found = adopt_journals(self._root)
        for journal in found:
            pump.add_source(JournalSource(journal.segments))
        self._adopted.extend(found)
        return len(found)

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
            try:
                await self._fenced.call(shard, _forget(shard, incarnation))
            except LedgerFault:  # a few bytes stay in the ledger
                continue


def _forget(shard: int, incarnation: str) -> Callable[[int], Command]:
    return lambda generation: calls.forget(shard, generation, incarnation)
