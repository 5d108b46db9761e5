"""A Redis Cluster of real servers on loopback, and what happens to one.

    async with running_cluster(directory, binary=path) as cluster:
        cluster.url
        await cluster.kill_master(0)                    # its replica takes over
        await cluster.failover(1)                       # by hand: nothing is lost
        async with cluster.migrating(slot, 1, 2) as migration:
            await migration.move(key)                   # half of it is there, and half here
        await cluster.reshard(range(100, 110), 1, 2, pause_seconds=0.01)

A shard of the cluster is a number: who its master is may change. Every method returns once all
nodes agree. Each opens its own connections, so that a cluster can outlive an event loop.
"""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from proxy.dev.children import Identity, kill_child, spawn, tail

HOST = "127.0.0.1"
SLOTS = 16_384
PORTS = range(16_000, 30_000)  # below the ports that the kernel gives to those who connect
WAIT_SECONDS = 30
_POLL_SECONDS = 0.02


@dataclass(slots=True, eq=False)
class Node:
    binary: Path
    directory: Path
    settings: Mapping[str, str]
    port: int
    bus_port: int
    id: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        options = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus_port),
            "cluster-require-full-coverage": "yes",
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",  # Redis 7.0 lists no replica that got no byte yet
            **self.settings,
        }
        flags = [word for name, text in options.items() for word in (f"--{name}", text)]
        self.process = spawn(
            [self.binary, *flags],
            identity=Identity(),
            environ=os.environ,
            log=self.log,
            death_signal=signal.SIGKILL,
        )

    def kill(self) -> None:
        if self.process is not None:
            kill_child(self.process)

    async def says(self, *command: str | int | bytes) -> Any:
        """Raises RedisError, or OSError where it is away."""
        client = redis.asyncio.Redis(
            host=HOST, port=self.port, protocol=2, socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        try:
            return await client.execute_command(*command)
        finally:
            await client.aclose()

    async def info(self) -> dict[str, str]:
        """What it says of the cluster and of its replication."""
        cluster = await _raw(self.port, "CLUSTER", "INFO")
        return _pairs(cluster) | _pairs(await _raw(self.port, "INFO", "replication"))


def _pairs(text: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


@dataclass(slots=True)
class Migration:
    """A slot on its way. Left, it is the target's, with all that was in it."""

    slot: int
    source: Node
    target: Node

    async def keys(self) -> list[bytes]:
        """Those still at the source."""
        return list(await self.source.says("CLUSTER", "GETKEYSINSLOT", self.slot, 10_000))

    async def move(self, *keys: str | bytes) -> None:
        for key in keys:
            moved = await self.source.says("MIGRATE", HOST, self.target.port, key, 0, 5_000)
            assert moved in (b"OK", "OK", True), moved

    async def move_all(self, *, pause_seconds: float = 0) -> None:
        while keys := await self.keys():
            await self.move(keys[0])
            await asyncio.sleep(pause_seconds)


@dataclass(slots=True)
class RedisCluster:
    nodes: list[Node]
    masters: int

    @property
    def url(self) -> str:
        places = ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        return f"redis://{places}?cluster=true"

    def shard(self, number: int) -> list[Node]:
        """A master and its replicas, whichever of them is which by now."""
        return self.nodes[number :: self.masters]

    async def master(self, number: int) -> Node:
        for node in self.shard(number):
            if node.is_running and (await node.info())["role"] == "master":
                return node
        raise AssertionError(f"shard {number} has no master")

    async def shard_of(self, slot: int) -> int:
        """By what the nodes say."""
        for first, last, master, *_ in await self._slots():
            if first <= slot <= last:
                ports = [node.port for node in self.nodes]
                return ports.index(master[1]) % self.masters
        raise AssertionError(f"nobody has slot {slot}")

    async def kill_master(
        self, number: int, *, then: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        """SIGKILL, and waits until a replica is the master. The dead one becomes a replica."""
        dead = await self.master(number)
        dead.kill()
        await self._taken_over(number, dead)
        dead.start()
        await (self.settled() if then is None else then(number))

    async def pause_master(self, number: int) -> None:
        """SIGSTOP: its connections stay, and nothing is answered. It wakes up as a replica."""
        paused = await self.master(number)
        assert paused.process is not None
        paused.process.send_signal(signal.SIGSTOP)
        try:
            await self._taken_over(number, paused)
        finally:
            paused.process.send_signal(signal.SIGCONT)
        await self.settled()

    async def _taken_over(self, number: int, gone: Node) -> None:
        others = [node for node in self.shard(number) if node is not gone]
        await _until(lambda: _any_is_master(others), "a replica takes over")

    async def failover(self, number: int) -> None:
        """As an operator does for an upgrade: the replica has everything before it takes over."""
        old = await self.master(number)
        new = next(node for node in self.shard(number) if node is not old and node.is_running)
        await new.says("CLUSTER", "FAILOVER")
        await _until(lambda: _any_is_master([new]), "the replica takes over")
        await self.settled()

    @asynccontextmanager
    async def migrating(self, slot: int, source: int, target: int) -> AsyncIterator[Migration]:
        """Moves nothing by itself until it is left."""
        old, new = await self.master(source), await self.master(target)
        await new.says("CLUSTER", "SETSLOT", slot, "IMPORTING", old.id)
        await old.says("CLUSTER", "SETSLOT", slot, "MIGRATING", new.id)
        migration = Migration(slot, old, new)
        try:
            yield migration
        finally:
            await migration.move_all()
            masters = [await self.master(number) for number in range(self.masters)]
            for node in (new, old, *(m for m in masters if m not in (new, old))):
                await node.says("CLUSTER", "SETSLOT", slot, "NODE", new.id)

    async def reshard(
        self, slots: Iterable[int], source: int, target: int, *, pause_seconds: float = 0
    ) -> None:
        """Key by key, as `redis-cli --cluster reshard` does, with a pause after each."""
        for slot in slots:
            async with self.migrating(slot, source, target) as migration:
                await migration.move_all(pause_seconds=pause_seconds)
        await self.settled()

    async def move_slots_whole(self, first: int, last: int, source: int, target: int) -> None:
        """Valkey 9's own way: the slots change hands at one moment."""
        old, new = await self.master(source), await self.master(target)
        await old.says("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", new.id)

        async def is_done() -> bool:
            return await self.shard_of(first) == target

        await _until(is_done, "the slots change hands")
        await self.settled()

    async def everywhere(self, *command: str | int) -> None:
        for node in self.nodes:
            await node.says(*command)

    def kill_shard(self, number: int) -> None:
        """Its master and its replicas: nobody can take over."""
        for node in self.shard(number):
            node.kill()

    async def restart_shard(self, number: int) -> None:
        for node in self.shard(number):
            node.start()
        await self.settled()

    async def lag(self, number: int) -> None:
        """From now on the shard's replicas get nothing more, and do not know it."""
        master = await self.master(number)
        for node in self.shard(number):
            if node is not master:
                # An answer of the master that a replica takes for a refusal, each time it comes.
                await node.says("CONFIG", "SET", "masterauth", "the master has no password")
                await node.says("CLIENT", "KILL", "TYPE", "master")

    async def catch_up(self, number: int) -> None:
        await self.answers()
        for node in self.shard(number):
            await node.says("CONFIG", "SET", "masterauth", "")
        await self.settled()

    async def settled(self) -> None:
        """Waits until every node that runs sees the same whole cluster, replicas in step."""
        await _until(self._is_settled, "the cluster settles")

    async def start(self) -> None:
        for node in self.nodes:
            node.start()
        await self.answers()
        for number, node in enumerate(self.nodes):
            node.id = _text(await node.says("CLUSTER", "MYID"))
            await node.says("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        await self._share_out()
        for node in self.nodes[1:]:
            await self.nodes[0].says("CLUSTER", "MEET", HOST, node.port, node.bus_port)
        await _until(self._all_met, "the nodes meet")
        for number, node in enumerate(self.nodes[self.masters :]):
            await node.says("CLUSTER", "REPLICATE", self.nodes[number % self.masters].id)
        await self.settled()

    async def answers(self) -> None:
        await _until(self._all_answer, "the servers answer")

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    async def _share_out(self) -> None:
        for number, node in enumerate(self.nodes[: self.masters]):
            first, behind = (SLOTS * n // self.masters for n in (number, number + 1))
            await node.says("CLUSTER", "ADDSLOTSRANGE", first, behind - 1)

    async def _all_answer(self) -> bool:
        for node in self.nodes:
            if not node.is_running:
                raise AssertionError(f"a server ended at its start: {tail(node.log)}")
            await node.says("PING")
        return True

    async def _all_met(self) -> bool:
        known = [await _raw(node.port, "CLUSTER", "NODES") for node in self.nodes]
        return all(node.id.encode() in found for node in self.nodes for found in known)

    async def _slots(self) -> Sequence[Any]:
        node = next(node for node in self.nodes if node.is_running)
        return list(await _raw(node.port, "CLUSTER", "SLOTS"))

    async def _is_settled(self) -> bool:
        running = [node for node in self.nodes if node.is_running]
        tables = []
        for node in running:
            info = await node.info()
            if info["cluster_state"] != "ok" or info.get("master_link_status", "up") != "up":
                return False
            found = await _raw(node.port, "CLUSTER", "SLOTS")
            tables.append(sorted((r[0], r[1], r[2][1], sorted(o[1] for o in r[3:])) for r in found))
        in_table = {port for row in tables[0] for port in (row[2], *row[3])}
        return all(t == tables[0] for t in tables) and in_table == {n.port for n in running}


async def _raw(port: int, *command: str) -> Any:
    """redis-py turns some answers into its own shapes, another in each release."""
    client = redis.asyncio.Redis(host=HOST, port=port, protocol=2)
    client.response_callbacks.clear()
    try:
        return await client.execute_command(*command)
    finally:
        await client.aclose()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def _any_is_master(nodes: Sequence[Node]) -> bool:
    for node in nodes:
        info = await node.info()
        if info["role"] == "master" and info["cluster_state"] == "ok":
            return True
    return False


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    found: object = None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while found is not True:
                try:
                    found = await condition()
                except (RedisError, OSError) as error:
                    found = error
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {WAIT_SECONDS} s: {what}: {found!r}") from None


def free_ports(count: int) -> list[int]:
    first = random.randrange(PORTS.start, PORTS.stop - 200)  # others look for ports as well
    found: list[int] = []
    for port in range(first, PORTS.stop):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


def make_cluster(
    directory: Path,
    binary: Path,
    *,
    masters: int = 3,
    replicas: int = 1,
    node_timeout_ms: int = 1_000,
    settings: Mapping[str, str] | None = None,
) -> RedisCluster:
    """Not yet started. `replicas` of each master; `settings` override ours."""
    count = masters * (1 + replicas)
    ports = free_ports(2 * count)
    shared = {"cluster-node-timeout": str(node_timeout_ms), **(settings or {})}
    nodes = [
        Node(binary, directory / f"node{n}", shared, ports[2 * n], ports[2 * n + 1])
        for n in range(count)
    ]
    return RedisCluster(nodes, masters)


@asynccontextmanager
async def running_cluster(
    directory: Path, binary: Path, **given: Any
) -> AsyncIterator[RedisCluster]:
    cluster = make_cluster(directory, binary, **given)
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
