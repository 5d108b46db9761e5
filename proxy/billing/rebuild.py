"""Throws away what Redis has of a shard, and builds it again from Postgres and the journals."""

import asyncio
from collections.abc import AsyncIterator

from proxy.domain.ports import Shard, ShardState, Suspicion
from proxy.store.pool import Store

_POLL_MS = 100


class RebuildRefusedError(Exception):
    """What it would be built from is not right itself: nothing was changed."""


async def begin_rebuild(store: Store, number: int) -> Shard:
    """Asks the workers for it. Returns the shard as it was.

    Raises LookupError, RebuildRefusedError or StoreUnavailableError.
    """
    shard = (await store.shards.all()).get(number)
    if shard is None:
        raise LookupError(f"there is no shard {number}")
    differences = await store.audit.book_differences()
    if differences:
        account_id, nanos = differences[0]
        raise RebuildRefusedError(
            f"Postgres' books and wallets differ, the first by {nanos} nanos ({account_id}):"
            " wallets would be built from a wrong balance"
        )
    await store.shards.suspect(number, shard.generation, Suspicion.OPERATOR)
    return shard


async def rebuild_steps(store: Store, before: Shard) -> AsyncIterator[Shard]:
    """Each state that the shard comes to, until it is open in a later generation."""
    last = before
    while last.generation == before.generation or last.state is not ShardState.OPEN:
        shard = (await store.shards.all())[before.number]
        if (shard.generation, shard.state) != (last.generation, last.state):
            yield shard
        last = shard
        await asyncio.sleep(_POLL_MS / 1000)
