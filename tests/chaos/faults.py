"""Every class of fault, in one list: which are on by default, and why the others are not (yet).

The list of those that are off is meant to shrink.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_NEEDS_CLUSTER = "on with --cluster"
_LOSES = (
    "a gateway's journal is destroyed and a lagging replica promoted: what was in both alone is"
    " lost, as predicted; it has a schedule of its own"
)


class Role(StrEnum):
    """Whom a class of faults befalls."""

    GATEWAY = "gateway"
    WORKER = "worker"
    REDIS = "redis"
    POSTGRES = "postgres"
    WIRE = "wire"
    CLUSTER = "cluster"
    FLEET = "fleet"  # all gateways, one after the other


@dataclass(frozen=True, slots=True)
class FaultKind:
    """`lasts_ms` bounds how long one lasts. `off` says why it is not part of a run by default."""

    name: str
    role: Role
    lasts_ms: tuple[int, int]
    off: str = ""


FAULTS: Mapping[str, FaultKind] = {
    kind.name: kind
    for kind in (
        FaultKind("gateway_kill", Role.GATEWAY, (0, 1_500)),
        FaultKind("gateway_pause", Role.GATEWAY, (200, 6_000)),
        FaultKind("worker_kill", Role.WORKER, (0, 1_500)),
        FaultKind("worker_pause", Role.WORKER, (200, 6_000)),
        FaultKind("redis_kill", Role.REDIS, (0, 1_500)),
        FaultKind("redis_pause", Role.REDIS, (200, 6_000)),
        FaultKind("postgres_kill", Role.POSTGRES, (0, 1_500)),
        FaultKind("postgres_pause", Role.POSTGRES, (200, 6_000)),
        FaultKind("postgres_restart", Role.POSTGRES, (0, 1_500)),
        FaultKind("wire_reset", Role.WIRE, (0, 1_500)),
        FaultKind("wire_black_hole", Role.WIRE, (200, 5_000)),
        FaultKind("wire_one_way", Role.WIRE, (200, 3_000)),
        FaultKind("wire_delay", Role.WIRE, (500, 5_000)),
        FaultKind("wire_half_open", Role.WIRE, (0, 0)),
        FaultKind("wire_cut", Role.WIRE, (200, 500)),
        FaultKind("journal_full", Role.GATEWAY, (500, 3_000)),
        FaultKind("aof_full", Role.REDIS, (500, 3_000)),
        FaultKind("rolling_restart", Role.FLEET, (0, 0)),
        FaultKind("clock_step", Role.GATEWAY, (500, 4_000)),
        FaultKind("worker_clock_step", Role.WORKER, (500, 4_000)),
        FaultKind("redis_clock_step", Role.REDIS, (500, 4_000)),
        FaultKind("nowhere_to_write", Role.GATEWAY, (800, 2_500)),
        FaultKind("redis_empty", Role.REDIS, (0, 500)),
        FaultKind("redis_older", Role.REDIS, (500, 3_000)),
        FaultKind("replica_promoted", Role.REDIS, (500, 3_000)),
        FaultKind("master_killed", Role.CLUSTER, (0, 0), off=_NEEDS_CLUSTER),
        FaultKind("master_failover", Role.CLUSTER, (0, 0), off=_NEEDS_CLUSTER),
        FaultKind("laggard_took_over", Role.CLUSTER, (500, 2_000), off=_NEEDS_CLUSTER),
        FaultKind("slots_moved", Role.CLUSTER, (0, 0), off=_NEEDS_CLUSTER),
        FaultKind("journal_lost", Role.REDIS, (500, 3_000), off=_LOSES),
    )
}
DEFAULT: tuple[str, ...] = tuple(name for name, kind in FAULTS.items() if not kind.off)
# No wire and no one disk is before a cluster, whose nodes tell their own addresses.
ON_CLUSTER: tuple[str, ...] = tuple(
    name
    for name, kind in FAULTS.items()
    if kind.role is Role.CLUSTER
    or (name in DEFAULT and kind.role is not Role.REDIS and name != "nowhere_to_write")
)

_FIRST_MS = 2_000
_BETWEEN_MS = (400, 2_200)
# A target is left alone between two faults. Redis needs it: what a full disk kept out of its file
# is written a second after there is room, and a kill before that is another class of fault.
_REST_MS = 2_500
_LASTS_LONG = {Role.FLEET: 20_000, Role.CLUSTER: 8_000}  # as long as it takes


@dataclass(frozen=True, slots=True)
class Fault:
    at_ms: int  # after the start of the load
    kind: str
    target: str
    lasts_ms: int
    after: str = ""  # not before a deliberate bug has made this file

    def __str__(self) -> str:
        return f"{self.at_ms / 1000:7.1f}s {self.kind} {self.target} for {self.lasts_ms} ms"


def draw_schedule(
    seed: int, seconds: int, kinds: Collection[str], targets: Mapping[Role, Sequence[str]]
) -> list[Fault]:
    """The same for the same arguments. Faults of different targets overlap; a target has one at a
    time, and a rest between two."""
    dice = random.Random(seed)
    chosen = [FAULTS[name] for name in sorted(kinds)]
    busy_until: dict[str, int] = {}
    schedule = []
    at_ms = _FIRST_MS
    while chosen and at_ms < seconds * 1000:
        kind = dice.choice(chosen)
        lasts_ms = dice.randint(*kind.lasts_ms)
        free = [
            target
            for target in targets.get(kind.role, ())
            if all(busy_until.get(t, 0) <= at_ms for t in _taken(kind, target, targets))
        ]
        if free:
            target = dice.choice(free)
            schedule.append(Fault(at_ms, kind.name, target, lasts_ms))
            until_ms = at_ms + _LASTS_LONG.get(kind.role, lasts_ms) + _REST_MS
            busy_until |= dict.fromkeys(_taken(kind, target, targets), until_ms)
        at_ms += dice.randint(*_BETWEEN_MS)
    return schedule


def _taken(kind: FaultKind, target: str, targets: Mapping[Role, Sequence[str]]) -> Sequence[str]:
    """Who must be left alone meanwhile. A full journal wants a Redis that can be reached: both
    away at once is `nowhere_to_write`, a class of its own."""
    if kind.role is Role.FLEET:
        return targets[Role.GATEWAY]
    if kind.name in ("journal_full", "nowhere_to_write"):
        return [target, f"{target}-redis", "redis"]
    return [target]
