"""The books: double entry, in batches that are chained by their hashes.

top-up      clearing       → prepayments of the account
adjustment  adjustments    → prepayments of the account, or back
charge      prepayments    → revenue, one line per account and flush
cost        cost_of_sales  → payables of the upstream, one line per upstream and flush
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import orjson

from proxy.domain.charge import Charge
from proxy.domain.clock import ms_of
from proxy.store.database import Executor
from proxy.store.queries import Queries
from routing.money import Nanos


class MovementKind(StrEnum):
    """Why a balance changed from here rather than from Redis."""

    TOP_UP = "top_up"
    ADJUSTMENT = "adjustment"
    REFUND = "refund"
    CHARGEBACK = "chargeback"
    LATE_DEBIT = "late_debit"


# Where the money of a movement comes from when it is positive, and goes to when negative.
_COUNTERPART: Final = {
    MovementKind.TOP_UP: "clearing",
    MovementKind.ADJUSTMENT: "adjustments",
    MovementKind.REFUND: "clearing",
    MovementKind.CHARGEBACK: "clearing",
    MovementKind.LATE_DEBIT: "revenue",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a positive amount from the account that is debited to the one that is credited."""

    debit_account: str
    credit_account: str
    amount_nanos: Nanos
    account_id: UUID | None = None
    upstream: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that were posted in one transaction. `created_at` is exact to the millisecond."""

    batch_id: int
    chain: int
    position: int
    kind: str
    usage_rows: int
    created_at: datetime
    entries: tuple[Entry, ...]

    def hash(self, previous: bytes) -> bytes:
        """SHA-256 over the previous hash and a JSON list of everything here, in this order."""
        content = [
            self.batch_id,
            self.chain,
            self.position,
            self.kind,
            self.usage_rows,
            ms_of(self.created_at),
            [_listed(entry) for entry in self.entries],
        ]
        return hashlib.sha256(previous + orjson.dumps(content)).digest()


def _listed(entry: Entry) -> list[str | int | None]:
    return [
        entry.debit_account,
        entry.credit_account,
        entry.amount_nanos,
        None if entry.account_id is None else str(entry.account_id),
        entry.upstream,
    ]


def charge_entries(charges: Iterable[Charge]) -> tuple[Entry, ...]:
    """One per account and one per upstream, in a fixed order; none for nothing."""
    charged = charged_by_account(charges)
    owed: dict[str, int] = {}
    for charge in charges:
        if charge.upstream is not None:
            owed[charge.upstream] = owed.get(charge.upstream, 0) + charge.upstream_nanos
    return (
        *(
            Entry("prepayments", "revenue", nanos, account_id=account_id)
            for account_id, nanos in sorted(charged.items())
        ),
        *(
            Entry("cost_of_sales", "payables", Nanos(nanos), upstream=upstream)
            for upstream, nanos in sorted(owed.items())
            if nanos
        ),
    )


def charged_by_account(charges: Iterable[Charge]) -> dict[UUID, Nanos]:
    """Those above zero."""
    totals: dict[UUID, Nanos] = {}
    for charge in charges:
        if charge.charged_nanos:
            before = totals.get(charge.account_id, 0)
            totals[charge.account_id] = Nanos(before + charge.charged_nanos)
    return totals


def movement_entry(kind: MovementKind, account_id: UUID, amount_nanos: Nanos) -> Entry:
    """`amount_nanos` is signed: what the wallet gains."""
    other = _COUNTERPART[kind]
    if amount_nanos > 0:
        return Entry(other, "prepayments", amount_nanos, account_id=account_id)
    return Entry("prepayments", other, Nanos(-amount_nanos), account_id=account_id)


async def post(
    executor: Executor,
    queries: Queries,
    *,
    batch_id: int,
    chain: int,
    kind: str,
    entries: Sequence[Entry],
    usage_rows: int = 0,
) -> None:
    """Appends a batch to the chain. The last step of its transaction but for cheap ones: the
    chain's head is locked from here to the commit."""
    head = await executor.fetchrow(queries.lock_chain, chain)
    assert head is not None, f"shard {chain} has no chain"
    batch = Batch(
        batch_id=batch_id,
        chain=chain,
        position=head["batches"] + 1,
        kind=kind,
        usage_rows=usage_rows,
        created_at=head["at"],
        entries=tuple(entries),
    )
    digest = batch.hash(head["head_hash"])
    await executor.execute(
        queries.insert_batch,
        batch_id,
        chain,
        batch.position,
        kind,
        usage_rows,
        batch.created_at,
        head["head_hash"],
        digest,
    )
    await executor.execute(
        queries.insert_entries,
        batch_id,
        [entry.debit_account for entry in entries],
        [entry.credit_account for entry in entries],
        [entry.amount_nanos for entry in entries],
        [entry.account_id for entry in entries],
        [entry.upstream for entry in entries],
    )
    await executor.execute(queries.advance_chain, chain, batch.position, digest)
