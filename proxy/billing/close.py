"""Closing a month: nothing of it may still be on its way."""

from datetime import date

from proxy.domain.clock import ms_of
from proxy.domain.ports import Wallets
from proxy.store.closes import Close, CloseRefusedError, bounds_of
from proxy.store.pool import Store


async def close_month(store: Store, wallets: Wallets, month: date, actor: str) -> Close:
    """`month` is its first day. Raises CloseRefusedError, and LedgerUnavailableError or
    StoreUnavailableError where nobody knows what is on its way."""
    found = await store.closes.find(month)
    if found is not None:
        return found
    end_ms = ms_of(bounds_of(month)[1])
    for shard, cursor in sorted((await store.shards.cursors()).items()):
        state = await wallets.unflushed(shard, cursor)
        if not state.is_open:
            raise CloseRefusedError(f"shard {shard} waits for its recovery")
        if state.oldest_ms is not None and state.oldest_ms < end_ms:
            raise CloseRefusedError(
                f"shard {shard} has charges of {month:%Y-%m} that are not flushed: is a worker up?"
            )
    return await store.closes.close(month, actor)
