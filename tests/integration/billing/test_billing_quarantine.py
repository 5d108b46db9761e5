"""Charges that Postgres refused are posted or waived by hand; verification is exact all along."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from proxy.__main__ import main
from proxy.billing.verify import Verdict, verify
from proxy.dev.servers import Server
from proxy.domain.charge import Charge
from proxy.domain.clock import ms_of
from proxy.store.quarantine import Quarantined
from tests.support.charges import make_charge
from tests.support.databases import execute
from tests.support.money_world import MoneyWorld
from tests.support.store_fixtures import MakeAccount

USD = 10**9
NANOS = 250
Apilink = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture
def apilink(database: str, redis_server: Server) -> Apilink:
    environ = {
        "APILINK_DATABASE_URL": database,
        "APILINK_REDIS_URL": redis_server.url,
        "APILINK_SECRET_KEY": "5ecre7-" * 6,
        "APILINK_SHARDS": "2",
    }

    async def call(*words: str, status: int = 0, **changes: str) -> Any:
        """What it printed: as JSON, or the words of its refusal."""
        argv = ["ledger", "quarantine", *words]
        done = await asyncio.to_thread(CliRunner().invoke, main, argv, env={**environ, **changes})
        assert done.exit_code == status, done.output
        return done.stderr if status else json.loads(done.stdout)

    return call


async def resolve(apilink: Apilink, how: str, name: str, **more: Any) -> Any:
    words = (how, name, "--actor", "eve", "--reason", "it was mended", "--json")
    return await apilink(*words, **more)


@contextmanager
def without_partition(database: str) -> Iterator[None]:
    """This month's is gone, and back afterwards."""
    month = datetime.now(UTC).strftime("usage_%Y_%m")
    execute(database, f"ALTER TABLE usage DETACH PARTITION {month}")
    try:
        yield
    finally:
        first = datetime.now(UTC).date().replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
        bounds = f"FOR VALUES FROM ('{floor(first)}') TO ('{floor(after)}')"
        execute(database, f"ALTER TABLE usage ATTACH PARTITION {month} {bounds}")


def floor(day: date) -> UUID:
    ms = ms_of(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return UUID(f"{ms:012x}{'0' * 20}")


async def is_exact(world: MoneyWorld, *, quarantined: int) -> None:
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.differences, found.faults) == (Verdict.OK, [], [])
    assert found.quarantined_nanos == quarantined
    assert found.undelivered_nanos == 0


async def balances(world: MoneyWorld, account_id: UUID) -> tuple[int, int]:
    """In Redis and in Postgres."""
    state = await world.wallets.snapshot(account_id, 0)
    assert state is not None
    rows = await world.store.database.fetch(
        "SELECT balance_nanos FROM wallets WHERE account_id = $1", account_id
    )
    return state.balance_nanos, rows[0]["balance_nanos"]


async def set_aside(
    world: MoneyWorld, make_account: MakeAccount, **changes: Any
) -> tuple[Charge, Quarantined]:
    """A charge that Postgres refuses, between two that it takes."""
    account_id = await make_account()
    await world.credit(account_id, USD, "first")
    key = await world.key_of(account_id)
    await world.charge(key, 10)
    charge = await world.charge(key, NANOS, **changes)
    await world.charge(key, 20)
    await world.flush()
    entries = await world.store.quarantine.list()
    (found,) = [e for e in entries if json.loads(e.raw)["request_id"] == str(charge.request_id)]
    return charge, found


async def test_posted_once_the_cause_is_mended(
    world: MoneyWorld, database: str, make_account: MakeAccount, apilink: Apilink
) -> None:
    with without_partition(database):
        charge, entry = await set_aside(world, make_account)
        await is_exact(world, quarantined=10 + NANOS + 20)
        refused = await resolve(apilink, "post", entry.name, status=1)
        assert "Postgres refuses it: no partition" in refused
        await is_exact(world, quarantined=10 + NANOS + 20)
    listed = await apilink("list", "--json")
    assert entry.name in [line["entry"] for line in listed]
    assert await balances(world, charge.account_id) == (USD - 280, USD)
    assert (await resolve(apilink, "post", entry.name))["delivered"]
    await is_exact(world, quarantined=30)
    assert await balances(world, charge.account_id) == (USD - 280, USD - NANOS)
    row = await world.store.usage.find(charge.request_id)
    assert row is not None
    assert row.charged_nanos == NANOS
    assert await world.store.directory.load_key_spend(charge.key_id) == {charge.window_ms: NANOS}
    shown = await apilink("show", entry.name)
    assert shown["raw"]["request_id"] == str(charge.request_id)
    assert shown["resolved_at"] is not None
    assert shown["reason"].endswith("\nposted by eve: it was mended")
    for how in ("post", "waive"):
        assert "it is resolved since" in await resolve(apilink, how, entry.name, status=1)
    for line in await apilink("list", "--json"):
        await resolve(apilink, "post", line["entry"])
    await is_exact(world, quarantined=0)
    assert await balances(world, charge.account_id) == (USD - 280, USD - 280)
    assert await apilink("list", "--json") == []
    assert len(await apilink("list", "--all", "--json")) == 3


async def test_an_address_that_is_none_is_left_out(
    world: MoneyWorld, make_account: MakeAccount, apilink: Apilink
) -> None:
    for written, kept in (("fe80::1%eth0", "fe80::1"), ("nowhere", None)):
        charge, entry = await set_aside(world, make_account, client_address=written)
        await is_exact(world, quarantined=NANOS)
        await resolve(apilink, "post", entry.name)
        await is_exact(world, quarantined=0)
        row = await world.store.usage.find(charge.request_id)
        assert row is not None
        assert row.client_address == kept


