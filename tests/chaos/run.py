"""One run: load, faults, quiet, and the four books side by side."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from redis.exceptions import RedisError

from proxy.domain.clock import SystemClock
from tests.chaos.books import flushed_to, read_books
from tests.chaos.check import Violation, check, disturbed
from tests.chaos.counts import counts_of, table_of
from tests.chaos.faults import Fault
from tests.chaos.injector import Injector
from tests.chaos.planted import plant
from tests.chaos.pulse import watched
from tests.chaos.records import Books
from tests.chaos.redis_book import ends_of_streams, read_redis
from tests.chaos.world import Shape, World, open_world, stop_process

# Longer than the slowest second try of anything: what is still on its way comes within.
STILL_SECONDS = 4.0
QUIET_SECONDS_MAX = 60
_CLIENTS_SECONDS = 60
_POLL_SECONDS = 0.25
_SHOWN_OF_EACH = 10
_CLOCK = SystemClock()


@dataclass(slots=True)
class Result:
    books: Books
    violations: list[Violation]
    faults: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


async def run(
    directory: Path,
    shape: Shape,
    schedule: Sequence[Fault],
    *,
    seed: int,
    seconds: int,
    say: Callable[[str], None],
) -> Result:
    async with open_world(directory, shape) as world:
        say("everything serves")
        auditor = await world.start_auditor()
        clients = await world.start_clients(seed)
        injector = Injector(world, say)
        async with watched(world.logs / "stalls", injector.disturbances.append):
            say("faults:" if schedule else "no faults")
            async with asyncio.TaskGroup() as group:
                group.create_task(injector.run(schedule))
                group.create_task(asyncio.sleep(seconds))
            say("faults are off; waiting for quiet")
            await stop_process(clients, _CLIENTS_SECONDS)
            for member in (*world.gateways.values(), *world.workers.values()):
                await member.wait_serving()
            is_quiet = await _quiet(world)
        await stop_process(auditor)
        assert world.provider is not None
        await stop_process(world.provider)
        found = await _verify(world)
        books = await read_books(world, injector.disturbances, injector.losses)
        violations = check(books) + found + _deaths(world)
        if not is_quiet:
            violations.append(Violation("not_quiet", "all", f"after {QUIET_SECONDS_MAX} s"))
        if not violations:
            violations += await plant(world)
        await _stop_all(world, violations)
    faults = dict(disturbed(injector.disturbances))
    return Result(books, sorted(violations), faults, counts_of(books))


async def _quiet(world: World) -> bool:
    """Nothing is held, all is flushed, and it stays so for a while."""
    limit_ms = _CLOCK.monotonic_ms() + QUIET_SECONDS_MAX * 1000
    since_ms, seen = _CLOCK.monotonic_ms(), None
    while (now_ms := _CLOCK.monotonic_ms()) < limit_ms:
        ends = await _flushed(world)
        if ends is None or ends != seen:
            since_ms, seen = now_ms, ends
        elif now_ms - since_ms >= STILL_SECONDS * 1000:
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False


async def _flushed(world: World) -> Mapping[int, str] | None:
    """Each shard's last entry where all of them are in Postgres and nothing is held."""
    with suppress(RedisError, OSError, asyncpg.PostgresError):
        ends = await ends_of_streams(world.redis_url)
        if not ends or ends != await flushed_to(world.dsn):
            return None
        redis = await read_redis(world.redis_url)
        is_held = any(wallet.held_nanos for wallet in redis.wallets.values())
        return None if redis.holds or is_held else ends
    return None


async def _verify(world: World) -> list[Violation]:
    """The operator's command agrees, and finds every wallet."""
    status, said = await world.apilink("ledger", "verify", "--json")
    found = json.loads(said) if said else {}
    if status == 0 and found["ok"] and found["difference_nanos"] == 0:
        return []
    return [Violation("verify_fails", "ledger verify", f"status {status}: {said.strip()[:500]}")]


def _deaths(world: World) -> list[Violation]:
    members = (*world.gateways.values(), *world.workers.values())
    return [Violation("died", m.name, death) for m in members for death in m.deaths]


async def _stop_all(world: World, violations: list[Violation]) -> None:
    """Told to stop, each ends by itself and well."""
    for member in (*world.gateways.values(), *world.workers.values()):
        try:
            status = await member.stop()
        except TimeoutError as error:
            violations.append(Violation("does_not_stop", member.name, str(error)))
        else:
            if status != 0:
                violations.append(Violation("does_not_stop", member.name, f"status {status}"))


def report(result: Result) -> list[str]:
    lines = ["faults done: " + (_pairs(result.faults) or "none"), "books:"]
    lines += [f"  {name:32} {shown}" for name, shown in table_of(result.books)]
    lines.append("judged by:")
    lines += [f"  {name.replace('_', ' '):32} {count}" for name, count in result.counts.items()]
    if result.violations:
        lines.append(f"VIOLATIONS: {len(result.violations)}")
        lines += [f"  {violation}" for violation in _some_of_each(result.violations)]
    else:
        lines.append("the books agree")
    return lines


def _some_of_each(violations: Sequence[Violation]) -> list[Violation]:
    seen: Counter[str] = Counter()
    shown = []
    for violation in violations:
        seen[violation.kind] += 1
        if seen[violation.kind] <= _SHOWN_OF_EACH:
            shown.append(violation)
    return shown


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
