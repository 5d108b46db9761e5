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
from pathlib import Path

from tests.chaos import disks, templates
from tests.chaos.bugs import BUGS
from tests.chaos.faults import DEFAULT, FAULTS, ON_CLUSTER, Fault, Role, draw_schedule
from tests.chaos.injector import unsupported
from tests.chaos.run import Result, report, run
from tests.chaos.schedules import DIRECTED
from tests.chaos.soak import RUN_SECONDS_MAX, Counts, soak
from tests.chaos.world import Shape

_SHARDS_ON_CLUSTER = 6


def main(argv: list[str]) -> int:
    options = _parse(argv)
    lacks = disks.enter_namespace(argv)
    if lacks:
        say(lacks)
    added = Counts()
    seeds = soak(options.seed, 1 if options.directed else -(-options.seconds // RUN_SECONDS_MAX))
    left = options.seconds
    for number, seed in enumerate(seeds):
        seconds = left // (len(seeds) - number)
        left -= seconds
        result, directory = _run(options, seed, seconds)
        added.add(seed, result)
        is_kept = not options.scratch and (options.keep or bool(result.violations))
        if is_kept:
            say(f"seed {seed}; the logs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
        if result.violations:
            break
    if len(seeds) > 1:
        for line in added.report():
            say(line)
    if options.json:
        options.json.write_text(json.dumps(added.summary(), indent=1))
    return 1 if added.violations else 0


def _run(options: argparse.Namespace, seed: int, seconds: int) -> tuple[Result, Path]:
    """One deployment of its own."""
    if options.template is not None:
        templates.prepare(options.template)
    shape = Shape(
        options.gateways,
        options.workers,
        options.clients,
        options.bug,
        options.shards or (_SHARDS_ON_CLUSTER if options.cluster else 1),
        is_cluster=options.cluster,
        template=options.template,
    )
    schedule = _schedule(options, shape, seed, seconds)
    directory = Path(tempfile.mkdtemp(prefix="alc-", dir="/tmp"))
    say(f"seed {seed}, {seconds} s, logs in {directory}")
    result = asyncio.run(run(directory, shape, schedule, seed=seed, seconds=seconds, say=say))
    for line in report(result):
        say(line)
    return result, directory


def _parse(argv: list[str]) -> argparse.Namespace:
    off = "; ".join(f"{kind.name} ({kind.off})" for kind in FAULTS.values() if kind.off)
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, epilog=f"Off by default: {off}."
    )
    parser.add_argument(
        "--seconds",
        type=int,
        default=RUN_SECONDS_MAX,
        help="of load and faults (180); more are several runs, each of a seed of its own",
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="any by default")
    parser.add_argument("--faults", default="", help="classes, by commas; or none")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--shards", type=int, default=0, help="1, or 6 on a cluster")
    parser.add_argument("--cluster", action="store_true", help="three masters, three replicas")
    parser.add_argument("--bug", choices=BUGS, default="", help="a deliberate one, to be caught")
    parser.add_argument("--directed", choices=DIRECTED, help="a written schedule instead")
    parser.add_argument("--keep", action="store_true", help="the logs, also where all is well")
    parser.add_argument("--scratch", action="store_true", help="no logs, whatever comes out")
    parser.add_argument(
        "--template", type=Path, metavar="DIR", help="a Postgres to copy; made where there is none"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome here")
    return parser.parse_args(argv)


def _schedule(options: argparse.Namespace, shape: Shape, seed: int, seconds: int) -> list[Fault]:
    if options.directed:
        return DIRECTED[options.directed]()
    kinds = [name for name in options.faults.split(",") if name and name != "none"]
    if not options.faults:
        kinds = list(ON_CLUSTER if shape.is_cluster else DEFAULT)
    unknown = sorted(set(kinds) - set(FAULTS))
    if unknown:
        raise SystemExit(f"no such faults: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    for name, reason in unsupported(kinds).items():
        say(f"skipped: {name}: {reason}")
        kinds.remove(name)
    return draw_schedule(seed, seconds, kinds, targets_of(shape))


def targets_of(shape: Shape) -> dict[Role, list[str]]:
    """By name, so that a schedule is the same before anything runs."""
    gateways = [f"g{number}" for number in range(shape.gateways)]
    workers = [f"w{number}" for number in range(shape.workers)]
    stores = ("postgres",) if shape.is_cluster else ("redis", "postgres")
    wires = [f"{g}-{end}" for g in gateways for end in (*stores, "provider")]
    wires += [f"{w}-{end}" for w in workers for end in stores]
    wires += [f"clients-{g}" for g in gateways]
    return {
        Role.GATEWAY: gateways,
        Role.WORKER: workers,
        Role.CLUSTER if shape.is_cluster else Role.REDIS: ["redis"],
        Role.POSTGRES: ["postgres"],
        Role.WIRE: wires,
        Role.FLEET: ["all"],
    }


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
