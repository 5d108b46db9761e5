"""The ledger as a worker uses it: open shards, flush charges, expire holds."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from proxy.domain.charge import Charge, Status
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Flushes, Shards
from proxy.domain.usage import UsageSource
from proxy.ledger import calls
from proxy.ledger.faults import as_unavailable
from proxy.ledger.flusher import Flusher
from proxy.ledger.generations import FencedCalls, Generations
from proxy.ledger.link import Link
from proxy.ledger.replies import parse_outcome
from proxy.ledger.wallets import RedisWallets
from routing.money import Nanos


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What `open_shards_once` found or did. `alarm` is a line for the operator, or ""."""

    shard: int
    generation: int
    is_open: bool
    alarm: str = ""


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
        owner: str,
        lease_ms: int,
        flush_lease_seconds: int,
        flush_entries_max: int,
    ) -> None:
        self.wallets = wallets
        self._link = link
        self._fenced = fenced
        self._generations = generations
        self._shards = shards
        self._flushes = flushes
        self._owner = owner
        self._lease_ms = lease_ms
        self._flush_lease_seconds = flush_lease_seconds
        self._flush_entries_max = flush_entries_max

    def flusher(self, shard: int) -> Flusher:
        """Keep it: it remembers which poison it has already set aside."""
        return Flusher(
            shard,
            link=self._link,
            flushes=self._flushes,
            owner=self._owner,
            lease_seconds=self._flush_lease_seconds,
            entries_max=self._flush_entries_max,
        )

    async def open_shards_once(self, *, accept_loss: bool = False) -> tuple[ShardReport, ...]:
        """Opens every shard that Redis does not have as Postgres does, under a new generation.

        A shard whose stream does not reach back to Postgres' cursor has lost charges that may be in
        journals: it stays closed, with an alarm, unless the operator accepts that. Raises
        StoreUnavailableError or LedgerUnavailableError.
        """
        await self._generations.refresh()
        found = self._generations.known().items()
        reports = [await self._open(shard, at, accept_loss) for shard, at in sorted(found)]
        await self._generations.refresh()
        return tuple(reports)

    async def expire_once(self, shard: int, batch_max: int) -> int:
        """Gives back holds whose lease has ended, and writes each an orphaned row. How many."""
        with as_unavailable():
            due = await self._fenced.call(
                shard, lambda generation: calls.due(shard, generation, batch_max)
            )
            expired = await asyncio.gather(*(self._expire(shard, id_.decode()) for id_ in due))
        return sum(expired)

    async def _open(self, shard: int, generation: int, accept_loss: bool) -> ShardReport:  # noqa: FBT001 - passed on as it is
        with as_unavailable():
            state = await self._link.call(*calls.shard_state(shard, "0-0"))
            if state[0] == b"%d" % generation:
                await self._link.call(*calls.open_shard(shard, generation, self._lease_ms))
                return ShardReport(shard, generation, is_open=True)
        cursor = await self._flushes.acquire(shard, self._owner, self._flush_lease_seconds)
        # Whoever has the flusher's lease opens the shard as well; and who has just done so gave
        # the lease up. Opening it once more would strand what was settled in between.
        if cursor is None or cursor.generation != generation:
            return ShardReport(shard, generation, is_open=False)
        with as_unavailable():
            _, _, reaches_back = await self._link.call(*calls.shard_state(shard, cursor.stream_id))
        if not reaches_back and not accept_loss:
            return ShardReport(
                shard,
                generation,
                is_open=False,
                alarm=f"shard {shard}: Redis has lost its charges (Postgres has them up to"
                f" {cursor.stream_id}); it stays closed until it is recovered",
            )
        return await self._open_anew(shard)

    async def _open_anew(self, shard: int) -> ShardReport:
        generation = await self._shards.bump(shard)
        with as_unavailable():
            await self._link.call(*calls.open_shard(shard, generation, self._lease_ms))
        return ShardReport(shard, generation, is_open=True)

    async def _expire(self, shard: int, request_id: str) -> bool:
        fields = await self._link.call(*calls.hold_fields(shard, request_id))
        charge = _orphan(shard, request_id, fields)
        data = charge.to_bytes()
        reply = await self._fenced.call(
            shard, lambda generation: calls.expire(generation, charge, data)
        )
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
