"""Postgres' side of the ledger in memory, with the behaviour that the ports promise."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.charge import Charge, Status
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.outcome import WalletState
from proxy.domain.ports import Cursor, FencedError, Shard, ShardState, Suspicion
from routing.money import Nanos


@dataclass(slots=True)
class MemoryBooks:
    """`Directory`, `Shards` and `Flushes` of one shard 0."""

    shard: Shard = field(default_factory=lambda: Shard(0, 0))
    cursor: Cursor = field(default_factory=lambda: Cursor(0, "0-0"))
    owner: str | None = None
    credits: dict[UUID, list[int]] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    rows: dict[UUID, Charge] = field(default_factory=dict)
    poison: dict[str, str] = field(default_factory=dict)
    numbers: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    loads: list[list[UUID]] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    reports: dict[str, tuple[int, ShardState]] = field(default_factory=dict)
    late: list[tuple[UUID, int]] = field(default_factory=list)
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
                Nanos(self.balance(account_id)),
                Nanos(0),
                len(self.credits[account_id]) + sum(a == account_id for a, _ in self.late),
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

    @property
    def generation(self) -> int:
        return self.shard.generation

    async def all(self) -> Mapping[int, Shard]:
        if self.is_away:
            raise StoreUnavailableError("Postgres is away")
        return {0: self.shard}

    async def suspect(self, shard: int, generation: int, suspicion: Suspicion) -> None:
        if generation == self.generation and self.shard.state is not ShardState.DRAINING:
            self.shard = replace(self.shard, suspicion=self.shard.suspicion or suspicion)

    async def bump(
        self, shard: int, generation: int, *, above: int = 0, restored: bool = False
    ) -> int | None:
        if generation != self.generation:
            return None
        until = generation if restored else self.shard.restored
        self.shard = Shard(0, max(generation, above) + 1, ShardState.DRAINING, restored=until)
        self.owner = None
        return self.generation

    async def adopt(self, shard: Shard, generation: int) -> None:
        self.shard = replace(
            self.shard,
            generation=generation,
            state=ShardState.OPEN,
            suspicion=Suspicion.POSTGRES,
        )
        self.cursor = Cursor(generation, "0-0")

    async def advance(self, shard: Shard, to: ShardState) -> bool:
        if (shard.generation, shard.state) != (self.generation, self.shard.state):
            return False
        if shard.state is ShardState.DRAINING:
            self.cursor = Cursor(self.generation, "0-0")
        self.shard = replace(self.shard, state=to)
        return True

    async def attend(self, incarnation: str) -> Mapping[int, Shard]:
        self.live.add(incarnation)
        return await self.all()

    async def leave(self, incarnations: Iterable[str]) -> None:
        self.live.difference_update(incarnations)

    async def report(self, incarnation: str, shard: Shard) -> None:
        self.reports[incarnation] = (shard.generation, shard.state)

    async def waited_for(self, shard: Shard, *, seconds: int) -> Sequence[str]:
        step = (shard.generation, shard.state)
        return [name for name in sorted(self.live) if self.reports.get(name) != step]

    async def active_accounts(self, shard: int, *, since: UUID, limit: int) -> Sequence[UUID]:
        return sorted({row.account_id for row in self.rows.values()})[:limit]

    # Flushes

    async def acquire(self, shard: int, owner: str, lease_seconds: int) -> Cursor | None:
        found = await self.acquire_any(shard, owner, lease_seconds)
        if found is None or found[0].state is ShardState.DRAINING:
            return None
        return found[1]

    async def acquire_any(
        self, shard: int, owner: str, lease_seconds: int
    ) -> tuple[Shard, Cursor] | None:
        if self.owner not in (None, owner):
            return None
        self.owner = owner
        return self.shard, self.cursor

    async def give_up(self, shard: int, owner: str) -> None:
        if self.owner == owner:
            self.owner = None

    async def write(
        self, shard: int, owner: str, cursor: Cursor, charges: Sequence[tuple[str, Charge]]
    ) -> int:
        if (self.owner, self.generation, self.cursor) != (owner, cursor.generation, cursor):
            raise FencedError
        new = sum([self._insert(charge) for _, charge in charges])
        self.cursor = Cursor(cursor.generation, charges[-1][0])
        return new

    async def drain(
        self, shard: int, owner: str, generation: int, charges: Sequence[tuple[str, Charge]]
    ) -> int:
        now = (self.owner, self.generation, self.shard.state)
        if now != (owner, generation, ShardState.DRAINING):
            raise FencedError
        return sum([self._insert(charge) for _, charge in charges])

    async def post(self, shard: int, charges: Sequence[tuple[int, Charge]]) -> int:
        new = 0
        for generation, charge in charges:
            if generation >= self.generation:
                raise FencedError
            is_new = self._insert(charge)
            new += is_new
            if is_new and charge.charged_nanos and self.shard.state is not ShardState.DRAINING:
                self.late.append((charge.account_id, charge.charged_nanos))
        return new

    def _insert(self, charge: Charge) -> bool:
        self.numbers.setdefault((charge.incarnation, charge.shard), set()).add(charge.number)
        before = self.rows.get(charge.request_id)
        if before is None or before.status == Status.ORPHANED != charge.status:
            self.rows[charge.request_id] = charge
            return True
        return False

    async def forgo(self, shard: int, settlements: Sequence[tuple[str, int]]) -> None:
        for incarnation, number in settlements:
            self.numbers.setdefault((incarnation, shard), set()).add(number)

    async def quarantine(self, shard: int, cursor: Cursor, raw: bytes, reason: str) -> None:
        self.poison[cursor.stream_id] = reason

    async def find_posted(
        self, shard: int, settlements: Sequence[tuple[str, int]]
    ) -> tuple[Cursor, frozenset[tuple[str, int]]]:
        if self.is_away:
            raise StoreUnavailableError("Postgres is away")
        posted = (s for s in settlements if s[1] in self.numbers.get((s[0], shard), ()))
        return self.cursor, frozenset(posted)

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
