import asyncio
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from proxy.domain.charge import Charge
from proxy.domain.clock import SystemClock
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.ids import mint_uuid7
from proxy.domain.ports import Cursor, FencedError, Shard, ShardState
from proxy.store.books import MovementKind
from proxy.store.database import Executor
from proxy.store.movements import Movement
from proxy.store.pool import Store, open_store
from proxy.store.queries import load_queries
from routing.money import Nanos
from tests.support.charges import make_charge, make_orphan
from tests.support.pooler import open_pooler
from tests.support.store_fixtures import MakeAccount


class Shard0:
    """A flusher of shard 0: numbers its entries as a stream would."""

    def __init__(self, store: Store, owner: str = "flusher") -> None:
        self._store = store
        self.owner = owner

    async def cursor(self) -> Cursor:
        cursor = await self._store.flushes.acquire(0, self.owner, 60)
        assert cursor is not None
        return cursor

    async def flush(self, *charges: Charge) -> int:
        cursor = await self.cursor()
        return await self._store.flushes.write(0, self.owner, cursor, numbered(cursor, charges))


def numbered(cursor: Cursor, charges: Sequence[Charge]) -> list[tuple[str, Charge]]:
    last = int(cursor.stream_id.partition("-")[0])
    return [(f"{last + n}-0", charge) for n, charge in enumerate(charges, 1)]


@pytest.fixture
def shard(store: Store) -> Shard0:
    return Shard0(store)


async def _balance(store: Store, account_id: UUID) -> int:
    """The wallet's own: a load leaves out what is set aside, too."""
    query = "SELECT balance_nanos FROM wallets WHERE account_id = $1"
    return int(await store.database.fetchval(query, account_id))


