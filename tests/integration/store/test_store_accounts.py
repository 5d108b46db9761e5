import asyncio
import dataclasses
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from proxy.domain.account import ApiKey, KeyLimits, Reset
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.ports import Shard
from proxy.store.database import Executor
from proxy.store.deployment import ShardCountError
from proxy.store.pool import Store, open_store
from routing.money import Nanos
from tests.support.store_fixtures import SHARDS, MakeAccount

LIMITS = KeyLimits(Nanos(1_000), Reset.WEEKLY, 60, 10_000, 8)


def _key(account_id: UUID, key_id: str = "key1", **changes: object) -> ApiKey:
    key = ApiKey(
        key_id=key_id,
        account_id=account_id,
        shard=0,
        epoch=1,
        secret_hash=bytes(range(32)),
        limits=LIMITS,
        name="laptop",
        expires_at_ms=1_900_000_000_000,
        models_allow=frozenset({"a/b", "c/d"}),
        jurisdictions_allow=("US", "EU"),
        jurisdictions_deny=("CN",),
    )
    return dataclasses.replace(key, **changes)  # type: ignore[arg-type]


async def test_a_key_comes_back_as_it_was_made_with_its_account_s_bounds(store: Store) -> None:
    account_id = uuid4()
    await store.accounts.create(
        account_id=account_id,
        email="ada@example.com",
        shard=1,
        notice_attested_by="operator",
        jurisdictions_allow=("EEA",),
        jurisdictions_deny=("RU",),
    )
    await store.keys.create(_key(account_id))
    assert await store.directory.find_key("key1") == _key(
        account_id,
        shard=1,
        account_jurisdictions_allow=("EEA",),
        account_jurisdictions_deny=("RU",),
    )
    assert await store.directory.find_key("key2") is None
    attested = await store.database.fetchrow("SELECT * FROM accounts")
    assert attested is not None
    assert attested["transfer_notice_by"] == "operator"
    assert attested["transfer_notice_at"] is not None


async def test_a_key_needs_an_account(store: Store) -> None:
    with pytest.raises(LookupError, match="no account"):
        await store.keys.create(_key(uuid4()))


async def test_an_address_has_one_account(store: Store) -> None:
    made = [
        await store.accounts.create(account_id=uuid4(), email="ada@example.com", shard=0)
        for _ in range(2)
    ]
    assert made == [True, False]
    assert [account.email async for account in store.accounts.all()] == ["ada@example.com"]
    assert len([position async for position in store.audit.positions()]) == 1


async def test_a_revocation_raises_the_epoch_once(store: Store, make_account: MakeAccount) -> None:
    await store.keys.create(_key(await make_account()))
    for _ in range(2):
        revoked = await store.keys.revoke("key1")
        assert revoked is not None
        assert (revoked.revoked, revoked.epoch) == (True, 2)
    assert await store.keys.revoke("absent") is None


async def test_of_two_changes_at_once_the_later_is_told(
    store: Store, make_account: MakeAccount
) -> None:
    await store.keys.create(_key(await make_account()))
    unlimited = KeyLimits()
    assert await store.keys.change_limits("key1", 1, unlimited)
    assert not await store.keys.change_limits("key1", 1, LIMITS)
    found = await store.keys.find("key1")
    assert found is not None
    assert (found.limits, found.epoch) == (unlimited, 2)


async def test_all_keys_are_listed_over_pages(
    store: Store, make_account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.keys._PAGE", 2)
    ada, ben = await make_account(), await make_account()
    for n in range(5):
        await store.keys.create(_key(ada if n % 2 else ben, f"key{n}"))
    assert [key.key_id async for key in store.keys.of(None)] == [f"key{n}" for n in range(5)]
    assert [key.key_id async for key in store.keys.of(ada)] == ["key1", "key3"]


async def test_the_number_of_shards_never_changes(store: Store) -> None:
    await store.deployment.check(shards=SHARDS)
    with pytest.raises(ShardCountError, match=f"is 3, but this deployment has {SHARDS}"):
        await store.deployment.check(shards=3)
    assert await store.shards.all() == {number: Shard(number, 1) for number in range(SHARDS)}


async def test_transactions_that_wait_for_each_other_both_end(
    store: Store, make_account: MakeAccount
) -> None:
    """Postgres ends one of them; it runs again and succeeds."""
    ids = [await make_account(), await make_account()]
    both_hold = asyncio.Barrier(2)
    runs = 0

    async def step(order: list[UUID]) -> None:
        is_first_run = True

        async def work(executor: Executor) -> None:
            nonlocal runs, is_first_run
            runs += 1
            await executor.execute("SET LOCAL deadlock_timeout = '1ms'")
            for n, account_id in enumerate(order):
                await executor.execute(
                    "UPDATE wallets SET balance_nanos = balance_nanos + 1 WHERE account_id = $1",
                    account_id,
                )
                if n == 0 and is_first_run:
                    is_first_run = False
                    await both_hold.wait()

        await store.database.transact(work)

    await asyncio.gather(step(ids), step(ids[::-1]))
    assert runs == 3
    wallets = await store.directory.load_wallets(ids)
    assert {wallet.balance_nanos for wallet in wallets.values()} == {2}


async def test_a_postgres_that_is_away_is_said_to_be(short_dir: Path) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        async with open_store(f"postgresql://apilink@/postgres?host={short_dir}/nowhere"):
            pass
    assert caught.value.retry_after_seconds is not None


async def test_a_statement_that_takes_too_long_counts_as_away(database: str) -> None:
    async with open_store(database, timeout_seconds=1) as store:
        with pytest.raises(StoreUnavailableError):
            await store.database.fetchval("SELECT pg_sleep(30)")
        await store.ping()
