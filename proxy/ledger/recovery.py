"""Recovery of a shard whose memory in Redis is lost, suspect, or not there yet.

open         Redis and Postgres are at the same generation.
draining     The generation has risen: whoever has the old one is out. What survives of its stream
             goes into Postgres, and so do the journals of gateways that live: then its wallets are
             right.
reasserting  Redis has opened the new generation, with nothing in it: wallets are loaded from
             Postgres, and gateways that live take their holds again. Then it is open.

Each step may be repeated, and taken up by another worker: Postgres remembers how far it is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.domain.clock import Clock
from proxy.domain.ids import uuid7_floor
from proxy.domain.ports import (
    Cursor,
    FencedError,
    Flushes,
    Shard,
    Shards,
    ShardState,
    Suspicion,
    Wallets,
)
from proxy.ledger import calls
from proxy.ledger.calls import Phase
from proxy.ledger.entries import parse_entry
from proxy.ledger.faults import as_unavailable
from proxy.ledger.link import Link
from proxy.ledger.loader import Loader
from proxy.ledger.replies import ShardInRedis, parse_shard_state

# A gateway is waited for as long as it was seen in this time; its leases end soon after. What it
# has in its journal comes later then, as sequenced debits.
LIVE_SECONDS: Final = 10
_STEPS_MAX: Final = 8
_START: Final = "0-0"
_ACTIVE_MS: Final = 600_000
_WARMED_MAX: Final = 5_000
_WARMED_AT_ONCE: Final = 200

Restore = Callable[[Wallets, Shard], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """How a shard stands. `waits_for`: gateways that have not yet done their part."""

    shard: int
    generation: int
    is_open: bool
    waits_for: tuple[str, ...] = ()


class Recovery:
    """`restore` is asked, before a generation ends because Postgres is older than Redis, to post
    what Postgres forgot."""

    def __init__(
        self,
        *,
        link: Link,
        shards: Shards,
        flushes: Flushes,
        loader: Loader,
        wallets: Wallets,
        clock: Clock,
        restore: Restore,
        owner: str,
        lease_ms: int,
        flush_lease_seconds: int,
        page: int,
        live_seconds: int,
    ) -> None:
        self._link = link
        self._shards = shards
        self._flushes = flushes
        self._loader = loader
        self._wallets = wallets
        self._clock = clock
        self._restore = restore
        self._owner = owner
        self._lease_ms = lease_ms
        self._flush_lease_seconds = flush_lease_seconds
        self._page = page
        self._live_seconds = live_seconds
        self._drained: set[tuple[int, int]] = set()
        self._warmed: set[tuple[int, int]] = set()

    async def tend_once(self, shard: Shard) -> ShardReport:
        """As far as it goes now. Raises LedgerUnavailableError, StoreUnavailableError, or
        FencedError where another worker tends it."""
        with as_unavailable():
            if await self._is_well(shard):
                return ShardReport(shard.number, shard.generation, is_open=True)
            for _ in range(_STEPS_MAX):
                held = await self._flushes.acquire_any(
                    shard.number, self._owner, self._flush_lease_seconds
                )
                if held is None:
                    return ShardReport(shard.number, shard.generation, is_open=False)
                shard, cursor = held
                if await self._is_well(shard):
                    return ShardReport(shard.number, shard.generation, is_open=True)
                waits_for = await self._step(shard, cursor)
                if waits_for:
                    return ShardReport(shard.number, shard.generation, False, waits_for)  # noqa: FBT003
        return ShardReport(shard.number, shard.generation, is_open=False)

    async def _is_well(self, shard: Shard) -> bool:
        found = await self._look(shard, Cursor(shard.generation, _START))
        is_well = (
            shard.state is ShardState.OPEN
            and shard.suspicion is None
            and found.generation == shard.generation
            and found.phase is Phase.ADMITTING
        )
        if is_well:  # the lease may have been set anew
            await self._move(shard, Phase.ADMITTING)
        return is_well

    async def _step(self, shard: Shard, cursor: Cursor) -> tuple[str, ...]:
        """One step. Returns the gateways that it has to wait for."""
        found = await self._look(shard, cursor)
        if found.generation > shard.generation:
            await self._catch_up(shard, found)
            return ()
        if shard.state is ShardState.DRAINING:
            return await self._drain(shard, cursor, found)
        # It was opened before Postgres said so: a closed one is older than that.
        is_there = found.generation == shard.generation and found.phase is not Phase.CLOSED
        if shard.state is ShardState.REASSERTING and is_there and shard.suspicion is None:
            return await self._reassert(shard)
        await self._end(shard, is_there=is_there)
        return ()

    async def _end(self, shard: Shard, *, is_there: bool) -> None:
        """Whoever has this generation is out. What Postgres forgot can be read from a ledger that
        still has it, and nowhere else."""
        restored = shard.suspicion is Suspicion.POSTGRES and is_there
        if restored:
            await self._restore(self._wallets, shard)
        generation = await self._shards.bump(shard.number, shard.generation, restored=restored)
        _tell("shard_recovery", shard, reason_code=shard.suspicion or "unknown", outcome=generation)

    async def _catch_up(self, shard: Shard, found: ShardInRedis) -> None:
        """Postgres is so old that it does not know of this generation. It is taken on, with all of
        its stream unread, before it ends like any other."""
        _tell("postgres_is_older", shard, outcome=found.generation)
        await self._shards.adopt(shard, found.generation)

    async def _drain(self, shard: Shard, cursor: Cursor, found: ShardInRedis) -> tuple[str, ...]:
        place = shard.number, shard.generation
        if found.generation != shard.generation:
            self._drained.discard(place)  # it was not closed, or is not any more
        await self._move(shard, Phase.CLOSED)
        if place not in self._drained:
            # A cursor whose entry is gone says nothing of what is before and behind it: all of the
            # stream is read then, and what Postgres has stays as it is.
            start = cursor.stream_id if found.reaches_back else _START
            count = await self._drain_stream(shard, Cursor(cursor.generation, start))
            self._drained.add(place)
            _tell("shard_drained", shard, count=count)
        waits_for = await self._shards.waited_for(shard, seconds=self._live_seconds)
        if waits_for:
            return tuple(waits_for)
        await self._move(shard, Phase.OPEN)
        await self._shards.advance(shard, ShardState.REASSERTING)
        self._drained.discard(place)
        return ()

    async def _drain_stream(self, shard: Shard, cursor: Cursor) -> int:
        count = 0
        while True:
            found = await self._link.call(*calls.stream_after(shard.number, cursor, self._page))
            if not found:
                return count
            charges = []
            for entry in map(parse_entry, found):
                if entry.charge is None:
                    place = Cursor(cursor.generation, entry.entry_id)
                    await self._flushes.quarantine(shard.number, place, entry.raw, entry.poison)
                else:
                    charges.append((entry.entry_id, entry.charge))
            held = await self._flushes.acquire_any(
                shard.number, self._owner, self._flush_lease_seconds
            )
            if held is None:  # to go on would be to skip these
                raise FencedError(f"shard {shard.number} is recovered by another worker")
            await self._flushes.drain(shard.number, self._owner, shard.generation, charges)
            count += len(found)
            cursor = Cursor(cursor.generation, found[-1][0].decode())

    async def _reassert(self, shard: Shard) -> tuple[str, ...]:
        await self._warm(shard)
        waits_for = await self._shards.waited_for(shard, seconds=self._live_seconds)
        if waits_for:
            return tuple(waits_for)
        await self._move(shard, Phase.ADMITTING)
        await self._shards.advance(shard, ShardState.OPEN)
        self._warmed.discard((shard.number, shard.generation))
        _tell("shard_recovered", shard)
        return ()

    async def _warm(self, shard: Shard) -> None:
        """Those who were active minutes ago will be at once. The others are loaded as they come."""
        place = shard.number, shard.generation
        if place in self._warmed:
            return
        self._warmed.add(place)
        since = uuid7_floor(self._clock.unix_ms() - _ACTIVE_MS)
        accounts = await self._shards.active_accounts(shard.number, since=since, limit=_WARMED_MAX)
        for begin in range(0, len(accounts), _WARMED_AT_ONCE):
            loads = [
                self._loader.load_wallet(account_id, shard.number)
                for account_id in accounts[begin : begin + _WARMED_AT_ONCE]
            ]
            # A convenience: who is not loaded now is loaded when it asks.
            await asyncio.gather(*loads, return_exceptions=True)

    async def _look(self, shard: Shard, cursor: Cursor) -> ShardInRedis:
        return parse_shard_state(await self._link.call(*calls.shard_state(shard.number, cursor)))

    async def _move(self, shard: Shard, phase: Phase) -> None:
        await self._link.call(
            *calls.move_shard(shard.number, shard.generation, phase, self._lease_ms)
        )


def _tell(event: str, shard: Shard, **more: object) -> None:
    log = structlog.get_logger()
    log.warning(event, shard=shard.number, generation=shard.generation, **more)
