"""A process is killed, a store is away: what the client sees, and that the money comes out even."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import IncompleteRead
from pathlib import Path

import pytest

from proxy.dev.servers import run_postgres
from tests.conftest import POSTGRES_FOR_TESTS
from tests.support.databases import make_template
from tests.support.deployment import CHAT, HELD, HELD_NANOS, Deployment, run_deployment
from tests.support.doors import Door
from tests.support.platform import Answer, TestKey
from tests.support.processes import paused, until

DONE = b"data: [DONE]\n\n"
# Redis is noticed to be away long before a lease ends.
QUICK = {"lease_seconds": 2, "ledger_timeout_ms": 200}


def assert_come_back_later(answer: Answer) -> None:
    """The words for a store that is away, whichever it is; never 401."""
    assert (answer.status, answer.json()["error"]["code"]) == (503, "ledger_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-should-retry"] == "true"


def test_a_gateway_killed_mid_stream_costs_the_customer_nothing(deployment: Deployment) -> None:
    gateway = deployment.start_all(lease_seconds=1)
    key = deployment.key()
    stream = gateway.door().stream(key, HELD)
    stream.event()
    gateway.kill()
    with pytest.raises((ConnectionError, IncompleteRead)):
        stream.rest()
    (row,) = until(lambda: deployment.rows(key))
    assert (row["status"], row["usage_source"], row["charged_nanos"]) == ("orphaned", "none", 0)
    assert row["id"] == stream.headers["x-request-id"]
    door = deployment.start_gateway(lease_seconds=1).door()
    assert deployment.charged(key, door, rows=1) == [row]
    deployment.assert_books_agree()


@pytest.mark.parametrize("is_orphaned_first", [False, True])
def test_a_charge_that_only_the_journal_has_is_taken_once(
    deployment: Deployment, *, is_orphaned_first: bool
) -> None:
    """The client has its final byte, Redis never heard of it, and then the gateway is killed."""
    gateway = deployment.start_all(**QUICK)
    key = deployment.key()
    door = gateway.door()
    stream = door.stream(key, HELD)
    stream.event()
    with paused(deployment.redis):
        assert_come_back_later(gateway.door().chat(key, CHAT))
        deployment.let_go()
        assert stream.rest().body.endswith(DONE)
        gateway.kill()
    if is_orphaned_first:
        (orphan,) = until(lambda: deployment.rows(key))
        assert (orphan["status"], orphan["charged_nanos"]) == ("orphaned", 0)
    second = deployment.start_gateway(**QUICK)
    until(lambda: [row["status"] for row in deployment.rows(key)] == ["ok"])
    (row,) = deployment.charged(key, second.door(), rows=1)
    assert (row["charged_nanos"], row["usage_source"]) == (HELD_NANOS, "reported")
    assert row["id"] == stream.headers["x-request-id"]
    # Whoever comes next finds the same journal again, and takes nothing more.
    second.kill()
    third = deployment.start_gateway(**QUICK)
    assert third.door().chat(key, CHAT).status == 200
    assert len(deployment.charged(key, third.door(), rows=2)) == 2
    deployment.assert_books_agree()


def test_redis_is_away_while_an_answer_streams(deployment: Deployment) -> None:
    gateway = deployment.start_all(workers=2, **QUICK)
    key, unseen = deployment.key(), deployment.key()
    stream = gateway.door().stream(key, HELD)
    stream.event()
    with paused(deployment.redis):
        for pid in gateway.pids:
            door = gateway.door(pid)
            assert_come_back_later(door.chat(key, CHAT))
            assert_come_back_later(door.chat(unseen, CHAT))
            assert_come_back_later(door.get("/v1/key", key))
            assert door.get("/readyz", key).json()["checks"] == {"ledger": False}
        deployment.let_go()
        assert stream.rest().body.endswith(DONE)
    door = gateway.door()
    until(lambda: door.chat(key, CHAT).status == 200)
    first, *_ = deployment.charged(key, door, rows=2)
    assert (first["status"], first["charged_nanos"]) == ("ok", HELD_NANOS)
    assert deployment.charged(unseen, door, rows=0) == []
    deployment.assert_books_agree()


class OwnPostgres:
    """One that a test may stop and start again; its data and its URL stay."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        scope = run_postgres(self._directory, settings=POSTGRES_FOR_TESTS)
        self.server = self._running.enter_context(scope)

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def own_postgres(short_dir: Path) -> Iterator[OwnPostgres]:
    postgres = OwnPostgres(short_dir / "own-postgres")
    yield postgres
    postgres.stop()


def test_postgres_is_away(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    template = make_template(own_postgres.server.url)
    with run_deployment(own_postgres.server.url, template, tmp_path) as deployment:
        door = deployment.start_all().door()
        known, unknown = deployment.key(), deployment.key()
        assert door.chat(known, CHAT).status == 200
        own_postgres.stop()
        try:
            assert_serves_whom_it_knows(door, known, unknown)
        finally:
            own_postgres.start()
        until(lambda: door.chat(unknown, CHAT).status == 200)
        assert len(deployment.charged(known, door, rows=3)) == 3
        assert len(deployment.charged(unknown, door, rows=1)) == 1
        deployment.assert_books_agree()


def test_postgres_stands_still(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    """Connections are taken and nothing is answered: nobody waits longer than for a moment."""
    template = make_template(own_postgres.server.url)
    with run_deployment(own_postgres.server.url, template, tmp_path) as deployment:
        door = deployment.start_all().door()
        known, unknown = deployment.key(), deployment.key()
        assert door.chat(known, CHAT).status == 200
        with paused(own_postgres.server):
            assert refused_seconds(door, unknown) < 3
            later = [refused_seconds(door, unknown) for _ in range(10)]
            assert sorted(later)[-2] < 0.5  # one of them in a second asks for all
            assert_serves_whom_it_knows(door, known, unknown)
        until(lambda: door.chat(unknown, CHAT).status == 200)
        assert len(deployment.charged(known, door, rows=3)) == 3
        assert len(deployment.charged(unknown, door, rows=1)) == 1
        deployment.assert_books_agree()


def refused_seconds(door: Door, key: TestKey) -> float:
    began = time.monotonic()
    assert_come_back_later(door.chat(key, CHAT))
    return time.monotonic() - began


def assert_serves_whom_it_knows(door: Door, known: TestKey, unknown: TestKey) -> None:
    assert door.chat(known, CHAT).status == 200
    assert door.stream(known, CHAT).rest().body.endswith(DONE)
    assert door.get("/v1/key", known).json()["data"]["held_nanos"] == 0
    assert_come_back_later(door.chat(unknown, CHAT))
    assert_come_back_later(door.get("/v1/models", unknown))
    assert_come_back_later(door.get("/v1/usage", known))
