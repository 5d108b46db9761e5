"""Redis as it is, past the ledger: for tests that look for what must not be there."""

from typing import Any

from redis import Redis


def redis_says(url: str, *command: str) -> Any:
    with Redis.from_url(url) as client:
        return client.execute_command(*command)


def everything(url: str) -> bytes:
    """Every key with all that is in it."""
    with Redis.from_url(url) as client:
        return b"\n".join(key + b" " + _value(client, key) for key in client.scan_iter())


def _value(client: "Redis[bytes]", key: bytes) -> bytes:
    read = {b"hash": client.hgetall, b"stream": client.xrange, b"string": client.get}
    kind = client.type(key)
    if kind == b"zset":
        return repr(client.zrange(key, 0, -1, withscores=True)).encode()
    return repr(read[kind](key)).encode()
