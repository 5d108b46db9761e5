"""Settlements of ids that are older than what the ledger remembers: Postgres knows whether they
were made.

The ledger is asked first: how late it is, and which entry is the last of its stream. Once Postgres
is past that entry, a settlement that it does not have was not made before that moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from proxy.domain.ports import Flushes
from proxy.ledger import calls
from proxy.ledger.connection import Command
from proxy.ledger.entries import stream_position
from proxy.ledger.faults import LedgerFault
from proxy.ledger.generations import FencedCalls
from proxy.ledger.pump import Pump, Settlement

BATCH_MAX: Final = 2_000


class Lookups:
    def __init__(self, pump: Pump, fenced: FencedCalls) -> None:
        self._pump = pump
        self._fenced = fenced

    async def resolve_once(self, flushes: Flushes) -> int:
        """How many were found, or sent once more. Raises StoreUnavailableError."""
        resolved = 0
        for shard, settlements in _batches(self._pump.forgotten):
            try:
                resolved += await self._resolve(flushes, shard, settlements)
            except LedgerFault:  # they wait for the next time
                continue
        return resolved

    async def _resolve(
        self, flushes: Flushes, shard: int, settlements: Sequence[Settlement]
    ) -> int:
        asked = 0

        def tail(generation: int) -> Command:
            nonlocal asked
            asked = generation
            return calls.tail(shard, generation)

        now_ms, last_id = await self._fenced.call(shard, tail)
        cursor, posted = await flushes.find_posted(shard, [_name(s) for s in settlements])
        is_past = cursor.generation == asked and (
            stream_position(cursor.stream_id) >= stream_position(last_id.decode())
        )
        resolved = 0
        for settlement in settlements:
            if _name(settlement) in posted:
                self._pump.drop_forgotten(settlement)
            elif is_past:
                self._pump.repeat_forgotten(settlement, now_ms)
            else:
                continue
            resolved += 1
        return resolved


def _name(settlement: Settlement) -> tuple[str, int]:
    return settlement.incarnation, settlement.number


def _batches(settlements: Iterable[Settlement]) -> Iterator[tuple[int, Sequence[Settlement]]]:
    """Of one shard each, and not too large a question for Postgres."""
    in_order = sorted(settlements, key=lambda settlement: settlement.shard)
    for shard, group in groupby(in_order, key=lambda settlement: settlement.shard):
        found = list(group)
        for begin in range(0, len(found), BATCH_MAX):
            yield shard, found[begin : begin + BATCH_MAX]
