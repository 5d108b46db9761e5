"""Compares the ledger with Postgres while both are at work, to the nano.

For every wallet Postgres is read first: balance P and sequence q, as of the shard's cursor C, and
what is quarantined below C. Then the ledger, at one moment: balance R, sequence s, last entry L.
Whatever happened between the two readings is in the stream past C, or is a movement past q:

    R = P - charged in (C, L] + movements in (q, s] - quarantined

Movements that the ledger does not have yet (s < q) count the other way.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from proxy.domain.errors import LedgerUnavailableError, StoreUnavailableError
from proxy.domain.outcome import WalletState
from proxy.domain.ports import Cursor, Wallets
from proxy.store.audit import Position, stream_order
from proxy.store.pool import Store

_SHOWN_MAX: Final = 100
_AT_ONCE: Final = 32


class Verdict(StrEnum):
    OK = "ok"
    DIFFERENT = "different"
    UNKNOWN = "unknown"  # a store was away: never taken for ok


@dataclass(slots=True)
class Verification:
    """`difference_nanos` adds up absolute differences, so that two never hide each other.

    `differences` names the first hundred accounts (positive: the ledger has more than Postgres
    explains); `faults` are what is wrong with the books; `away` says which store did not answer.
    `debt_nanos` adds up balances below zero, the ledger's where it has loaded the wallet. In
    `ahead_shards` the ledger has movements that Postgres does not know: it was restored.
    """

    wallets: int = 0
    unloaded: int = 0
    difference_nanos: int = 0
    differences: list[tuple[UUID, int]] = field(default_factory=list)
    quarantined_nanos: int = 0
    quarantined_entries: int = 0
    undelivered_nanos: int = 0
    unflushed_nanos: int = 0
    debt_nanos: int = 0
    book_difference_nanos: int = 0
    batches: int = 0
    faults: list[str] = field(default_factory=list)
    ahead_shards: set[int] = field(default_factory=set)
    away: str | None = None

    @property
    def total_difference_nanos(self) -> int:
        return self.difference_nanos + self.book_difference_nanos

    @property
    def verdict(self) -> Verdict:
        if self.difference_nanos or self.faults:
            return Verdict.DIFFERENT
        return Verdict.OK if self.away is None else Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class _Compared:
    difference_nanos: int
    undelivered_nanos: int
    unflushed_nanos: int
    balance_nanos: int
    is_ahead: bool


async def verify(
    store: Store, wallets: Wallets, *, chain_batches_max: int | None = None
) -> Verification:
    """Every wallet, then the books, then their chains (or the last batches of each)."""
    found = Verification()
    try:
        await _verify_wallets(store, wallets, found)
        await _verify_books(store, found, chain_batches_max)
    except LedgerUnavailableError as error:
        found.away = f"the ledger: {error.message}"
    except StoreUnavailableError as error:
        found.away = f"Postgres: {error.message}"
    return found


async def _verify_wallets(store: Store, wallets: Wallets, found: Verification) -> None:
    batch: list[Position] = []
    async for position in store.audit.positions():
        batch.append(position)
        if len(batch) == _AT_ONCE:
            await _verify_batch(store, wallets, batch, found)
            batch = []
    await _verify_batch(store, wallets, batch, found)
    found.quarantined_entries = await store.audit.count_quarantine()


async def _verify_batch(
    store: Store, wallets: Wallets, batch: list[Position], found: Verification
) -> None:
    results = await asyncio.gather(
        *(_compare(store, wallets, position) for position in batch), return_exceptions=True
    )
    for position, result in zip(batch, results, strict=True):
        if isinstance(result, BaseException):
            raise result
        found.wallets += 1
        found.quarantined_nanos += position.quarantined_nanos
        if result is None:
            found.unloaded += 1
            found.debt_nanos += max(0, -position.balance_nanos)
            continue
        found.debt_nanos += max(0, -result.balance_nanos)
        found.unflushed_nanos += result.unflushed_nanos
        found.undelivered_nanos += result.undelivered_nanos
        if result.is_ahead:
            found.ahead_shards.add(position.shard)
        found.difference_nanos += abs(result.difference_nanos)
        if result.difference_nanos and len(found.differences) < _SHOWN_MAX:
            found.differences.append((position.account_id, result.difference_nanos))


async def unexplained(
    store: Store, wallets: Wallets, shard: int
) -> AsyncIterator[tuple[UUID, int]]:
    """What the ledger has above what Postgres explains, account by account; also where the stream
    does not reach back to the cursor any more. Raises as the stores do."""
    async for position in store.audit.positions():
        if position.shard != shard:
            continue
        try:
            result = await _compare(store, wallets, position)
        except LedgerUnavailableError:
            start = replace(position, cursor=Cursor(position.cursor.generation, "0-0"))
            result = await _compare(store, wallets, start)
        if result is not None and result.difference_nanos:
            yield position.account_id, result.difference_nanos


async def _compare(store: Store, wallets: Wallets, position: Position) -> _Compared | None:
    """None where the ledger has not loaded the wallet: Postgres's balance is all there is."""
    if position.is_draining:
        raise LedgerUnavailableError(
            f"shard {position.shard} is being recovered", retry_after_seconds=1
        )
    state = await wallets.snapshot(
        position.account_id, position.shard, generation=position.generation
    )
    if state is None:
        return None
    charged = await _charged_since(wallets, position, state)
    first, last = sorted((position.sequence, state.sequence))
    moved = await store.movements.sum_between(position.account_id, first, last)
    is_behind = state.sequence < position.sequence
    expected = (
        position.balance_nanos
        - charged
        + (-moved if is_behind else moved)
        - position.quarantined_nanos
    )
    difference = state.balance_nanos - expected
    return _Compared(
        difference_nanos=difference,
        undelivered_nanos=moved if is_behind else 0,
        unflushed_nanos=charged,
        balance_nanos=state.balance_nanos,
        is_ahead=difference != 0 and state.sequence > position.sequence,
    )


async def _charged_since(wallets: Wallets, position: Position, state: WalletState) -> int:
    """Raises LedgerUnavailableError where the stream has lost what Postgres stands on: until the
    shard is recovered, its wallets are of another moment."""
    after, until = position.cursor, state.last_stream_id
    if stream_order(until) < stream_order(after.stream_id):
        raise LedgerUnavailableError(
            f"shard {position.shard} has lost its tail", retry_after_seconds=1
        )
    if stream_order(until) == stream_order(after.stream_id):
        return 0
    return await wallets.charged_between(position.account_id, position.shard, after, until)


async def _verify_books(store: Store, found: Verification, batches_max: int | None) -> None:
    for account_id, nanos in await store.audit.book_differences():
        found.book_difference_nanos += abs(nanos)
        found.faults.append(f"books and wallet of {account_id} differ by {nanos} nanos")
    balance = sum((await store.audit.trial_balance()).values())
    if balance:
        found.faults.append(f"the trial balance is {balance} nanos")
    found.faults += await store.audit.close_faults()
    chains = await store.audit.check_chains(batches_max)
    found.batches = chains.batches
    found.faults += chains.broken
