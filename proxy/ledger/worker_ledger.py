"""The ledger as a worker uses it: open shards, flush charges, expire holds."""

from dataclasses import dataclass

from proxy.ledger.flusher import Flusher
from proxy.ledger.wallets import RedisWallets


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What `open_shards_once` found or did. `alarm` is a line for the operator, "" if all is well."""

    shard: int
    generation: int
    is_open: bool
    alarm: str = ""


class WorkerLedger:
    """Made by `proxy.ledger.opening.open_worker_ledger`."""

    @property
    def wallets(self) -> RedisWallets:
        raise NotImplementedError

    def flusher(self, shard: int) -> Flusher:
        raise NotImplementedError

    async def open_shards_once(self) -> tuple[ShardReport, ...]:
        raise NotImplementedError

    async def expire_once(self, shard: int, batch_max: int) -> int:
        raise NotImplementedError
