"""Entries that Postgres refused: looked at, tried again, or settled by hand.

Their money left the wallet in Redis and not the one here; verification counts the difference as
long as they are unresolved. Posting makes the row after all, and takes the money here too. Waiving
gives it back there: the books say what was taken and what is given back, which here add up to
nothing, and a movement brings it to Redis.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from proxy.domain.charge import Charge, parse_charge
from proxy.store import books
from proxy.store.audit import stream_order
from proxy.store.books import MovementKind
from proxy.store.database import Database, Executor, Record
from proxy.store.queries import Queries
from proxy.store.usage_row import row_of
from routing.money import Nanos

_NANOS_MAX: Final = 2**63 - 1
_LISTED_MAX: Final = 1000
# Set aside out of a gateway's journal, not out of a stream.
_JOURNAL: Final = "journal:"
_REFUSED: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class StaysError(Exception):
    """The entry is as it was. Says why."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """`charged_nanos`: what it adds to verification; None where that is nothing, or unreadable."""

    shard: int
    entry_id: str
    raw: bytes
    reason: str
    account_id: UUID | None
    charged_nanos: Nanos | None
    created_at: datetime
    resolved_at: datetime | None
    is_flushed_past: bool

    @property
    def name(self) -> str:
        return f"{self.shard}/{self.entry_id}"

    @property
    def is_late(self) -> bool:
        """Nothing was taken for it anywhere yet: it came out of a journal after its generation."""
        return self.charged_nanos is None and self.entry_id.startswith(_JOURNAL)


@dataclass(frozen=True, slots=True)
class Resolved:
    """`sequence` is of the movement that the ledger must get, None where there is none."""

    entry: Quarantined
    sequence: int | None = None


class Quarantine:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def list(self, *, with_resolved: bool = False) -> Sequence[Quarantined]:
        """The oldest first, at most a thousand."""
        return await self._read(with_resolved, None, None)

    async def find(self, shard: int, entry_id: str) -> Quarantined | None:
        """Resolved or not."""
        found = await self._read(True, shard, entry_id)  # noqa: FBT003 - a query's argument
        return found[0] if found else None

    async def _read(self, *args: object) -> Sequence[Quarantined]:
        rows = await self._database.fetch(self._queries.list_quarantined, *args, _LISTED_MAX)
        return [_entry(row) for row in rows]

    async def post(self, shard: int, entry_id: str, *, actor: str, reason: str) -> Resolved:
        """Row, money and books in one transaction, as a flush makes them, without what is no
        address in `client_address`. Raises LookupError, or StaysError."""

        async def step(executor: Executor) -> Resolved:
            entry = await self._lock(executor, shard, entry_id)
            charge = _charge_of(entry)
            sequence = await self._post(executor, entry, charge, actor, reason)
            await self._resolve(executor, entry, f"posted by {actor}: {reason}")
            return Resolved(entry, sequence)

        try:
            return await self._database.transact(step)
        except _REFUSED as error:
            raise StaysError(f"Postgres refuses it: {error}") from error

    async def waive(self, shard: int, entry_id: str, *, actor: str, reason: str) -> Resolved:
        """The account gets the amount back; there will be no row. Raises LookupError, or
        StaysError."""

        async def step(executor: Executor) -> Resolved:
            entry = await self._lock(executor, shard, entry_id)
            sequence = await self._give_back(executor, entry, actor, reason)
            await self._resolve(executor, entry, f"waived by {actor}: {reason}")
            return Resolved(entry, sequence)

        return await self._database.transact(step)

    async def _lock(self, executor: Executor, shard: int, entry_id: str) -> Quarantined:
        await executor.fetchrow(self._queries.begin_flush)
        row = await executor.fetchrow(self._queries.lock_quarantined, shard, entry_id)
        if row is None:
            raise LookupError(f"no entry {shard}/{entry_id} in quarantine")
        entry = _entry(row)
        if entry.resolved_at is not None:
            last = entry.reason.rpartition("\n")[2]
            raise StaysError(f"it is resolved since {entry.resolved_at.isoformat()}: {last}")
        if not entry.is_flushed_past:
            # Verification still finds its amount in the stream.
            raise StaysError("its shard is not flushed past it: try again after its next charge")
        return entry

    async def _post(
        self, executor: Executor, entry: Quarantined, charge: Charge, actor: str, reason: str
    ) -> int | None:
        queries, account_id, nanos = self._queries, charge.account_id, charge.charged_nanos
        wallet = await executor.fetchrow(queries.lock_wallet, account_id)
        if wallet is None:
            raise StaysError(f"there is no account {account_id}")
        batch_id = await executor.fetchval(queries.next_batch_id)
        row = orjson.dumps([row_of(charge, batch_id)]).decode()
        if not await executor.fetch(queries.insert_usage, row):
            raise StaysError(f"request {charge.request_id} has its row already: waive this entry")
        await executor.execute(queries.debit_wallets, [account_id], [nanos])
        if nanos:
            await executor.execute(
                queries.add_key_spend, [charge.key_id], [charge.window_ms], [nanos]
            )
        await books.post(
            executor,
            queries,
            batch_id=batch_id,
            chain=entry.shard,
            kind="flush",
            entries=books.charge_entries([charge]),
            usage_rows=1,
        )
        if not (entry.is_late and nanos):
            return None
        # Wallets in Redis were loaded without it: there it is a debit like any other.
        sequence = int(wallet["sequence"]) + 1
        movement = (MovementKind.LATE_DEBIT.value, -nanos, _reference(entry), actor, reason)
        await self._move(executor, account_id, sequence, batch_id, *movement)
        return sequence

    async def _give_back(
        self, executor: Executor, entry: Quarantined, actor: str, reason: str
    ) -> int | None:
        queries, account_id, nanos = self._queries, entry.account_id, entry.charged_nanos
        if account_id is None or not nanos:
            return None
        if abs(nanos) > _NANOS_MAX:
            raise StaysError("no wallet can have held its amount")
        wallet = await executor.fetchrow(queries.lock_wallet, account_id)
        if wallet is None:
            return None
        batch_id = await executor.fetchval(queries.next_batch_id)
        kind = MovementKind.ADJUSTMENT
        await books.post(
            executor,
            queries,
            batch_id=batch_id,
            chain=entry.shard,
            kind="movement",
            entries=[
                books.movement_entry(kind, account_id, Nanos(-nanos)),
                books.movement_entry(kind, account_id, nanos),
            ],
        )
        sequence = int(wallet["sequence"]) + 1
        movement = (kind.value, nanos, _reference(entry), actor, reason)
        await self._move(executor, account_id, sequence, batch_id, *movement)
        return sequence

    async def _move(
        self, executor: Executor, account_id: UUID, sequence: int, batch_id: int, *movement: object
    ) -> None:
        """The next of the account's sequence; its balance here has changed already, or does not."""
        await executor.execute(self._queries.move_wallet, account_id, 0, sequence)
        await executor.execute(
            self._queries.insert_movement, account_id, sequence, *movement, batch_id
        )

    async def _resolve(self, executor: Executor, entry: Quarantined, how: str) -> None:
        line = how.replace("\n", " ")
        await executor.execute(self._queries.resolve_quarantined, entry.shard, entry.entry_id, line)


