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
    """What it must find is named by account, to the nano; and nothing else. Then all is undone.

    After a recovery few wallets may be loaded: the other account's need not be, and then only the
    books show that it was touched. Where none is, there is no wallet to plant in.
    """
    loaded = await _loaded(world)
    in_redis = next(iter(loaded), "")
    in_postgres = next(account for account in world.accounts if account != in_redis)
    await _add(world, loaded.get(in_redis), in_postgres, 1)
    status, said = await world.apilink("ledger", "verify", "--json")
    await _add(world, loaded.get(in_redis), in_postgres, -1)
    found = json.loads(said) if said else {}
    planted = {in_redis: 1, in_postgres: -1}
    wanted = {account: nanos for account, nanos in planted.items() if account in loaded}
    faults = found.get("faults", ())
    is_found = (
        status == 1
        and {d["account_id"]: d["nanos"] for d in found["differences"]} == wanted
        and found["difference_nanos"] == len(wanted)
        and found["book_difference_nanos"] == 1
        and [fault for fault in faults if in_postgres in fault] == faults
    )
    return [] if is_found else [Violation("nano_missed", "ledger verify", said.strip()[:500])]


async def _loaded(world: World) -> Mapping[str, str]:
    """The wallets of the newest generation, by their account: the names of their keys."""
    async with connected(world.redis_url) as client:
        wallets = [key for key in await find_keys(client) if key.kind == "w"]
    newest: dict[int, int] = {}
    for key in wallets:
        newest[key.shard] = max(key.generation, newest.get(key.shard, 0))
    return {key.name: key.raw for key in wallets if key.generation == newest[key.shard]}


async def _add(world: World, wallet: str | None, in_postgres: str, nanos: int) -> None:
    if wallet is not None:
        async with connected(world.redis_url) as client:
            await client.hincrby(wallet, "balance", nanos)
    connection = await asyncpg.connect(world.dsn)
    try:
        await connection.execute(_MOVE, in_postgres, nanos)
    finally:
        await connection.close()
