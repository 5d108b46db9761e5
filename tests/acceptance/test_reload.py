"""The routing table changes under running gateways: all of it, or nothing."""

import os
import signal
from collections.abc import Callable

from tests.support.deployment import CHAT, Deployment, changed
from tests.support.doors import Door
from tests.support.processes import until

RENAMED = "alpha/renamed"


def serves(door: Door, key: object, name: str) -> Callable[[], bool]:
    return lambda: door.get(f"/v1/models/{name}", key).status == 200


def test_a_changed_table_takes_effect_and_a_broken_one_never_does(deployment: Deployment) -> None:
    gateway = deployment.start_all(workers=2)
    key = deployment.key()
    good = deployment.routing.read_text()
    first, second = (gateway.door(pid) for pid in gateway.pids)
    revision = first.chat(key, CHAT).headers["x-apilink-routing-revision"]

    deployment.routing.write_text(changed(good, "seat: FR", "seat: France"))
    until(lambda: len(gateway.log("routing_reload_refused")) == len(gateway.pids))
    for door in (first, second):
        answer = door.chat(key, CHAT)
        assert (answer.status, answer.headers["x-apilink-routing-revision"]) == (200, revision)

    deployment.routing.write_text(good.replace(f"{CHAT}:", f"{RENAMED}:"))
    for door in (first, second):
        until(serves(door, key, RENAMED))
        assert door.chat(key, CHAT).status == 404
        answer = door.chat(key, RENAMED)
        assert answer.status == 200
        assert answer.headers["x-apilink-routing-revision"] != revision
    deployment.charged(key, first, rows=5)
    until(lambda: len(deployment.query("SELECT 1 FROM routing_revisions")) == 2)
    deployment.apilink("ledger", "explain", answer.headers["x-request-id"], "--json")


def test_a_hangup_reloads_every_process(deployment: Deployment) -> None:
    gateway = deployment.start_all(workers=2)
    key = deployment.key()
    doors = [gateway.door(pid) for pid in gateway.pids]
    _change_unseen(deployment)
    assert not any(serves(door, key, "alpha/tahc")() for door in doors)
    gateway.signal(signal.SIGHUP)
    for door in doors:
        until(serves(door, key, "alpha/tahc"))
        assert door.chat(key, "alpha/tahc").status == 200
    # Postgres has heard of it, so the charge can be explained.
    until(lambda: len(deployment.query("SELECT 1 FROM routing_revisions")) == 2)


def _change_unseen(deployment: Deployment) -> None:
    """Nothing that the schedule looks at shows it: the same length, time and file."""
    before = deployment.routing.stat()
    text = changed(deployment.routing.read_text(), f"  {CHAT}:", "  alpha/tahc:")
    with deployment.routing.open("r+") as file:
        file.write(text)
    os.utime(deployment.routing, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert deployment.routing.stat().st_size == before.st_size
