"""Deliberate bugs, by name: each takes one rule of the ledger away in the process under test.

A harness that does not find them proves nothing. They patch the running program, or its copy of
the functions in Redis; the product has no switch for them.
"""

import asyncio
import functools
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.domain.charge import Charge
from proxy.domain.ports import Cursor, Flushes, Shard
from proxy.gateway.settlement import Settlement
from proxy.ledger import library
from proxy.ledger import pump as pumping
from proxy.ledger.journal import Journal, Record
from proxy.ledger.journals import Journals
from proxy.ledger.pump import Pump, settlement_of
from proxy.ledger.recorder import Recorder
from proxy.store.flushes import PostgresFlushes, _Batch

LATE_SECONDS = 0.4  # long enough for a fault to fall into the gap that a bug opens
_GAP_SECONDS = 3  # for a fault that waits until it is told of the gap


@contextmanager
def told(name: str) -> Iterator[None]:
    """To the schedule, by a file: a fault may wait for this moment."""
    path = Path(os.environ["CHAOS_DIR"]) / name
    path.touch()
    yield
    path.unlink(missing_ok=True)


def acknowledge_before_commit() -> None:
    """The cursor moves in a transaction of its own, before the rows are in."""

    async def write(
        self: PostgresFlushes,
        shard: int,
        owner: str,
        cursor: Cursor,
        charges: Sequence[tuple[str, Charge]],
    ) -> int:
        if not charges:
            return 0

        async def acknowledge(executor: Any) -> None:
            await self._begin(executor, shard)
            last_id = charges[-1][0]
            await executor.execute(self._queries.move_cursor, shard, cursor.generation, last_id)

        async def insert(executor: Any) -> int:
            return await self._insert(executor, _Batch(shard, cursor.generation, charges))

        await self._database.transact(acknowledge)
        with told("gap"):
            await asyncio.sleep(_GAP_SECONDS)
        return await self._database.transact(insert)

    PostgresFlushes.write = write  # type: ignore[method-assign]


def settle_without_idempotency() -> None:
    """`settle` does not look whether the request has ended before."""
    _change_library(
        """  local marker = redis.call('HGET', keys[6], id)
  local outcome = outcome_of(marker, args[5])
""",
        """  local marker = redis.call('HGET', keys[6], id)
  local outcome = nil
""",
    )


def expiry_ignoring_the_lease() -> None:
    """Holds are listed and expired whatever their lease says."""
    _change_library(
        "redis.call('ZRANGEBYSCORE', keys[2], '-inf', text(shard.now), 'LIMIT'",
        "redis.call('ZRANGEBYSCORE', keys[2], '-inf', '+inf', 'LIMIT'",
    )
    _change_library(
        "  if shard.now < shard.not_before or lease > shard.now then\n", "  if false then\n"
    )


def final_byte_before_the_journal() -> None:
    """The answer ends at once; the charge is written down a little later."""
    write = Recorder.write

    def write_late(self: Recorder) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)
        asyncio.get_running_loop().call_later(LATE_SECONDS, write, self)

    Recorder.write = write_late  # type: ignore[method-assign]
    Settlement.written = _written  # type: ignore[method-assign]


async def _written(self: Settlement, *, seconds: int = 0) -> Charge:
    del seconds
    assert self.charge is not None
    return self.charge


def unfenced_second_flusher() -> None:
    """Everybody flushes, from a cursor that was true when they read it."""
    acquire_sql = "SELECT cursor_generation, cursor_stream_id FROM shards WHERE shard = $1"

    async def acquire(self: PostgresFlushes, shard: int, owner: str, lease: int) -> Cursor | None:
        row = await self._database.fetchrow(acquire_sql, shard)
        return None if row is None else Cursor(row[0], row[1])

    async def write(
        self: PostgresFlushes,
        shard: int,
        owner: str,
        cursor: Cursor,
        charges: Sequence[tuple[str, Charge]],
    ) -> int:
        del owner
        # One goes slowly while the other overtakes it.
        await asyncio.sleep(random.choice((0, 3 * LATE_SECONDS)))

        async def step(executor: Any) -> int:
            new = await self._insert(executor, _Batch(shard, cursor.generation, charges))
            last_id = charges[-1][0]
            await executor.execute(self._queries.move_cursor, shard, cursor.generation, last_id)
            return new

        return await self._database.transact(step) if charges else 0

    setattr(PostgresFlushes, "acquire", acquire)  # noqa: B010 - its parameters have other names
    PostgresFlushes.write = write  # type: ignore[method-assign]


def pruning_by_stream_position() -> None:
    """A full segment goes as soon as the stream has moved past it, though what it holds may never
    have been in the stream."""
    append, create = Journal.append, Journal.__init__

    @functools.wraps(create)
    def with_small_segments(self: Journal, root: Path, incarnation: str) -> None:
        create(self, root, incarnation, segment_bytes_max=1)

    def append_and_prune(self: Journal, records: Sequence[Record]) -> Any:
        positions = append(self, records)
        for segment in [n for n in self._highest if n < self._segment]:
            self.segments.path(segment).unlink(missing_ok=True)
            del self._highest[segment]
        return positions

    Journal.__init__ = with_small_segments  # type: ignore[assignment]
    Journal.append = append_and_prune  # type: ignore[method-assign]


def journal_replayed_through_settle() -> None:
    """Records of a generation that is over go into Postgres, as they must; and once more through
    `settle` into the wallets that were rebuilt from there."""
    adopt, post_older = Journals.adopt, Journals.post_older
    pumps: dict[Journals, Pump] = {}

    def adopt_noted(self: Journals, pump: Pump) -> int:
        pumps[self] = pump
        return adopt(self, pump)

    async def post_and_replay(
        self: Journals, flushes: Flushes, current: Mapping[int, Shard]
    ) -> int:
        new = await post_older(self, flushes, current)
        for segments in (self._own.segments, *(journal.segments for journal in self._adopted)):
            for number in segments.numbers():
                pumps[self].offer(_restamped(segments.scan(number).records, current))
        return new

    Journals.adopt = adopt_noted  # type: ignore[method-assign]
    Journals.post_older = post_and_replay  # type: ignore[method-assign]


def _restamped(records: Sequence[Record], current: Mapping[int, Shard]) -> list[pumping.Settlement]:
    now = {number: shard.generation for number, shard in current.items()}
    found = [(record, now.get(record.charge.shard, 0)) for record in records]
    return [settlement_of(replace(r, generation=at)) for r, at in found if r.generation < at]


BUGS: Mapping[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        acknowledge_before_commit,
        settle_without_idempotency,
        expiry_ignoring_the_lease,
        final_byte_before_the_journal,
        unfenced_second_flusher,
        pruning_by_stream_position,
        journal_replayed_through_settle,
    )
}


def apply(name: str) -> None:
    """Nothing for the empty name."""
    if name:
        BUGS[name]()


def _change_library(old: str, new: str) -> None:
    """In a copy, which this process then loads into Redis. Every process of a run must do so, or
    they would replace each other's."""
    source = library.LIBRARY.read_text()
    assert source.count(old) == 1, old
    path = Path(os.environ["CHAOS_DIR"]) / f"ledger-{os.getpid()}.lua"
    path.write_text(source.replace(old, new))
    library.LIBRARY = path  # type: ignore[misc]
