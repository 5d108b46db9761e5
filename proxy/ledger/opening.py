"""The one place that builds the ledger's parts. Each function is a scope: leaving it closes all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.domain.clock import Clock
from proxy.domain.ports import Directory, Flushes, Shards
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.wallets import RedisWallets
from proxy.ledger.worker_ledger import WorkerLedger


@asynccontextmanager
async def open_ledger(
    *,
    redis_url: str,
    data_dir: Path,
    directory: Directory,
    shards: Shards,
    clock: Clock,
    lease_seconds: int,
    timeout_ms: int,
    unflushed_entries_max: int,
) -> AsyncIterator[RedisLedger]:
    """A gateway's ledger. Raises LedgerUnavailableError where Redis does not answer at the start,
    and LedgerSetupError where it would evict money."""
    raise NotImplementedError
    yield RedisLedger()


@asynccontextmanager
async def open_worker_ledger(
    *,
    redis_url: str,
    shards: Shards,
    flushes: Flushes,
    clock: Clock,
    owner: str,
    lease_seconds: int,
    timeout_ms: int,
    flush_entries_max: int,
) -> AsyncIterator[WorkerLedger]:
    """A worker's ledger. `owner` names this process in the flushers' leases."""
    raise NotImplementedError
    yield WorkerLedger()


@asynccontextmanager
async def open_wallets(
    *, redis_url: str, shards: Shards, clock: Clock, timeout_ms: int
) -> AsyncIterator[RedisWallets]:
    """For commands that credit, publish and verify."""
    raise NotImplementedError
    yield RedisWallets()
