"""Brings the ledger the movements that it has not applied."""

from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Wallets
from proxy.store.movements import Step, Undelivered
from proxy.store.pool import Store

_ACCOUNTS_MAX = 500


async def sweep_once(store: Store, wallets: Wallets, accounts_max: int = _ACCOUNTS_MAX) -> int:
    """Returns how many accounts are up to date now that were not known to be.

    A shard whose ledger does not answer is left for the next time, and LedgerUnavailableError is
    raised once the others are done.
    """
    done = 0
    away: dict[int, LedgerUnavailableError] = {}
    for due in await store.movements.unacknowledged(accounts_max):
        if due.shard in away:
            continue
        try:
            done += await deliver(store, wallets, due)
        except LedgerUnavailableError as error:
            away[due.shard] = error
    if away:
        raise next(iter(away.values()))
    return done


async def deliver(store: Store, wallets: Wallets, due: Undelivered) -> bool:
    """Applies an account's movements in order. True where the ledger has them all.

    A wallet that is not loaded gets its movements with the balance. But a load that is under way
    may have read the balance before the newest of them: so they count as delivered only when they
    are older than any load can be.
    """
    state = await wallets.snapshot(due.account_id, due.shard)
    sequence = due.sequence if state is None else state.sequence
    is_complete = True
    while is_complete and (steps := await store.movements.after(due.account_id, sequence)):
        for step in steps:
            is_complete = await _apply(wallets, due, step)
            if not is_complete:
                break
            sequence = step.sequence
    await store.movements.acknowledge(due.account_id, sequence)
    return is_complete


async def _apply(wallets: Wallets, due: Undelivered, step: Step) -> bool:
    outcome = await wallets.apply(due.account_id, due.shard, step.sequence, step.amount_nanos)
    if outcome is Outcome.UNKNOWN_WALLET:
        return step.is_old
    return outcome in (Outcome.OK, Outcome.EXISTS)
