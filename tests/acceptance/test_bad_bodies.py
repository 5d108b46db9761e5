"""Bodies that are wrong, against the whole platform: a 4xx each, and the money never moved."""

import gzip
import json

from tests.support.deployment import CHAT, CREDIT_NANOS, Deployment

MESSAGE = {"role": "user", "content": "Say something."}
GOOD = json.dumps({"model": CHAT, "messages": [MESSAGE]}).encode()


def but(**fields: object) -> bytes:
    """The good body with these fields changed."""
    return json.dumps({"model": CHAT, "messages": [MESSAGE], **fields}).encode()


BAD = {
    "nothing": (b"", 400),
    "half of it": (GOOD[: len(GOOD) // 2], 400),
    "no object": (b"[]", 400),
    "not UTF-8": (b"\xff\xfe" + GOOD, 400),
    "a lone surrogate": (GOOD.replace(b"Say", b"\\ud800"), 400),
    "a key twice": (GOOD[:-1] + b',"model":"other"}', 400),
    "very deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "no messages": (but(messages=None), 400),
    "messages that are a text": (but(messages="Say something."), 400),
    "fewer than no tokens": (but(max_tokens=-1), 400),
    "more tokens than there are": (GOOD[:-1] + b',"max_tokens":' + b"9" * 40 + b"}", 400),
    "a million answers": (but(n=1_000_000), 400),
    "what no route can carry": (but(modalities=["audio"], audio={"voice": "alloy"}), 400),
    "a policy of another type": (but(jurisdictions="everywhere"), 400),
    "no such model": (but(model="nobody/nothing"), 404),
    "too large": (but(messages=[{"role": "user", "content": "x" * 2**16}]), 413),
}
ENCODED = {
    "gzip that is none": (GOOD, "gzip", 400),
    "a bomb": (gzip.compress(b" " * 2**24), "gzip", 413),
    "another encoding": (GOOD, "br", 415),
}


def test_bad_bodies_are_refused_and_cost_nothing(deployment: Deployment) -> None:
    gateway = deployment.start_all(workers=2, body_bytes_max=2**16)
    key = deployment.key()
    for pid in gateway.pids:
        found = {}
        for name, (body, _) in BAD.items():
            found[name] = gateway.door(pid).post(key, body).status
        for name, (body, encoding, _) in ENCODED.items():
            answer = gateway.door(pid).post(key, body, content_encoding=encoding)
            found[name] = answer.status
        wanted = {name: case[-1] for name, case in (BAD | ENCODED).items()}
        assert found == wanted
        wallet = gateway.door(pid).get("/v1/key", key).json()["data"]
        assert (wallet["held_nanos"], wallet["balance_nanos"]) == (0, CREDIT_NANOS)
    # What comes after them is served, and is the only row.
    door = gateway.door()
    assert door.post(key, GOOD).status == 200
    (row,) = deployment.charged(key, door, rows=1)
    assert row["status"] == "ok"
    deployment.assert_books_agree()
