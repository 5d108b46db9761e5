"""What a recovery leaves in Postgres: states of shards, charges of generations that are over."""

from uuid import UUID

import pytest

from proxy.domain.charge import Charge
from proxy.domain.ports import Cursor, FencedError, Shard, ShardState, Suspicion
from proxy.store.pool import Store
from tests.support.charges import make_charge
from tests.support.store_fixtures import MakeAccount

DRAINING, REASSERTING, OPEN = ShardState


async def _shard(store: Store) -> Shard:
    return (await store.shards.all())[0]


async def _wallet(store: Store, account_id: UUID) -> tuple[int, int]:
    """(balance, sequence)"""
    row = await store.database.fetchrow(
        "SELECT balance_nanos, sequence FROM wallets WHERE account_id = $1", account_id
    )
    return row["balance_nanos"], row["sequence"]


async def test_a_shard_goes_through_its_states_once(store: Store) -> None:
    assert await store.shards.bump(0, 1) == 2
    assert await store.shards.bump(0, 1) is None  # it is over already
    draining = await _shard(store)
    assert draining == Shard(0, 2, DRAINING)
    assert await store.shards.advance(draining, REASSERTING)
    assert not await store.shards.advance(draining, REASSERTING)
    held = await store.flushes.acquire_any(0, "worker", 60)
    assert held == (Shard(0, 2, REASSERTING), Cursor(2, "0-0"))
    assert await store.shards.advance(held[0], OPEN)
    assert await _shard(store) == Shard(0, 2, OPEN)
    assert await store.shards.bump(0, 2, above=9) == 10


async def test_a_suspicion_ends_with_the_generation_it_was_about(store: Store) -> None:
    await store.shards.suspect(0, 9, Suspicion.TAIL)
    assert (await _shard(store)).suspicion is None
    await store.shards.suspect(0, 1, Suspicion.TAIL)
    await store.shards.suspect(0, 1, Suspicion.OPERATOR)
    assert (await _shard(store)).suspicion is Suspicion.TAIL
    await store.shards.bump(0, 1)
    assert (await _shard(store)).suspicion is None
    await store.shards.suspect(0, 2, Suspicion.STREAM)
    assert (await _shard(store)).suspicion is None  # it is being recovered


async def test_gateways_are_waited_for_while_they_live(store: Store) -> None:
    shard = await _shard(store)
    await store.shards.attend("first")
    await store.shards.attend("second")
    assert sorted(await store.shards.waited_for(shard, seconds=60)) == ["first", "second"]
    await store.shards.report("first", shard)
    assert await store.shards.waited_for(shard, seconds=60) == ["second"]
    assert await store.shards.waited_for(Shard(0, 2), seconds=60) != ["second"]
    await store.shards.leave(["second"])
    assert await store.shards.waited_for(shard, seconds=60) == []
    await store.shards.attend("third")
    await store.database.execute("UPDATE gateways SET seen_at = now() - interval '2 minutes'")
    assert await store.shards.waited_for(shard, seconds=60) == []


