"""Money into a wallet: Postgres first, then the ledger."""

from dataclasses import dataclass
from uuid import UUID

from proxy.billing.sweep import deliver
from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Wallets
from proxy.store.books import MovementKind
from proxy.store.movements import Movement, Undelivered
from proxy.store.pool import Store
from routing.money import Nanos


@dataclass(frozen=True, slots=True)
class Credited:
    """`ok`, `exists`, `exists_with_different_amount`, or `not_found` without such an account.

    `balance_nanos` is Postgres's, as of the last flush. Where `delivered` is false the ledger does
    not have the movement yet, and the sweep or the wallet's first use brings it.
    """

    outcome: Outcome
    sequence: int
    balance_nanos: Nanos
    delivered: bool


async def credit(
    store: Store,
    wallets: Wallets | None,
    account_id: UUID,
    amount_nanos: Nanos,
    reference: str,
    actor: str,
    reason: str,
    *,
    kind: MovementKind = MovementKind.TOP_UP,
) -> Credited:
    """Once for each reference of the account, however often it is called.

    Raises StoreUnavailableError: call again with the same reference; and WalletFullError. A ledger
    that is away (or `None`) keeps nothing from being credited.
    """
    posted = await store.movements.post(
        Movement(account_id, kind, amount_nanos, reference, actor, reason)
    )
    delivered = False
    if posted.outcome in (Outcome.OK, Outcome.EXISTS) and wallets is not None:
        try:
            due = Undelivered(account_id, posted.shard, posted.sequence - 1)
            delivered = await deliver(store, wallets, due)
        except LedgerUnavailableError:
            delivered = False
    return Credited(posted.outcome, posted.sequence, posted.balance_nanos, delivered)
