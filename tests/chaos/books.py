"""Reads the four books: two from files, two from the stores themselves, past the product."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from tests.chaos.records import (
    Books,
    Credits,
    Disturbance,
    Entry,
    Loss,
    Position,
    PostgresBook,
    Received,
    Row,
    Served,
    Standing,
    Verdict,
)
from tests.chaos.redis_book import read_redis
from tests.chaos.world import World


async def read_books(
    world: World, disturbances: Sequence[Disturbance], losses: Sequence[Loss]
) -> Books:
    audits = list(_lines(world.book("auditor")))
    return Books(
        provider=[_served(line) for line in _lines(world.book("provider"))],
        clients=[_received(line) for line in _lines(world.book("clients"))],
        redis=await read_redis(world.redis_url),
        postgres=await read_postgres(world.dsn),
        credits=_credits(world, audits),
        verdicts=[_verdict(line) for line in audits if "verdict" in line],
        cursors=[
            Position(**place, at_ms=line["at_ms"])
            for line in audits
            for place in line.get("cursors", ())
        ],
        standings=[
            Standing(line["at_ms"], **place)
            for line in audits
            for place in line.get("standings", ())
        ],
        debts=_debts(audits),
        disturbances=disturbances,
        seen=[Entry(**line) for line in _lines(world.book("entries"))],
        losses=losses,
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


def _debts(audits: list[dict[str, Any]]) -> Mapping[str, int]:
    most: dict[str, int] = {}
    for line in audits:
        for account_id, nanos in line.get("debts", {}).items():
            most[account_id] = max(nanos, most.get(account_id, 0))
    return most


# Postgres

_ROWS = """
    SELECT request_id::text, account_id::text, key_id, window_ms, charged_nanos, hold_nanos, status,
        usage_source AS source, client_request_id AS marker, output_tokens
    FROM usage"""
_OWED = """
    SELECT account_id::text, sum(CASE WHEN credit_account = 'prepayments' THEN amount_nanos
        ELSE -amount_nanos END)::bigint AS nanos
    FROM ledger_entries WHERE account_id IS NOT NULL GROUP BY account_id"""

_MOVEMENTS = "SELECT account_id::text, reference, amount_nanos, kind FROM movements"
# `state` is NULL before shards had one.
_CURSORS = """
    SELECT shard, cursor_stream_id, to_jsonb(shards) ->> 'state' AS state FROM shards"""


async def read_postgres(dsn: str) -> PostgresBook:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            rows = await connection.fetch(_ROWS)
            wallets = await connection.fetch("SELECT account_id::text, balance_nanos FROM wallets")
            owed = await connection.fetch(_OWED)
            movements = await connection.fetch(_MOVEMENTS)
            shards = await connection.fetch("SELECT shard, generation FROM shards")
            spend = await connection.fetch("SELECT key_id, window_ms, spent_nanos FROM key_spend")
            quarantined = await connection.fetchval("SELECT count(*) FROM quarantine")
    finally:
        await connection.close()
    return PostgresBook(
        rows=[Row(**dict(row)) for row in rows],
        wallets=dict(wallets),
        owed=dict(owed),
        movements={(row[0], row[1]): row[2] for row in movements if row[3] != "late_debit"},
        late_debits={(row[0], row[1]): row[2] for row in movements if row[3] == "late_debit"},
        key_spend={(row[0], row[1]): row[2] for row in spend},
        quarantined=quarantined,
        generations=dict(shards),
    )


async def flushed_to(dsn: str) -> Mapping[int, str]:
    """By shard: the cursor. Shards that are being recovered are left out."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_CURSORS)
    finally:
        await connection.close()
    return {row[0]: row[1] for row in rows if row["state"] in (None, "open")}
