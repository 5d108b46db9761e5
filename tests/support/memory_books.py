"""Postgres' side of the ledger in memory, with the behaviour that the ports promise."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.charge import Charge, Status
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.outcome import WalletState
from proxy.domain.ports import Cursor, FencedError
from routing.money import Nanos


@dataclass(slots=True)
class MemoryBooks:
    """`Directory`, `Shards` and `Flushes` of one shard 0."""

    generation: int = 0
    cursor_id: str = "0-0"
    owner: str | None = None
    credits: dict[UUID, list[int]] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    rows: dict[UUID, Charge] = field(default_factory=dict)
    poison: dict[str, str] = field(default_factory=dict)
    numbers: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    loads: list[list[UUID]] = field(default_factory=list)
    is_away: bool = False
    gate: asyncio.Event | None = None  # look-ups of wallets wait for it

    def add_account(self, account_id: UUID, nanos: int) -> None:
        self.credits[account_id] = [nanos]

    def balance(self, account_id: UUID) -> int:
        rows = self.rows.values()
        charged = sum(row.charged_nanos for row in rows if row.account_id == account_id)
        return sum(self.credits[account_id]) - charged

    # Directory

    async def find_key(self, key_id: str) -> ApiKey | None:
        if self.is_away:
            raise StoreUnavailableError("Postgres is away")
        return self.keys.get(key_id)

    async def load_wallets(self, account_ids: Sequence[UUID]) -> Mapping[UUID, WalletState]:
        self.loads.append(list(account_ids))
        if self.gate is not None:
            await self.gate.wait()
        return {
            account_id: WalletState(
                Nanos(self.balance(account_id)), Nanos(0), len(self.credits[account_id])
            )
            for account_id in account_ids
            if account_id in self.credits
        }

    async def load_key_spend(self, key_id: str) -> Mapping[int, Nanos]:
        spend: dict[int, int] = {}
        for row in self.rows.values():
            if row.key_id == key_id:
                spend[row.window_ms] = spend.get(row.window_ms, 0) + row.charged_nanos
        return {start: Nanos(nanos) for start, nanos in spend.items()}

    # Shards

    async def generations(self) -> Mapping[int, int]:
        return {0: self.generation}

    async def bump(self, shard: int) -> int:
        self.generation += 1
        return self.generation

    # Flushes

    async def acquire(self, shard: int, owner: str, lease_seconds: int) -> Cursor | None:
        if self.owner not in (None, owner):
            return None
        self.owner = owner
        return Cursor(self.generation, self.cursor_id)

    async def write(
        self, shard: int, owner: str, cursor: Cursor, charges: Sequence[tuple[str, Charge]]
    ) -> int:
        if (self.owner, self.generation, self.cursor_id) != (
            owner,
            cursor.generation,
            cursor.stream_id,
        ):
            raise FencedError
        new = 0
        for entry_id, charge in charges:
            before = self.rows.get(charge.request_id)
            if before is None or before.status == Status.ORPHANED != charge.status:
                self.rows[charge.request_id] = charge
                new += 1
            self.numbers.setdefault((charge.incarnation, charge.shard), set()).add(charge.number)
            self.cursor_id = entry_id
        return new

    async def quarantine(self, shard: int, entry_id: str, raw: bytes, reason: str) -> None:
        self.poison[entry_id] = reason

    async def find_posted(
        self, shard: int, settlements: Sequence[tuple[str, int]]
    ) -> tuple[str, frozenset[tuple[str, int]]]:
        if self.is_away:
            raise StoreUnavailableError("Postgres is away")
        posted = (s for s in settlements if s[1] in self.numbers.get((s[0], shard), ()))
        return self.cursor_id, frozenset(posted)

    async def committed(self, incarnations: Iterable[str]) -> Mapping[tuple[str, int], int]:
        wanted = set(incarnations)
        return {
            place: _without_gap(seen) for place, seen in self.numbers.items() if place[0] in wanted
        }


def _without_gap(numbers: set[int]) -> int:
    highest = 0
    while highest + 1 in numbers:
        highest += 1
    return highest
