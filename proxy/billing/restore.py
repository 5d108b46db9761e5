"""Postgres was restored from a backup, and Redis remembers more than it does."""

import structlog

from proxy.billing.verify import unexplained
from proxy.domain.ports import Shard, Wallets
from proxy.store.books import MovementKind
from proxy.store.movements import Movement
from proxy.store.pool import Store
from routing.money import Nanos


async def restore_balances(store: Store, wallets: Wallets, shard: Shard) -> int:
    """Posts, for each wallet that Postgres cannot explain, what it lacks: customers keep the
    balance that they had. Returns how many. Charges that the stream still has explain themselves;
    what is left are movements that were made after the backup, and charges older than the stream.

    Once for each generation, however often it is called. Raises LedgerUnavailableError or
    StoreUnavailableError.
    """
    restored = 0
    async for account_id, nanos in unexplained(store, wallets, shard.number):
        await store.movements.post(
            Movement(
                account_id,
                MovementKind.ADJUSTMENT,
                Nanos(nanos),
                f"restored:{shard.generation}",
                "ledger",
                "Postgres was restored: what the ledger had beyond it",
            )
        )
        structlog.get_logger().error(
            "balance_restored", account_id=str(account_id), difference_nanos=nanos
        )
        restored += 1
    return restored
