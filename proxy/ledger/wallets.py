"""What reaches the ledger from Postgres, and what verification reads of it."""

from typing import Final
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.outcome import Outcome, Unflushed, WalletState
from proxy.domain.ports import Cursor
from proxy.ledger import calls
from proxy.ledger.faults import as_unavailable
from proxy.ledger.generations import FencedCalls
from proxy.ledger.link import Link
from proxy.ledger.replies import parse_outcome, parse_shard_state, parse_snapshot
from routing.money import Nanos

PAGE: Final = 1_000


class RedisWallets:
    """`proxy.domain.ports.Wallets` on Redis. Raises LedgerUnavailableError where it is away; every
    method may be repeated then."""

    def __init__(self, link: Link, fenced: FencedCalls) -> None:
        self._link = link
        self._fenced = fenced

    async def apply(
        self, account_id: UUID, shard: int, sequence: int, amount_nanos: Nanos
    ) -> Outcome:
        with as_unavailable():
            reply = await self._fenced.call(
                shard,
                lambda generation: calls.apply(
                    shard, generation, account_id, sequence, amount_nanos
                ),
            )
        return parse_outcome(reply)

    async def publish_key(self, key: ApiKey) -> None:
        with as_unavailable():
            await self._fenced.call(
                key.shard, lambda generation: calls.publish_key(generation, key)
            )

    async def snapshot(
        self, account_id: UUID, shard: int, *, generation: int | None = None
    ) -> WalletState | None:
        with as_unavailable():
            if generation is not None:
                reply = await self._link.call(*calls.snapshot(shard, generation, account_id))
            else:
                reply = await self._fenced.call(
                    shard, lambda known: calls.snapshot(shard, known, account_id)
                )
        return parse_snapshot(reply)

    async def charged_between(
        self, account_id: UUID, shard: int, after: Cursor, until_id: str
    ) -> Nanos:
        """Also raises LedgerUnavailableError where the stream does not reach back so far."""
        total = 0
        count = PAGE
        with as_unavailable():
            while count == PAGE:
                found, last_id, count = await self._link.call(
                    *calls.charged(shard, account_id, after, until_id, PAGE)
                )
                total += found
                after = Cursor(after.generation, last_id.decode())
        return Nanos(total)

    async def unflushed(self, shard: int, cursor: Cursor) -> Unflushed:
        with as_unavailable():
            state = parse_shard_state(await self._link.call(*calls.shard_state(shard, cursor)))
            found = await self._link.call(*calls.stream_after(shard, cursor, 1))
        oldest_ms = int(found[0][0].partition(b"-")[0]) if found else None
        return Unflushed(state.unflushed, oldest_ms, is_open=state.is_open)
