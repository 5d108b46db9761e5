"""The ledger as a worker uses it: open shards, flush charges, expire holds."""

import asyncio
from collections.abc import Hashable
from typing import Any, Final
from uuid import UUID

from proxy.domain.charge import Charge, Status
from proxy.domain.errors import ApiError
from proxy.domain.outcome import Outcome
from proxy.domain.ports import FencedError, Flushes, Shard, Shards, Suspicion
from proxy.domain.usage import UsageSource
from proxy.ledger import calls
from proxy.ledger.connection import Command
from proxy.ledger.faults import as_unavailable
from proxy.ledger.flusher import Flusher
from proxy.ledger.generations import FencedCalls, Generations
from proxy.ledger.link import Link
from proxy.ledger.recovery import Recovery, ShardReport
from proxy.ledger.replies import parse_outcome
from proxy.ledger.wallets import RedisWallets
from routing.money import Nanos

SWEPT_KEYS: Final = 500
TENDED_AT_ONCE: Final = 4


class WorkerLedger:
    """Made by `proxy.ledger.opening.open_worker_ledger`."""

    def __init__(
        self,
        *,
        link: Link,
        fenced: FencedCalls,
        generations: Generations,
        shards: Shards,
        flushes: Flushes,
        wallets: RedisWallets,
        recovery: Recovery,
        owner: str,
        flush_lease_seconds: int,
        flush_entries_max: int,
    ) -> None:
        self.wallets = wallets
        self._link = link
        self._fenced = fenced
        self._generations = generations
        self._shards = shards
        self._flushes = flushes
        self._recovery = recovery
        self._owner = owner
        self._flush_lease_seconds = flush_lease_seconds
        self._flush_entries_max = flush_entries_max
        self._connections = 0
        link.on_up.append(self._count_connection)
        self._swept: dict[int, int] = {}
        self._sweep_at: dict[int, tuple[int, int]] = {}  # shard → generation, and where its scan is

    def flusher(self, shard: int) -> Flusher:
        """Keep it: it remembers which poison it has already set aside."""
        return Flusher(
            shard,
            link=self._link,
            shards=self._shards,
            flushes=self._flushes,
            owner=self._owner,
            lease_seconds=self._flush_lease_seconds,
            entries_max=self._flush_entries_max,
        )

    @property
    def memory(self) -> Hashable:
        """Changes wherever the ledger may have forgotten something: with each connection, and each
        generation of a shard."""
        shards = self._generations.all().values()
        return self._connections, frozenset((s.number, s.generation) for s in shards)

    async def suspect(self, shard: int, suspicion: Suspicion) -> None:
        """The shard is recovered at the next turn. Raises StoreUnavailableError."""
        generation = self._generations.find(shard)
        if generation is not None:
            await self._shards.suspect(shard, generation, suspicion)

    async def tend_shards_once(self) -> tuple[ShardReport, ...]:
        """Opens what is not open, and recovers what is lost or suspect, as far as it goes now.

        Raises StoreUnavailableError or LedgerUnavailableError, once every shard had its turn.
        """
        shards = await self._shards.all()
        self._generations.learn(shards)
        in_turn = asyncio.Semaphore(TENDED_AT_ONCE)
        errors: list[ApiError | FencedError] = []

        async def tend(shard: Shard) -> ShardReport | None:
            async with in_turn:
                try:
                    return await self._recovery.tend_once(shard)
                except (ApiError, FencedError) as error:
                    errors.append(error)
                    return None

        reports = await asyncio.gather(*(tend(shards[number]) for number in sorted(shards)))
        await self._generations.refresh()
        if errors:
            raise errors[0]
        return tuple(report for report in reports if report is not None)

    async def sweep_once(self, shard: int, count: int = SWEPT_KEYS) -> bool:
        """Removes a little of what older generations left in Redis. False where it is all gone."""
        generation = self._generations.find(shard)
        if generation is None or self._swept.get(shard) == generation:
            return False
        begun, at = self._sweep_at.get(shard, (generation, 0))
        if begun != generation:
            at = 0  # what this generation's scan has passed, the one before has left since
        with as_unavailable():
            cursor, _ = await self._link.call(*calls.sweep(shard, generation, at, count))
        self._sweep_at[shard] = generation, int(cursor)
        if not int(cursor):
            self._swept[shard] = generation
        return bool(int(cursor))

    async def give_up_leases(self) -> None:
        """Another worker may go on at once. Raises StoreUnavailableError."""
        for shard in self._generations.all():
            await self._flushes.give_up(shard, self._owner)

    async def expire_once(self, shard: int, batch_max: int) -> int:
        """Gives back holds whose lease has ended, and writes each an orphaned row. How many."""
        with as_unavailable():
            generation, due = await self._due(shard, batch_max)
            expired = await asyncio.gather(*(self._expire(shard, generation, id_) for id_ in due))
        return sum(expired)

    def _count_connection(self) -> None:
        self._connections += 1

    async def _due(self, shard: int, batch_max: int) -> tuple[int, list[str]]:
        """The generation that was asked, and ids of its holds."""
        asked = 0

        def due(generation: int) -> Command:
            nonlocal asked
            asked = generation
            return calls.due(shard, generation, batch_max)

        found = await self._fenced.call(shard, due)
        return asked, [id_.decode() for id_ in found]

    async def _expire(self, shard: int, generation: int, request_id: str) -> bool:
        fields = await self._link.call(*calls.hold_fields(shard, generation, request_id))
        charge = _orphan(shard, request_id, fields)
        reply = await self._link.call(*calls.expire(generation, charge, charge.to_bytes()))
        return parse_outcome(reply) is Outcome.OK


def _orphan(shard: int, request_id: str, fields: list[Any]) -> Charge:
    """The row of a request whose gateway was killed: what the hold knows of it. Without a hold the
    row is never written: `expire` only clears the lease."""
    account, key, amount, window = (b"" if field is None else field for field in fields)
    return Charge(
        request_id=UUID(request_id),
        account_id=UUID(account.decode()) if account else UUID(int=0),
        key_id=key.decode(),
        shard=shard,
        charged_nanos=Nanos(0),
        hold_nanos=Nanos(int(amount or 0)),
        window_ms=int(window or 0),
        status=Status.ORPHANED,
        usage_source=UsageSource.NONE,
        model="",
        endpoint="",
        stream=False,
    )
