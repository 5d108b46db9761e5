"""The harness reads Redis past the product, so it must know the product's names."""

from pathlib import Path
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from proxy.dev.servers import open_redis
from proxy.ledger.calls import ShardKeys, shard_key
from tests.chaos.keys import Key, parse_key
from tests.chaos.losses import autopsy, empty, older
from tests.chaos.members import StoreMember
from tests.chaos.redis_book import read_redis

ID = UUID(int=7)
CHARGE = '{"request_id": "r%d", "status": "ok", "client_request_id": "m"}'


def test_every_name_is_understood() -> None:
    keys = ShardKeys(3, 12)
    named = {
        keys.wallet(ID): ("w", str(ID)),
        keys.key("abc"): ("k", "abc"),
        keys.hold(ID): ("h", str(ID)),
        keys.leases: ("leases", ""),
        keys.charges: ("charges", ""),
    }
    for raw, (kind, name) in named.items():
        assert parse_key(raw) == Key(raw, 3, 12, kind, name)
    assert parse_key(shard_key(3)) == Key(shard_key(3), 3, 0, "shard", "")
    assert parse_key("another:name") is None


async def _fill(client: "Redis", generation: int, balance: int, request: int) -> None:
    keys = ShardKeys(0, generation)
    await client.hset(shard_key(0), "generation", str(generation))
    await client.hset(keys.wallet(ID), mapping={"balance": balance, "held": 5})
    await client.hset(keys.hold(ID), "amount", "5")
    fields: dict[Any, Any] = {"a": str(ID), "c": "9", "d": CHARGE % request}
    await client.xadd(keys.charges, fields)


async def test_wallets_are_the_newest_generations_and_streams_are_everybodys(
    short_dir: Path,
) -> None:
    async with open_redis(short_dir / "keys") as server, Redis.from_url(server.url) as client:
        await _fill(client, 1, 100, 1)
        await _fill(client, 2, 91, 2)
        book = await read_redis(server.url)
    assert book.generations == {0: 2}
    assert {name: w.balance_nanos for name, w in book.wallets.items()} == {str(ID): 91}
    assert book.holds == {str(ID): 5}
    assert [(e.generation, e.request_id) for e in book.entries] == [(1, "r1"), (2, "r2")]


async def test_what_a_store_lost_is_read_from_its_files(short_dir: Path) -> None:
    directory = short_dir / "lost"
    redis = StoreMember("redis", lambda: open_redis(directory))
    await redis.start()
    try:
        async with Redis.from_url(redis.url) as client:
            await _fill(client, 1, 100, 1)
        nothing = await older(redis, directory, 0)
        assert (nothing.entries, nothing.holds) == ([], {str(ID): 5})
        assert len((await autopsy(directory / "data")).entries) == 1
        everything = await empty(redis, directory, 0)
        assert [entry.request_id for entry in everything.entries] == ["r1"]
        assert everything.generations == {0: 1}
        assert (await read_redis(redis.url)).entries == []
    finally:
        await redis.stop()
