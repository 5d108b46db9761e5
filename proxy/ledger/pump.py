"""Settlements on their way to the ledger: pipelined, and repeated until they are answered.

Every one of them is idempotent by its request id, so what is in doubt is simply sent again. Memory
is bounded: beyond `queue_max` the journal is the queue, and is read again from where it overflowed.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

from proxy.domain.errors import ApiError, LedgerUnavailableError
from proxy.domain.finish import TaskSet
from proxy.domain.outcome import Outcome
from proxy.domain.usage import UsageSource
from proxy.ledger import calls
from proxy.ledger.connection import Command
from proxy.ledger.faults import BAD_CALL, STALE_GENERATION, LedgerFault, NotSentError, RefusedError
from proxy.ledger.journal import Record
from proxy.ledger.link import BACKOFF_MS, Link
from proxy.ledger.replies import parse_outcome

IN_FLIGHT_MAX: Final = 512
QUEUE_MAX: Final = 10_000
_REFILL: Final = 256
_MS: Final = 1000
# The outcomes after which the ledger has the settlement's number.
_STORED: Final = (Outcome.OK, Outcome.SETTLED_LATE, Outcome.NOT_FOUND)
_UNEXPECTED: Final = (Outcome.ALREADY_RELEASED, Outcome.EXISTS_WITH_DIFFERENT_AMOUNT)


Acknowledged = defaultdict[tuple[int, int], dict[str, int]]


@dataclass(slots=True, eq=False)
class Settlement:
    """`number` is the incarnation's own count, 0 for a release without a row. `answered`, where
    given, learns the end of it."""

    shard: int
    generation: int
    account_id: UUID
    incarnation: str
    number: int
    command: Command
    answered: "asyncio.Future[None] | None" = None


def settlement_of(record: Record) -> Settlement:
    charge = record.charge
    make = calls.release if charge.usage_source is UsageSource.NONE else calls.settle
    command = make(record.generation, charge, record.data)
    return Settlement(
        charge.shard,
        record.generation,
        charge.account_id,
        charge.incarnation,
        charge.number,
        command,
    )


class Source(Protocol):
    """Settlements that are in a journal."""

    def read(self, count_max: int) -> list[Settlement]:
        """The next ones; none where it is read to its end. Raises OSError where it cannot be."""


@dataclass(slots=True)
class PumpCounts:
    """`stranded` were recorded in a generation that is over, and are posted into Postgres; `late`
    came after their hold had expired. `unexpected` ended in another way than they were recorded;
    `unreadable` are journals: both are alarms."""

    settled: int = 0
    late: int = 0
    stranded: int = 0
    unexpected: int = 0
    dropped: int = 0
    unreadable: int = 0


class _Lane:
    """A shard's settlements, so that one that is away does not keep the others waiting."""

    __slots__ = ("failures", "queue", "timer")

    def __init__(self) -> None:
        self.queue: deque[Settlement] = deque()
        self.failures = 0
        self.timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Pump:
    def __init__(
        self,
        link: Link,
        *,
        load_wallet: Callable[[UUID, int], Awaitable[bool]],
        queue_max: int = QUEUE_MAX,
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        self.counts = PumpCounts()
        # Shard and generation → incarnation → the highest number that the ledger has acknowledged.
        self.acknowledged: Acknowledged = defaultdict(dict)
        self.on_refused: list[Callable[[int, int, RefusedError], None]] = []  # shard, generation
        self._link = link
        self._load_wallet = load_wallet
        self._queue_max = queue_max
        self._in_flight_max = in_flight_max
        self._lanes: defaultdict[int, _Lane] = defaultdict(_Lane)
        self._queued = 0
        self._sources: deque[Source] = deque()
        self._forgotten: dict[Settlement, None] = {}
        self._stranded: dict[Settlement, None] = {}
        self._in_flight = 0
        self._tasks = TaskSet()
        self._is_closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        link.on_up.append(self.wake)

    @property
    def backlog(self) -> int:
        """Settlements in memory that are not answered; journals come on top."""
        return self._queued + self._in_flight + len(self._tasks) + len(self._stranded)

    @property
    def is_full(self) -> bool:
        return self._queued >= self._queue_max

    @property
    def forgotten(self) -> list[Settlement]:
        """Of ids so old that the ledger does not know any more whether they were settled. They wait
        here, at most about as many as in the queue, until Postgres was asked."""
        return list(self._forgotten)

    def drop_forgotten(self, settlement: Settlement) -> None:
        """Postgres has it."""
        self._forgotten.pop(settlement, None)
        self._tell(settlement)
        self._send()

    def repeat_forgotten(self, settlement: Settlement, known_ms: int) -> None:
        """Postgres had no such settlement at that moment."""
        self._forgotten.pop(settlement, None)
        settlement.command = calls.looked_up(settlement.command, known_ms)
        self.offer((settlement,))

    @property
    def stranded(self) -> list[Settlement]:
        """Recorded in a generation that is over: only Postgres can take them now."""
        return list(self._stranded)

    def posted(self, settlements: Iterable[Settlement]) -> None:
        """Postgres has these stranded ones."""
        for settlement in settlements:
            self._stranded.pop(settlement, None)
            self._tell(settlement)
        self._send()

    def forget(self, incarnation: str) -> None:
        """The ledger is about to: all of it is in Postgres."""
        for highest in self.acknowledged.values():
            highest.pop(incarnation, None)

    def offer(self, settlements: Iterable[Settlement]) -> None:
        for settlement in settlements:
            self._enqueue(settlement)
        self._send()

    def give_back(self, settlement: Settlement) -> None:
        """A release that stands in no journal: where even the queue is full, the lease's end does
        the same a little later."""
        if self.is_full:
            self.counts.dropped += 1
        else:
            self.offer((settlement,))

    def add_source(self, source: Source) -> None:
        self._sources.append(source)
        self._send()

    def wake(self) -> None:
        for lane in self._lanes.values():
            lane.stop()
        self._send()

    async def drain(self, *, seconds: int) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        self._is_closed = True
        for lane in self._lanes.values():
            lane.stop()
        await self._tasks.cancel()

    def _send(self) -> None:
        if self._is_closed:
            return
        self._refill()
        for lane in self._lanes.values():
            self._send_lane(lane)
        if self.backlog or self._sources:
            self._idle.clear()
        else:
            self._idle.set()

    def _send_lane(self, lane: _Lane) -> None:
        while lane.queue and lane.timer is None and self._in_flight < self._in_flight_max:
            settlement = lane.queue.popleft()
            try:
                call = self._link.call(*settlement.command)
            except NotSentError:
                lane.queue.appendleft(settlement)
                self._pause(lane)
                return
            self._queued -= 1
            self._in_flight += 1
            call.add_done_callback(partial(self._answered, settlement))

    def _enqueue(self, settlement: Settlement) -> None:
        self._lanes[settlement.shard].queue.append(settlement)
        self._queued += 1

    def _refill(self) -> None:
        count = min(_REFILL, self._queue_max)
        if len(self._forgotten) + len(self._stranded) >= self._queue_max:
            return
        while self._sources and self._queued < count:
            try:
                found = self._sources[0].read(count)
            except OSError:  # its file stays, and the others are not its fault
                self.counts.unreadable += 1
                found = []
            if not found:
                self._sources.popleft()
            for settlement in found:
                self._enqueue(settlement)

    def _answered(self, settlement: Settlement, call: "asyncio.Future[Any]") -> None:
        self._in_flight -= 1
        if call.cancelled():
            self._enqueue(settlement)
            return
        lane = self._lanes[settlement.shard]
        error = call.exception()
        if isinstance(error, RefusedError):
            for tell in self.on_refused:
                tell(settlement.shard, settlement.generation, error)
        if error is None:
            lane.failures = 0
            self._ended(settlement, parse_outcome(call.result()))
        elif isinstance(error, RefusedError) and _is_over(settlement, error):
            self._strand(settlement)
        elif isinstance(error, RefusedError) and error.code == BAD_CALL:
            self._refuse(settlement)
        else:
            self._enqueue(settlement)
            self._pause(lane)
        self._send()

    def _ended(self, settlement: Settlement, outcome: Outcome) -> None:
        if outcome is Outcome.UNKNOWN_WALLET:
            _ = self._tasks.start(self._load_and_repeat(settlement), name="wallet for a settlement")
        elif outcome is Outcome.NOT_FOUND and _is_settle(settlement):
            self._forgotten[settlement] = None
        else:
            if outcome in _UNEXPECTED and _is_settle(settlement):
                self.counts.unexpected += 1
            self.counts.late += outcome is Outcome.SETTLED_LATE
            if outcome in _STORED and settlement.number:
                highest = self.acknowledged[settlement.shard, settlement.generation]
                before = highest.get(settlement.incarnation, 0)
                highest[settlement.incarnation] = max(settlement.number, before)
            self._tell(settlement)

    def _tell(self, settlement: Settlement) -> None:
        self.counts.settled += 1
        if settlement.answered is not None and not settlement.answered.done():
            settlement.answered.set_result(None)

    def _strand(self, settlement: Settlement) -> None:
        if settlement.number:  # a release without a row has nothing to post
            self.counts.stranded += 1
            self._stranded[settlement] = None

    def _refuse(self, settlement: Settlement) -> None:
        self.counts.unexpected += 1
        if settlement.answered is not None and not settlement.answered.done():
            settlement.answered.set_exception(not_recorded())

    async def _load_and_repeat(self, settlement: Settlement) -> None:
        attempt = 0
        while not await self._try_load(settlement):
            await asyncio.sleep(BACKOFF_MS[min(attempt, len(BACKOFF_MS) - 1)] / _MS)
            attempt += 1
        self._enqueue(settlement)
        # This task is still counted: the next turn of the loop sends.
        asyncio.get_running_loop().call_soon(self._send)

    async def _try_load(self, settlement: Settlement) -> bool:
        try:
            return await self._load_wallet(settlement.account_id, settlement.shard)
        except (ApiError, LedgerFault):
            return False

    def _pause(self, lane: _Lane) -> None:
        if lane.timer is None and not self._is_closed:
            wait_ms = BACKOFF_MS[min(lane.failures, len(BACKOFF_MS) - 1)]
            lane.failures += 1
            loop = asyncio.get_running_loop()
            lane.timer = loop.call_later(wait_ms / _MS, self._resume, lane)

    def _resume(self, lane: _Lane) -> None:
        lane.timer = None
        self._send()


def not_recorded() -> LedgerUnavailableError:
    return LedgerUnavailableError("The charge could not be recorded.", retry_after_seconds=1)


def _is_settle(settlement: Settlement) -> bool:
    return settlement.command[1] == "ledger_settle"


def _is_over(settlement: Settlement, refused: RefusedError) -> bool:
    """Recorded under a generation that is over. A ledger that is still behind the settlement's
    generation is about to be opened."""
    return refused.code == STALE_GENERATION and int(refused.detail) > settlement.generation
