"""What a machine's sudden end would take with it, measured: `python -m tests.bench.loss`.

Two files that are appended to as under load: Redis' append-only file with `appendfsync everysec`,
and a gateway's journal, which nobody syncs while Redis is there. Ten times a second: how long ago
the oldest byte was written that the kernel has in memory alone. Its own flags of each page say so
(/proc/kpageflags, for root alone; 4 KiB pages).
"""

import argparse
import mmap
import os
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from proxy.dev.servers import run_redis
from proxy.ledger.journal import Journal, Record
from tests.support.charges import make_charge

_PAGE = 4096
_PRESENT = 1 << 63
_PFN = (1 << 55) - 1
_UNWRITTEN = 1 << 4 | 1 << 8  # dirty, or on its way to the disk
_RATE = 200  # records a second
_BYTES = b"x" * 900  # about what a settlement adds to the append-only file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loss", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for both at once (60)")
    seconds = parser.parse_args().seconds
    with (
        tempfile.TemporaryDirectory(prefix="all-") as directory,
        run_redis(Path(directory) / "redis") as server,
        ThreadPoolExecutor() as pool,
    ):
        stop = threading.Event()
        writers = [
            pool.submit(_charge_on, server.url, stop),
            pool.submit(_journal_on, Path(directory) / "journal", stop),
        ]
        time.sleep(1)
        paths = {
            "Redis": next(Path(directory).glob("redis/**/*.incr.aof")),
            "journal": next(Path(directory).glob("journal/**/*.log")),
        }
        watchers = {name: pool.submit(ages, path, seconds) for name, path in paths.items()}
        found = {name: watcher.result() for name, watcher in watchers.items()}
        stop.set()
        for writer in writers:
            writer.result()
    for name, waits in found.items():
        _say(name, waits)
    return 0


def _charge_on(url: str, stop: threading.Event) -> None:
    client: Any = redis.Redis.from_url(url, protocol=2)
    while not stop.wait(1 / _RATE):
        client.xadd("charges", {"data": _BYTES}, maxlen=10_000)


def _journal_on(root: Path, stop: threading.Event) -> None:
    journal = Journal(root, "bench")
    charge = make_charge(uuid4())
    record = Record(1, charge, charge.to_bytes())
    while not stop.wait(1 / _RATE):
        journal.append([record])
    journal.close()


def ages(path: Path, seconds: int) -> list[float]:
    """Seconds, one for each look at the file."""
    written: list[float] = []  # by page: when it was first seen
    found: list[float] = []
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        pages = -(-path.stat().st_size // _PAGE)
        written.extend([now] * (pages - len(written)))
        # The last page is being written to: it is dirty again at once.
        unwritten = [page for page in unwritten_pages(path) if page < pages - 1]
        found.append(now - written[unwritten[0]] if unwritten else 0)
        time.sleep(0.1)
    return found


def unwritten_pages(path: Path) -> list[int]:
    """Pages of the file that the kernel has in memory alone. Raises PermissionError unless root."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        count = -(-size // _PAGE)
        touched = sum(mapped[n * _PAGE] for n in range(count))  # maps every page
        assert touched >= 0
        frames = _frames(_address_of(path), count)
    with open("/proc/kpageflags", "rb", buffering=0) as flags:  # noqa: PTH123 - unbuffered
        return [n for n, frame in enumerate(frames) if _flags(flags.fileno(), frame) & _UNWRITTEN]


def _address_of(path: Path) -> int:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            return int(line.partition("-")[0], 16)
    raise LookupError(path)


def _frames(address: int, count: int) -> Sequence[int]:
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:  # noqa: PTH123 - unbuffered
        raw = os.pread(pagemap.fileno(), 8 * count, address // _PAGE * 8)
    entries = struct.unpack(f"={count}Q", raw)
    return [entry & _PFN if entry & _PRESENT else 0 for entry in entries]


def _flags(file: int, frame: int) -> int:
    flags: int = struct.unpack("=Q", os.pread(file, 8, frame * 8))[0]
    return flags


def _say(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    shown = "  ".join(
        f"{name} {ordered[min(int(len(ordered) * part), len(ordered) - 1)]:.3f} s"
        for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    )
    sys.stdout.write(f"{what}: {shown}  ({len(ordered)} samples)\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
