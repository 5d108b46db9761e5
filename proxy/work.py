"""The composition root of a worker; a gateway's is `proxy.app`. No decisions here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)

from proxy.app import new_metrics
from proxy.billing.keys import publish_once
from proxy.billing.restore import restore_balances
from proxy.billing.sweep import sweep_once
from proxy.billing.verify import Verification, verify
from proxy.domain.clock import Clock, SystemClock
from proxy.domain.ports import Suspicion
from proxy.domain.settings import Settings
from proxy.jobs.measuring import Measuring
from proxy.jobs.republishing import Republishing
from proxy.jobs.run import Job, running_jobs
from proxy.jobs.verifying import Verifying
from proxy.ledger.opening import FLUSH_LEASE_SECONDS, open_worker_ledger
from proxy.ledger.recovery import LIVE_SECONDS
from proxy.ledger.worker_ledger import WorkerLedger
from proxy.observe.metrics import Metrics
from proxy.store.migrate import check_migrated
from proxy.store.pool import Store, open_store

_EXPIRE_BATCH = 500
_TEND_MS = 250
_SEEN_SECONDS_MIN = 3  # gateways say once a second that they live
_VERIFIED_BATCHES = 100  # of each chain, at every turn; `apilink ledger verify` takes more


@asynccontextmanager
async def open_worker(
    settings: Settings,
    *,
    owner: str,
    metrics: Metrics | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[WorkerLedger]:
    """Runs the jobs until left. Yields once every shard is open."""
    clock = clock or SystemClock()
    metrics = metrics or new_metrics()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.database_url))
        await check_migrated(store.database)
        await store.deployment.check(shards=settings.shards)
        await store.partitions.ensure_once(now_ms=clock.unix_ms())
        ledger = await stack.enter_async_context(
            open_worker_ledger(
                redis_url=settings.redis_url,
                directory=store.directory,
                shards=store.shards,
                flushes=store.flushes,
                clock=clock,
                restore=lambda wallets, shard: restore_balances(store, wallets, shard),
                owner=owner,
                lease_seconds=settings.lease_seconds,
                timeout_ms=settings.ledger_timeout_ms,
                flush_entries_max=settings.flush_entries_max,
                flush_lease_seconds=min(settings.lease_seconds, FLUSH_LEASE_SECONDS),
                live_seconds=min(max(settings.lease_seconds, _SEEN_SECONDS_MIN), LIVE_SECONDS),
            )
        )
        await _opened(ledger, settings)
        jobs = _worker_jobs(settings, store, ledger, clock)
        jobs += _watching_jobs(metrics, store, ledger, clock)
        await stack.enter_async_context(running_jobs(jobs))
        yield ledger


async def _opened(ledger: WorkerLedger, settings: Settings) -> None:
    """A recovery may have to wait for gateways; longer than their leases last it goes on beside."""
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.lease_seconds):
            reports = await ledger.tend_shards_once()
            while not all(report.is_open for report in reports):
                await asyncio.sleep(_TEND_MS / 1000)
                reports = await ledger.tend_shards_once()


def _worker_jobs(settings: Settings, store: Store, ledger: WorkerLedger, clock: Clock) -> list[Job]:
    jobs = [
        Job("tend_shards", interval_ms=_TEND_MS, timeout_seconds=300, step=ledger.tend_shards_once),
        Job(
            "republish",
            interval_ms=1_000,
            timeout_seconds=300,
            step=Republishing(
                lambda: ledger.memory,
                lambda: publish_once(store, ledger.wallets.publish_key),
                store.movements.redeliver_recent,
                clock,
            ).republish_once,
        ),
        Job(
            "sweep_movements",
            interval_ms=5_000,
            timeout_seconds=60,
            step=lambda: sweep_once(store, ledger.wallets),
        ),
        Job(
            "forget_gateways",
            interval_ms=3_600_000,
            timeout_seconds=60,
            step=store.shards.forget_gateways,
        ),
        Job(
            "ensure_partitions",
            interval_ms=3_600_000,
            timeout_seconds=60,
            step=lambda: store.partitions.ensure_once(now_ms=clock.unix_ms()),
        ),
    ]
    for shard in range(settings.shards):
        jobs.append(_flush_job(settings, ledger, shard))
        jobs.append(_expire_job(ledger, shard))
        jobs.append(_sweep_job(ledger, shard))
    return jobs


def _watching_jobs(metrics: Metrics, store: Store, ledger: WorkerLedger, clock: Clock) -> list[Job]:
    verifying = Verifying(
        lambda: verify(store, ledger.wallets, chain_batches_max=_VERIFIED_BATCHES),
        lambda shard: ledger.suspect(shard, Suspicion.POSTGRES),
        clock,
    )
    measuring = Measuring(store.shards.cursors, ledger.wallets, clock)
    _watch_worker(metrics, verifying, measuring, store, clock)
    return [
        Job("measure", interval_ms=5_000, timeout_seconds=10, step=measuring.measure_once),
        Job("verify", interval_ms=60_000, timeout_seconds=300, step=verifying.verify_once),
    ]


def _watch_worker(
    metrics: Metrics, verifying: Verifying, measuring: Measuring, store: Store, clock: Clock
) -> None:
    def last(of: Callable[[Verification], int]) -> Callable[[], float]:
        return lambda: verifying.read(of)

    metrics.watch(
        {
            "apilink_flush_lag_seconds": measuring.lag_seconds,
            "apilink_unflushed_entries": measuring.entries,
            "apilink_usage_partition_seconds": lambda: store.partitions.seconds_left(
                now_ms=clock.unix_ms()
            ),
            "apilink_unflushed_nanos": last(lambda found: found.unflushed_nanos),
            "apilink_quarantined_entries": last(lambda found: found.quarantined_entries),
            "apilink_quarantined_nanos": last(lambda found: found.quarantined_nanos),
            "apilink_debt_nanos": last(lambda found: found.debt_nanos),
            "apilink_undelivered_nanos": last(lambda found: found.undelivered_nanos),
            "apilink_ledger_difference_nanos": last(lambda found: found.total_difference_nanos),
            "apilink_ledger_faults": last(lambda found: len(found.faults)),
            "apilink_ledger_verdict": verifying.verdicts,
            "apilink_ledger_verified_timestamp_seconds": verifying.known_seconds,
        }
    )


def _flush_job(settings: Settings, ledger: WorkerLedger, shard: int) -> Job:
    return Job(
        f"flush_{shard}",
        interval_ms=settings.flush_interval_ms,
        timeout_seconds=60,
        step=ledger.flusher(shard).flush_once,
        full=settings.flush_entries_max,
    )


def _expire_job(ledger: WorkerLedger, shard: int) -> Job:
    return Job(
        f"expire_{shard}",
        interval_ms=1_000,
        timeout_seconds=30,
        step=lambda: ledger.expire_once(shard, _EXPIRE_BATCH),
        full=_EXPIRE_BATCH,
    )


def _sweep_job(ledger: WorkerLedger, shard: int) -> Job:
    return Job(
        f"sweep_{shard}",
        interval_ms=1_000,
        timeout_seconds=30,
        step=lambda: ledger.sweep_once(shard),
    )
