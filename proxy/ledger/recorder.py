"""From a charge to the journal and the pump: once per loop turn for all charges of that turn.

A charge that neither the disk nor the ledger takes waits here, and is offered to both until one of
them has it. Whoever waits for it decides how long.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from uuid import UUID

from proxy.domain.charge import Charge
from proxy.domain.durability import JournalSync
from proxy.domain.finish import TaskSet
from proxy.ledger.confirmations import Confirmations
from proxy.ledger.journal import DATA_BYTES_MAX, START, Journal, Position, Record, Segments
from proxy.ledger.link import Link
from proxy.ledger.pump import Pump, Settlement, not_recorded, settlement_of

UNKNOWN_GENERATION: Final = 0
# An admitted request has one charge, and none is admitted while Redis is away: so many requests
# would have to be open. About 20 MB.
UNPLACED_MAX: Final = 20_000
CLOSE_SECONDS_MAX: Final = 10
CONFIRM_MS: Final = 1500  # a Redis that syncs every second has done so by then
_RETRY_MS: Final = (50, 100, 200, 400, 800)
_MS: Final = 1000


class JournalSource:
    """The settlements of a journal, from a position on."""

    def __init__(self, segments: Segments, start: Position = START) -> None:
        self._segments = segments
        self._next = start
        self.is_read = False

    def read(self, count_max: int) -> list[Settlement]:
        try:
            records, self._next = self._segments.read(self._next, count_max)
        except OSError:
            self.is_read = True  # by us: the next start tries again
            raise
        self.is_read = not records
        return [settlement_of(record) for record in records]


@dataclass(slots=True)
class RecorderCounts:
    """Alarms. `refused`: charges that the disk did not take at first. `lost`: dropped, because
    more waited than memory may hold, or at the end of the process."""

    refused: int = 0
    lost: int = 0


@dataclass(slots=True, eq=False)
class _Entry:
    """A charge until it is safe. It has a record once it has a number; `segment` is the
    journal's, None where no journal has it."""

    charge: Charge
    future: "asyncio.Future[None]"
    record: Record | None = None
    segment: int | None = None
    is_offered: bool = False
    is_synced: bool = False
    is_answered: bool = False
    is_confirmed: bool = False
    is_overdue: bool = False  # the ledger: a synced journal is enough from here

    @property
    def numbered(self) -> Record:
        assert self.record is not None
        return self.record


