"""What a charge waits for before its answer may end, by setting; and that it is never for ever."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from proxy.domain.durability import JournalSync, LedgerDurability
from proxy.ledger import recorder as recorder_module
from proxy.ledger.address import parse_redis_url
from proxy.ledger.confirmations import Confirmations, open_confirmations
from proxy.ledger.faults import LedgerSetupError
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.recorder import Recorder
from tests.support.ledger_bench import USD
from tests.support.ledger_world import World, charge, held, until

WAIT_MS = 300  # for Redis to say yes
LONG_MS = 60_000


class Disk:
    """Counts what is forced to it, and may stand still or fail."""

    def __init__(self) -> None:
        self.syncs = 0
        self.at_once = 0
        self.at_once_max = 0
        self.error: OSError | None = None
        self.entered = threading.Event()
        self.moves = threading.Event()
        self.moves.set()
        self._fsync = os.fsync

    def fsync(self, file: int) -> None:
        self.syncs += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        self.entered.set()
        try:
            assert self.moves.wait(30)
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            self._fsync(file)
        finally:
            self.at_once -= 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk.fsync)
    yield disk
    disk.moves.set()


def recorder_of(ledger: RedisLedger, **given: object) -> Recorder:
    """Another one on the same journal, pump and link."""
    own = ledger._recorder
    return Recorder(
        own._journal,
        own._pump,
        own._link,
        generation_of=own._generation_of,
        **given,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def confirming(
    url: str, durability: LedgerDurability, wait_ms: int = WAIT_MS
) -> AsyncIterator[Confirmations]:
    address = parse_redis_url(url)
    async with open_confirmations(address, durability, wait_ms=wait_ms) as confirmations:
        assert confirmations is not None
        yield confirmations


@contextmanager
def appendfsync(world: World, policy: str) -> Iterator[None]:
    """`no`: the server says for ever that its file is not synced."""
    world.client.config_set("appendfsync", policy)
    try:
        yield
    finally:
        world.client.config_set("appendfsync", "everysec")


@pytest.fixture
def syncing(world: World) -> Iterator[World]:
    """A server that has WAITAOF, and syncs every write before it answers."""
    if not has_waitaof(world):
        pytest.skip("this server has no WAITAOF")
    with appendfsync(world, "always"):
        yield world


def has_waitaof(world: World) -> bool:
    version = world.client.info("server")["redis_version"].split(".")
    return (int(version[0]), int(version[1])) >= (7, 2)


# The journal


async def test_by_default_an_answer_waits_for_no_disk_while_redis_is_there(
    world: World, disk: Disk
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await ledger.record(hold, charge(hold, 120))
        assert disk.syncs == 0


async def test_while_redis_is_away_an_answer_waits_for_the_disk(world: World, disk: Disk) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await _cut(world, ledger)
        disk.moves.clear()
        future = ledger.record(hold, charge(hold, 120))
        assert await asyncio.to_thread(disk.entered.wait, 5)
        assert not future.done()
        disk.moves.set()
        async with asyncio.timeout(5):
            await future


async def test_synced_always_an_answer_waits_and_others_go_with_the_next_sync(
    world: World, disk: Disk
) -> None:
    key = world.account()
    async with world.gateway() as ledger:
        recorder = recorder_of(ledger, journal_sync=JournalSync.ALWAYS)
        holds = [await held(ledger, key, world.id(), 300) for _ in range(20)]
        disk.moves.clear()
        futures = [recorder.record(charge(holds[0], 1))]
        assert await asyncio.to_thread(disk.entered.wait, 5)
        for hold in holds[1:]:
            futures.append(recorder.record(charge(hold, 1)))
            await asyncio.sleep(0)  # a write of its own
        assert await ledger.drain(seconds=5)  # the ledger has them all
        assert not any(future.done() for future in futures)
        disk.moves.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*futures)
        # The first sync makes the names of file and directory last as well.
        assert (disk.syncs, disk.at_once_max) == (4, 1)
        assert await world.wallet(key) == (USD - 20, 0)


async def test_a_sync_that_fails_is_not_believed_later(world: World, disk: Disk) -> None:
    """The kernel tells of lost writes once: the charges are written again, to another file."""
    key = world.account()
    async with world.gateway() as ledger:
        hold = await held(ledger, key, world.id(), 300)
        await _cut(world, ledger)
        disk.error = OSError(5, "Input/output error")
        async with asyncio.timeout(5):
            await ledger.record(hold, charge(hold, 120))
        segments = ledger._recorder._journal.segments
        assert len(segments.scan(1).records) == len(segments.scan(2).records) == 1
        world.proxy.is_refusing = False
        assert await ledger.drain(seconds=5)
        assert await world.wallet(key) == (USD - 120, 0)


async def test_a_sync_reaches_back_into_segments_that_were_full_meanwhile(
    world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        disk.fsync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    key = world.account()
    async with world.gateway() as ledger:
        recorder = recorder_of(ledger, journal_sync=JournalSync.ALWAYS)
        recorder._journal._segment_bytes_max = 1
        holds = [await held(ledger, key, world.id(), 300) for _ in range(3)]
        disk.moves.clear()
        futures = [recorder.record(charge(holds[0], 1))]
        assert await asyncio.to_thread(disk.entered.wait, 5)
        for hold in holds[1:]:
            futures.append(recorder.record(charge(hold, 1)))
            recorder.write()
        disk.moves.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*futures)
        assert {"00000001.log", "00000002.log", "00000003.log"} <= set(synced)


# The ledger's own disk and replicas


async def test_an_answer_waits_for_redis_disk_and_not_for_ours(syncing: World, disk: Disk) -> None:
    key = syncing.account()
    async with (
        confirming(syncing.url, LedgerDurability.DISK, 5_000) as confirmations,
        syncing.gateway() as ledger,
    ):
        recorder = recorder_of(ledger, confirmations=confirmations)
        holds = [await held(ledger, key, syncing.id(), 300) for _ in range(10)]
        async with asyncio.timeout(5):
            await asyncio.gather(*[recorder.record(charge(hold, 1)) for hold in holds])
        assert await syncing.wallet(key) == (USD - 10, 0)  # answered, not only written
        assert recorder.counts.refused == 0


async def test_a_redis_that_does_not_sync_is_replaced_by_our_disk(
    syncing: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "CONFIRM_MS", LONG_MS)  # not the timer: the server's no
    key = syncing.account()
    async with (
        confirming(syncing.url, LedgerDurability.DISK) as confirmations,
        syncing.gateway() as ledger,
    ):
        recorder = recorder_of(ledger, confirmations=confirmations)
        hold = await held(ledger, key, syncing.id(), 300)
        with appendfsync(syncing, "no"):
            future = recorder.record(charge(hold, 1))
            assert await ledger.drain(seconds=5)
            assert not future.done()
            async with asyncio.timeout(5):
                await future
        assert disk.syncs > 0


async def test_what_another_connection_wrote_is_waited_for(syncing: World) -> None:
    """The server counts for each connection; the one that asks must have written last."""
    async with confirming(syncing.url, LedgerDurability.DISK) as confirmations:
        assert await confirmations.request()
        with appendfsync(syncing, "no"):
            syncing.client.set("another", 1)
            assert not await confirmations.request()
        assert await confirmations.request()


async def test_requests_while_one_is_under_way_share_the_next(syncing: World) -> None:
    syncing.client.delete("al:durability")
    async with confirming(syncing.url, LedgerDurability.DISK) as confirmations:
        futures = [confirmations.request()]
        await asyncio.sleep(0)
        futures += [confirmations.request() for _ in range(50)]
        assert all(await asyncio.gather(*futures))
        assert syncing.client.get("al:durability") == b"2"


async def test_a_redis_that_hangs_holds_an_answer_no_longer_than_the_bound(
    syncing: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "CONFIRM_MS", WAIT_MS)
    key = syncing.account()
    async with (
        confirming(f"unix://{syncing.socket}", LedgerDurability.DISK, LONG_MS) as confirmations,
        syncing.gateway() as ledger,
    ):
        recorder = recorder_of(ledger, confirmations=confirmations)
        hold = await held(ledger, key, syncing.id(), 300)
        syncing.proxy.hold_answers()
        async with asyncio.timeout(5):
            await recorder.record(charge(hold, 1))
        assert disk.syncs > 0
        syncing.proxy.resume()
        assert await ledger.drain(seconds=5)


@pytest.mark.parametrize(
    ("setting", "value"), [("appendonly", "no"), ("appendfsync", "no"), ("appendfsync", "everysec")]
)
async def test_a_server_that_cannot_promise_its_disk_is_refused_at_the_start(
    world: World, setting: str, value: str
) -> None:
    """With `everysec`, the embedded server's WAITAOF answers before its file is synced."""
    before = world.client.config_get(setting)[setting]
    world.client.config_set(setting, value)
    try:
        with pytest.raises(LedgerSetupError, match="APILINK_LEDGER_DURABILITY=disk"):
            async with confirming(world.url, LedgerDurability.DISK):
                pass
    finally:
        world.client.config_set(setting, before)


async def test_without_a_replica_nobody_says_that_one_has_it(world: World) -> None:
    async with confirming(world.url, LedgerDurability.REPLICA) as confirmations:
        assert not await confirmations.request()


async def _cut(world: World, ledger: RedisLedger) -> None:
    world.proxy.is_refusing = True
    world.proxy.cut()
    await until(lambda: not ledger.is_connected)
