"""From a charge to the journal and the pump: once per loop turn for all charges of that turn."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from proxy.domain.charge import Charge
from proxy.domain.finish import TaskSet
from proxy.ledger.journal import DATA_BYTES_MAX, START, Journal, Position, Record, Segments
from proxy.ledger.link import Link
from proxy.ledger.pump import Pump, Settlement, not_recorded, settlement_of

UNKNOWN_GENERATION: Final = 0


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


class Recorder:
    def __init__(
        self,
        journal: Journal,
        pump: Pump,
        link: Link,
        *,
        generation_of: Callable[[int], int | None],
    ) -> None:
        self._journal = journal
        self._pump = pump
        self._link = link
        self._generation_of = generation_of
        self._numbers: dict[int, int] = {}
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._spool: JournalSource | None = None
        self._tasks = TaskSet()

    def record(self, charge: Charge) -> "asyncio.Future[None]":
        """Numbers the charge. The future is done once it is in the journal.

        Raises ValueError for a charge that no journal can hold, here and not among the others.
        """
        number = self._numbers.get(charge.shard, 0) + 1
        charge = replace(charge, incarnation=self._journal.incarnation, number=number)
        generation = self._generation_of(charge.shard) or UNKNOWN_GENERATION
        record = Record(generation, charge, charge.to_bytes())
        if len(record.data) > DATA_BYTES_MAX:
            raise ValueError("a charge is a row, not a document")
        self._numbers[charge.shard] = number
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self.write)
        self._waiting.append((record, future))
        return future

    def write(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        records = [record for record, _ in batch]
        futures = [future for _, future in batch]
        try:
            positions = self._journal.append(records)
        except OSError:
            self._without_journal(records, futures)
            return
        if self._link.is_up:
            _finish(futures)
        else:
            _ = self._tasks.start(self._sync(futures), name="journal to disk")
        self._pass_on(records, positions[0])

    async def close(self) -> None:
        self.write()
        await self._tasks.wait(seconds=5)

    def _pass_on(self, records: list[Record], position: Position) -> None:
        if self._spool is not None and not self._spool.is_read:
            return  # the pump comes to these by reading the journal
        if self._pump.is_full:
            self._spool = JournalSource(self._journal.segments, position)
            self._pump.add_source(self._spool)
        else:
            self._spool = None
            self._pump.offer(settlement_of(record) for record in records)

    def _without_journal(
        self, records: list[Record], futures: "list[asyncio.Future[None]]"
    ) -> None:
        """The disk refuses. With Redis there, its answer takes the journal's place; without, the
        charge is not safe anywhere, and the answer must not be finished."""
        if not self._link.is_up or self._pump.is_full:
            for record in records:  # their numbers were used by nobody
                self._numbers[record.charge.shard] -= 1
            _fail(futures)
            return
        settlements = [settlement_of(record) for record in records]
        for settlement, future in zip(settlements, futures, strict=True):
            settlement.answered = future
        self._pump.offer(settlements)

    async def _sync(self, futures: "list[asyncio.Future[None]]") -> None:
        try:
            await asyncio.to_thread(self._journal.begin_sync())
        except OSError:
            _fail(futures)
        else:
            _finish(futures)


def _finish(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _fail(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_exception(not_recorded())
