"""Brings wallets and keys from Postgres into the ledger: one look-up at a time for each, wallets
of one loop turn together, and not more at once than is good for Postgres."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.errors import OverloadedError
from proxy.domain.finish import TaskSet
from proxy.domain.outcome import WalletState
from proxy.domain.ports import Directory, ShardState
from proxy.ledger import calls
from proxy.ledger.faults import RefusedError
from proxy.ledger.generations import Generations
from proxy.ledger.link import Link
from proxy.ledger.server_clock import ServerClock

LOADS_MAX: Final = 1_000
BATCH_MAX: Final = 200
# Much less than the ten minutes after which a movement that found no wallet counts as delivered.
LOAD_MS_MAX: Final = 60_000


class Loader:
    def __init__(
        self,
        directory: Directory,
        link: Link,
        generations: Generations,
        server_clock: ServerClock,
        *,
        loads_max: int = LOADS_MAX,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._directory = directory
        self._link = link
        self._generations = generations
        self._server_clock = server_clock
        self._loads_max = loads_max
        self._batch_max = batch_max
        self._wallets: dict[UUID, asyncio.Future[bool]] = {}
        self._keys: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._next: dict[UUID, int] = {}  # account → shard, for the batch of this turn
        self._tasks = TaskSet()

    async def load_wallet(self, account_id: UUID, shard: int) -> bool:
        """False where Postgres knows no such account. Raises OverloadedError, StoreUnavailableError
        or LedgerFault."""
        loading = self._wallets.get(account_id)
        if loading is None:
            self._check_room()
            loop = asyncio.get_running_loop()
            loading = self._wallets[account_id] = loop.create_future()
            if not self._next:
                loop.call_soon(self._start_batches)
            self._next[account_id] = shard
        return await asyncio.shield(loading)

    async def load_key(self, key_id: str) -> ApiKey | None:
        """The key as Postgres has it, and the ledger from now on. Raises as `load_wallet`."""
        loading = self._keys.get(key_id)
        if loading is None:
            self._check_room()
            loading = self._tasks.start(self._load_key(key_id), name="load a key")
            self._keys[key_id] = loading
            loading.add_done_callback(lambda _: self._keys.pop(key_id, None))
        return await asyncio.shield(loading)

    async def close(self) -> None:
        await self._tasks.cancel()
        for loading in self._wallets.values():
            loading.cancel()

    def _check_room(self) -> None:
        if len(self._wallets) + len(self._keys) >= self._loads_max:
            raise OverloadedError(
                "Too many accounts are being looked up at once.", retry_after_seconds=1
            )

    def _start_batches(self) -> None:
        waiting, self._next = self._next, {}
        by_shard: dict[int, list[UUID]] = {}
        for account_id, shard in waiting.items():
            by_shard.setdefault(shard, []).append(account_id)
        for shard, accounts in by_shard.items():
            for begin in range(0, len(accounts), self._batch_max):
                batch = accounts[begin : begin + self._batch_max]
                _ = self._tasks.start(self._load_batch(shard, batch), name="load wallets")

    async def _load_batch(self, shard: int, batch: Sequence[UUID]) -> None:
        deadline_ms = self._server_clock.in_ms(LOAD_MS_MAX)  # from before Postgres is read
        try:
            generation = await self._generations.loadable(shard)
            found = await self._directory.load_wallets(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must learn it
            for account_id in batch:
                self._fail(account_id, error)
            return
        loads = [
            self._install(account_id, shard, generation, found.get(account_id), deadline_ms)
            for account_id in batch
        ]
        await asyncio.gather(*loads)

    async def _install(
        self,
        account_id: UUID,
        shard: int,
        generation: int,
        wallet: WalletState | None,
        deadline_ms: int,
    ) -> None:
        if wallet is None:
            self._tell(account_id, found=False)
            return
        command = calls.load_wallet(
            shard,
            generation,
            account_id,
            wallet.balance_nanos,
            wallet.sequence,
            deadline_ms=deadline_ms,
        )
        try:
            await self._link.call(*command)
        except Exception as error:  # noqa: BLE001 - as above
            if isinstance(error, RefusedError):
                self._server_clock.correct(error)  # not sent again: what was read may be old
            self._fail(account_id, error)
        else:
            self._tell(account_id, found=True)

    def _tell(self, account_id: UUID, *, found: bool) -> None:
        loading = self._wallets.pop(account_id)
        if not loading.done():
            loading.set_result(found)

    def _fail(self, account_id: UUID, error: Exception) -> None:
        loading = self._wallets.pop(account_id)
        if not loading.done():
            loading.set_exception(error)
            loading.exception()  # seen, even where every caller was cancelled

    async def _load_key(self, key_id: str) -> ApiKey | None:
        before = self._generations.all()
        key = await self._directory.find_key(key_id)
        if key is None:
            return None
        generation = await self._generations.loadable(key.shard)
        known = before.get(key.shard)
        if known is None or known.generation != generation or known.state is ShardState.DRAINING:
            # It may have been revoked since, which a generation before this one was told.
            key = await self._directory.find_key(key_id)
            if key is None:
                return None
        spend = await self._directory.load_key_spend(key_id)
        await self._link.call(*calls.load_key(generation, key, spend))
        return key
