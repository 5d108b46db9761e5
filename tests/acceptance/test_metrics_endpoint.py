"""`/metrics` of running processes, as Prometheus would ask for them."""

import os
import signal
import socket
from http.client import HTTPConnection
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families as parse

from tests.support.deployment import CHAT, HELD, Deployment
from tests.support.processes import until

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def fetch(url: str) -> tuple[int, str, str]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.getheader("content-type", ""), response.read().decode()
    finally:
        connection.close()


def scrape(url: str) -> Found:
    status, kind, text = fetch(url)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def sum_of(found: Found, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (n, has), value in found.items() if n == name and wanted <= has)


def two_ports() -> int:
    """The first of two that are free."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def test_a_gateway_counts_what_it_served_and_holds(deployment: Deployment) -> None:
    gateway = deployment.start_all(admin_listen="127.0.0.1:0")
    (line,) = gateway.ready()
    key = deployment.key()
    charged = [gateway.door().chat(key, CHAT).json()["usage"]["cost_nanos"] for _ in range(2)]
    assert gateway.door().chat("sk-al-wrong", CHAT).status == 401
    stream = gateway.door().stream(key, HELD)
    stream.event()
    found = scrape(line["metrics_url"])
    ok = {"model": CHAT, "status": "ok"}
    assert sum_of(found, "apilink_requests_total", **ok) == 2
    assert sum_of(found, "apilink_charged_nanos_total") == sum(charged)
    assert sum_of(found, "apilink_errors_total", code="invalid_api_key") == 1
    assert sum_of(found, "apilink_open_holds") == sum_of(found, "apilink_open_requests") == 1
    assert sum_of(found, "apilink_ledger_connected") == 1
    assert sum_of(found, "apilink_journal_bytes") > 0
    assert ("apilink_upstream_breaker_state", frozenset({("upstream", "scripted")})) in found
    deployment.let_go()
    stream.rest()
    until(lambda: sum_of(scrape(line["metrics_url"]), "apilink_open_holds") == 0)
    assert fetch(line["metrics_url"].replace("/metrics", "/"))[0] == 404


def test_a_worker_says_that_the_books_agree_and_nothing_waits(deployment: Deployment) -> None:
    worker = deployment.start("work", admin_listen="127.0.0.1:0")
    (line,) = worker.ready()

    def verified() -> Found | None:
        found = scrape(line["metrics_url"])
        return found if sum_of(found, "apilink_ledger_verdict", verdict="ok") else None

    found = until(verified)
    assert found is not None
    assert found["apilink_ledger_difference_nanos", frozenset()] == 0
    assert found["apilink_ledger_verified_timestamp_seconds", frozenset()] > 1.7e9
    shard = frozenset({("shard", "0")})
    until(lambda: ("apilink_flush_lag_seconds", shard) in scrape(line["metrics_url"]))
    assert scrape(line["metrics_url"])["apilink_unflushed_entries", shard] == 0


def test_each_process_has_a_port_of_its_own_and_its_successor_the_same(
    deployment: Deployment,
) -> None:
    port = two_ports()
    worker = deployment.start("work")
    gateway = deployment.start_gateway(workers=2, admin_listen=f"127.0.0.1:{port}")
    worker.ready()
    urls = {line["pid"]: line["metrics_url"] for line in gateway.ready(2)}
    both = {f"http://127.0.0.1:{port + place}/metrics" for place in range(2)}
    assert set(urls.values()) == both
    key = deployment.key()
    dead, alive = gateway.pids
    assert gateway.door(alive).chat(key, CHAT).status == 200
    assert sum_of(scrape(urls[alive]), "apilink_requests_total") == 1
    assert sum_of(scrape(urls[dead]), "apilink_requests_total") == 0
    os.kill(dead, signal.SIGKILL)
    (*_, line) = gateway.ready(3)
    assert line["metrics_url"] == urls[dead]
    assert sum_of(scrape(urls[dead]), "apilink_ledger_connected") == 1


def test_an_address_that_is_taken_is_told_by_its_setting(deployment: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        worker = deployment.start("work", admin_listen=address)
        assert worker.ended() == 2
    assert worker.stderr.read_text().startswith(f"APILINK_ADMIN_LISTEN: cannot listen at {address}")
