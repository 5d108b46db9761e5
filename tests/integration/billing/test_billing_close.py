"""Months of the books: closed once and in order, and what is read from their close on."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.billing.close import close_month
from proxy.billing.verify import Verdict, verify
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_uuid7
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Cursor
from proxy.store.books import MovementKind
from proxy.store.closes import CloseRefusedError, CodeBalance, bounds_of, next_month
from proxy.store.movements import Movement
from proxy.store.pool import Store, open_store
from routing.money import Nanos
from tests.support.charges import make_charge
from tests.support.databases import empty, execute
from tests.support.money_world import MoneyWorld
from tests.support.store_fixtures import SHARDS, MakeAccount

TODAY = datetime.now(UTC).date()
RUNNING = TODAY.replace(day=1)
LAST = (RUNNING - timedelta(days=1)).replace(day=1)
BEFORE_LAST = (LAST - timedelta(days=1)).replace(day=1)
EVER = datetime(2100, 1, 1, tzinfo=UTC)


def post_in(dsn: str, month: date, *, after_batch: int = 0) -> None:
    """As if what was posted after that batch had been posted in the middle of a month."""
    at = bounds_of(month)[0] + timedelta(days=9)
    execute(
        dsn,
        f"""
        SET session_replication_role = replica;
        UPDATE ledger_batches SET created_at = '{at.isoformat()}' WHERE batch_id > {after_batch};
        """,
    )


async def last_batch(store: Store) -> int:
    return int(await store.database.fetchval("SELECT max(batch_id) FROM ledger_batches"))


async def spend(world: MoneyWorld, account_id: UUID, *nanos: int) -> None:
    key = await world.key_of(account_id)
    for amount in nanos:
        await world.charge(key, amount)
    await world.flush()


async def test_a_month_is_closed_once_with_the_totals_of_every_account(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    ada, ben = await make_account(), await make_account()
    await world.credit(ada, 10_000, "r1")
    await world.credit(ben, 50, "r1")
    await spend(world, ada, 300, 1)
    post_in(database, LAST)
    done = await close_month(world.store, world.wallets, LAST, "eve")
    assert (done.moved_nanos, done.charged_nanos, done.prepaid_nanos) == (10_050, 301, 9_749)
    assert (done.accounts, done.batches, done.usage_rows) == (2, 3, 2)
    assert (done.actor, done.is_new) == ("eve", True)
    again = await close_month(world.store, world.wallets, LAST, "mallory")
    assert (again.actor, again.is_new, again.closed_at) == ("eve", False, done.closed_at)
    rows = await world.store.database.fetch(
        "SELECT * FROM closed_accounts WHERE account_id = $1", ada
    )
    assert [tuple(row)[2:] for row in rows] == [(0, 10_000, 301, 9_699)]


async def test_a_month_that_runs_is_not_closed(world: MoneyWorld) -> None:
    with pytest.raises(CloseRefusedError, match="not over yet"):
        await close_month(world.store, world.wallets, RUNNING, "eve")


async def test_what_is_not_flushed_keeps_its_month_open(
    world: MoneyWorld, make_account: MakeAccount
) -> None:
    """The month is judged by the ledger's own moment of the charge."""
    account_id = await make_account()
    await world.credit(account_id, 10_000, "r1")
    await world.charge(await world.key_of(account_id), 5)
    await world.settle()
    state = await world.wallets.unflushed(0, Cursor(2, "0-0"))
    assert (state.entries, state.is_open) == (1, True)
    with pytest.raises(CloseRefusedError, match="not flushed"):
        await close_month(world.store, world.wallets, RUNNING, "eve")


async def test_quarantine_keeps_a_month_open(world: MoneyWorld) -> None:
    end_ms = int(bounds_of(LAST)[1].timestamp() * 1000)
    await world.store.flushes.quarantine(
        0, Cursor(2, f"{end_ms}-0"), b"x", "no charge"
    )  # the next month's
    await world.store.flushes.quarantine(0, Cursor(2, f"{end_ms - 1}-7"), b"x", "no charge")
    with pytest.raises(CloseRefusedError, match=r"1 entries .* quarantine"):
        await close_month(world.store, world.wallets, LAST, "eve")


