import asyncio
import tempfile
from pathlib import Path
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.billing.credit import credit
from proxy.billing.verify import Verdict, verify
from proxy.dev.servers import run_redis
from proxy.domain.ports import Cursor
from proxy.ledger.calls import ShardKeys
from proxy.store.pool import Store, open_store
from routing.money import Nanos
from tests.support.databases import execute
from tests.support.money_world import MoneyWorld, open_money_world
from tests.support.store_fixtures import MakeAccount

USD = 10**9


async def _funded(world: MoneyWorld, make_account: MakeAccount) -> UUID:
    account_id = await make_account()
    await world.credit(account_id, USD, "first")
    return account_id


async def test_no_false_alarm_while_money_moves(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    """Requests, credits and flushes run all the while; not one reading may disagree."""
    accounts = [await _funded(world, make_account) for _ in range(5)]
    keys = [await world.key_of(account_id) for account_id in accounts]
    is_over = asyncio.Event()

    async def spend(n: int) -> None:
        count = 0
        while not is_over.is_set():
            await world.charge(keys[n], 100 + n)
            count += 1
            if count % 7 == 0:
                await world.credit(accounts[n], 1_000, f"r{count}")
            if count % 11 == 0:  # one that the sweep would have to bring
                await credit(world.store, None, accounts[n], Nanos(9), f"s{count}", "test", "")

    async def flush() -> None:
        while not is_over.is_set():
            await world.flusher.flush_once()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for n in range(len(keys)):
            group.create_task(spend(n))
        group.create_task(flush())
        for _ in range(25):
            found = await verify(world.store, world.wallets)
            assert (found.verdict, found.differences, found.faults) == (Verdict.OK, [], [])
        is_over.set()
    await world.flush()
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.wallets, found.unloaded) == (Verdict.OK, 5, 0)
    assert found.batches > 5


async def test_one_nano_planted_in_redis_is_found(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    accounts = [await _funded(world, make_account) for _ in range(3)]
    for account_id in accounts:
        await world.charge(await world.key_of(account_id), 250)
    await world.settle()
    _plant(world, accounts[1], 1)
    _plant(world, accounts[2], -1)
    found = await verify(world.store, world.wallets)
    assert found.verdict is Verdict.DIFFERENT
    assert found.differences == sorted([(accounts[1], 1), (accounts[2], -1)])
    assert found.difference_nanos == 2
    assert found.faults == []


def _plant(world: MoneyWorld, account_id: UUID, nanos: int) -> None:
    with redis.Redis.from_url(world.redis_url) as client:
        name = ShardKeys(0, 2).wallet(account_id)
        before = dict(client.hgetall(name))
        client.hincrby(name, "balance", nanos)
        assert len(client.hgetall(name)) == len(before), "the balance has another name now"


async def test_one_nano_planted_in_postgres_is_found_twice(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    account_id = await _funded(world, make_account)
    await world.charge(await world.key_of(account_id), 250)
    await world.flush()
    execute(database, "UPDATE wallets SET balance_nanos = balance_nanos + 1")
    found = await verify(world.store, world.wallets)
    assert found.verdict is Verdict.DIFFERENT
    assert found.differences == [(account_id, -1)]
    assert found.faults == [f"books and wallet of {account_id} differ by -1 nanos"]


async def test_quarantined_amounts_are_a_term_below_and_above_the_cursor(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await _funded(world, make_account)
    key = await world.key_of(account_id)
    await world.charge(key, 70, model="mod\0el")  # Postgres refuses it, in a batch with another
    await world.charge(key, 5)
    await world.flush()
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.quarantined_nanos) == (Verdict.OK, 70)
    assert found.quarantined_entries == 1
    # The entry behind the cursor is in the stream as well: it must not count twice.
    await world.charge(key, 40)
    await world.settle()
    state = await world.wallets.snapshot(account_id, 0)
    assert state is not None
    raw = b'{"account_id": "%s", "charged_nanos": 40}' % str(account_id).encode()
    await world.store.flushes.quarantine(0, Cursor(2, state.last_stream_id), raw, "set aside early")
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.quarantined_nanos) == (Verdict.OK, 70)


async def test_a_store_that_lost_its_tail_is_unknown_until_it_is_recovered(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    """As after a failover to a replica that lagged: its wallets are of an earlier moment."""
    account_id = await _funded(world, make_account)
    key = await world.key_of(account_id)
    await world.charge(key, 70)
    await world.flush()
    client = redis.Redis.from_url(world.redis_url, protocol=2)
    older = {name: client.dump(name) for name in client.keys("al:*")}
    await world.charge(key, 5)
    await world.flush()
    client.flushdb()
    for name, dumped in older.items():
        client.restore(name, 0, dumped)
    client.close()
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.away) == (Verdict.UNKNOWN, "the ledger: shard 0 has lost its tail")


async def test_movements_on_their_way_are_no_difference(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    account_id = await _funded(world, make_account)
    await world.charge(await world.key_of(account_id), 250)
    await credit(world.store, None, account_id, Nanos(77), "r2", "test", "")
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.undelivered_nanos) == (Verdict.OK, 77)


async def test_a_store_that_is_away_is_unknown_and_never_ok(
    store: Store, make_account: MakeAccount, database: str, tmp_path: Path
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory,
        run_redis(Path(directory)) as server,
    ):
        async with open_money_world(store, server.url, tmp_path) as world:
            account_id = await _funded(world, make_account)
            await world.charge(await world.key_of(account_id), 250)
            await world.flush()
            async with open_store(database, timeout_seconds=1) as closed:
                pass
            found = await verify(closed, world.wallets)
            assert found.verdict is Verdict.UNKNOWN
            assert found.away is not None
            assert found.away.startswith("Postgres")
            with redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client:
                client.flushall()  # its memory is gone: not a difference of the wallets
            found = await verify(store, world.wallets)
            assert found.verdict is Verdict.UNKNOWN
            server.kill()
            found = await verify(store, world.wallets)
            assert found.verdict is Verdict.UNKNOWN
            assert found.away is not None
            assert found.away.startswith("the ledger")
