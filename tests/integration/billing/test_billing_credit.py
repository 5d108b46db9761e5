import asyncio
from uuid import UUID

from proxy.billing import keys as changes
from proxy.billing.credit import Credited, credit
from proxy.billing.sweep import sweep_once
from proxy.domain.account import KeyLimits
from proxy.domain.outcome import Outcome
from routing.money import Nanos
from tests.support.databases import execute
from tests.support.money_world import MoneyWorld
from tests.support.store_fixtures import MakeAccount


async def _balance(world: MoneyWorld, account_id: UUID) -> tuple[int, int]:
    """(balance, sequence) in the ledger."""
    state = await world.wallets.snapshot(account_id, 0)
    assert state is not None
    return state.balance_nanos, state.sequence


async def _offline(world: MoneyWorld, account_id: UUID, nanos: int, reference: str) -> Credited:
    """As by a command that Redis does not answer."""
    return await credit(world.store, None, account_id, Nanos(nanos), reference, "test", "")


async def test_a_credit_reaches_a_wallet_in_use_at_once(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    first = await world.credit(account_id, 100_000, "r1")
    assert first == Credited(Outcome.OK, 1, Nanos(100_000), delivered=False)  # nothing is loaded
    await world.charge(await world.key_of(account_id), 1_000)
    await world.settle()
    second = await world.credit(account_id, 50_000, "r2")
    assert second == Credited(Outcome.OK, 2, Nanos(150_000), delivered=True)
    assert await _balance(world, account_id) == (149_000, 2)


async def test_a_reference_counts_once_whoever_repeats_it(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 10_000, "first")
    await world.charge(await world.key_of(account_id), 0)
    done = await asyncio.gather(*(world.credit(account_id, 500, "same") for _ in range(8)))
    assert sorted(one.outcome for one in done) == ["exists"] * 7 + ["ok"]
    assert {one.sequence for one in done} == {2}
    other = await world.credit(account_id, 501, "same")
    assert other.outcome is Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
    assert await _balance(world, account_id) == (10_500, 2)
    assert (await world.credit(UUID(int=5), 1, "r")).outcome is Outcome.NOT_FOUND


async def test_a_credit_brings_what_did_not_arrive_before_it(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 10_000, "r1")
    await world.charge(await world.key_of(account_id), 0)
    await _offline(world, account_id, 200, "r2")
    await _offline(world, account_id, 30, "r3")
    assert await _balance(world, account_id) == (10_000, 1)
    assert (await world.credit(account_id, 4, "r4")).delivered
    assert await _balance(world, account_id) == (10_234, 4)


async def test_the_sweep_closes_gaps_and_then_rests(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 10_000, "r1")
    await world.charge(await world.key_of(account_id), 0)
    await _offline(world, account_id, 200, "r2")
    await _offline(world, account_id, -30, "r3")
    assert await sweep_once(world.store, world.wallets) == 1
    assert await _balance(world, account_id) == (10_170, 3)
    assert list(await world.store.movements.unacknowledged(10)) == []


async def test_a_wallet_that_nobody_uses_is_swept_until_no_load_can_have_missed_it(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    account_id = await make_account()
    await _offline(world, account_id, 200, "r1")
    assert await sweep_once(world.store, world.wallets) == 0
    assert len(await world.store.movements.unacknowledged(10)) == 1
    execute(
        database,
        "SET session_replication_role = replica;"
        "UPDATE movements SET created_at = created_at - interval '11 minutes'",
    )
    assert await sweep_once(world.store, world.wallets) == 1
    assert list(await world.store.movements.unacknowledged(10)) == []


async def test_a_revoked_key_reserves_nothing_more(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 100_000, "r1")
    key = await world.key_of(account_id)
    await world.charge(key, 1_000)
    revoked = await changes.revoke(world.store, world.wallets.publish_key, key.key_id)
    assert revoked is not None
    assert revoked.epoch == 2
    outcome, _, _ = await world.ledger.key_state(key)
    assert outcome is Outcome.STALE_KEY


async def test_changed_limits_reach_the_ledger(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 100_000, "r1")
    key = await world.key_of(account_id)
    await world.charge(key, 1_000)
    changed = await changes.change_limits(
        world.store,
        world.wallets.publish_key,
        key.key_id,
        lambda _: KeyLimits(spend_nanos=Nanos(7)),
    )
    assert changed is not None
    assert changed == await world.store.keys.find(key.key_id)
    outcome, state, _ = await world.ledger.key_state(changed)
    assert (outcome, state.limit_nanos) == (Outcome.OK, 7)
    assert await changes.publish_once(world.store, world.wallets.publish_key) == 1
