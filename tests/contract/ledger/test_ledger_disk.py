"""A disk that refuses, and files that cannot be read: each harms as little as it can."""

import asyncio
import os
from dataclasses import replace

import pytest

from proxy.domain.errors import LedgerUnavailableError
from proxy.ledger.gateway_ledger import RedisLedger
from tests.support.ledger_bench import USD
from tests.support.ledger_world import World, charge, held, until


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)


async def test_on_a_full_disk_the_ledgers_answer_takes_the_journals_place(
    world: World, full_disk: None
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await ledger.record(hold, charge(hold, 120))
        assert await world.wallet(key) == (USD - 120, 0)


async def test_with_neither_disk_nor_ledger_no_answer_is_finished(
    world: World, full_disk: None
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold, other = [await held(ledger, key, world.id(), 300) for _ in range(2)]
        await _cut(world, ledger)
        with pytest.raises(LedgerUnavailableError):
            await ledger.record(hold, charge(hold, 120))
        world.proxy.is_refusing = False
        assert await ledger.drain(seconds=5)
        await until(lambda: ledger.is_connected)
        await ledger.record(other, charge(other, 70))  # the number was free again
        assert await world.wallet(key) == (USD - 70, 300)
        (number,) = world.client.hvals("al:{s0}:n")
        assert number == b"1"


async def test_a_charge_that_only_recovery_can_post_and_no_disk_has_is_not_finished(
    world: World, full_disk: None
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await world.books.bump(0)
        await world.worker.open_shards_once()
        with pytest.raises(LedgerUnavailableError):
            await ledger.record(hold, charge(hold, 120))


async def test_a_charge_that_no_journal_can_hold_keeps_no_other_out(world: World) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        first, huge, last = [await held(ledger, key, world.id(), 300) for _ in range(3)]
        futures = [ledger.record(first, charge(first, 1))]
        with pytest.raises(ValueError, match="a row, not a document"):
            ledger.record(huge, replace(charge(huge, 2), model="m" * 2**20))
        futures.append(ledger.record(last, charge(last, 4)))
        async with asyncio.timeout(5):
            await asyncio.gather(*futures)
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 5, 300)
        assert await world.worker.flusher(0).flush_once() == 2
        assert list(world.books.numbers.values()) == [{1, 2}]


async def test_a_journal_that_cannot_be_read_stops_no_other(world: World) -> None:
    key = world.account()
    for name in ("a", "z"):  # read and pruned before and after the others
        unreadable = world.data_dir / "journal" / name
        (unreadable / "00000001.log").mkdir(parents=True)
        (unreadable / "lock").touch()
    async with world.gateway() as first:
        hold = await held(first, key, world.id(), 300)
        await _cut(world, first)
        await first.record(hold, charge(hold, 120))
    world.proxy.is_refusing = False
    async with world.gateway() as second:
        assert await second.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)
        await world.worker.flusher(0).flush_once()
        assert await second.prune_once(world.books) == 1
        assert second.counts.unreadable == 2


async def _cut(world: World, ledger: RedisLedger) -> None:
    world.proxy.is_refusing = True
    world.proxy.cut()
    await until(lambda: not ledger.is_connected)
