"""The one place that builds the ledger's parts. Each function is a scope: leaving it closes all."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.durability import JournalSync, LedgerDurability
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.ids import mint_uuid7
from proxy.domain.ports import Directory, Flushes, Shards
from proxy.ledger.address import parse_redis_url
from proxy.ledger.attendant import Attendant
from proxy.ledger.confirmations import open_confirmations
from proxy.ledger.core import Core
from proxy.ledger.faults import as_unavailable
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.generations import FencedCalls, Generations
from proxy.ledger.journal import Journal
from proxy.ledger.journals import Journals
from proxy.ledger.keeper import Keeper
from proxy.ledger.library import Library, check_store, load_library
from proxy.ledger.link import Link
from proxy.ledger.loader import Loader
from proxy.ledger.pump import QUEUE_MAX, Pump
from proxy.ledger.recorder import Recorder
from proxy.ledger.recovery import LIVE_SECONDS, Recovery, Restore
from proxy.ledger.server_clock import ServerClock
from proxy.ledger.tails import Tails
from proxy.ledger.wallets import RedisWallets
from proxy.ledger.worker_ledger import WorkerLedger

CALLS_MAX: Final = 20_000
FLUSH_LEASE_SECONDS: Final = 15
JOURNAL_DIR: Final = "journal"
_MS: Final = 1000


@asynccontextmanager
async def open_ledger(
    *,
    redis_url: str,
    data_dir: Path,
    directory: Directory,
    shards: Shards,
    flushes: Flushes,
    clock: Clock,
    lease_seconds: int,
    timeout_ms: int,
    unflushed_entries_max: int,
    queue_max: int = QUEUE_MAX,
    journal_sync: JournalSync = JournalSync.AWAY,
    durability: LedgerDurability = LedgerDurability.MEMORY,
    library: Library | None = None,
) -> AsyncIterator[RedisLedger]:
    """A gateway's ledger, with the journals of gateways that died here settled again.

    Raises LedgerUnavailableError or StoreUnavailableError where a store does not answer at the
    start, LedgerSetupError where Redis would evict money, and ValueError for an impossible URL.
    """
    async with _open_calls(redis_url, shards, timeout_ms, library) as (link, generations, fenced):
        lease_ms = lease_seconds * _MS
        core = _core_of(
            link, generations, fenced, directory, clock, lease_ms, timeout_ms, queue_max
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(core.loader.close)
            with as_unavailable():
                await link.start()
            own = Journal(data_dir / JOURNAL_DIR, core.incarnation)
            journals = Journals(data_dir / JOURNAL_DIR, own, fenced)
            stack.callback(journals.close)
            confirmations = await stack.enter_async_context(
                open_confirmations(parse_redis_url(redis_url), durability)
            )
            recorder = Recorder(
                own,
                core.pump,
                link,
                generation_of=generations.find,
                journal_sync=journal_sync,
                confirmations=confirmations,
            )
            _close_in_order(stack, core.pump, recorder, core.keeper)
            core.keeper.start()
            attendant = await _attended(stack, core, recorder, journals, shards, flushes)
            yield RedisLedger(
                core,
                recorder=recorder,
                journals=journals,
                attendant=attendant,
                wallets=RedisWallets(link, fenced),
                clock=clock,
                lease_ms=lease_ms,
                timeout_ms=timeout_ms,
                unflushed_entries_max=unflushed_entries_max,
            )


def _core_of(
    link: Link,
    generations: Generations,
    fenced: FencedCalls,
    directory: Directory,
    clock: Clock,
    lease_ms: int,
    timeout_ms: int,
    queue_max: int,
) -> Core:
    incarnation = str(mint_uuid7(clock))
    server_clock = ServerClock(clock)
    loader = Loader(directory, link, generations, server_clock)
    pump = Pump(link, load_wallet=loader.load_wallet, queue_max=queue_max)
    tails = Tails(
        generations, server_clock, clock, incarnation=incarnation, acknowledged=pump.acknowledged
    )
    link.greetings.append(tails.greet)
    keeper = Keeper(fenced, loader, server_clock, clock, lease_ms=lease_ms, timeout_ms=timeout_ms)
    return Core(
        incarnation=incarnation,
        fenced=fenced,
        generations=generations,
        server_clock=server_clock,
        loader=loader,
        pump=pump,
        tails=tails,
        keeper=keeper,
    )


async def _attended(
    stack: AsyncExitStack,
    core: Core,
    recorder: Recorder,
    journals: Journals,
    shards: Shards,
    flushes: Flushes,
) -> Attendant:
    """What others left here is settled from now on, or posted."""
    journals.adopt(core.pump)
    attendant = Attendant(core, recorder, journals, shards=shards, flushes=flushes)
    stack.push_async_callback(attendant.close)
    await attendant.start()
    return attendant


def _close_in_order(stack: AsyncExitStack, pump: Pump, recorder: Recorder, keeper: Keeper) -> None:
    """No new leases, the last charges into the journal, then the pump ends. What it had not sent
    stays in the journal for the next start."""
    for close in (pump.close, recorder.close, keeper.close):  # the last one first
        stack.push_async_callback(close)


@asynccontextmanager
async def open_worker_ledger(
    *,
    redis_url: str,
    directory: Directory,
    shards: Shards,
    flushes: Flushes,
    clock: Clock,
    restore: Restore,
    owner: str,
    lease_seconds: int,
    timeout_ms: int,
    flush_entries_max: int,
    flush_lease_seconds: int = FLUSH_LEASE_SECONDS,
    live_seconds: int = LIVE_SECONDS,
    library: Library | None = None,
) -> AsyncIterator[WorkerLedger]:
    """A worker's ledger. `owner` names this process in the flushers' leases. Raises as
    `open_ledger`."""
    async with _open_calls(redis_url, shards, timeout_ms, library) as (link, generations, fenced):
        with as_unavailable():
            await link.start()
        loader = Loader(directory, link, generations, ServerClock(clock))
        wallets = RedisWallets(link, fenced)
        recovery = Recovery(
            link=link,
            shards=shards,
            flushes=flushes,
            loader=loader,
            wallets=wallets,
            clock=clock,
            restore=restore,
            owner=owner,
            lease_ms=lease_seconds * _MS,
            flush_lease_seconds=flush_lease_seconds,
            page=flush_entries_max,
            live_seconds=live_seconds,
        )
        ledger = WorkerLedger(
            link=link,
            fenced=fenced,
            generations=generations,
            shards=shards,
            flushes=flushes,
            wallets=wallets,
            recovery=recovery,
            owner=owner,
            flush_lease_seconds=flush_lease_seconds,
            flush_entries_max=flush_entries_max,
        )
        try:
            yield ledger
        finally:
            await loader.close()
            with suppress(StoreUnavailableError):
                await ledger.give_up_leases()


@asynccontextmanager
async def open_wallets(
    *,
    redis_url: str,
    shards: Shards,
    clock: Clock,
    timeout_ms: int,
    library: Library | None = None,
) -> AsyncIterator[RedisWallets]:
    """For commands that credit, publish and verify. Raises as `open_ledger`."""
    del clock
    async with _open_calls(redis_url, shards, timeout_ms, library) as (link, _, fenced):
        with as_unavailable():
            await link.start()
        yield RedisWallets(link, fenced)


@asynccontextmanager
async def _open_calls(
    redis_url: str, shards: Shards, timeout_ms: int, library: Library | None
) -> AsyncIterator[tuple[Link, Generations, FencedCalls]]:
    """Not yet connected: greetings may be added first."""
    link = Link(parse_redis_url(redis_url), timeout_ms=timeout_ms, calls_max=CALLS_MAX)
    generations = Generations(shards)
    link.greetings.extend((check_store, (library or load_library()).ensure))
    try:
        await generations.refresh()
        yield link, generations, FencedCalls(link, generations)
    finally:
        await link.close()
        await generations.close()
