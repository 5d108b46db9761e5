"""Does to a world what a schedule says, and keeps a list of what was done and when."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from proxy.domain.clock import SystemClock
from tests.chaos import disks, losses
from tests.chaos.books import read_postgres
from tests.chaos.clocks import STEPS_SECONDS, find_faketime
from tests.chaos.cluster import ClusterMember
from tests.chaos.faults import FAULTS, Fault, Role
from tests.chaos.losses import take_journal
from tests.chaos.members import StoreMember
from tests.chaos.records import Disturbance, Loss
from tests.chaos.wire import Mode, Wire
from tests.chaos.world import World

_CLOCK = SystemClock()
_TOLD_SECONDS = 60
_POLL_SECONDS = 0.02
_GONE_SECONDS = 60  # until a restarted process must serve again


class NotSupportedError(Exception):
    """A class of faults that nobody has told this file how to do."""


def unsupported(kinds: Sequence[str]) -> dict[str, str]:
    """What of it cannot be done here, and why."""
    reasons: dict[str, str] = {}
    if not disks.can_be_full():
        reason = "needs a mount namespace: root and unshare"
        reasons |= dict.fromkeys(("journal_full", "aof_full", "nowhere_to_write"), reason)
    if find_faketime() is None:
        reason = "needs libfaketime (apt-get install libfaketime)"
        reasons |= dict.fromkeys(("clock_step", "worker_clock_step", "redis_clock_step"), reason)
    return {name: reason for name, reason in reasons.items() if name in kinds}


class Injector:
    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self.disturbances: list[Disturbance] = []
        self.losses: list[Loss] = []
        self._world = world
        self._say = say
        self._began_ms = _CLOCK.unix_ms()
        self._rolling = asyncio.Lock()

    async def run(self, schedule: Sequence[Fault]) -> None:
        """Until the last one is over. Faults overlap."""
        self._began_ms = _CLOCK.unix_ms()
        async with asyncio.TaskGroup() as group:
            for fault in schedule:
                wait_ms = self._began_ms + fault.at_ms - _CLOCK.unix_ms()
                await asyncio.sleep(max(0, wait_ms) / 1000)
                group.create_task(self._inject(fault))

    async def _inject(self, fault: Fault) -> None:
        if fault.after:
            await self._wait_told(fault.after)
        begin_ms = _CLOCK.unix_ms()
        self._say(
            f"{(begin_ms - self._began_ms) / 1000:7.1f}s {fault.kind} {fault.target}"
            f" for {fault.lasts_ms} ms"
        )
        try:
            await self._step(fault)
        finally:
            end_ms = _CLOCK.unix_ms()
            self.disturbances.append(Disturbance(fault.kind, fault.target, begin_ms, end_ms))

    async def _wait_told(self, name: str) -> None:
        """A deliberate bug tells that its gap is open: it need not be met by chance."""
        async with asyncio.timeout(_TOLD_SECONDS):
            while not (self._world.directory / name).exists():  # noqa: ASYNC110 - a process tells it
                await asyncio.sleep(_POLL_SECONDS)

    def _step(self, fault: Fault) -> Awaitable[None]:
        seconds, world = fault.lasts_ms / 1000, self._world
        match FAULTS[fault.kind].role:
            case Role.GATEWAY | Role.WORKER:
                return self._befall_member(fault, seconds)
            case Role.REDIS | Role.POSTGRES:
                return self._befall_store(fault, seconds)
            case Role.WIRE:
                return _break(world.wires[fault.target], fault.kind, seconds)
            case Role.CLUSTER:
                return self._befall_cluster(fault.kind, seconds)
            case Role.FLEET:
                return self._roll()

    async def _befall_member(self, fault: Fault, seconds: float) -> None:
        member = (self._world.gateways | self._world.workers)[fault.target]
        match fault.kind:
            case "gateway_kill" | "worker_kill":
                await member.kill_for(seconds)
                await member.wait_serving(_GONE_SECONDS)
            case "gateway_pause" | "worker_pause":
                await member.pause_for(seconds)
            case "journal_full":
                await _full(self._world.disk_of(fault.target), seconds)
            case "nowhere_to_write":
                wire = self._world.wires[f"{fault.target}-redis"]
                disk = self._world.disk_of(fault.target)
                await asyncio.gather(_full(disk, seconds), _break(wire, "wire_black_hole", seconds))
            case "clock_step" | "worker_clock_step":
                await self._step_clock(fault, seconds)
            case _:
                raise NotSupportedError(fault.kind)

    async def _befall_store(self, fault: Fault, seconds: float) -> None:
        world = self._world
        store = world.redis if fault.target == "redis" else world.postgres
        assert isinstance(store, StoreMember), "a cluster's faults are its own"
        match fault.kind:
            case "redis_kill" | "postgres_kill":
                await store.kill_for(seconds)
            case "redis_pause" | "postgres_pause":
                await store.pause_for(seconds)
            case "postgres_restart":
                await store.restart_for(seconds)
            case "aof_full":
                await _full(world.disk_of("redis"), seconds)
            case "redis_clock_step":
                await self._step_clock(fault, seconds)
            case _:
                self.losses.append(await self._lose(fault.kind, seconds))

    async def _befall_cluster(self, kind: str, seconds: float) -> None:
        assert isinstance(self._world.redis, ClusterMember), "--cluster"
        loss = await self._world.redis.befall(kind, seconds)
        if loss is not None:
            self.losses.append(loss)

    async def _lose(self, kind: str, seconds: float) -> Loss:
        redis, directory = self._world.redis, self._world.disk_of("redis")
        assert isinstance(redis, StoreMember), "a cluster loses in ways of its own"
        match kind:
            case "redis_empty":
                return await losses.empty(redis, directory, seconds)
            case "redis_older":
                return await losses.older(redis, directory, seconds)
            case "replica_promoted":
                return await losses.promoted(redis, directory, seconds)
            case "journal_lost":
                return await losses.promoted(redis, directory, seconds, self._lose_journal)
            case _:
                raise NotSupportedError(kind)

    async def _lose_journal(self, loss: Loss) -> Loss:
        """The first gateway dies and its disk with it, while Redis is down: what only these two had
        is gone."""
        name, begin_ms = "g0", _CLOCK.unix_ms()
        gone: set[str] = set()

        async def destroy() -> None:
            gone.update(take_journal(self._world.disk_of(name) / "journal"))

        await self._world.gateways[name].kill_for(0, before_start=destroy)
        self.disturbances.append(Disturbance("gateway_kill", name, begin_ms, _CLOCK.unix_ms()))
        posted = {row.request_id for row in (await read_postgres(self._world.dsn)).rows}
        return replace(loss, requests=frozenset(gone - posted - loss.kept))

    async def _roll(self) -> None:
        """As it is done: out of the load balancer's rotation, and back when it serves again. Nobody
        begins another while one goes on: all gateways might be away at once."""
        async with self._rolling:
            for name, member in self._world.gateways.items():
                sign = self._world.out / name
                sign.touch()
                try:
                    await member.restart()
                    await member.wait_serving(_GONE_SECONDS)
                finally:
                    sign.unlink()

    async def _step_clock(self, fault: Fault, seconds: float) -> None:
        """There and back: two steps, of which one is backwards."""
        clocks, steps = self._world.clocks, STEPS_SECONDS
        clocks.step(fault.target, steps[fault.at_ms % len(steps)])
        try:
            await asyncio.sleep(seconds)
        finally:
            clocks.set_right(fault.target)


async def _full(disk: Path, seconds: float) -> None:
    disks.fill(disk)
    try:
        await asyncio.sleep(seconds)
    finally:
        disks.free(disk)


async def _break(wire: Wire, kind: str, seconds: float) -> None:
    modes = {
        "wire_reset": Mode.RESET,
        "wire_black_hole": Mode.BLACK_HOLE,
        "wire_one_way": Mode.ONE_WAY,
        "wire_delay": Mode.DELAY,
    }
    if kind == "wire_half_open":
        wire.half_open()
    elif kind == "wire_cut":
        wire.cut_next()
    try:
        wire.mode = modes.get(kind, Mode.PASS)
        await asyncio.sleep(seconds)
    finally:
        wire.mode = Mode.PASS
