"""`make chaos`: the ledger under fire, and four books that must tell the same story afterwards.

Gateways, workers, Postgres and Redis run as processes with a breakable wire between any two; a
simulated provider keeps a book of what it served, clients keep one of what they received. Faults
come by a schedule that the seed decides. At the end everything is up and quiet, and every request
must be in all books alike. Exit status 1 where it is not; the logs stay then.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos import disks
from tests.chaos.bugs import BUGS
from tests.chaos.faults import DEFAULT, FAULTS, Fault, Role, draw_schedule
from tests.chaos.injector import unsupported
from tests.chaos.run import Result, report, run
from tests.chaos.schedules import DIRECTED
from tests.chaos.world import Shape


def main(argv: list[str]) -> int:
    options = _parse(argv)
    lacks = disks.enter_namespace(argv)
    if lacks:
        say(lacks)
    shape = Shape(options.gateways, options.workers, options.clients, options.bug)
    schedule = _schedule(options, shape)
    directory = Path(tempfile.mkdtemp(prefix="alc-", dir="/tmp"))
    say(f"seed {options.seed}, {options.seconds} s, logs in {directory}")
    result = asyncio.run(
        run(directory, shape, schedule, seed=options.seed, seconds=options.seconds, say=say)
    )
    for line in report(result):
        say(line)
    if options.json:
        options.json.write_text(json.dumps(_summary(options.seed, result), indent=1))
    if options.scratch or not (options.keep or result.violations):
        shutil.rmtree(directory, ignore_errors=True)
    else:
        say(f"seed {options.seed}; the logs are in {directory}")
    return 1 if result.violations else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    off = "; ".join(f"{kind.name} ({kind.off})" for kind in FAULTS.values() if kind.off)
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, epilog=f"Off by default: {off}."
    )
    parser.add_argument("--seconds", type=int, default=180, help="of load and faults (180)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="any by default")
    parser.add_argument("--faults", default=",".join(DEFAULT), help="classes, by commas; or none")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--bug", choices=BUGS, default="", help="a deliberate one, to be caught")
    parser.add_argument("--directed", choices=DIRECTED, help="a written schedule instead")
    parser.add_argument("--keep", action="store_true", help="the logs, also where all is well")
    parser.add_argument("--scratch", action="store_true", help="no logs, whatever comes out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome here")
    return parser.parse_args(argv)


def _schedule(options: argparse.Namespace, shape: Shape) -> list[Fault]:
    if options.directed:
        return DIRECTED[options.directed]()
    kinds = [name for name in options.faults.split(",") if name and name != "none"]
    unknown = sorted(set(kinds) - set(FAULTS))
    if unknown:
        raise SystemExit(f"no such faults: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    for name, reason in unsupported(kinds).items():
        say(f"skipped: {name}: {reason}")
        kinds.remove(name)
    return draw_schedule(options.seed, options.seconds, kinds, targets_of(shape))


def targets_of(shape: Shape) -> dict[Role, list[str]]:
    """By name, so that a schedule is the same before anything runs."""
    gateways = [f"g{number}" for number in range(shape.gateways)]
    workers = [f"w{number}" for number in range(shape.workers)]
    wires = [f"{g}-{end}" for g in gateways for end in ("redis", "postgres", "provider")]
    wires += [f"{w}-{end}" for w in workers for end in ("redis", "postgres")]
    wires += [f"clients-{g}" for g in gateways]
    return {
        Role.GATEWAY: gateways,
        Role.WORKER: workers,
        Role.REDIS: ["redis"],
        Role.POSTGRES: ["postgres"],
        Role.WIRE: wires,
        Role.FLEET: ["all"],
    }


def _summary(seed: int, result: Result) -> dict[str, object]:
    return {
        "seed": seed,
        "faults": result.counts,
        "tries": len(result.books.clients),
        "complete": sum(client.is_complete for client in result.books.clients),
        "rows": len(result.books.postgres.rows),
        "verifications": len(result.books.verdicts),
        "violations": [asdict(violation) for violation in result.violations],
    }


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
