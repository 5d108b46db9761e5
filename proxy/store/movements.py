"""Movements: everything that changes a balance from Postgres, in a sequence without gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from proxy.domain.outcome import Outcome
from proxy.store import books
from proxy.store.books import MovementKind
from proxy.store.database import Database, Executor
from proxy.store.queries import Queries
from routing.money import WALLET_NANOS_MAX, Nanos, format_usd

_PAGE = 1000


class WalletFullError(Exception):
    """The movement would take the wallet above its maximum of 10^6 USD: nothing was done."""


@dataclass(frozen=True, slots=True)
class Movement:
    """`amount_nanos` is signed: what the wallet gains. `reference` is unique per account."""

    account_id: UUID
    kind: MovementKind
    amount_nanos: Nanos
    reference: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Posted:
    """`ok`, or `exists` and `exists_with_different_amount`, with the movement's sequence.

    `not_found`: no such account. `balance_nanos` is as of the shard's cursor.
    """

    outcome: Outcome
    shard: int = 0
    sequence: int = 0
    balance_nanos: Nanos = Nanos(0)


@dataclass(frozen=True, slots=True)
class Step:
    """A movement as the ledger applies it. `is_old`: made more than ten minutes ago."""

    sequence: int
    amount_nanos: Nanos
    is_old: bool


@dataclass(frozen=True, slots=True)
class Undelivered:
    """An account with movements past `sequence` that the ledger may not have."""

    account_id: UUID
    shard: int
    sequence: int


class Movements:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def post(self, movement: Movement) -> Posted:
        """Movement, wallet and books in one transaction; repeated, it changes nothing.

        Raises WalletFullError.
        """
        return await self._database.transact(lambda executor: self._post(executor, movement))

    async def _post(self, executor: Executor, movement: Movement) -> Posted:
        queries, account_id = self._queries, movement.account_id
        await executor.fetchrow(queries.begin_flush)
        wallet = await executor.fetchrow(queries.lock_wallet, account_id)
        if wallet is None:
            return Posted(Outcome.NOT_FOUND)
        balance, shard = wallet["balance_nanos"], wallet["shard"]
        found = await executor.fetchrow(queries.find_movement, account_id, movement.reference)
        if found is not None:
            same = found["amount_nanos"] == movement.amount_nanos
            outcome = Outcome.EXISTS if same else Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
            return Posted(outcome, shard, found["sequence"], Nanos(balance))
        balance += movement.amount_nanos
        if balance > WALLET_NANOS_MAX:
            raise WalletFullError(f"the balance would be {format_usd(balance)}")
        sequence = wallet["sequence"] + 1
        await self._write(executor, movement, shard, sequence)
        return Posted(Outcome.OK, shard, sequence, Nanos(balance))

    async def _write(
        self, executor: Executor, movement: Movement, shard: int, sequence: int
    ) -> None:
        queries, account_id, amount = self._queries, movement.account_id, movement.amount_nanos
        batch_id = await executor.fetchval(queries.next_batch_id)
        entry = books.movement_entry(movement.kind, account_id, amount)
        await executor.execute(queries.move_wallet, account_id, amount, sequence)
        await books.post(
            executor, queries, batch_id=batch_id, chain=shard, kind="movement", entries=[entry]
        )
        await executor.execute(
            queries.insert_movement,
            account_id,
            sequence,
            movement.kind.value,
            amount,
            movement.reference,
            movement.actor,
            movement.reason,
            batch_id,
        )

    async def after(self, account_id: UUID, sequence: int) -> Sequence[Step]:
        """The next ones in order, at most a page of them."""
        rows = await self._database.fetch(self._queries.list_movements, account_id, sequence, _PAGE)
        return [Step(row["sequence"], Nanos(row["amount_nanos"]), row["is_old"]) for row in rows]

    async def sum_between(self, account_id: UUID, after: int, until: int) -> Nanos:
        """Signed, over the sequences in (after, until]."""
        total = await self._database.fetchval(self._queries.sum_movements, account_id, after, until)
        return Nanos(total)

    async def unacknowledged(self, limit: int) -> Sequence[Undelivered]:
        """Those first that were asked for least recently."""
        rows = await self._database.fetch(self._queries.list_unacknowledged, limit)
        return [
            Undelivered(row["account_id"], row["shard"], row["acknowledged_sequence"])
            for row in rows
        ]

    async def acknowledge(self, account_id: UUID, sequence: int) -> None:
        """The ledger has everything up to here."""
        await self._database.execute(self._queries.acknowledge_movements, account_id, sequence)

    async def redeliver_recent(self) -> None:
        """The ledger may have lost what was applied in the last day: the sweep brings it again."""
        await self._database.execute(self._queries.redeliver_movements)
