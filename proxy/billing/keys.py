"""Changes to keys: Postgres first, where the epoch rises, then the ledger."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

from proxy.domain.account import ApiKey, KeyLimits
from proxy.store.pool import Store

_ATTEMPTS_MAX = 5
_AT_ONCE = 100

Publish = Callable[[ApiKey], Awaitable[None]]  # such as `Wallets.publish_key`


async def revoke(store: Store, publish: Publish, key_id: str) -> ApiKey | None:
    """None where there is no such key.

    Raises LedgerUnavailableError where it is revoked but not published: it works on after that
    until a gateway reads it anew or `publish_once` reaches the ledger; calling again is safe.
    """
    key = await store.keys.revoke(key_id)
    if key is not None:
        await publish(key)
    return key


async def change_limits(
    store: Store, publish: Publish, key_id: str, change: Callable[[KeyLimits], KeyLimits]
) -> ApiKey | None:
    """None where there is no such key. `change` may be called again where somebody else's change
    came between. Raises LedgerUnavailableError as `revoke` does."""
    for _ in range(_ATTEMPTS_MAX):
        key = await store.keys.find(key_id)
        if key is None:
            return None
        limits = change(key.limits)
        if await store.keys.change_limits(key_id, key.epoch, limits):
            changed = dataclasses.replace(key, epoch=key.epoch + 1, limits=limits)
            await publish(changed)
            return changed
    raise RuntimeError(f"key {key_id} changes faster than it can be changed")


async def publish_once(store: Store, publish: Publish) -> int:
    """Every key's epoch and limits again: after a shard's memory was lost. Returns how many."""
    published = 0
    batch: list[ApiKey] = []
    async for key in store.keys.of(None):
        batch.append(key)
        if len(batch) == _AT_ONCE:
            await asyncio.gather(*map(publish, batch))
            published += len(batch)
            batch = []
    await asyncio.gather(*map(publish, batch))
    return published + len(batch)
