"""`apilink migrate`, `work` and `serve` as processes: what an operator starts, stops and kills."""

import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from proxy.dev.servers import Server, run_postgres, run_redis
from tests.conftest import DEBIAN_POSTGRES, DEBIAN_REDIS, POSTGRES_FOR_TESTS
from tests.support.deployment import CHAT, HELD, HELD_NANOS, Deployment, run_deployment
from tests.support.processes import is_running, until

EMPTY = "template1"  # a database without our schema


@pytest.fixture(params=["embedded", "debian"])
def empty_deployment(
    request: pytest.FixtureRequest, postgres_server: Server, tmp_path: Path, short_dir: Path
) -> Iterator[Deployment]:
    """Nothing is migrated. On the servers of `make run`, and on Debian's Redis 7.0, Postgres 15."""
    if request.param == "embedded":
        with run_deployment(postgres_server.url, EMPTY, tmp_path) as apilink:
            yield apilink
        return
    for program in (DEBIAN_REDIS, DEBIAN_POSTGRES / "postgres"):
        if not program.exists():
            pytest.skip(f"{program} is not installed")
    open_redis = partial(run_redis, binary=DEBIAN_REDIS)
    with (
        run_postgres(
            short_dir / "debian", bin_dir=DEBIAN_POSTGRES, settings=POSTGRES_FOR_TESTS
        ) as postgres,
        run_deployment(postgres.url, EMPTY, tmp_path, open_redis=open_redis) as apilink,
    ):
        yield apilink


def test_from_an_empty_database_to_charged_answers_of_two_processes(
    empty_deployment: Deployment,
) -> None:
    apilink = empty_deployment
    assert len(apilink.apilink("migrate", "--json")["applied"]) >= 3
    assert apilink.apilink("migrate", "--json") == {"applied": []}
    worker = apilink.start("work")
    gateway = apilink.start_gateway(workers=2)
    worker.ready()
    key = apilink.key()
    for pid in gateway.pids:
        door = gateway.door(pid)
        whole = door.chat(key, CHAT)
        assert whole.headers["x-apilink-cost-nanos"] == str(whole.json()["usage"]["cost_nanos"])
        assert door.stream(key, CHAT).rest().body.endswith(b"data: [DONE]\n\n")
    rows = apilink.charged(key, gateway.door(), rows=4)
    assert {row["status"] for row in rows} == {"ok"}
    assert len({row["incarnation"] for row in rows}) == 2  # one for each process
    apilink.assert_books_agree()
    assert (gateway.stop(), worker.stop()) == (0, 0)


def test_a_stop_lets_running_streams_end(deployment: Deployment) -> None:
    worker = deployment.start("work")
    gateway = deployment.start_gateway(workers=2)
    worker.ready()
    key = deployment.key()
    doors = [gateway.door(pid) for pid in gateway.pids]
    streams = [door.stream(key, HELD) for door in doors]
    assert all(b"held" in stream.event() for stream in streams)
    gateway.signal(signal.SIGTERM)
    until(lambda: _is_refused(gateway.port))
    assert not gateway.has_ended
    deployment.let_go()
    for stream in streams:
        assert stream.rest().body.endswith(b"data: [DONE]\n\n")
    assert gateway.ended() == 0
    until(lambda: len(deployment.rows(key)) == 2)
    assert worker.stop() == 0
    assert [row["charged_nanos"] for row in deployment.rows(key)] == [HELD_NANOS] * 2
    deployment.assert_books_agree()


def test_a_stop_cuts_streams_that_do_not_end_and_says_so(deployment: Deployment) -> None:
    gateway = deployment.start_all(shutdown_seconds_max=1)
    key = deployment.key()
    stream = gateway.door().stream(key, HELD)
    stream.event()
    gateway.signal(signal.SIGTERM)
    (_, last) = stream.rest().events()
    assert last["error"]["code"] == "overloaded"
    assert gateway.ended() == 0
    (row,) = until(lambda: deployment.rows(key))
    assert (row["status"], row["usage_source"]) == ("cut_drain", "estimated")


def test_a_process_that_was_killed_is_replaced(deployment: Deployment) -> None:
    gateway = deployment.start_all(workers=2)
    key = deployment.key()
    dead, alive = gateway.pids
    assert gateway.door(dead).chat(key, CHAT).status == 200
    os.kill(dead, signal.SIGKILL)
    (*_, line) = gateway.ready(3)
    assert line["pid"] not in (dead, alive)
    for pid in (alive, line["pid"]):
        assert gateway.door(pid).chat(key, CHAT).status == 200
    deployment.charged(key, gateway.door(), rows=3)
    deployment.assert_books_agree()
    assert [died["worker"] for died in gateway.log("worker_died")] == [dead]
    assert gateway.stop() == 0


def test_gateways_end_with_their_supervisor(deployment: Deployment) -> None:
    """A supervisor that was killed leaves nobody on its port; what runs is served to its end."""
    gateway = deployment.start_all(workers=2)
    key = deployment.key()
    stream = gateway.door().stream(key, HELD)
    stream.event()
    gateway.kill()
    until(lambda: _is_refused(gateway.port))
    deployment.let_go()
    assert stream.rest().body.endswith(b"data: [DONE]\n\n")
    until(lambda: not any(map(is_running, gateway.pids)))


def _is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
