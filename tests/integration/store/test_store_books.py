from uuid import UUID

import asyncpg
import pytest

from proxy.domain.outcome import Outcome
from proxy.store.books import MovementKind
from proxy.store.movements import Movement, Posted, WalletFullError
from proxy.store.pool import Store
from routing.money import WALLET_NANOS_MAX, Nanos
from tests.support.charges import make_charge
from tests.support.databases import execute
from tests.support.store_fixtures import MakeAccount


def _top_up(account_id: UUID, nanos: int, reference: str) -> Movement:
    return Movement(account_id, MovementKind.TOP_UP, Nanos(nanos), reference, "ada", "paid by bank")


async def test_movements_count_once_and_in_a_sequence_without_gaps(
    store: Store, make_account: MakeAccount
) -> None:
    ada, ben = await make_account(), await make_account()
    post = store.movements.post
    assert await post(_top_up(ada, 100, "r1")) == Posted(Outcome.OK, 0, 1, Nanos(100))
    assert await post(_top_up(ada, 100, "r1")) == Posted(Outcome.EXISTS, 0, 1, Nanos(100))
    different = await post(_top_up(ada, 101, "r1"))
    assert different.outcome is Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
    assert await post(_top_up(ada, 50, "r2")) == Posted(Outcome.OK, 0, 2, Nanos(150))
    assert await post(_top_up(ben, 7, "r1")) == Posted(Outcome.OK, 0, 1, Nanos(7))
    assert (await post(_top_up(UUID(int=1), 7, "r1"))).outcome is Outcome.NOT_FOUND
    assert [step.sequence for step in await store.movements.after(ada, 0)] == [1, 2]
    assert await store.movements.sum_between(ada, 0, 2) == 150
    row = await store.database.fetchrow("SELECT * FROM movements WHERE amount_nanos = 50")
    assert row is not None
    assert (row["actor"], row["reason"]) == ("ada", "paid by bank")


async def test_a_wallet_holds_at_most_a_million_dollars(
    store: Store, make_account: MakeAccount
) -> None:
    ada = await make_account()
    await store.movements.post(_top_up(ada, WALLET_NANOS_MAX, "all of it"))
    with pytest.raises(WalletFullError):
        await store.movements.post(_top_up(ada, 1, "one more"))
    assert len(await store.movements.after(ada, 0)) == 1


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_batches", "movements"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_even_a_superuser_is_stopped_at_the_books(
    store: Store, make_account: MakeAccount, table: str, change: str
) -> None:
    await store.movements.post(_top_up(await make_account(), 100, "r1"))
    with pytest.raises(asyncpg.RestrictViolationError, match="is append-only"):
        await store.database.execute(change.format(table))


TAMPERING = {
    "an amount": ("UPDATE ledger_entries SET amount_nanos = 101", "batch 1 was changed"),
    "a lost batch": (
        "DELETE FROM ledger_batches WHERE position = 2",
        "chain 0: batch 2 is missing",
    ),
    "a lost end": (
        "DELETE FROM ledger_batches WHERE position = 3",
        "chain 0: batch 3 is missing",
    ),
    "a lost line": (
        "DELETE FROM ledger_entries WHERE batch_id = (SELECT max(batch_id) FROM ledger_batches)",
        "batch 3 was changed",
    ),
    "another time": (
        "UPDATE ledger_batches SET created_at = created_at + interval '1 ms' WHERE position = 2",
        "batch 2 was changed",
    ),
    "a chain cut short": (
        "UPDATE ledger_chains SET batches = 2 WHERE chain = 0",
        "its head is not batch 2",
    ),
}


@pytest.mark.parametrize(("statement", "fault"), TAMPERING.values(), ids=TAMPERING.keys())
async def test_whoever_switches_the_triggers_off_is_found_by_the_chain(
    store: Store, make_account: MakeAccount, database: str, statement: str, fault: str
) -> None:
    ada = await make_account()
    for n in range(2):
        await store.movements.post(_top_up(ada, 100, f"r{n}"))
    cursor = await store.flushes.acquire(0, "flusher", 60)
    assert cursor is not None
    await store.flushes.write(0, "flusher", cursor, [("1-0", make_charge(ada))])
    assert (await store.audit.check_chains()).broken == ()
    assert (await store.audit.check_chains(1)).batches == 1
    execute(database, f"SET session_replication_role = replica; {statement}")
    check = await store.audit.check_chains()
    assert len(check.broken) == 1
    assert fault in check.broken[0]
