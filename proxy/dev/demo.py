"""The demo account of `apilink dev`: five dollars of play money and one key, made once."""

from typing import Final
from uuid import UUID

from proxy.billing.credit import credit
from proxy.dev.home import Demo, Home
from proxy.domain.account import ApiKey, KeyLimits
from proxy.domain.clock import Clock
from proxy.domain.ids import mint_key_token, mint_uuid7, parse_key_token
from proxy.store.books import MovementKind
from proxy.store.pool import Store
from proxy.store.shards import shard_of
from proxy.vault import KeyHasher
from routing.money import NANOS_PER_USD, Nanos

DEMO_EMAIL: Final = "demo@localhost"
DEMO_NANOS: Final = Nanos(5 * NANOS_PER_USD)
_ACTOR: Final = "apilink dev"


async def ensure_demo(
    home: Home, store: Store, hasher: KeyHasher, *, shards: int, clock: Clock
) -> Demo:
    """The kept key where it still opens; else a new one for the same account.

    Every step may be repeated: a start that was killed in between is finished by the next.
    """
    kept = home.find_demo()
    if kept is not None and await _opens(kept, store, hasher):
        return kept
    account_id = await _account(store, shards, clock)
    reason = "play money for the demo account"
    await credit(
        store,
        None,  # the worker's sweep, or the wallet's first use, brings it to the ledger
        account_id,
        DEMO_NANOS,
        "demo",
        _ACTOR,
        reason,
        kind=MovementKind.ADJUSTMENT,
    )
    token = mint_key_token()
    await store.keys.create(
        ApiKey(
            key_id=token.key_id,
            account_id=account_id,
            shard=shard_of(account_id, shards),
            epoch=1,
            secret_hash=hasher.hash(token.secret),
            limits=KeyLimits(),
            name="demo",
        )
    )
    demo = Demo(account_id, token.key_id, str(token))
    home.keep_demo(demo)
    return demo


async def _opens(demo: Demo, store: Store, hasher: KeyHasher) -> bool:
    key = await store.keys.find(demo.key_id)
    token = parse_key_token(demo.key)
    if key is None or token is None or key.revoked:
        return False
    return hasher.verify(token.secret, key.secret_hash)


async def _account(store: Store, shards: int, clock: Clock) -> UUID:
    found = await store.accounts.find_by_email(DEMO_EMAIL)
    if found is not None:
        return found.account_id
    account_id = mint_uuid7(clock)
    await store.accounts.create(
        account_id=account_id,
        email=DEMO_EMAIL,
        shard=shard_of(account_id, shards),
        notice_attested_by=_ACTOR,
    )
    return account_id
