"""What reaches the ledger from Postgres, and what verification reads of it."""

from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.outcome import Outcome, WalletState
from routing.money import Nanos


class RedisWallets:
    """`proxy.domain.ports.Wallets` on Redis."""

    async def apply(
        self, account_id: UUID, shard: int, sequence: int, amount_nanos: Nanos
    ) -> Outcome:
        raise NotImplementedError

    async def publish_key(self, key: ApiKey) -> None:
        raise NotImplementedError

    async def snapshot(self, account_id: UUID, shard: int) -> WalletState | None:
        raise NotImplementedError

    async def charged_between(
        self, account_id: UUID, shard: int, after_id: str, until_id: str
    ) -> Nanos:
        raise NotImplementedError