async def test_a_flush_moves_rows_money_spend_books_and_cursor_together(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    ada, ben = await make_account(), await make_account()
    charges = [
        make_charge(ada, 1_000, key_id="k1"),
        make_charge(ada, 500, key_id="k1", window_ms=1_800_000_000_000),
        make_charge(ben, 30, key_id="k2", upstream="beta"),
    ]
    assert await shard.flush(*charges) == 3
    assert await _balance(store, ada) == -1_500
    assert await _balance(store, ben) == -30
    spend = await store.directory.load_key_spend("k1")
    assert spend == {1_700_000_000_000: 1_000, 1_800_000_000_000: 500}
    assert await store.audit.trial_balance() == {
        "adjustments": 0,
        "clearing": 0,
        "cost_of_sales": 2_100,
        "payables": -2_100,
        "prepayments": 1_530,
        "revenue": -1_530,
    }
    entries = await store.database.fetch("SELECT * FROM ledger_entries ORDER BY line")
    assert [(e["account_id"], e["upstream"], e["amount_nanos"]) for e in entries] == [
        *sorted([(ada, None, 1_500), (ben, None, 30)]),
        (None, "alpha", 1_400),
        (None, "beta", 700),
    ]
    assert (await shard.cursor()).stream_id == "3-0"
    assert await store.audit.book_differences() == []


async def test_every_field_of_a_charge_comes_back(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    full = make_charge(await make_account(), incarnation="gateway", number=7)
    bare = dataclasses.replace(
        full,
        request_id=mint_uuid7(SystemClock()),
        upstream=None,
        upstream_nanos=Nanos(0),
        upstream_stated_nanos=None,
        client_address="2001:db8::1",
        jurisdictions=(),
        first_byte_ms=None,
        service_tier=None,
    )
    await shard.flush(full, bare)
    assert await store.usage.find(full.request_id) == full
    assert await store.usage.find(bare.request_id) == bare


async def test_entries_that_come_again_change_nothing(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    charge = make_charge(await make_account(), 1_000)
    assert await shard.flush(charge) == 1
    assert await shard.flush(charge, charge) == 0
    assert await _balance(store, charge.account_id) == -1_000
    assert await store.directory.load_key_spend("key") == {charge.window_ms: 1_000}
    assert (await shard.cursor()).stream_id == "3-0"
    assert (await store.audit.check_chains()).batches == 1


async def test_a_keys_spend_without_a_window_is_never_pushed_out_by_later_windows(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    """A limit that was daily for a year, and is for ever now, as it was in the beginning."""
    account_id = await make_account()
    windows = [0, *range(1_700_000_000_000, 1_700_000_000_000 + 100 * 86_400_000, 86_400_000)]
    await shard.flush(*(make_charge(account_id, 7, window_ms=window) for window in windows))
    spend = await store.directory.load_key_spend("key")
    assert spend[0] == 7
    assert set(windows[-60:]) < set(spend)
    assert len(spend) <= 64


async def test_an_entry_that_was_set_aside_leaves_no_gap_in_its_gateways_numbers(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    """Its journal would keep everything that comes after the gap, for ever."""
    account_id = await make_account()
    first, third = (make_charge(account_id, incarnation="g", number=n) for n in (1, 3))
    assert await shard.flush(first) == 1
    raw = b"a=%b\nk=key\nc=5\nw=0\ni=g\nn=2\ns=2\nd={}\ni=other" % str(account_id).encode()
    for _ in range(2):
        await store.flushes.quarantine(0, Cursor(1, "2-0"), raw, "not a charge")
    assert await store.flushes.committed(["g"]) == {("g", 0): 2}
    for n, other in enumerate((b"n=7", b"i=g\nn=x", b"i=g\nn=0", b"i=\nn=5"), 3):
        await store.flushes.quarantine(0, Cursor(1, f"{n}-0"), other, "not a charge")
    assert await shard.flush(third) == 1
    assert await store.flushes.committed(["g", ""]) == {("g", 0): 3}


async def test_cursor_and_posted_settlements_are_of_one_moment(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    asked = [("g", 1), ("g", 2), ("h", 1)]
    assert await store.flushes.find_posted(0, asked) == (Cursor(1, "0-0"), frozenset())
    assert await shard.flush(make_charge(account_id, incarnation="g", number=2)) == 1
    assert await store.flushes.find_posted(0, asked) == (Cursor(1, "1-0"), {("g", 2)})
    assert await store.flushes.find_posted(0, []) == (Cursor(1, "1-0"), frozenset())
    assert await store.flushes.find_posted(1, asked) == (Cursor(1, "0-0"), frozenset())
    with pytest.raises(LookupError):
        await store.flushes.find_posted(9, asked)


async def test_whoever_lost_the_fence_writes_nothing(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    charge = make_charge(await make_account())
    cursor = await shard.cursor()
    entries = numbered(cursor, [charge])
    write = store.flushes.write
    with pytest.raises(FencedError, match="flushed by flusher"):
        await write(0, "another", cursor, entries)
    with pytest.raises(FencedError, match=r"flushed up to .*0-0"):
        await write(0, "flusher", Cursor(1, "9-0"), entries)
    with pytest.raises(FencedError, match="no shard 9"):
        await write(9, "flusher", cursor, entries)
    assert await store.shards.bump(0, 1) == 2
    with pytest.raises(FencedError, match="flushed by None"):
        await write(0, "flusher", cursor, entries)
    assert await store.flushes.acquire(0, "flusher", 60) is None  # while it is drained
    held = await store.flushes.acquire_any(0, "flusher", 60)
    assert held == (Shard(0, 2, ShardState.DRAINING), Cursor(1, "0-0"))
    with pytest.raises(FencedError, match="at generation 2"):
        await write(0, "flusher", cursor, entries)
    assert await store.usage.find(charge.request_id) is None
    assert await _balance(store, charge.account_id) == 0


async def test_a_lease_is_another_s_only_after_its_end(store: Store) -> None:
    assert await store.flushes.acquire(0, "first", 60) == Cursor(1, "0-0")
    assert await store.flushes.acquire(0, "second", 60) is None
    assert await store.flushes.acquire(1, "second", 60) == Cursor(1, "0-0")
    assert await store.flushes.acquire(0, "first", 0) == Cursor(1, "0-0")
    assert await store.flushes.acquire(0, "second", 60) == Cursor(1, "0-0")
    assert await store.flushes.acquire(0, "first", 60) is None


async def test_a_late_charge_replaces_an_orphan_once(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    orphan = make_orphan(account_id)
    late = make_charge(account_id, 800, request_id=orphan.request_id)
    later = dataclasses.replace(late, charged_nanos=Nanos(9_000))
    assert await shard.flush(orphan) == 1
    assert await _balance(store, account_id) == 0
    assert await shard.flush(late) == 1
    assert await shard.flush(later, orphan) == 0
    assert await store.usage.find(orphan.request_id) == late
    assert await _balance(store, account_id) == -800
    assert await store.audit.book_differences() == []


@pytest.mark.parametrize("is_orphan_first", [True, False])
async def test_an_orphan_and_its_late_charge_may_share_a_batch(
    store: Store, shard: Shard0, make_account: MakeAccount, *, is_orphan_first: bool
) -> None:
    account_id = await make_account()
    orphan = make_orphan(account_id, incarnation="g", number=1)
    late = make_charge(account_id, 800, request_id=orphan.request_id, incarnation="g", number=2)
    both = [orphan, late] if is_orphan_first else [late, orphan]
    assert await shard.flush(*both) == 1
    assert await store.usage.find(orphan.request_id) == late
    assert await _balance(store, account_id) == -800
    assert await store.flushes.committed(["g"]) == {("g", 0): 2}


async def test_the_first_of_two_charges_of_one_request_counts(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    first = make_charge(await make_account(), 800)
    second = dataclasses.replace(first, charged_nanos=Nanos(5))
    assert await shard.flush(first, second) == 1
    assert await _balance(store, first.account_id) == -800


POISON = {
    "a NUL in a text": {"model": "mod\0el"},
    "a negative charge": {"charged_nanos": Nanos(-5)},
    "more than 64 bits": {"duration_ms": 2**63},
    "an address that is none": {"client_address": "unix"},
    "a month without a partition": {"request_id": UUID(int=mint_uuid7(SystemClock()).int >> 8)},
    "a charge from nowhere": {"usage_source": "none"},
}


@pytest.mark.parametrize("changes", POISON.values(), ids=POISON.keys())
async def test_a_poisoned_entry_is_set_aside_and_the_others_go_on(
    store: Store, shard: Shard0, make_account: MakeAccount, changes: dict[str, object]
) -> None:
    account_id = await make_account()
    poisoned = dataclasses.replace(
        make_charge(account_id, 40, incarnation="g", number=2), **changes
    )
    good = [make_charge(account_id, 10, incarnation="g", number=n) for n in (1, 3)]
    assert await shard.flush(good[0], poisoned, good[1]) == 2
    assert await _balance(store, account_id) == -20
    rows = await store.database.fetch("SELECT * FROM quarantine")
    assert [row["entry_id"] for row in rows] == ["2-0"]
    assert rows[0]["raw"] == poisoned.to_bytes()
    assert rows[0]["account_id"] == account_id
    assert rows[0]["charged_nanos"] == poisoned.charged_nanos
    assert await store.flushes.committed(["g"]) == {("g", 0): 3}
    assert (await shard.cursor()).stream_id == "3-0"


async def test_an_account_that_does_not_exist_poisons_only_its_own_entries(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    stranger, known = make_charge(uuid4(), 40), make_charge(await make_account(), 10)
    assert await shard.flush(stranger, known) == 1
    rows = await store.database.fetch("SELECT reason FROM quarantine")
    assert [row["reason"] for row in rows] == ["no such account"]


async def test_an_unreadable_entry_is_quarantined_once_with_what_it_shows(
    store: Store, make_account: MakeAccount
) -> None:
    account_id = await make_account()
    broken = b'{"account_id": "%s", "charged_nanos": 77, "model": 3' % str(account_id).encode()
    half = broken + b"}"
    for _ in range(2):
        await store.flushes.quarantine(0, Cursor(1, "5-0"), broken, "not JSON: \0")
        await store.flushes.quarantine(0, Cursor(1, "6-0"), half, "no such field")
    fields = b"a=%s\nk=key\nc=78\nd={\nc=1" % str(account_id).encode()
    await store.flushes.quarantine(0, Cursor(1, "7-0"), fields, "not a charge")
    rows = await store.database.fetch("SELECT * FROM quarantine ORDER BY entry_id")
    assert [(row["account_id"], row["charged_nanos"]) for row in rows] == [
        (None, None),
        (account_id, 77),
        (account_id, 78),
    ]
    assert rows[0]["raw"] == broken


async def test_a_journal_may_forget_only_what_lies_below_the_first_gap(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    account_id = await make_account()

    async def settle(*numbers: int) -> int:
        charges = [make_charge(account_id, incarnation="g", number=n) for n in numbers]
        await shard.flush(*charges)
        return (await store.flushes.committed(["g", "unknown"]))["g", 0]

    assert await settle(3, 2) == 0
    assert await settle(1, 6) == 3
    assert await settle(4) == 4
    assert await settle(5, 5, 1) == 6
    assert await store.flushes.committed(["unknown"]) == {}


async def test_credits_and_flushes_at_once_lose_nothing(
    store: Store, shard: Shard0, make_account: MakeAccount
) -> None:
    accounts = [await make_account() for _ in range(3)]

    async def charge() -> None:
        for _ in range(15):
            await shard.flush(*(make_charge(account_id, 10) for account_id in accounts))

    async def credit(account_id: UUID) -> None:
        for n in range(15):
            movement = Movement(account_id, MovementKind.TOP_UP, Nanos(1_000), f"r{n}", "test", "")
            await store.movements.post(movement)

    await asyncio.gather(charge(), *(credit(account_id) for account_id in accounts))
    wallets = await store.directory.load_wallets(accounts)
    assert {w.balance_nanos for w in wallets.values()} == {15 * (1_000 - 10)}
    assert {w.sequence for w in wallets.values()} == {15}
    assert await store.audit.book_differences() == []
    chains = await store.audit.check_chains()
    assert (chains.batches, chains.broken) == (60, ())


async def test_a_connection_cut_in_the_middle_writes_nothing(
    store: Store, shard: Shard0, make_account: MakeAccount, database: str
) -> None:
    charge = make_charge(await make_account(), 10)
    cursor = await shard.cursor()
    blocker = await asyncpg.connect(database)
    try:
        async with blocker.transaction():
            # The flush's last statement before its commit but one waits for this.
            await blocker.execute("LOCK TABLE incarnations IN EXCLUSIVE MODE")
            flush = asyncio.ensure_future(  # noqa: TID251 - awaited below
                store.flushes.write(0, "flusher", cursor, numbered(cursor, [charge]))
            )
            while not await blocker.fetchval(  # noqa: ASYNC110 - Postgres tells nobody
                "SELECT count(pg_terminate_backend(pid)) FROM pg_locks"
                " WHERE NOT granted AND relation = 'incarnations'::regclass"
            ):
                await asyncio.sleep(0)
            with pytest.raises(StoreUnavailableError):
                await flush
    finally:
        await blocker.close()
    assert await store.usage.find(charge.request_id) is None
    assert await _balance(store, charge.account_id) == 0
    assert await shard.cursor() == cursor
    assert await shard.flush(charge) == 1


async def test_a_flush_is_on_disk_whatever_the_server_s_default(
    store: Store, database: str
) -> None:
    """The servers of these tests run with synchronous_commit off."""
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
    finally:
        await connection.close()

    async def step(executor: Executor) -> str:
        row = await executor.fetchrow(load_queries().begin_flush)
        assert row is not None
        return str(row[0])

    assert await store.database.transact(step) == "on"


async def test_the_pooler_of_these_tests_breaks_what_keeps_statements(database: str) -> None:
    """Else the next test would show nothing."""
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory:
        async with open_pooler(database, Path(directory)) as dsn:
            connection = await asyncpg.connect(dsn)
            try:
                statement = "SELECT count(*) FROM wallets"
                assert await connection.fetchval(statement) == 0
                with pytest.raises(asyncpg.InvalidSQLStatementNameError):
                    await connection.fetchval(statement)
            finally:
                await connection.close()


async def test_everything_works_behind_a_pooler_that_changes_connections(
    store: Store, database: str, make_account: MakeAccount
) -> None:
    accounts = [await make_account() for _ in range(4)]
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory:
        async with open_pooler(database, Path(directory)) as dsn, open_store(dsn) as pooled:
            shard = Shard0(pooled)

            async def read(account_id: UUID) -> None:
                for _ in range(10):
                    assert account_id in await pooled.directory.load_wallets([account_id])
                    assert await pooled.usage.list_usage(account_id) is not None
                    assert await pooled.directory.find_key("absent") is None

            async def flush() -> None:
                for _ in range(10):
                    await shard.flush(*(make_charge(account_id, 1) for account_id in accounts))

            await asyncio.gather(flush(), *(read(account_id) for account_id in accounts))
            for account_id in accounts:
                assert await _balance(pooled, account_id) == -10
                assert len(await pooled.usage.list_usage(account_id)) == 10