async def test_waived_is_given_back(
    world: MoneyWorld, make_account: MakeAccount, apilink: Apilink
) -> None:
    charge, entry = await set_aside(world, make_account, model="a\0b")
    await is_exact(world, quarantined=NANOS)
    assert "unsupported Unicode" in await resolve(apilink, "post", entry.name, status=1)
    done = await resolve(apilink, "waive", entry.name)
    assert done == {"outcome": "waived", "entry": entry.name, "sequence": 2, "delivered": True}
    await is_exact(world, quarantined=0)
    assert await balances(world, charge.account_id) == (USD - 30, USD - 30)
    assert await world.store.usage.find(charge.request_id) is None
    moved = await world.store.database.fetchrow(
        "SELECT kind, amount_nanos, actor, reason FROM movements WHERE account_id = $1"
        " ORDER BY sequence DESC",
        charge.account_id,
    )
    assert moved is not None
    assert tuple(moved) == ("adjustment", NANOS, "eve", "it was mended")
    balance = {
        line.code: line.closing_nanos for line in await world.store.closes.trial_balance(None)
    }
    assert balance["adjustments"] == 0


async def test_waived_while_the_ledger_is_away_the_sweep_brings_it(
    world: MoneyWorld, make_account: MakeAccount, apilink: Apilink
) -> None:
    charge, entry = await set_aside(world, make_account, model="a\0b")
    nobody = {"APILINK_REDIS_URL": "unix:///tmp/al-nobody.sock"}
    assert not (await resolve(apilink, "waive", entry.name, **nobody))["delivered"]
    found = await verify(world.store, world.wallets)
    assert (found.verdict, found.undelivered_nanos) == (Verdict.OK, NANOS)
    assert await balances(world, charge.account_id) == (USD - 280, USD - 30)
    await world.credit(charge.account_id, 1, "next")  # delivers what is before it
    await is_exact(world, quarantined=0)
    assert await balances(world, charge.account_id) == (USD - 29, USD - 29)


async def test_no_false_alarm_while_entries_are_resolved(
    world: MoneyWorld, make_account: MakeAccount, apilink: Apilink
) -> None:
    _, first = await set_aside(world, make_account, model="a\0b")
    _, second = await set_aside(world, make_account, client_address="nowhere")
    is_over = asyncio.Event()

    async def watch() -> int:
        count = 0
        while not is_over.is_set() or count < 5:  # however slow the machine is
            found = await verify(world.store, world.wallets)
            assert (found.verdict, found.differences, found.faults) == (Verdict.OK, [], [])
            count += 1
        return count

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        try:
            await resolve(apilink, "waive", first.name)
            await resolve(apilink, "post", second.name)
        finally:
            is_over.set()
    assert watching.result() >= 5
    await is_exact(world, quarantined=0)


async def test_what_stays_and_why(
    world: MoneyWorld, database: str, make_account: MakeAccount, apilink: Apilink
) -> None:
    charge, entry = await set_aside(world, make_account, client_address="nowhere")
    cursor_ms = int(entry.entry_id.partition("-")[0]) + 10**6

    def plant(entry_id: str, raw: bytes, account_id: UUID | None, nanos: int | None) -> str:
        """Otherwise as the one that is there."""
        fields = {
            "entry_id": entry_id,
            "raw": f"\\x{raw.hex()}",
            "account_id": None if account_id is None else str(account_id),
            "charged_nanos": nanos,
        }
        execute(
            database,
            f"""
            INSERT INTO quarantine SELECT planted.* FROM quarantine AS q, LATERAL
            jsonb_populate_record(q, '{json.dumps(fields)}') AS planted
            WHERE q.entry_id = '{entry.entry_id}'
            """,
        )
        return f"0/{entry_id}"

    row = await world.store.usage.list_usage(charge.account_id)
    again = make_charge(charge.account_id, NANOS, request_id=row[0].request_id).to_bytes()
    stranger = make_charge(UUID(int=7), NANOS)
    cases = {
        plant("1-0", b"\xff\0 no charge", None, None): "cannot be read as a charge",
        plant("2-0", charge.to_bytes(), charge.account_id, NANOS + 1): "not what was taken",
        plant("3-0", again, charge.account_id, NANOS): "has its row already",
        plant("4-0", stranger.to_bytes(), UUID(int=7), NANOS): "there is no account",
        plant(f"{cursor_ms}-0", again, charge.account_id, NANOS): "not flushed past it",
        "0/5-0": "no entry 0/5-0",
    }
    for name, words in cases.items():
        assert words in await resolve(apilink, "post", name, status=1)
    shown = await apilink("show", "0/1-0")
    assert shown["raw"] == "\\xff\x00 no charge"
    assert "no entry 0/5-0" in await apilink("show", "0/5-0", status=1)
    assert "is no entry such as" in await apilink("show", "nonsense", status=2)
    assert "not flushed past" in await resolve(apilink, "waive", f"0/{cursor_ms}-0", status=1)
    # Nothing was taken for these, or from nobody: they are only done with.
    for name in ("0/1-0", "0/4-0"):
        assert (await resolve(apilink, "waive", name))["sequence"] is None
    said = await apilink("waive", entry.name, "--reason", "", status=2)
    assert "--reason" in said
    assert len(await apilink("list", "--json")) == 4
