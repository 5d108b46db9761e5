"""Reads the four books: two from files, two from the stores themselves, past the product."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from redis.asyncio import Redis

from tests.chaos.records import (
    Books,
    Credits,
    Disturbance,
    Entry,
    PostgresBook,
    Received,
    RedisBook,
    Row,
    Served,
    Verdict,
    Wallet,
)
from tests.chaos.world import World

_PREFIX = "al:{s0}:"
_PAGE = 1000


async def read_books(world: World, disturbances: list[Disturbance]) -> Books:
    audits = list(_lines(world.book("auditor")))
    return Books(
        provider=[_served(line) for line in _lines(world.book("provider"))],
        clients=[_received(line) for line in _lines(world.book("clients"))],
        redis=await read_redis(world.redis.url),
        postgres=await read_postgres(world.dsn),
        credits=_credits(world, audits),
        verdicts=[_verdict(line) for line in audits if "verdict" in line],
        cursors=[line["cursor"] for line in audits if "cursor" in line],
        disturbances=disturbances,
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        yield from (orjson.loads(line) for line in file if line.endswith(b"\n"))


def _served(line: dict[str, Any]) -> Served:
    return Served(
        line["marker"], line["prompt_tokens"], line["completion_tokens"], line["is_finished"]
    )


def _received(line: dict[str, Any]) -> Received:
    names = Received.__dataclass_fields__
    return Received(**{name: value for name, value in line.items() if name in names})


def _verdict(line: dict[str, Any]) -> Verdict:
    return Verdict(line["at_ms"], line["verdict"], line["difference_nanos"], tuple(line["faults"]))


def _credits(world: World, audits: list[dict[str, Any]]) -> Credits:
    confirmed = {
        (line["account_id"], line["credit"]): line["nanos"] for line in audits if "credit" in line
    }
    begun = {(line["account_id"], line["begun"]) for line in audits if "begun" in line}
    return Credits(world.credited | confirmed, frozenset(begun))


# Redis


async def read_redis(url: str) -> RedisBook:
    async with Redis.from_url(url) as client:
        wallets, keys_held = {}, {}
        holds = set()
        async for raw in client.scan_iter(match=f"{_PREFIX}*", count=_PAGE):
            kind, _, name = raw.decode().removeprefix(_PREFIX).partition(":")
            if kind == "w":
                balance, held = await client.hmget(raw, "balance", "held")
                wallets[name] = Wallet(int(balance), int(held))
            elif kind == "k":
                held, is_open = await client.hmget(raw, "held", "open")
                keys_held[name] = int(held or 0) + int(is_open or 0)
            elif kind == "h":
                holds.add(name)
        holds |= {raw.decode() for raw in await client.zrange(f"{_PREFIX}leases", 0, -1)}
        return RedisBook(wallets, sorted(holds), keys_held, await _entries(client))


async def _entries(client: "Redis[bytes]") -> list[Entry]:
    found: list[Entry] = []
    after = "-"
    while page := await client.xrange(f"{_PREFIX}charges", after, "+", count=_PAGE):
        found += [_entry(raw_id.decode(), fields) for raw_id, fields in page]
        after = f"({page[-1][0].decode()}"
    return found


def _entry(stream_id: str, fields: dict[bytes, bytes]) -> Entry:
    charge = orjson.loads(fields[b"d"])
    return Entry(
        stream_id=stream_id,
        request_id=charge["request_id"],
        account_id=fields[b"a"].decode(),
        charged_nanos=int(fields[b"c"]),
        status=charge["status"],
        marker=charge.get("client_request_id"),
    )


async def last_entry(url: str) -> str:
    async with Redis.from_url(url) as client:
        page = await client.xrevrange(f"{_PREFIX}charges", count=1)
        return page[0][0].decode() if page else "0-0"


# Postgres

_ROWS = """
    SELECT request_id::text, account_id::text, key_id, window_ms, charged_nanos, hold_nanos, status,
        usage_source AS source, client_request_id AS marker
    FROM usage"""
_OWED = """
    SELECT account_id::text, sum(CASE WHEN credit_account = 'prepayments' THEN amount_nanos
        ELSE -amount_nanos END)::bigint AS nanos
    FROM ledger_entries WHERE account_id IS NOT NULL GROUP BY account_id"""


async def read_postgres(dsn: str) -> PostgresBook:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            rows = await connection.fetch(_ROWS)
            wallets = await connection.fetch("SELECT account_id::text, balance_nanos FROM wallets")
            owed = await connection.fetch(_OWED)
            movements = await connection.fetch(
                "SELECT account_id::text, reference, amount_nanos FROM movements"
            )
            spend = await connection.fetch("SELECT key_id, window_ms, spent_nanos FROM key_spend")
            quarantined = await connection.fetchval("SELECT count(*) FROM quarantine")
    finally:
        await connection.close()
    return PostgresBook(
        rows=[Row(**dict(row)) for row in rows],
        wallets=dict(wallets),
        owed=dict(owed),
        movements={(row[0], row[1]): row[2] for row in movements},
        key_spend={(row[0], row[1]): row[2] for row in spend},
        quarantined=quarantined,
    )


async def cursor(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SELECT cursor_stream_id FROM shards WHERE shard = 0"))
    finally:
        await connection.close()
