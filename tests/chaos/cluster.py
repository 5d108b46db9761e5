"""A Redis Cluster in the store's place: three masters and three replicas, and what befalls them.

No wire stands before it: its clients learn the nodes' own addresses.
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from redis.asyncio import Redis

from proxy.dev.binaries import find_redis
from proxy.domain.clock import SystemClock
from tests.chaos.losses import autopsy, lost_between
from tests.chaos.records import Loss
from tests.chaos.redis_book import read_client
from tests.support.redis_cluster import HOST, RedisCluster, running_cluster

_CLOCK = SystemClock()
_MASTERS = 3
_SLOTS_MOVED = 24  # by one fault, of which a few have keys
_MOVE_PAUSE_SECONDS = 0.02
_TAKE_OVER_SECONDS = 30
_POLL_SECONDS = 0.05


class ClusterMember:
    name = "redis"

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self._directory = directory
        self._settings = settings
        self._scope = AsyncExitStack()
        self._cluster: RedisCluster | None = None
        self._turn = 0

    @property
    def cluster(self) -> RedisCluster:
        assert self._cluster is not None, "started"
        return self._cluster

    @property
    def url(self) -> str:
        return self.cluster.url

    async def start(self) -> None:
        scope = running_cluster(
            self._directory / "cluster", find_redis(os.environ), settings=self._settings
        )
        self._cluster = await self._scope.enter_async_context(scope)

    async def stop(self) -> None:
        await self._scope.aclose()

    async def befall(self, kind: str, seconds: float) -> Loss | None:
        """Each time another master. What its replica did not have yet is lost."""
        self._turn += 1
        number = self._turn % _MASTERS
        match kind:
            case "master_killed":
                return await self._kill(kind, number)
            case "laggard_took_over":
                await self.cluster.lag(number)
                await asyncio.sleep(seconds)
                return await self._kill(kind, number)
            case "master_failover":
                await self.cluster.failover(number)
            case "slots_moved":
                await self._move(number)
            case _:
                raise ValueError(kind)
        return None

    async def _kill(self, kind: str, number: int) -> Loss:
        """Its files are opened before it comes back and takes over what its replica has."""
        dead = await self.cluster.master(number)
        dead.kill()
        at_ms = _CLOCK.unix_ms()
        port = await self._taken_over(number)
        had = await autopsy(dead.directory)
        async with Redis(host=HOST, port=port) as client:
            has = await read_client(client)
        dead.start()
        await self.cluster.catch_up(number)
        return lost_between(kind, at_ms, had, has)

    async def _taken_over(self, number: int) -> int:
        async with asyncio.timeout(_TAKE_OVER_SECONDS):
            while True:
                for node in self.cluster.shard(number):
                    if node.is_running and (await node.info())["role"] == "master":
                        return node.port
                await asyncio.sleep(_POLL_SECONDS)

    async def _move(self, number: int) -> None:
        """To the next master: slots with keys of shards, from the first master that has some."""
        for source in (*range(number, _MASTERS), *range(number)):
            slots = await self._slots_with_keys((await self.cluster.master(source)).port)
            if slots:
                target, moved = (source + 1) % _MASTERS, slots[: len(slots) // 2 + 1]
                await self.cluster.reshard(moved, source, target, pause_seconds=_MOVE_PAUSE_SECONDS)
                return

    async def _slots_with_keys(self, port: int) -> list[int]:
        async with Redis(host=HOST, port=port) as client:
            names = {raw.split(b"}")[0] + b"}" async for raw in client.scan_iter(match="al:*")}
            found = {int(await client.cluster("KEYSLOT", name)) for name in names}
        return sorted(found)[:_SLOTS_MOVED]
