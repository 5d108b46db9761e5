"""The whole path of money on real stores: credited, reserved, settled, flushed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from proxy.billing.credit import Credited, credit
from proxy.billing.restore import restore_balances
from proxy.domain.account import ApiKey, KeyLimits
from proxy.domain.charge import Charge
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_key_token, mint_uuid7
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Wallets
from proxy.ledger.flusher import Flusher
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.opening import open_ledger, open_worker_ledger
from proxy.ledger.worker_ledger import WorkerLedger
from proxy.store.pool import Store
from routing.money import Nanos
from tests.support.charges import make_charge

HOLD_NANOS = Nanos(5_000)


@dataclass(slots=True)
class MoneyWorld:
    store: Store
    redis_url: str
    ledger: RedisLedger
    worker: WorkerLedger
    flusher: Flusher

    @property
    def wallets(self) -> Wallets:
        return self.worker.wallets

    async def key_of(self, account_id: UUID) -> ApiKey:
        key_id = mint_key_token().key_id
        await self.store.keys.create(ApiKey(key_id, account_id, 0, 1, bytes(32), KeyLimits()))
        key = await self.store.keys.find(key_id)
        assert key is not None
        return key

    async def credit(self, account_id: UUID, nanos: int, reference: str) -> Credited:
        return await credit(
            self.store, self.wallets, account_id, Nanos(nanos), reference, "test", "a test"
        )

    async def charge(self, key: ApiKey, nanos: int, **changes: Any) -> Charge:
        """One request from hold to settlement; flushed only later."""
        request_id = mint_uuid7(SystemClock())
        reserved = await self.ledger.reserve(key, request_id, HOLD_NANOS, 0)
        assert reserved.outcome is Outcome.OK
        assert reserved.hold is not None
        charge = make_charge(
            key.account_id,
            nanos,
            request_id=request_id,
            key_id=key.key_id,
            hold_nanos=HOLD_NANOS,
            window_ms=reserved.hold.window_ms,
            **changes,
        )
        await self.ledger.record(reserved.hold, charge)
        return charge

    async def settle(self) -> None:
        assert await self.ledger.drain(seconds=10)

    async def flush(self) -> None:
        await self.settle()
        while await self.flusher.flush_once():
            pass


@asynccontextmanager
async def open_money_world(
    store: Store, redis_url: str, data_dir: Path
) -> AsyncIterator[MoneyWorld]:
    clock = SystemClock()
    async with open_worker_ledger(
        redis_url=redis_url,
        directory=store.directory,
        shards=store.shards,
        flushes=store.flushes,
        clock=clock,
        restore=lambda wallets, shard: restore_balances(store, wallets, shard),
        owner="worker",
        lease_seconds=60,
        timeout_ms=5_000,
        flush_entries_max=50,
    ) as worker:
        await worker.tend_shards_once()
        async with open_ledger(
            redis_url=redis_url,
            data_dir=data_dir,
            directory=store.directory,
            shards=store.shards,
            flushes=store.flushes,
            clock=clock,
            lease_seconds=60,
            timeout_ms=5_000,
            unflushed_entries_max=10**6,
        ) as ledger:
            yield MoneyWorld(store, redis_url, ledger, worker, worker.flusher(0))
