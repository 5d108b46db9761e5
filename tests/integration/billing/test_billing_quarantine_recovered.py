"""Entries of a generation that is over, and such as came too late for it, are resolved too."""

import asyncio
from typing import Any

from proxy.billing.sweep import sweep_once
from proxy.billing.verify import Verdict, verify
from proxy.domain.ports import ShardState, Suspicion
from proxy.store.quarantine import Resolved
from tests.support.charges import make_charge
from tests.support.money_world import MoneyWorld
from tests.support.store_fixtures import MakeAccount

USD = 10**9
NANOS = 250
WHO = {"actor": "eve", "reason": "it was mended"}


async def is_exact(world: MoneyWorld, *, quarantined: int) -> None:
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.differences, found.faults) == (Verdict.OK, [], [])
    assert found.quarantined_nanos == quarantined


async def resolve(world: MoneyWorld, how: str) -> Resolved:
    """The only entry that there is."""
    (entry,) = await world.store.quarantine.list()
    way: Any = getattr(world.store.quarantine, how)
    done: Resolved = await way(entry.shard, entry.entry_id, **WHO)
    return done


async def balance(world: MoneyWorld, account_id: Any) -> int:
    state = await world.wallets.snapshot(account_id, 0)
    assert state is not None
    return state.balance_nanos


async def recover(world: MoneyWorld) -> None:
    before = (await world.store.shards.all())[0]
    await world.store.shards.suspect(0, before.generation, Suspicion.OPERATOR)
    async with asyncio.timeout(20):
        while True:
            await world.worker.tend_shards_once()
            now = (await world.store.shards.all())[0]
            if now.generation > before.generation and now.state is ShardState.OPEN:
                return
            await asyncio.sleep(0.02)


async def test_of_a_generation_that_is_over(world: MoneyWorld, make_account: MakeAccount) -> None:
    for how, left in (("post", USD - NANOS - 20), ("waive", USD - 20)):
        account_id = await make_account()
        await world.credit(account_id, USD, "first")
        key = await world.key_of(account_id)
        await world.charge(key, NANOS, client_address="nowhere")
        await world.flush()
        await recover(world)
        await world.charge(key, 20)  # its wallet is loaded, without what is set aside
        await world.flush()
        assert await balance(world, account_id) == USD - NANOS - 20
        await is_exact(world, quarantined=NANOS)
        await resolve(world, how)
        await is_exact(world, quarantined=0)
        await sweep_once(world.store, world.wallets)
        await is_exact(world, quarantined=0)
        assert await balance(world, account_id) == left


async def test_too_late_for_its_generation(world: MoneyWorld, make_account: MakeAccount) -> None:
    """Wallets are loaded by then: nothing was taken for it yet, and posting takes it."""
    generation = (await world.store.shards.all())[0].generation
    for how, taken in (("post", NANOS), ("waive", 0)):
        account_id = await make_account()
        await world.credit(account_id, USD, "first")
        key = await world.key_of(account_id)
        await world.charge(key, 20)
        await world.flush()
        late = make_charge(
            account_id,
            NANOS,
            key_id=key.key_id,
            client_address="nowhere",
            incarnation=f"gone-{how}",
            number=1,
        )
        assert await world.store.flushes.post(0, [(generation - 1, late)]) == 0
        await is_exact(world, quarantined=0)
        assert (await resolve(world, how)).sequence == (2 if taken else None)
        await is_exact(world, quarantined=0)
        await sweep_once(world.store, world.wallets)
        await is_exact(world, quarantined=0)
        assert await balance(world, account_id) == USD - 20 - taken
        totals = await world.store.movements.after(account_id, 1)
        assert [step.amount_nanos for step in totals] == ([-NANOS] if taken else [])
