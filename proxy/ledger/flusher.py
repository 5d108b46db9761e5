"""Moves a shard's charges from the stream into Postgres, in order, behind a fence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.domain.charge import Charge, parse_charge
from proxy.domain.ports import Cursor, Flushes
from proxy.ledger import calls
from proxy.ledger.faults import STREAM_LOST, RefusedError, StreamLostError, as_unavailable
from proxy.ledger.link import Link

RETAIN_MS: Final = 3_600_000
RETAIN_ENTRIES_MAX: Final = 200_000
_POISON_BATCHES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream. `poison` says why it cannot be a charge, "" where it is one."""

    entry_id: str
    raw: bytes
    charge: Charge | None = None
    poison: str = ""


def parse_entry(entry: Any) -> Entry:
    """The row must say what the money did: it is compared with the fields that the ledger wrote."""
    entry_id = entry[0].decode()
    fields = dict(zip(entry[1][::2], entry[1][1::2], strict=True))
    raw = fields.get(b"d", b"")
    try:
        charge = parse_charge(raw)
        moved = (
            fields[b"a"].decode(),
            fields[b"k"].decode(),
            int(fields[b"c"]),
            int(fields[b"w"]),
            int(fields[b"n"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        return Entry(entry_id, _all_of(fields), poison=f"{type(error).__name__}: not a charge")
    told = (
        str(charge.account_id),
        charge.key_id,
        charge.charged_nanos,
        charge.window_ms,
        charge.number,
    )
    if told != moved:
        return Entry(entry_id, _all_of(fields), poison="the row differs from what was moved")
    return Entry(entry_id, raw, charge)


def _all_of(fields: dict[bytes, bytes]) -> bytes:
    return b"\n".join(name + b"=" + value for name, value in fields.items())


class Flusher:
    """One shard's. Made by `WorkerLedger.flusher`."""

    def __init__(
        self,
        shard: int,
        *,
        link: Link,
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
        self._flushes = flushes
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._entries_max = entries_max
        self._retain_ms = retain_ms
        self._retain_entries_max = retain_entries_max
        self._read_to = "0-0"

    async def flush_once(self) -> int:
        """How many entries were dealt with; 0 also where another flusher has the lease.

        Raises FencedError, StoreUnavailableError, LedgerUnavailableError or StreamLostError.
        """
        cursor = await self._flushes.acquire(self._shard, self._owner, self._lease_seconds)
        if cursor is None:
            return 0
        dealt_with = 0
        for _ in range(_POISON_BATCHES_MAX):
            entries = await self._read(cursor)
            dealt_with += len(entries)
            charges = await self._sort_out(entries)
            if charges:
                await self._flushes.write(self._shard, self._owner, cursor, charges)
                cursor = Cursor(cursor.generation, charges[-1][0])
            if charges or not entries:
                break
        # Only now, and only as far as Postgres says: what is trimmed is nowhere else.
        await self._trim(cursor)
        return dealt_with

    async def _read(self, cursor: Cursor) -> list[Entry]:
        after = max(cursor.stream_id, self._read_to, key=stream_position)
        command = calls.read_charges(
            self._shard, cursor.generation, cursor.stream_id, after, self._entries_max
        )
        with as_unavailable():
            try:
                found = await self._link.call(*command)
            except RefusedError as refused:
                if refused.code == STREAM_LOST:
                    raise StreamLostError(f"shard {self._shard}: {refused}") from refused
                raise
        return [parse_entry(entry) for entry in found]

    async def _sort_out(self, entries: Sequence[Entry]) -> list[tuple[str, Charge]]:
        """Charges to be written; the others are set aside. A cursor only ever stands on a charge,
        so poison behind the last one is read again after a restart, and set aside again."""
        charges = []
        for entry in entries:
            if entry.charge is None:
                await self._flushes.quarantine(self._shard, entry.entry_id, entry.raw, entry.poison)
                self._read_to = entry.entry_id
            else:
                charges.append((entry.entry_id, entry.charge))
        return charges

    async def _trim(self, cursor: Cursor) -> None:
        with as_unavailable():
            self.unflushed, _ = await self._link.call(
                *calls.flushed(
                    self._shard,
                    cursor.generation,
                    cursor.stream_id,
                    retain_ms=self._retain_ms,
                    retain_entries=self._retain_entries_max,
                )
            )


def stream_position(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence)
