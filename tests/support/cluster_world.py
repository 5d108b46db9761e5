"""The ledger under load on a cluster and a real Postgres, and the books at the end of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import asyncpg

from proxy.billing.credit import credit
from proxy.domain.account import ApiKey, KeyLimits
from proxy.domain.charge import Charge
from proxy.domain.clock import SystemClock
from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.finish import TaskSet
from proxy.domain.ids import mint_key_token, mint_uuid7
from proxy.domain.outcome import Hold, Outcome
from proxy.ledger.gateway_ledger import RedisLedger
from proxy.ledger.slots import slot_of
from proxy.vault import KeyHasher
from routing.money import Nanos
from tests.support.ledger_bench import charge_of
from tests.support.platform import SECRET, Platform
from tests.support.redis_cluster import RedisCluster

SHARDS = 6
CREDIT_NANOS = 10**12
HOLD_NANOS = Nanos(5_000)
QUIET_SECONDS = 45
_PAUSE_SECONDS = 0.003


def shard_slot(shard: int) -> int:
    return slot_of(f"al:{{s{shard}}}:shard")


@dataclass(slots=True)
class Load:
    """What was asked, and what came of it. `recorded`: request → (account, nanos)."""

    recorded: dict[UUID, tuple[UUID, int]] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)  # by shard: since `watch`
    refused: int = 0
    unexpected: list[object] = field(default_factory=list)

    def watch(self) -> None:
        self.answered.clear()


@dataclass(slots=True)
class ClusterWorld:
    cluster: RedisCluster
    platform: Platform
    keys: list[ApiKey] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)  # key id → as a client sends it

    @property
    def ledger(self) -> RedisLedger:
        return self.platform.running.ledger

    async def open_account(self, shard: int, nanos: int = CREDIT_NANOS) -> ApiKey:
        store, wallets = self.platform.store, self.platform.worker.wallets
        account_id = mint_uuid7(SystemClock())
        email = f"{account_id}@example.com"
        assert await store.accounts.create(account_id=account_id, email=email, shard=shard)
        given = await credit(store, wallets, account_id, Nanos(nanos), "r1", "test", "test")
        assert given.outcome is Outcome.OK
        token = mint_key_token()
        key = ApiKey(
            key_id=token.key_id,
            account_id=account_id,
            shard=shard,
            epoch=1,
            secret_hash=KeyHasher(SECRET).hash(token.secret),
            limits=KeyLimits(),
        )
        self.tokens[key.key_id] = str(token)
        await store.keys.create(key)
        self.keys.append(key)
        return key

    async def generations(self) -> dict[int, int]:
        found = await self.platform.store.shards.all()
        return {number: shard.generation for number, shard in found.items()}

    async def shard_of(self, key: ApiKey) -> int:
        """The cluster's, not the ledger's."""
        return await self.cluster.shard_of(shard_slot(key.shard))

    async def hold(self, key: ApiKey) -> Hold:
        reserved = await self.ledger.reserve(key, mint_uuid7(SystemClock()), HOLD_NANOS, 10)
        assert reserved.hold is not None, reserved
        return reserved.hold

    async def record(self, hold: Hold, nanos: int) -> None:
        await self.ledger.record(hold, _charge(hold, nanos))

    async def until_free(self, key: ApiKey) -> None:
        """Waits until nothing of its account is held."""
        async with asyncio.timeout(QUIET_SECONDS):
            while True:
                found = await self.platform.worker.wallets.snapshot(key.account_id, key.shard)
                if found is not None and not found.held_nanos:
                    return
                await asyncio.sleep(0.01)

    async def until_posted(self, count: int) -> None:
        """Waits until so many charges are in Postgres, and fails where there are more."""
        async with asyncio.timeout(QUIET_SECONDS):
            while (found := sum(map(bool, (await self._rows()).values()))) < count:  # noqa: ASYNC110 - it is in Postgres
                await asyncio.sleep(0.05)
        assert found == count

    @asynccontextmanager
    async def load(self, tasks: int = 12) -> AsyncIterator[Load]:
        """Requests of all keys, one after another in each task, until left."""
        load, stop, running = Load(), asyncio.Event(), TaskSet()
        for number in range(tasks):
            key = self.keys[number % len(self.keys)]
            running.spawn(self._keep_asking(key, load, stop), name=f"load {number}")
        try:
            await self.answered_everywhere(load)
            yield load
        finally:
            stop.set()
            await running.wait(seconds=30)

    async def _keep_asking(self, key: ApiKey, load: Load, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self._ask(key, load)
            except LedgerUnavailableError:  # a client is told 503, and when to come again
                load.refused += 1
            except Exception as error:
                load.unexpected.append(error)
                raise

    async def _ask(self, key: ApiKey, load: Load) -> None:
        id_ = mint_uuid7(SystemClock())
        reserved = await self.ledger.reserve(key, id_, HOLD_NANOS, 10)
        if reserved.hold is None:
            load.unexpected.append(reserved)
            return
        nanos = 1 + id_.int % HOLD_NANOS
        await self.ledger.record(reserved.hold, _charge(reserved.hold, nanos))
        load.recorded[id_] = (key.account_id, nanos)
        load.answered[key.shard] = load.answered.get(key.shard, 0) + 1

    async def answered_everywhere(self, load: Load) -> None:
        """Waits until a request of every shard was served, from now on."""
        load.watch()
        async with asyncio.timeout(QUIET_SECONDS):
            while set(load.answered) < {key.shard for key in self.keys}:
                assert load.unexpected == []
                await asyncio.sleep(0.01)

    async def assert_books(self, load: Load) -> None:
        """Waits for quiet. Then every recorded charge is in Postgres, once, and every wallet is
        what was credited less what was recorded; nothing is held, and nothing stands twice."""
        assert load.unexpected == []
        await self._quiet(load)
        rows = await self._rows()
        assert {id_: nanos for id_, nanos in rows.items() if nanos} == {
            id_: nanos for id_, (_, nanos) in load.recorded.items()
        }
        for key in self.keys:
            wallet = await self.platform.worker.wallets.snapshot(key.account_id, key.shard)
            assert wallet is not None
            spent = sum(n for account, n in load.recorded.values() if account == key.account_id)
            assert (wallet.balance_nanos, wallet.held_nanos) == (CREDIT_NANOS - spent, 0)
        await self.platform.assert_clean()
        await self.assert_placed()

    async def _quiet(self, load: Load) -> None:
        async with asyncio.timeout(QUIET_SECONDS):
            while not await self._is_quiet(load):  # noqa: ASYNC110 - it is in other processes
                await asyncio.sleep(0.05)

    async def _is_quiet(self, load: Load) -> bool:
        if self.ledger.backlog or len(await self._rows()) < len(load.recorded):
            return False
        wallets = self.platform.worker.wallets
        try:
            seen = [await wallets.snapshot(key.account_id, key.shard) for key in self.keys]
        except LedgerUnavailableError:
            return False
        return all(wallet is not None and wallet.held_nanos == 0 for wallet in seen)

    async def _rows(self) -> dict[UUID, int]:
        connection = await asyncpg.connect(self.platform.settings.database_url)
        try:
            rows = await connection.fetch("SELECT request_id, charged_nanos FROM usage")
        finally:
            await connection.close()
        found = {row["request_id"]: row["charged_nanos"] for row in rows}
        assert len(found) == len(rows)
        return found

    async def assert_placed(self) -> None:
        """No key is on two masters, and each shard is on one, with its hash."""
        seen: dict[str, int] = {}
        for number in range(self.cluster.masters):
            master = await self.cluster.master(number)
            for key in await keys_on(master):
                assert key not in seen, (key, seen[key], number)
                seen[key] = number
        for shard in range(SHARDS):
            places = {n for key, n in seen.items() if key.startswith(f"al:{{s{shard}}}:")}
            assert len(places) == 1
            assert f"al:{{s{shard}}}:shard" in seen


async def keys_on(node: Any) -> list[str]:
    found = await node.says("KEYS", "al:*")
    return [key.decode() if isinstance(key, bytes) else key for key in found]


def _charge(hold: Hold, nanos: int) -> Charge:
    return replace(charge_of(hold, nanos), incarnation="", number=0)
