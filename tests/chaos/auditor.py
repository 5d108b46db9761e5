"""The auditor's process: verifies without a pause, copies every charge stream, and tops poor
accounts up.

python -m tests.chaos.auditor PLAN BOOK

PLAN is JSON: {"database_url", "redis_url", "poor": [account id], "entries": path}. It goes to the
stores directly: what it cannot reach is down. Each line of the book is a verdict, a look at shards
and debts, or a credit that was confirmed; the copies are in a file of their own.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from proxy.billing.credit import credit
from proxy.billing.verify import Verification, verify
from proxy.domain.clock import SystemClock
from proxy.domain.errors import ApiError, LedgerUnavailableError, StoreUnavailableError
from proxy.ledger.opening import open_wallets
from proxy.ledger.wallets import RedisWallets
from proxy.store.pool import Store, open_store
from routing.money import Nanos
from tests.chaos.bugs import apply
from tests.chaos.copier import Copier

CREDIT_NANOS = 2_000_000
_AT_ONCE = 2
_BETWEEN_SECONDS = 0.15
_AWAY_SECONDS = 0.3
_CHAIN_BATCHES = 50
_LOOKS_PER_CREDIT = 8
_CURSORS = """
    SELECT shard, cursor_generation AS generation, cursor_stream_id AS stream_id FROM shards"""
_STANDINGS = "SELECT shard, generation, state FROM shards"
# Credits come into Postgres first and charges last: whoever owes something here owes it.
_DEBTS = """
    SELECT account_id::text, -balance_nanos AS nanos FROM wallets WHERE balance_nanos < 0"""
_CLOCK = SystemClock()


Step = Callable[[Store, RedisWallets], Awaitable[None]]


class Auditor:
    def __init__(self, plan: dict[str, Any], book: TextIO) -> None:
        self._plan = plan
        self._book = book
        self._looks = 0
        self._credits = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Shards are looked at by one task alone, so that they are in the book in their order."""
        async with asyncio.TaskGroup() as group:
            for step in (*[self._verify] * _AT_ONCE, self._look):
                group.create_task(self._repeat(step, stop))

    async def _repeat(self, step: Step, stop: asyncio.Event) -> None:
        """Through outages: what cannot be opened is opened again."""
        while not stop.is_set():
            try:
                await self._repeat_opened(step, stop)
            except (LedgerUnavailableError, StoreUnavailableError) as error:
                self._note(Verification(away=error.message))
                await asyncio.sleep(_AWAY_SECONDS)

    async def _repeat_opened(self, step: Step, stop: asyncio.Event) -> None:
        async with (
            open_store(self._plan["database_url"], connections_max=2, timeout_seconds=5) as store,
            open_wallets(
                redis_url=self._plan["redis_url"],
                shards=store.shards,
                clock=_CLOCK,
                timeout_ms=1_000,
            ) as wallets,
        ):
            while not stop.is_set():
                await step(store, wallets)
                await asyncio.sleep(_BETWEEN_SECONDS)

    async def _verify(self, store: Store, wallets: RedisWallets) -> None:
        self._note(await verify(store, wallets, chain_batches_max=_CHAIN_BATCHES))

    async def _look(self, store: Store, wallets: RedisWallets) -> None:
        cursors = await store.database.fetch(_CURSORS)
        standings = await store.database.fetch(_STANDINGS)
        debts = await store.database.fetch(_DEBTS)
        self._write(
            cursors=[dict(row) for row in cursors],
            standings=[dict(row) for row in standings],
            debts=dict(debts),
        )
        self._looks += 1
        if self._looks % _LOOKS_PER_CREDIT == 0:
            await self._credit(store, wallets)

    def _note(self, found: Verification) -> None:
        self._write(
            verdict=found.verdict.value,
            difference_nanos=found.difference_nanos,
            faults=found.faults,
            away=found.away,
        )

    async def _credit(self, store: Store, wallets: RedisWallets) -> None:
        """The same reference until it is confirmed: a credit in doubt is not given twice."""
        poor = self._plan["poor"]
        account_id = poor[self._credits % len(poor)]
        reference = f"more-{self._credits}"
        self._write(begun=reference, account_id=account_id, nanos=CREDIT_NANOS)
        try:
            await credit(
                store,
                wallets,
                UUID(account_id),
                Nanos(CREDIT_NANOS),
                reference,
                "chaos",
                "a poor account",
            )
        except ApiError:
            return
        self._write(credit=reference, account_id=account_id, nanos=CREDIT_NANOS)
        self._credits += 1

    def _write(self, **fields: Any) -> None:
        self._book.write(json.dumps({"at_ms": _CLOCK.unix_ms(), **fields}) + "\n")


async def main(plan: dict[str, Any], path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with (
        path.open("a", buffering=1) as book,
        Path(plan["entries"]).open("a", buffering=1) as entries,  # noqa: ASYNC230 - nobody waits yet
    ):
        print(json.dumps({"event": "ready", "pid": os.getpid()}), flush=True)  # noqa: T201 - its output
        async with asyncio.TaskGroup() as group:
            group.create_task(Auditor(plan, book).run(stop))
            group.create_task(Copier(plan["redis_url"], entries).run(stop))


if __name__ == "__main__":
    apply(os.environ.get("CHAOS_BUG", ""))
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