async def test_months_are_closed_in_order(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    await world.credit(await make_account(), 7, "r1")
    post_in(database, BEFORE_LAST)
    with pytest.raises(CloseRefusedError, match="books from before"):
        await close_month(world.store, world.wallets, LAST, "eve")
    await close_month(world.store, world.wallets, BEFORE_LAST, "eve")
    older = (BEFORE_LAST - timedelta(days=1)).replace(day=1)
    with pytest.raises(CloseRefusedError, match=f"next month to close is {LAST:%Y-%m}"):
        await close_month(world.store, world.wallets, older, "eve")
    empty_one = await close_month(world.store, world.wallets, LAST, "eve")
    assert (empty_one.batches, empty_one.accounts, empty_one.prepaid_nanos) == (0, 1, 7)


async def test_usage_rows_that_do_not_add_up_keep_a_month_open(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 10_000, "r1")
    await spend(world, account_id, 5)
    post_in(database, LAST)
    execute(database, "UPDATE usage SET charged_nanos = 6")
    with pytest.raises(CloseRefusedError, match="usage rows of 1 accounts"):
        await close_month(world.store, world.wallets, LAST, "eve")
    assert await world.store.closes.find(LAST) is None


@pytest.mark.parametrize("table", ["closes", "closed_accounts", "closed_codes", "closed_chains"])
async def test_a_close_is_append_only(world: MoneyWorld, table: str) -> None:
    await close_month(world.store, world.wallets, LAST, "eve")
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await world.store.database.execute(f"DELETE FROM {table}")


async def test_nothing_is_posted_into_a_closed_month(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    """Not even by a clock that went back: so says a close that lies ahead of ours."""
    account_id = await make_account()
    ahead = next_month(RUNNING)
    execute(
        database,
        f"""
        SET session_replication_role = replica;
        INSERT INTO closes (month, ends_at, batches, usage_rows, actor, closed_at)
        VALUES ('{RUNNING}', '{bounds_of(ahead)[0].isoformat()}', 0, 0, 'eve', '{EVER.isoformat()}')
        """,
    )
    await world.credit(account_id, 3, "r1")
    posted = await world.store.database.fetchval("SELECT max(created_at) FROM ledger_batches")
    assert posted == bounds_of(ahead)[0]


async def test_verification_starts_from_the_close_and_still_finds_a_nano(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 10_000, "r1")
    await spend(world, account_id, 300)
    post_in(database, LAST)
    await close_month(world.store, world.wallets, LAST, "eve")
    await spend(world, account_id, 20)
    found = await verify(world.store, world.wallets, chain_batches_max=1)
    assert (found.verdict, found.faults) == (Verdict.OK, [])
    execute(
        database,
        """
        SET session_replication_role = replica;
        UPDATE closed_accounts SET closing_nanos = closing_nanos + 1, moved_nanos = moved_nanos + 1;
        UPDATE closed_chains SET head_hash = decode(repeat('11', 32), 'hex') WHERE chain = 0
        """,
    )
    found = await verify(world.store, world.wallets, chain_batches_max=1)
    assert found.verdict is Verdict.DIFFERENT
    assert f"books and wallet of {account_id} differ by 1 nanos" in found.faults
    assert f"chain 0: it was changed before the end of {LAST:%Y-%m}" in found.faults


async def test_a_trial_balance_is_the_same_before_and_after_a_close(
    world: MoneyWorld, make_account: MakeAccount, database: str
) -> None:
    account_id = await make_account()
    await world.credit(account_id, 10_000, "r1")
    await spend(world, account_id, 300)
    post_in(database, BEFORE_LAST)
    first = await last_batch(world.store)
    await world.credit(account_id, 10, "r2")
    await spend(world, account_id, 7)
    post_in(database, LAST, after_batch=first)

    async def read() -> list[list[CodeBalance]]:
        return [
            list(await world.store.closes.trial_balance(m))
            for m in (BEFORE_LAST, LAST, RUNNING, None)
        ]

    opened = await read()
    by_code = {line.code: line for line in opened[1]}
    assert by_code["prepayments"].opening_nanos == -9_700
    assert (by_code["prepayments"].debited_nanos, by_code["prepayments"].credited_nanos) == (7, 10)
    assert by_code["revenue"].closing_nanos == -307
    assert by_code["clearing"].closing_nanos == 10_010
    for month in (BEFORE_LAST, LAST):
        await close_month(world.store, world.wallets, month, "eve")
        assert await read() == opened
    assert all(sum(line.closing_nanos for line in lines) == 0 for lines in opened)


async def test_a_balance_before_there_was_an_account_is_zero_and_of_a_stranger_none(
    store: Store, make_account: MakeAccount
) -> None:
    assert await store.closes.balance_at(await make_account(), EVER) == 0
    assert await store.closes.balance_at(UUID(int=5), EVER) is None


MONTHS = (BEFORE_LAST, LAST, RUNNING)
Posting = tuple[int, int]  # which of the three months; what the wallet gains, or is charged


@given(
    postings=st.lists(
        st.tuples(st.integers(0, 2), st.integers(-400, 400).filter(bool)), min_size=1, max_size=8
    )
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_balance_at_any_date_is_what_was_posted_before_it_closed_or_not(
    database: str, postings: list[Posting]
) -> None:
    """And at the end of time it is the wallet's."""
    empty(database)
    asyncio.run(_balances_hold(database, sorted(postings, key=lambda posting: posting[0])))


async def _balances_hold(dsn: str, postings: list[Posting]) -> None:
    async with open_store(dsn) as store:
        await store.deployment.check(shards=SHARDS)
        account_id = mint_uuid7(SystemClock())
        assert await store.accounts.create(account_id=account_id, email="a@example.com", shard=0)
        moments = [await _post(store, dsn, account_id, n, p) for n, p in enumerate(postings)]
        starts = [bounds_of(month)[0] for month in MONTHS]
        dates = sorted({*moments, *starts, EVER})
        expected = [
            sum(nanos for moment, (_, nanos) in zip(moments, postings, strict=True) if moment < at)
            for at in dates
        ]
        for month in (None, BEFORE_LAST, LAST):
            if month is not None:
                await store.closes.close(month, "eve")
            assert [await store.closes.balance_at(account_id, at) for at in dates] == expected
            assert await store.audit.book_differences() == []
            assert sum((await store.audit.trial_balance()).values()) == 0
        wallet = await store.database.fetchval("SELECT balance_nanos FROM wallets")
        assert wallet == expected[-1]


async def _post(store: Store, dsn: str, account_id: UUID, n: int, posting: Posting) -> datetime:
    """One batch, at a minute of its month that is its own. Returns when."""
    month, nanos = posting
    if nanos > 0:
        movement = Movement(account_id, MovementKind.TOP_UP, Nanos(nanos), f"r{n}", "eve", "")
        assert (await store.movements.post(movement)).outcome is Outcome.OK
    else:
        cursor = await store.flushes.acquire(0, "worker", 60)
        assert cursor is not None
        charge = make_charge(account_id, -nanos)
        assert await store.flushes.write(0, "worker", cursor, [(f"{n + 1}-0", charge)]) == 1
    at = bounds_of(MONTHS[month])[0] + timedelta(minutes=n)
    execute(
        dsn,
        f"""
        SET session_replication_role = replica;
        UPDATE ledger_batches SET created_at = '{at.isoformat()}'
        WHERE batch_id = (SELECT max(batch_id) FROM ledger_batches);
        """,
    )
    return at


async def test_a_close_waits_for_a_posting_that_has_its_time(
    world: MoneyWorld, database: str
) -> None:
    connection = await asyncpg.connect(database)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    try:
        async with asyncio.TaskGroup() as group:
            posting = connection.transaction()
            await posting.start()
            await connection.execute(
                "SELECT 1 FROM ledger_chains WHERE chain = 0 FOR NO KEY UPDATE"
            )
            closing = group.create_task(close_month(world.store, world.wallets, LAST, "eve"))
            while not await connection.fetchval(waiting):
                assert not closing.done()
                await asyncio.sleep(0.01)
                await connection.execute("SELECT pg_stat_clear_snapshot()")
            await posting.commit()
        assert closing.result().is_new
    finally:
        await connection.close()
