"""What a shard has in Redis, of every generation: found by looking, past the product.

`al:{s0}:shard` is the shard's own; every other key carries its generation, `al:{s0}:3:w:ACCOUNT`.
A store that was written before generations had keys of their own has none there: generation 0.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_NAME = re.compile(r"al:\{s(\d+)\}:(?:(\d+):)?([a-z]+)(?::(.+))?")
_PAGE = 1000

Client = Any  # a Redis or a RedisCluster: they share the commands, and no type


@dataclass(frozen=True, slots=True)
class Key:
    """`kind` is w, k, h, leases, charges…; `name` is whose, "" where there is one of its kind."""

    raw: str
    shard: int
    generation: int
    kind: str
    name: str


def parse_key(raw: str) -> Key | None:
    found = _NAME.fullmatch(raw)
    if found is None:
        return None
    shard, generation, kind, name = found.groups()
    return Key(raw, int(shard), int(generation or 0), kind, name or "")


async def find_keys(client: Client, kind: str = "") -> list[Key]:
    """All, or those that end with a kind, in the order of their names."""
    found = set()
    async for raw in client.scan_iter(match=f"al:*{kind}", count=_PAGE):
        found.add(raw.decode())
    return [key for raw in sorted(found) if (key := parse_key(raw)) is not None]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """To one server, or to the cluster of `redis://A,B?cluster=true`."""
    client = _client(url)
    try:
        yield client
    finally:
        await client.aclose()


def _client(url: str) -> Client:
    parts = urlsplit(url)
    once = Retry(NoBackoff(), 0)
    if "cluster" not in parse_qs(parts.query):
        return Redis.from_url(url, socket_timeout=5, retry=once)
    places = (place.rpartition(":") for place in parts.netloc.split(","))
    nodes = [ClusterNode(host, int(port)) for host, _, port in places]
    return RedisCluster(startup_nodes=nodes, socket_timeout=5)
