"""Redis' book, read past the product: wallets and holds of the newest generation, and the charge
streams of all that are still there."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import orjson

from tests.chaos.keys import Client, Key, connected, find_keys
from tests.chaos.records import Entry, RedisBook, Wallet

_PAGE = 1000


async def read_redis(url: str) -> RedisBook:
    async with connected(url) as client:
        return await read_client(client)


async def read_client(client: Client) -> RedisBook:
    keys = await find_keys(client)
    told = await _told(client, keys)
    newest = _newest(told, keys)
    wallets, keys_held, holds = {}, {}, {}
    leases: set[str] = set()
    entries: list[Entry] = []
    for key in keys:
        if key.kind == "charges":
            entries += await read_stream(client, key)
        if key.generation != newest.get(key.shard):
            continue
        if key.kind == "w":
            balance, held = await client.hmget(key.raw, "balance", "held")
            wallets[key.name] = Wallet(int(balance), int(held))
        elif key.kind == "k":
            held, is_open = await client.hmget(key.raw, "held", "open")
            keys_held[key.name] = int(held or 0) + int(is_open or 0)
        elif key.kind == "h":
            holds[key.name] = int(await client.hget(key.raw, "amount") or 0)
        elif key.kind == "leases":
            leases |= {raw.decode() for raw in await client.zrange(key.raw, 0, -1)}
    holds |= dict.fromkeys(leases - holds.keys(), 0)
    return RedisBook(wallets, holds, keys_held, entries, told)


async def _told(client: Client, keys: Iterable[Key]) -> Mapping[int, int]:
    """By shard: the generation that it says it is at."""
    shards = [key for key in keys if key.kind == "shard"]
    return {key.shard: int(await client.hget(key.raw, "generation") or 0) for key in shards}


def _newest(told: Mapping[int, int], keys: Iterable[Key]) -> Mapping[int, int]:
    """By shard: the generation whose keys count."""
    with_keys: dict[int, set[int]] = defaultdict(set)
    for key in keys:
        if key.kind != "shard":
            with_keys[key.shard].add(key.generation)
    return {shard: 0 if with_keys[shard] == {0} else at for shard, at in told.items()}


async def read_stream(client: Client, key: Key, after: str = "-") -> list[Entry]:
    found: list[Entry] = []
    while page := await client.xrange(key.raw, after, "+", count=_PAGE):
        found += [_entry(key, raw_id.decode(), fields) for raw_id, fields in page]
        after = f"({page[-1][0].decode()}"
    return found


def _entry(key: Key, stream_id: str, fields: dict[bytes, bytes]) -> Entry:
    charge = orjson.loads(fields[b"d"])
    return Entry(
        stream_id=stream_id,
        request_id=charge["request_id"],
        account_id=fields[b"a"].decode(),
        charged_nanos=int(fields[b"c"]),
        status=charge["status"],
        marker=charge.get("client_request_id"),
        shard=key.shard,
        generation=key.generation,
    )


async def ends_of_streams(url: str) -> Mapping[int, str]:
    """By shard: the last entry of its newest generation, "0-0" where there is none."""
    async with connected(url) as client:
        keys = await find_keys(client)
        newest = _newest(await _told(client, keys), keys)
        ends = dict.fromkeys(newest, "0-0")
        for key in keys:
            if key.kind == "charges" and key.generation == newest.get(key.shard):
                page = await client.xrevrange(key.raw, count=1)
                ends[key.shard] = page[0][0].decode() if page else "0-0"
        return ends
