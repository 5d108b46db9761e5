"""What verification reads: positions, books and chains."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from proxy.domain.ports import Cursor, ShardState
from proxy.store.books import Batch, Entry
from proxy.store.database import Database, Executor, Record
from proxy.store.queries import Queries
from proxy.store.shards import cursor_of_row
from routing.money import Nanos

_PAGE: Final = 100
_BATCHES_PAGE: Final = 1000
_DIFFERENCES_MAX: Final = 100
_FIRST: Final = UUID(int=0)
_GENESIS: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Position:
    """A wallet, its shard and the shard's cursor at one moment.

    `quarantined_nanos`: charges that Redis took and that stay out of this balance, below the
    cursor only, or of streams that are over. Above it they are still in the stream.
    """

    account_id: UUID
    shard: int
    generation: int
    is_draining: bool
    balance_nanos: Nanos
    sequence: int
    cursor: Cursor
    quarantined_nanos: Nanos


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """`broken` names what does not fit, one a line."""

    batches: int
    broken: tuple[str, ...]


class Audit:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def positions(self) -> AsyncIterator[Position]:
        """Every wallet by its account's id. Each page is one snapshot."""
        after = _FIRST
        while page := await self._positions_page(after):
            for position in page:
                yield position
            after = page[-1].account_id

    async def _positions_page(self, after: UUID) -> list[Position]:
        async def read(executor: Executor) -> tuple[list[Record], list[Record]]:
            wallets = await executor.fetch(self._queries.list_wallets, after, _PAGE)
            ids = [row["account_id"] for row in wallets]
            return wallets, await executor.fetch(self._queries.list_quarantine, ids)

        wallets, quarantined = await self._database.transact(read, isolation="repeatable_read")
        entries = defaultdict(list)
        for row in quarantined:
            entries[row["account_id"], row["shard"]].append(row)
        return [_position(row, entries[row["account_id"], row["shard"]]) for row in wallets]

    async def count_quarantine(self) -> int:
        """Unresolved entries, those included whose account cannot be read."""
        return int(await self._database.fetchval(self._queries.count_quarantine))

    async def book_differences(self) -> list[tuple[UUID, int]]:
        """Accounts whose prepayments in the books are not their wallet's balance, and by how much;
        the first hundred."""
        rows = await self._database.fetch(self._queries.list_book_differences, _DIFFERENCES_MAX)
        return [(row["account_id"], int(row["difference_nanos"])) for row in rows]

    async def trial_balance(self) -> dict[str, int]:
        """Debits less credits by account of the chart. They add up to nothing, always."""
        rows = await self._database.fetch(self._queries.load_trial_balance, None, None)
        return {row["code"]: int(row["opening_nanos"]) for row in rows}

    async def close_faults(self) -> list[str]:
        """Chains that were changed below a month's close."""
        rows = await self._database.fetch(self._queries.list_close_faults)
        return [
            f"chain {row['chain']}: it was changed before the end of {row['month']:%Y-%m}"
            for row in rows
        ]

    async def check_chains(self, batches_max: int | None = None) -> ChainCheck:
        """Recomputes the hashes of every chain, or of the last `batches_max` batches of each."""
        batches, broken = 0, []
        for row in await self._database.fetch(self._queries.list_chains):
            count, faults = await self._check_chain(row, batches_max)
            batches += count
            broken += faults
        return ChainCheck(batches, tuple(broken))

    async def _check_chain(self, head: Record, batches_max: int | None) -> tuple[int, list[str]]:
        """As of the head that was read before: what is appended meanwhile is left out."""
        chain, last = head["chain"], head["batches"]
        first = 0 if batches_max is None else max(0, last - batches_max)
        previous = _GENESIS if first == 0 else None
        checked = 0
        async for batch, row in self._batches(chain, first, last):
            fault = _fault(batch, row, first + checked + 1, previous)
            if fault is not None:
                return checked, [f"chain {chain}: {fault}"]
            previous = row["hash"]
            checked += 1
        if first + checked < last:
            return checked, [f"chain {chain}: batch {first + checked + 1} is missing"]
        if previous is not None and previous != head["head_hash"]:
            return checked, [f"chain {chain}: its head is not batch {last}"]
        return checked, []

    async def _batches(
        self, chain: int, first: int, last: int
    ) -> AsyncIterator[tuple[Batch, Record]]:
        """Positions in (first, last], a page at a time."""
        done = first
        while done < last:
            limit = min(_BATCHES_PAGE, last - done)
            rows = await self._database.fetch(self._queries.list_batches, chain, done, limit)
            entries = await self._entries([row["batch_id"] for row in rows])
            for row in rows:
                yield _batch(chain, row, entries[row["batch_id"]]), row
            done = rows[-1]["position"] if rows else last

    async def _entries(self, batch_ids: Sequence[int]) -> dict[int, list[Entry]]:
        rows = await self._database.fetch(self._queries.list_entries, list(batch_ids))
        found: dict[int, list[Entry]] = defaultdict(list)
        for row in rows:
            found[row["batch_id"]].append(
                Entry(
                    row["debit_account"],
                    row["credit_account"],
                    Nanos(row["amount_nanos"]),
                    row["account_id"],
                    row["upstream"],
                )
            )
        return found


def _position(row: Record, quarantined: Sequence[Record]) -> Position:
    cursor = cursor_of_row(row)
    below = sum(int(entry["charged_nanos"]) for entry in quarantined if _is_below(entry, cursor))
    return Position(
        account_id=row["account_id"],
        shard=row["shard"],
        generation=row["generation"],
        is_draining=row["state"] == ShardState.DRAINING,
        balance_nanos=Nanos(row["balance_nanos"]),
        sequence=row["sequence"],
        cursor=cursor,
        quarantined_nanos=Nanos(below),
    )


def _is_below(entry: Record, cursor: Cursor) -> bool:
    if entry["generation"] != cursor.generation or entry["entry_id"].startswith("journal:"):
        return True
    return stream_order(entry["entry_id"]) <= stream_order(cursor.stream_id)


def _batch(chain: int, row: Record, entries: Sequence[Entry]) -> Batch:
    return Batch(
        batch_id=row["batch_id"],
        chain=chain,
        position=row["position"],
        kind=row["kind"],
        usage_rows=row["usage_rows"],
        created_at=row["created_at"],
        entries=tuple(entries),
    )


def _fault(batch: Batch, row: Record, position: int, previous: bytes | None) -> str | None:
    if batch.position != position:
        return f"batch {position} is missing"
    if previous is not None and row["previous_hash"] != previous:
        return f"batch {position} does not continue the one before"
    if batch.hash(row["previous_hash"]) != row["hash"]:
        return f"batch {position} was changed"
    return None


def stream_order(stream_id: str) -> tuple[int, int]:
    """`ms-number`, as the stream orders them."""
    ms, _, number = stream_id.partition("-")
    return int(ms), int(number)
