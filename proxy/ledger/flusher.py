"""Moves a shard's charges from the stream into Postgres, in order, behind a fence."""

from collections.abc import Sequence
from typing import Final

from proxy.domain.charge import Charge
from proxy.domain.ports import Cursor, Flushes, Shards, Suspicion
from proxy.ledger import calls
from proxy.ledger.entries import Entry, parse_entry, stream_position
from proxy.ledger.faults import (
    STORE_BEHIND,
    STREAM_LOST,
    RefusedError,
    StoreBehindError,
    StreamLostError,
    as_unavailable,
)
from proxy.ledger.link import Link

RETAIN_MS: Final = 3_600_000
RETAIN_ENTRIES_MAX: Final = 200_000
_POISON_BATCHES_MAX: Final = 100


class Flusher:
    """One shard's. Made by `WorkerLedger.flusher`."""

    def __init__(
        self,
        shard: int,
        *,
        link: Link,
        shards: Shards,
        flushes: Flushes,
        owner: str,
        lease_seconds: int,
        entries_max: int,
        retain_ms: int = RETAIN_MS,
        retain_entries_max: int = RETAIN_ENTRIES_MAX,
    ) -> None:
        self.unflushed = 0  # as of the last turn: a metric
        self._shard = shard
        self._link = link
        self._shards = shards
        self._flushes = flushes
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._entries_max = entries_max
        self._retain_ms = retain_ms
        self._retain_entries_max = retain_entries_max
        self._read_to = Cursor(0, "0-0")

    async def flush_once(self) -> int:
        """How many entries were dealt with; 0 also where another flusher has the lease.

        Raises FencedError, StoreUnavailableError, LedgerUnavailableError, StreamLostError or
        StoreBehindError: after the last two the shard is suspect.
        """
        cursor = await self._flushes.acquire(self._shard, self._owner, self._lease_seconds)
        if cursor is None:
            return 0
        dealt_with = 0
        for _ in range(_POISON_BATCHES_MAX):
            entries = await self._read(cursor)
            dealt_with += len(entries)
            charges = await self._sort_out(cursor, entries)
            if charges:
                await self._flushes.write(self._shard, self._owner, cursor, charges)
                cursor = Cursor(cursor.generation, charges[-1][0])
            if charges or not entries:
                break
        # Only now, and only as far as Postgres says: what is trimmed is nowhere else.
        await self._trim(cursor)
        return dealt_with

    async def _read(self, cursor: Cursor) -> list[Entry]:
        after = cursor.stream_id
        if self._read_to.generation == cursor.generation:
            after = max(after, self._read_to.stream_id, key=stream_position)
        command = calls.read_charges(self._shard, cursor, after, self._entries_max)
        with as_unavailable():
            try:
                found = await self._link.call(*command)
            except RefusedError as refused:
                await self._suspect(cursor, refused)
                raise
        return [parse_entry(entry) for entry in found]

    async def _suspect(self, cursor: Cursor, refused: RefusedError) -> None:
        what = f"shard {self._shard}: {refused}"
        if refused.code == STREAM_LOST:
            await self._shards.suspect(self._shard, cursor.generation, Suspicion.STREAM)
            raise StreamLostError(what) from refused
        if refused.code == STORE_BEHIND:
            await self._shards.suspect(self._shard, cursor.generation, Suspicion.POSTGRES)
            raise StoreBehindError(what) from refused

    async def _sort_out(self, cursor: Cursor, entries: Sequence[Entry]) -> list[tuple[str, Charge]]:
        """Charges to be written; the others are set aside. A cursor only ever stands on a charge,
        so poison behind the last one is read again after a restart, and set aside again."""
        charges = []
        for entry in entries:
            if entry.charge is None:
                place = Cursor(cursor.generation, entry.entry_id)
                await self._flushes.quarantine(self._shard, place, entry.raw, entry.poison)
                self._read_to = place
            else:
                charges.append((entry.entry_id, entry.charge))
        return charges

    async def _trim(self, cursor: Cursor) -> None:
        with as_unavailable():
            self.unflushed, _ = await self._link.call(
                *calls.flushed(
                    self._shard,
                    cursor,
                    retain_ms=self._retain_ms,
                    retain_entries=self._retain_entries_max,
                )
            )
