"""Two `apilink work` on one shard: one flushes at a time, and the other is there when it dies."""

import signal
import time
from typing import Any

from proxy.ledger.opening import FLUSH_LEASE_SECONDS as LEASE_SECONDS
from tests.support.deployment import CHAT, Deployment
from tests.support.processes import Program, until


def flusher(apilink: Deployment) -> int:
    """The pid of the worker that has the shard's lease."""
    (row,) = apilink.query("SELECT flusher_owner FROM shards")
    return int(row["flusher_owner"].rpartition(":")[2])


def batches(apilink: Deployment) -> int:
    (row,) = apilink.query("SELECT count(*) FROM ledger_batches WHERE kind = 'flush'")
    return int(row["count"])


def test_a_second_worker_takes_over_from_one_that_was_killed(deployment: Deployment) -> None:
    workers: dict[int, Program] = {}
    for _ in range(2):
        worker = deployment.start("work", lease_seconds=2)
        workers[worker.pid] = worker
    door = deployment.start_gateway(lease_seconds=2).door()
    for worker in workers.values():
        worker.ready()
    key = deployment.key()
    owners = set()
    for rows in range(1, 6):
        assert door.chat(key, CHAT).status == 200
        deployment.charged(key, door, rows=rows)
        owners.add(flusher(deployment))
    assert len(owners) == 1
    assert batches(deployment) <= 5
    first = owners.pop()
    # It stands still in the middle of whatever it does, the other one comes, and it wakes up again.
    workers[first].signal(signal.SIGSTOP)
    assert door.chat(key, CHAT).status == 200
    deployment.charged(key, door, rows=6)
    (second,) = set(workers) - {first}
    assert flusher(deployment) == second
    workers[first].signal(signal.SIGCONT)
    assert door.chat(key, CHAT).status == 200
    deployment.charged(key, door, rows=7)
    workers[second].kill()
    assert door.chat(key, CHAT).status == 200
    assert_nothing_twice(deployment.charged(key, door, rows=8))
    assert until(lambda: flusher(deployment) == first)
    deployment.assert_books_agree()
    assert workers[first].stop() == 0


def test_one_that_is_told_to_stop_keeps_nobody_waiting(deployment: Deployment) -> None:
    """It gives its lease up: the other flushes at once, not when the lease would have ended."""
    workers = {
        worker.pid: worker for worker in (deployment.start("work"), deployment.start("work"))
    }
    door = deployment.start_gateway().door()
    for worker in workers.values():
        worker.ready()
    key = deployment.key()
    assert door.chat(key, CHAT).status == 200
    deployment.charged(key, door, rows=1)
    first = workers.pop(flusher(deployment))
    assert first.stop() == 0
    began = time.monotonic()
    assert door.chat(key, CHAT).status == 200
    assert_nothing_twice(deployment.charged(key, door, rows=2))
    assert time.monotonic() - began < LEASE_SECONDS / 3
    assert flusher(deployment) in workers
    deployment.assert_books_agree()


def assert_nothing_twice(rows: list[dict[str, Any]]) -> None:
    assert len({row["id"] for row in rows}) == len({row["number"] for row in rows}) == len(rows)
