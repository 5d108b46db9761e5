"""`replica`: a charge is safe once one replica has it, asked of a real pair of servers."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from proxy.domain.durability import LedgerDurability
from proxy.ledger.address import parse_redis_url
from proxy.ledger.confirmations import open_confirmations
from tests.bench.peer import free_port
from tests.conftest import DEBIAN_REDIS

WAIT_MS = 1_000


@dataclass(slots=True)
class Pair:
    url: str
    replica: "subprocess.Popen[bytes]"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    if not DEBIAN_REDIS.exists():
        pytest.skip(f"{DEBIAN_REDIS} is not installed (apt-get install redis-server)")
    with ExitStack() as stack:
        port = free_port()
        _start(stack, tmp_path / "master", port)
        of_master = ("--replicaof", f"127.0.0.1 {port}")
        replica = _start(stack, tmp_path / "replica", free_port(), *of_master)
        with redis.Redis(port=port) as client:
            _wait(lambda: client.info("replication")["slave0"]["state"] == "online")
        yield Pair(f"redis://127.0.0.1:{port}", replica)


def _start(stack: ExitStack, directory: Path, port: int, *words: str) -> "subprocess.Popen[bytes]":
    directory.mkdir()
    base = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "")
    fast = ("--repl-diskless-sync-delay", "0")
    started = stack.enter_context(
        subprocess.Popen([DEBIAN_REDIS, *base, *fast, *words], stdout=subprocess.DEVNULL)
    )
    stack.callback(started.kill)
    return started


def _wait(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            if is_so():
                return
        except (redis.ConnectionError, KeyError):
            pass
        assert time.monotonic() < end, "the replica does not come"
        time.sleep(0.02)


async def test_a_replica_that_has_it_is_enough_and_one_that_died_says_nothing(pair: Pair) -> None:
    address = parse_redis_url(pair.url)
    async with open_confirmations(
        address, LedgerDurability.REPLICA, wait_ms=WAIT_MS
    ) as confirmations:
        assert confirmations is not None
        assert await confirmations.request()
        pair.replica.kill()
        pair.replica.wait()
        assert not await confirmations.request()
