"""Shards beside each other, generations after each other, and what a gateway reports of them."""

import asyncio
from collections.abc import Mapping

import pytest

from proxy.domain.ports import Shard, Suspicion
from proxy.ledger import calls
from proxy.ledger.calls import Phase, shard_key
from tests.support.ledger_bench import LEASE_MS, LedgerBench
from tests.support.ledger_world import World, held, recovered
from tests.support.memory_books import MemoryBooks


def test_a_generation_begins_closed(bench: LedgerBench) -> None:
    """A worker that looked before the store was emptied must not open it afterwards."""
    bench.client.delete(shard_key(0))
    for phase in (Phase.OPEN, Phase.ADMITTING):
        with pytest.raises(Exception, match="NOSHARD"):
            bench.call(calls.move_shard(0, 1, phase, LEASE_MS))
    assert bench.client.exists(shard_key(0)) == 0


async def test_one_slow_shard_does_not_keep_the_others_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tended: list[int] = []
    goes_on = asyncio.Event()

    class _Recovery:
        async def tend_once(self, shard: Shard) -> Shard:
            if shard.number == 0:
                await goes_on.wait()
            tended.append(shard.number)
            if shard.number == 2:
                goes_on.set()
            return shard

    async def three(_: MemoryBooks) -> Mapping[int, Shard]:
        return {number: Shard(number, 1) for number in range(3)}

    monkeypatch.setattr(MemoryBooks, "all", three)
    world.worker._recovery = _Recovery()  # type: ignore[assignment]
    await asyncio.wait_for(world.worker.tend_shards_once(), 5)
    assert tended == [1, 2, 0]


async def test_a_sweep_that_a_recovery_interrupts_begins_anew(world: World) -> None:
    keys = [world.account() for _ in range(40)]
    async with world.gateway() as ledger:
        for _ in range(2):
            await ledger.attend_once()
            for key in keys:
                await held(ledger, key, world.id(), 1)
            while len(world.client.keys(f"al:{{s0}}:{world.books.generation - 1}:*")) > 5:
                await world.worker.sweep_once(0, 5)
            await world.worker.suspect(0, Suspicion.OPERATOR)
            await recovered(world)
    while await world.worker.sweep_once(0, 5):
        pass
    for generation in range(1, world.books.generation):
        assert world.client.keys(f"al:{{s0}}:{generation}:*") == []


async def test_postgres_may_forget_what_a_gateway_reported(world: World) -> None:
    """As after a failover to a standby that lagged: it is told again."""
    async with world.gateway() as ledger:
        world.books.live.add("a gateway that is slow")
        await world.worker.suspect(0, Suspicion.OPERATOR)
        await world.worker.tend_shards_once()
        await ledger.attend_once()
        assert len(world.books.reports) == 1
        world.books.reports.clear()
        await ledger.attend_once()
        assert len(world.books.reports) == 1
        world.books.live.discard("a gateway that is slow")
        await recovered(world)