def _entry(row: Record) -> Quarantined:
    nanos = row["charged_nanos"]
    return Quarantined(
        shard=row["shard"],
        entry_id=row["entry_id"],
        raw=row["raw"],
        reason=row["reason"],
        account_id=row["account_id"],
        charged_nanos=None if nanos is None else Nanos(int(nanos)),
        created_at=row["created_at"],
        resolved_at=row["resolved_at"],
        is_flushed_past=_is_flushed_past(row),
    )


def _is_flushed_past(row: Record) -> bool:
    if row["entry_id"].startswith(_JOURNAL):
        return True
    if row["generation"] != row["cursor_generation"]:
        return True  # its stream is over
    return stream_order(row["entry_id"]) <= stream_order(row["cursor_stream_id"])


def _charge_of(entry: Quarantined) -> Charge:
    """Raises StaysError."""
    try:
        charge = parse_charge(entry.raw)
    except (ValueError, KeyError, TypeError) as error:
        raise StaysError("it cannot be read as a charge: waive it") from error
    is_told = charge.account_id == entry.account_id and charge.shard == entry.shard
    if not is_told or (not entry.is_late and charge.charged_nanos != entry.charged_nanos):
        raise StaysError("its charge is not what was taken: waive it")
    return dataclasses.replace(charge, client_address=_address(charge.client_address))


def _address(text: str | None) -> str | None:
    """None for what no store takes as one, a zone among it."""
    try:
        return None if text is None else str(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _reference(entry: Quarantined) -> str:
    return f"quarantine:{entry.name}"