async def test_what_is_posted_while_a_shard_is_drained_moves_the_wallet_and_no_sequence(
    store: Store, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    charge = make_charge(account_id, incarnation="g", number=1)
    nanos = charge.charged_nanos
    await store.shards.bump(0, 1)
    assert await store.flushes.post(0, [(1, charge)]) == 1
    assert await store.flushes.post(0, [(1, charge)]) == 0
    assert await _wallet(store, account_id) == (-nanos, 0)
    assert await store.flushes.committed(["g"]) == {("g", 0): 1}
    assert await store.audit.book_differences() == []


async def test_what_comes_later_is_a_sequenced_debit_as_well(
    store: Store, make_account: MakeAccount
) -> None:
    ada, ben = await make_account(), await make_account()
    charges = [make_charge(ada), make_charge(ada), make_charge(ben), make_charge(ben, nanos=0)]
    await store.shards.bump(0, 1)
    await store.shards.advance(Shard(0, 2, DRAINING), REASSERTING)
    assert await store.flushes.post(0, [(1, charge) for charge in charges]) == 4
    assert await store.flushes.post(0, [(1, charge) for charge in charges]) == 0
    nanos = charges[0].charged_nanos
    assert await _wallet(store, ada) == (-2 * nanos, 1)
    assert await _wallet(store, ben) == (-nanos, 1)
    assert await store.movements.sum_between(ada, 0, 1) == -2 * nanos
    assert await store.audit.book_differences() == []
    totals = await store.usage.totals(ada)
    assert totals is not None
    assert (totals.credited_nanos, totals.charged_nanos) == (0, 2 * nanos)


async def test_a_generation_that_is_not_over_is_not_posted(
    store: Store, make_account: MakeAccount
) -> None:
    charge = make_charge(await make_account())
    for generation in (1, 2):
        with pytest.raises(FencedError, match="is not over"):
            await store.flushes.post(0, [(generation, charge)])
    assert await store.usage.find(charge.request_id) is None


async def test_draining_needs_the_state_and_the_lease(
    store: Store, make_account: MakeAccount
) -> None:
    charge = make_charge(await make_account())
    await store.flushes.acquire(0, "worker", 60)
    with pytest.raises(FencedError, match="is open"):
        await store.flushes.drain(0, "worker", 1, [("1-0", charge)])
    await store.shards.bump(0, 1)
    with pytest.raises(FencedError, match="flushed by None"):
        await store.flushes.drain(0, "worker", 2, [("1-0", charge)])
    await store.flushes.acquire_any(0, "worker", 60)
    assert await store.flushes.drain(0, "worker", 2, [("1-0", charge)]) == 1
    assert await store.flushes.drain(0, "worker", 2, [("1-0", charge)]) == 0
    assert (await store.shards.cursors())[0] == Cursor(1, "0-0")


async def test_a_poisoned_charge_stays_out_of_wallets_that_are_loaded_later(
    store: Store, make_account: MakeAccount
) -> None:
    """The ledger took its amount: a wallet that is built again is built without it."""
    account_id = await make_account()
    poison = make_charge(account_id, incarnation="g", number=1, model="\0")
    nanos = poison.charged_nanos
    await store.shards.bump(0, 1)
    await store.flushes.post(0, [(1, poison)])
    loaded = await store.directory.load_wallets([account_id])
    assert loaded[account_id].balance_nanos == -nanos
    (position,) = [p async for p in store.audit.positions()]
    assert (position.balance_nanos, position.quarantined_nanos) == (0, nanos)


async def test_a_flusher_gives_up_its_own_lease_only(store: Store) -> None:
    assert await store.flushes.acquire(0, "first", 60) is not None
    await store.flushes.give_up(0, "second")
    assert await store.flushes.acquire(0, "second", 60) is None
    await store.flushes.give_up(0, "first")
    assert await store.flushes.acquire(0, "second", 60) is not None


async def test_gateways_that_nobody_sees_any_more_are_forgotten(store: Store) -> None:
    shard = await _shard(store)
    for name in ("gone", "alive"):
        await store.shards.attend(name)
        await store.shards.report(name, shard)
    await store.database.execute(
        "UPDATE gateways SET seen_at = now() - interval '25 hours' WHERE incarnation = 'gone'"
    )
    await store.shards.forget_gateways()
    left = await store.database.fetch("SELECT incarnation FROM gateway_steps")
    assert [row["incarnation"] for row in left] == ["alive"]


async def _quarantined(store: Store, account_id: UUID) -> int:
    (position,) = [p async for p in store.audit.positions() if p.account_id == account_id]
    loaded = await store.directory.load_wallets([account_id])
    assert loaded[account_id].balance_nanos == position.balance_nanos - position.quarantined_nanos
    return position.quarantined_nanos


async def test_poison_that_is_in_a_stream_and_in_a_journal_is_set_aside_once(
    store: Store, make_account: MakeAccount
) -> None:
    """Its amount was taken once."""
    ada, ben = await make_account(), await make_account()
    first = make_charge(ada, incarnation="g", number=2, model="\0")
    second = make_charge(ben, incarnation="g", number=4, model="\0")
    await store.shards.bump(0, 1)
    await store.flushes.acquire_any(0, "worker", 60)
    await store.flushes.post(0, [(1, first)])
    await store.flushes.drain(0, "worker", 2, [("1-0", first), ("2-0", second)])
    await store.flushes.post(0, [(1, second)])
    await store.shards.advance(await _shard(store), REASSERTING)
    assert await _quarantined(store, ada) == first.charged_nanos
    assert await _quarantined(store, ben) == second.charged_nanos
    assert await store.audit.count_quarantine() == 2


async def test_an_entry_that_cannot_be_read_and_its_copy_in_a_journal_are_one_charge(
    store: Store, make_account: MakeAccount
) -> None:
    ada, ben = await make_account(), await make_account()
    first = make_charge(ada, incarnation="g", number=2)
    second = make_charge(ben, incarnation="g", number=4)

    async def find_unreadable(charge: Charge, entry_id: str) -> None:
        told = (charge.account_id, charge.charged_nanos, charge.incarnation, charge.number)
        raw = "a={}\nc={}\ni={}\nn={}\nd=?".format(*told).encode()
        await store.flushes.quarantine(0, Cursor(1, entry_id), raw, "not a charge")

    await store.shards.bump(0, 1)
    await find_unreadable(first, "1-0")
    assert await store.flushes.post(0, [(1, first), (1, second)]) == 1
    await find_unreadable(second, "2-0")
    await store.shards.advance(await _shard(store), REASSERTING)
    assert (await _wallet(store, ada), await _quarantined(store, ada)) == (
        (0, 0),
        first.charged_nanos,
    )
    assert (await _wallet(store, ben), await _quarantined(store, ben)) == (
        (-second.charged_nanos, 0),
        0,
    )


async def test_a_clock_that_was_set_back_makes_nobody_live_or_lead_for_ever(store: Store) -> None:
    """Postgres' own: a gateway that died and a lease that nobody has were both in its future."""
    shard = await _shard(store)
    await store.shards.attend("dead")
    await store.flushes.acquire_any(0, "dead", 15)
    await store.database.execute("UPDATE gateways SET seen_at = now() + interval '2 hours'")
    await store.database.execute("UPDATE shards SET flusher_until = now() + interval '2 hours'")
    assert await store.shards.waited_for(shard, seconds=10) == []
    assert await store.flushes.acquire_any(0, "alive", 15) is not None
