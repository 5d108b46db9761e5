"""At the end of a run, when its books are taken: one nano is planted, and must be found.

One more in a wallet of Redis, and one more in the wallet of another account in Postgres: a
verification that still said ok would be worth nothing, and so would all those before.
"""

import json
from collections.abc import Mapping

import asyncpg

from tests.chaos.check import Violation
from tests.chaos.keys import connected, find_keys
from tests.chaos.world import World

_MOVE = "UPDATE wallets SET balance_nanos = balance_nanos + $2 WHERE account_id = $1::uuid"


async def plant(world: World) -> list[Violation]:
    """What it must find is named by account, to the nano; and nothing else. Then all is undone."""
    loaded = await _loaded(world)
    if len(loaded) < 2:
        return [Violation("nano_missed", "nothing planted", f"{len(loaded)} wallets are loaded")]
    in_redis, in_postgres = list(loaded)[:2]
    await _add(world, loaded[in_redis], in_postgres, 1)
    status, said = await world.apilink("ledger", "verify", "--json")
    await _add(world, loaded[in_redis], in_postgres, -1)
    found = json.loads(said) if said else {}
    differences = {d["account_id"]: d["nanos"] for d in found.get("differences", ())}
    faults = found.get("faults", ())
    is_found = (
        status == 1
        and differences == {in_redis: 1, in_postgres: -1}
        and found["difference_nanos"] == 2
        and found["book_difference_nanos"] == 1
        and any(in_postgres in fault for fault in faults)
        and not any(in_redis in fault for fault in faults)
    )
    return [] if is_found else [Violation("nano_missed", "ledger verify", said.strip()[:500])]


async def _loaded(world: World) -> Mapping[str, str]:
    """The wallets of the newest generation, by their account: the names of their keys."""
    async with connected(world.redis_url) as client:
        wallets = [key for key in await find_keys(client) if key.kind == "w"]
    newest = max((key.generation for key in wallets), default=0)
    return {key.name: key.raw for key in wallets if key.generation == newest}


async def _add(world: World, wallet: str, in_postgres: str, nanos: int) -> None:
    async with connected(world.redis_url) as client:
        await client.hincrby(wallet, "balance", nanos)
    connection = await asyncpg.connect(world.dsn)
    try:
        await connection.execute(_MOVE, in_postgres, nanos)
    finally:
        await connection.close()
