"""A disk that refuses, and files that cannot be read: each harms as little as it can."""

import asyncio
import os
from dataclasses import replace
from typing import Any

import pytest

from proxy.domain.errors import LedgerUnavailableError
from proxy.ledger import recorder as recorder_module
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.journal import START, Record
from proxy.ledger.recorder import Recorder
from tests.support.ledger_bench import USD
from tests.support.ledger_world import World, charge, held, until


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch)


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("first_back", ["disk", "ledger"])
async def test_with_neither_disk_nor_ledger_charges_wait_until_one_of_them_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch, first_back: str
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        holds = [await held(ledger, key, world.id(), 300) for _ in range(4)]
        first, *others, last = holds
        await _cut(world, ledger)
        fill_disk(monkeypatch)
        futures = [ledger.record(hold, charge(hold, 100)) for hold in (first, *others)]
        await _refused(ledger, len(futures))
        assert not any(future.done() for future in futures)
        if first_back == "disk":
            monkeypatch.undo()
        else:
            world.proxy.is_refusing = False
        async with asyncio.timeout(5):
            await asyncio.gather(*futures)
        monkeypatch.undo()
        world.proxy.is_refusing = False
        await until(lambda: ledger.is_connected)
        await ledger.record(last, charge(last, 7))
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 307, 0)
        while await world.worker.flusher(0).flush_once():
            pass
        assert list(world.books.numbers.values()) == [{1, 2, 3, 4}]  # no gap: all can be pruned


async def test_what_waited_goes_to_the_disk_while_the_ledger_owes_its_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        fill_disk(monkeypatch)
        world.proxy.hold_answers()
        future = ledger.record(hold, charge(hold, 100))
        await _refused(ledger, 1)
        assert not future.done()
        monkeypatch.undo()
        async with asyncio.timeout(1):  # well before the ledger's own deadline
            await future
        assert [record.charge.number for record in _journal(ledger)] == [1]
        world.proxy.resume()
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 100, 0)


async def test_a_second_charge_takes_the_place_of_one_that_nobody_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was withheld: its row says what was served, and costs nothing."""
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await _cut(world, ledger)
        fill_disk(monkeypatch)
        first = ledger.record(hold, charge(hold, 100))
        await _refused(ledger, 1)
        second = ledger.record(hold, replace(charge(hold, 0), status="withheld"))
        assert second is not first
        monkeypatch.undo()
        async with asyncio.timeout(5):
            await second
        world.proxy.is_refusing = False
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD, 0)
        assert await world.worker.flusher(0).flush_once() == 1
        row = world.books.rows[hold.request_id]
        assert (row.status, row.charged_nanos, row.number) == ("withheld", 0, 1)


async def test_a_charge_that_is_on_its_way_to_the_ledger_is_not_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        fill_disk(monkeypatch)
        world.proxy.hold_answers()
        first = ledger.record(hold, charge(hold, 100))
        await _refused(ledger, 1)
        assert ledger.record(hold, charge(hold, 0)) is first
        world.proxy.resume()
        async with asyncio.timeout(5):
            await first
        assert await world.wallet(key) == (USD - 100, 0)


async def test_beyond_its_bound_memory_takes_no_charge_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        recorder = recorder_of(ledger, unplaced_max=2)
        holds = [await held(ledger, key, world.id(), 300) for _ in range(3)]
        await _cut(world, ledger)
        fill_disk(monkeypatch)
        futures = [recorder.record(charge(hold, 100)) for hold in holds]
        with pytest.raises(LedgerUnavailableError):
            await futures[2]
        assert (recorder.unplaced, recorder.has_room, recorder.counts.lost) == (2, False, 1)
        monkeypatch.undo()
        async with asyncio.timeout(5):
            await asyncio.gather(*futures[:2])
        assert (recorder.unplaced, recorder.has_room) == (0, True)
        world.proxy.is_refusing = False
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 200, 300)


async def test_an_end_waits_for_a_disk_and_then_says_what_it_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "CLOSE_SECONDS_MAX", 1)
    key = world.account()
    async with world.gateway() as ledger:
        recorder = recorder_of(ledger)
        hold, other = [await held(ledger, key, world.id(), 300) for _ in range(2)]
        await _cut(world, ledger)
        with monkeypatch.context() as patch:
            fill_disk(patch)
            saved = recorder.record(charge(hold, 100))
            recorder.write()
            closing = asyncio.get_running_loop().create_task(recorder.close())
            await asyncio.sleep(0)
        await closing
        assert (saved.done(), recorder.counts.lost) == (True, 0)
        fill_disk(monkeypatch)
        lost = recorder.record(charge(other, 100))
        await recorder.close()
        with pytest.raises(LedgerUnavailableError):
            await lost
        assert recorder.counts.lost == 1
        monkeypatch.undo()


async def test_a_full_disk_is_not_filled_with_empty_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        holds = [await held(ledger, key, world.id(), 300) for _ in range(5)]
        fill_disk(monkeypatch)
        for hold in holds:
            await ledger.record(hold, charge(hold, 1))
        monkeypatch.undo()
        assert ledger._recorder._journal.segments.numbers() == [1]


async def test_a_charge_of_a_generation_that_is_over_waits_for_the_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery takes it from there, or the gateway posts it: the sooner of the two."""
    key = world.account()
    async with world.gateway() as ledger:
        await ledger._attendant.close()
        current = ledger._recorder._generation_of
        recorder = recorder_of(ledger, generation_of=lambda shard: (current(shard) or 0) - 1)
        hold = await held(ledger, key, world.id(), 300)
        fill_disk(monkeypatch)
        future = recorder.record(charge(hold, 120))
        await until(lambda: ledger.counts.stranded)
        assert not future.done()
        monkeypatch.undo()
        async with asyncio.timeout(5):
            await future
        (record,) = _journal(ledger)
        assert record.generation < (current(0) or 0)


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


def recorder_of(ledger: RedisLedger, **given: Any) -> Recorder:
    """Another one on the same journal, pump and link."""
    own = ledger._recorder
    given = {"generation_of": own._generation_of, **given}
    return Recorder(own._journal, own._pump, own._link, **given)


def _journal(ledger: RedisLedger) -> list[Record]:
    records, _ = ledger._recorder._journal.segments.read(START, 100)
    return records


async def _refused(ledger: RedisLedger, count: int) -> None:
    await until(lambda: ledger._recorder.counts.refused >= count)


async def _cut(world: World, ledger: RedisLedger) -> None:
    world.proxy.is_refusing = True
    world.proxy.cut()
    await until(lambda: not ledger.is_connected)