class Recorder:
    """`journal_sync` and `confirmations` say what must have happened before a charge's future is
    done; without confirmations, the ledger's word is not waited for."""

    def __init__(
        self,
        journal: Journal,
        pump: Pump,
        link: Link,
        *,
        generation_of: Callable[[int], int | None],
        journal_sync: JournalSync = JournalSync.AWAY,
        confirmations: Confirmations | None = None,
        unplaced_max: int = UNPLACED_MAX,
    ) -> None:
        self.counts = RecorderCounts()
        self._journal = journal
        self._pump = pump
        self._link = link
        self._generation_of = generation_of
        self._syncs_always = journal_sync is JournalSync.ALWAYS
        self._confirmations = confirmations
        self._is_lazy = confirmations is None and not self._syncs_always
        self._unplaced_max = unplaced_max
        self._numbers: dict[int, int] = {}
        self._waiting: list[tuple[_Entry, asyncio.Future[None]]] = []  # for this turn's write
        self._unplaced: list[_Entry] = []  # nobody takes them; without numbers
        self._unsafe: dict[UUID, _Entry] = {}  # every entry of earlier turns that is not safe yet
        self._unsynced: list[_Entry] = []
        self._spool: JournalSource | None = None
        self._tasks = TaskSet()
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0
        self._is_syncing = False
        link.on_up.append(self._retry)

    @property
    def unplaced(self) -> int:
        """Charges in memory alone: neither the disk nor the ledger took them. An alarm."""
        return len(self._unplaced)

    @property
    def has_room(self) -> bool:
        """False where no further request should begin: its charge could be one too many."""
        return len(self._unplaced) < self._unplaced_max // 2

    def record(self, charge: Charge) -> "asyncio.Future[None]":
        """Numbers the charge. The future is done once it is safe, by the settings' measure.

        A second charge of the same request takes the first one's place where nobody has the first
        yet; the future is then a new one, and else that of the first. Raises ValueError for a
        charge that no journal can hold, here and not among the others.
        """
        if self._unsafe and (first := self._unsafe.get(charge.request_id)) is not None:
            return _replaced(first, charge)
        entry = _Entry(charge, asyncio.get_running_loop().create_future())
        self._number(entry)
        if len(entry.numbered.data) > DATA_BYTES_MAX:
            self._unnumber((entry,))
            raise ValueError("a charge is a row, not a document")
        if self._unplaced:
            self._unnumber((entry,))
            self._keep((entry,))
            return entry.future
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.write)
        self._waiting.append((entry, entry.future))
        return entry.future

    def write(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._place([entry for entry, _ in waiting])

    async def close(self) -> None:
        """What neither disk nor ledger takes until the end of this is lost: nobody else has it."""
        self.write()
        self._retry()
        loop = asyncio.get_running_loop()
        end = loop.time() + CLOSE_SECONDS_MAX
        while self._unsafe and loop.time() < end:
            futures = [entry.future for entry in self._unsafe.values()]
            await asyncio.wait(futures, timeout=end - loop.time())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._tasks.wait(seconds=5)
        await self._tasks.cancel()
        self._lose([entry for entry in self._unsafe.values() if entry.segment is None])

    # Numbers: without a gap, or what follows it would never be pruned

    def _number(self, entry: _Entry) -> None:
        shard = entry.charge.shard
        number = self._numbers[shard] = self._numbers.get(shard, 0) + 1
        incarnation = self._journal.incarnation
        charge = replace(entry.charge, incarnation=incarnation, number=number)
        generation = self._generation_of(shard) or UNKNOWN_GENERATION
        entry.record = Record(generation, charge, charge.to_bytes())

    def _unnumber(self, entries: Iterable[_Entry]) -> None:
        """Of the newest entries, whose numbers nobody has seen."""
        for entry in entries:
            self._numbers[entry.charge.shard] -= 1
            entry.record = None

    # To the journal, else to the ledger, else to memory

    def _place(self, batch: list[_Entry]) -> None:
        try:
            self._append(batch)
        except OSError:
            self.counts.refused += len(batch)
            self._without_journal(batch)

    def _append(self, batch: Sequence[_Entry]) -> None:
        positions = self._journal.append([entry.numbered for entry in batch])
        is_safe = self._is_lazy and self._link.is_up
        for entry, position in zip(batch, positions, strict=True):
            entry.segment = position.segment
        if is_safe:
            self._finish(batch)
        else:
            self._await_safety(batch)
        new = [entry for entry in batch if not entry.is_offered]
        if new:
            self._pass_on(new, positions[batch.index(new[0])])

    def _without_journal(self, batch: list[_Entry]) -> None:
        """The disk refuses. With Redis there, its answer takes the journal's place."""
        if self._link.is_up and not self._pump.is_full:
            self._unsafe.update((entry.charge.request_id, entry) for entry in batch)
            self._offer(batch)
        else:
            self._unnumber(batch)
            self._keep(batch)
        self._retry_later()

    def _keep(self, entries: Sequence[_Entry]) -> None:
        """Beyond the bound the newest are dropped: their answers are not finished, so that no
        customer pays for them, and they are counted."""
        room = max(self._unplaced_max - len(self._unplaced), 0)
        kept = entries[:room]
        self._unplaced.extend(kept)
        self._unsafe.update((entry.charge.request_id, entry) for entry in kept)
        self._lose(entries[room:])

    def _pass_on(self, entries: Sequence[_Entry], position: Position) -> None:
        """`position`: of the first of them, behind which there are no others in the journal."""
        if self._spool is not None and not self._spool.is_read:
            return  # the pump comes to these by reading the journal
        if self._pump.is_full:
            self._spool = JournalSource(self._journal.segments, position)
            self._pump.add_source(self._spool)
        else:
            self._spool = None
            self._offer(entries)

    def _offer(self, entries: Sequence[_Entry]) -> None:
        settlements = [settlement_of(entry.numbered) for entry in entries]
        for settlement, entry in zip(settlements, entries, strict=True):
            entry.is_offered = True
            if not entry.future.done():
                answered: asyncio.Future[None] = entry.future.get_loop().create_future()
                answered.add_done_callback(partial(self._answered, entry))
                settlement.answered = answered
        self._pump.offer(settlements)

    # Again

    def _retry_later(self) -> None:
        if self._timer is None:
            wait_ms = _RETRY_MS[min(self._failures, len(_RETRY_MS) - 1)]
            self._failures += 1
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait_ms / _MS, self._retry)

    def _retry(self) -> None:
        """Offers to the disk what no journal has: also what is with the pump, which may be without
        an answer for long."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        offered = [entry for entry in self._unsafe.values() if _is_journalless(entry)]
        unplaced, self._unplaced = self._unplaced, []
        if not offered and not unplaced:
            self._failures = 0
            return
        for entry in unplaced:
            self._number(entry)
        try:
            self._append([*offered, *unplaced])
        except OSError:
            self._without_journal(unplaced)
            for entry in offered:
                if entry.is_answered:
                    self._confirm(entry)
        else:
            self._failures = 0

    # Safety

    def _is_safe(self, entry: _Entry) -> bool:
        confirms = self._confirmations is not None
        ledger_has_it = entry.is_confirmed if confirms else entry.is_answered
        if entry.segment is None:
            return ledger_has_it
        if self._syncs_always and not entry.is_synced:
            return False
        if confirms:
            return ledger_has_it or (entry.is_synced and entry.is_overdue)
        return entry.is_synced or ledger_has_it

    def _await_safety(self, batch: Sequence[_Entry]) -> None:
        """In the journal, which is not enough."""
        self._unsafe.update((entry.charge.request_id, entry) for entry in batch)
        if not self._link.is_up:
            self._overdue(batch)
        elif self._confirmations is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(CONFIRM_MS / _MS, self._overdue, batch)
        if self._syncs_always:
            self._sync(batch)

    def _overdue(self, batch: Sequence[_Entry]) -> None:
        for entry in batch:
            entry.is_overdue = True
        self._check(batch)
        if not self._syncs_always:
            self._sync([entry for entry in batch if not entry.future.done()])

    def _answered(self, entry: _Entry, answered: "asyncio.Future[None]") -> None:
        """Where only recovery can post it, the journal is what is left to wait for."""
        if answered.cancelled() or answered.exception() is not None:
            return
        entry.is_answered = True
        self._check((entry,))
        self._confirm(entry)

    def _confirm(self, entry: _Entry) -> None:
        if self._confirmations is not None and not entry.future.done():
            confirmed = self._confirmations.request()
            confirmed.add_done_callback(partial(self._confirmed, entry))

    def _confirmed(self, entry: _Entry, confirmed: "asyncio.Future[bool]") -> None:
        if not confirmed.cancelled() and confirmed.result():
            entry.is_confirmed = True
            self._check((entry,))
        elif not entry.is_overdue:
            self._overdue((entry,))

    def _sync(self, entries: Iterable[_Entry]) -> None:
        """One at a time; whatever comes meanwhile goes with the next."""
        self._unsynced.extend(entries)
        if self._unsynced and not self._is_syncing:
            self._is_syncing = True
            _ = self._tasks.start(self._sync_all(), name="journal to disk")

    async def _sync_all(self) -> None:
        try:
            while self._unsynced:
                batch, self._unsynced = self._unsynced, []
                await self._sync_once(batch)
        finally:
            self._is_syncing = False

    async def _sync_once(self, batch: Sequence[_Entry]) -> None:
        segments = [entry.segment for entry in batch if entry.segment is not None]
        if not segments:
            return
        try:
            await asyncio.to_thread(self._journal.begin_sync(min(segments)))
        except OSError:
            self.counts.refused += len(batch)
            self._journal.distrust()
            for entry in batch:
                entry.segment = None
            self._retry_later()
        else:
            for entry in batch:
                entry.is_synced = True
        self._check(batch)

    def _check(self, entries: Iterable[_Entry]) -> None:
        self._finish([entry for entry in entries if self._is_safe(entry)])

    def _finish(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            if self._unsafe:
                self._unsafe.pop(entry.charge.request_id, None)
            if not entry.future.done():
                entry.future.set_result(None)

    def _lose(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            self.counts.lost += 1
            self._unsafe.pop(entry.charge.request_id, None)
            if not entry.future.done():
                entry.future.set_exception(not_recorded())
                entry.future.exception()  # whoever waited may have given up


def _is_journalless(entry: _Entry) -> bool:
    """Numbered, so it was given to the ledger, or to a disk that lost it."""
    return entry.segment is None and entry.record is not None


def _replaced(entry: _Entry, charge: Charge) -> "asyncio.Future[None]":
    if entry.record is None:  # no number: neither the disk nor the ledger has seen it
        entry.charge = charge
        entry.future.cancel()
        entry.future = asyncio.get_running_loop().create_future()
    return entry.future
