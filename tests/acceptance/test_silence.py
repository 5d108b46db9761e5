"""What is said is never at rest: no table, no key of Redis, no journal, no log line has it."""

import json
from pathlib import Path

from tests.support.deployment import CHAT, FAILING, QUOTING, Deployment
from tests.support.doors import Door
from tests.support.platform import TestKey
from tests.support.raw_redis import everything

CANARY = "canary-7fK2wQ9x"


def speak(door: Door, key: TestKey, deployment: Deployment) -> int:
    """Has the canary go through every way there is; how many rows that makes."""
    said = [{"role": "user", "content": f"[simulate echo] Say {CANARY}."}]
    fields = {"messages": said, "user": CANARY, "metadata": {CANARY: CANARY}, "stop": [CANARY * 9]}
    whole = door.chat(key, CHAT, **fields)
    assert (whole.status, CANARY in whole.body.decode()) == (200, True)
    streamed = door.stream(key, CHAT, **fields).rest()
    assert CANARY in "".join(e["choices"][0]["delta"].get("content", "") for e in streamed.events())
    quoted = door.chat(key, QUOTING, messages=said)
    assert (quoted.status, CANARY in quoted.body.decode()) == (400, True)
    hidden = door.chat(key, FAILING, messages=said)
    assert (hidden.status, CANARY in hidden.body.decode()) == (502, False)
    assert deployment.quoted == 2
    for body in (
        b'{"model": "' + CHAT.encode() + b'", "messages": "' + CANARY.encode() + b'"}',
        b'{"' + CANARY.encode() + b'": ',
        json.dumps({"model": CANARY, "messages": said}).encode(),
        json.dumps({"model": CHAT, "messages": said, CANARY: 1, "max_tokens": -1}).encode(),
    ):
        assert 400 <= door.post(key, body).status <= 404
    door.post(key, b"{}", x_request_id=CANARY, x_canary=CANARY, user_agent=CANARY)
    door.get(f"/v1/models/{CANARY}?{CANARY}={CANARY}", key)
    door.get(f"/v1/usage?from={CANARY}", key)
    return 4


def test_the_canary_is_nowhere(deployment: Deployment) -> None:
    gateway = deployment.start_all(workers=2, log_level="debug")
    key = deployment.key()
    door = gateway.door()
    rows = speak(door, key, deployment)
    deployment.charged(key, door, rows=rows)
    places = {
        "Redis": everything(deployment.redis.url),
        **tables_of(deployment),
        **files_below(deployment.directory),
    }
    # The search sees what is there: ids of what happened are in all three.
    (first, *_) = deployment.rows(key)
    for kind in ("Redis", "table usage_", ".log", ".stderr"):
        assert any(first["id"].encode() in raw for name, raw in places.items() if kind in name)
    assert [name for name, raw in places.items() if CANARY.encode() in raw] == []


def tables_of(deployment: Deployment) -> dict[str, bytes]:
    """Every row of every table, as text."""
    found = {}
    for row in deployment.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        name = row["tablename"]
        dump = deployment.query(f'SELECT t::text AS line FROM "{name}" AS t')
        found[f"table {name}"] = "\n".join(line["line"] for line in dump).encode()
    return found


def files_below(directory: Path) -> dict[str, bytes]:
    """Journals, what the processes printed, and what Redis keeps on disk."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
