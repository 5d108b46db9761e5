"""The ledger as a gateway uses it: reserve, extend, record, and leases that renew themselves."""

import asyncio
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.charge import Charge
from proxy.domain.outcome import Hold, KeyState, Outcome, Reserved, WalletState
from proxy.domain.ports import Flushes
from proxy.ledger.wallets import RedisWallets
from routing.money import Nanos


class RedisLedger:
    """`proxy.domain.ports.Ledger` on Redis. Made by `proxy.ledger.opening.open_ledger`."""

    @property
    def wallets(self) -> RedisWallets:
        raise NotImplementedError

    async def reserve(
        self, key: ApiKey, request_id: UUID, amount_nanos: Nanos, tokens: int
    ) -> Reserved:
        raise NotImplementedError

    async def extend(self, hold: Hold, total_nanos: Nanos) -> Outcome:
        raise NotImplementedError

    def record(self, hold: Hold, charge: Charge) -> "asyncio.Future[None]":
        raise NotImplementedError

    async def key_state(self, key: ApiKey) -> tuple[Outcome, KeyState, WalletState]:
        raise NotImplementedError

    async def prune_once(self, flushes: Flushes) -> int:
        """Deletes journal segments whose every charge is in Postgres. Returns how many."""
        raise NotImplementedError

    async def drain(self, *, seconds: int) -> bool:
        """True where every recorded charge was answered by the ledger in time."""
        raise NotImplementedError
