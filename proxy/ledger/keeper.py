"""Renews the leases of all open holds: one timer, the calls of a batch in one write."""

import asyncio
from typing import Final
from uuid import UUID

from proxy.domain.clock import Clock
from proxy.domain.errors import ApiError
from proxy.domain.finish import TaskSet
from proxy.domain.outcome import Hold, Outcome
from proxy.ledger import calls
from proxy.ledger.connection import Command
from proxy.ledger.faults import LedgerFault, NotSentError, RefusedError
from proxy.ledger.generations import FencedCalls
from proxy.ledger.loader import Loader
from proxy.ledger.replies import parse_outcome
from proxy.ledger.server_clock import ServerClock

BATCH_MAX: Final = 500
_MS: Final = 1000


class Keeper:
    def __init__(
        self,
        fenced: FencedCalls,
        loader: Loader,
        server_clock: ServerClock,
        clock: Clock,
        *,
        lease_ms: int,
        timeout_ms: int,
    ) -> None:
        self._fenced = fenced
        self._loader = loader
        self._server_clock = server_clock
        self._clock = clock
        self._lease_ms = lease_ms
        self._timeout_ms = timeout_ms
        self._open: dict[UUID, Hold] = {}
        self._tasks = TaskSet()

    def __len__(self) -> int:
        return len(self._open)

    def start(self) -> None:
        _ = self._tasks.start(self._run(), name="ledger leases")

    def keep(self, hold: Hold) -> None:
        self._open[hold.request_id] = hold

    def drop(self, hold: Hold) -> None:
        self._open.pop(hold.request_id, None)

    async def renew_once(self) -> int:
        """How many leases were renewed. A hold whose lease was not is left to run out: whoever
        relays for it looks at `lease_until_ms`."""
        holds = list(self._open.values())
        renewed = 0
        for begin in range(0, len(holds), BATCH_MAX):
            batch = holds[begin : begin + BATCH_MAX]
            renewed += sum(await asyncio.gather(*map(self.renew, batch)))
        return renewed

    async def close(self) -> None:
        await self._tasks.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3 / _MS)
            await self.renew_once()

    async def renew(self, hold: Hold) -> bool:
        """Also takes the hold again where the ledger has lost it."""
        return await self._renew(hold) is Outcome.OK

    async def reassert(self, shard: int) -> bool:
        """True where the ledger has answered for every hold of the shard."""
        holds = [hold for hold in self._open.values() if hold.shard == shard]
        for begin in range(0, len(holds), BATCH_MAX):
            answers = await asyncio.gather(*map(self._renew, holds[begin : begin + BATCH_MAX]))
            if None in answers:
                return False
        return True

    async def _renew(self, hold: Hold) -> Outcome | None:
        """None where there was no answer."""
        try:
            outcome, sent_ms = await self._send_in_time(hold)
            if outcome is Outcome.UNKNOWN_WALLET:
                await self._loader.load_wallet(hold.account_id, hold.shard)
                outcome, sent_ms = await self._send_in_time(hold)
            if outcome is Outcome.STALE_KEY:
                await self._loader.load_key(hold.key_id)
                outcome, sent_ms = await self._send_in_time(hold)
        except (LedgerFault, ApiError):
            return None
        if outcome is Outcome.OK:
            hold.lease_until_ms = sent_ms + self._lease_ms
        return outcome

    async def _send_in_time(self, hold: Hold) -> tuple[Outcome, int]:
        try:
            return await self._send(hold)
        except RefusedError as refused:
            if not self._server_clock.correct(refused):
                raise
            return await self._send(hold)

    async def _send(self, hold: Hold) -> tuple[Outcome, int]:
        if hold.request_id not in self._open:  # it ended while this batch was waiting
            return Outcome.NOT_FOUND, 0
        sent_ms = self._clock.monotonic_ms()
        deadline_ms = self._server_clock.in_ms(self._timeout_ms)

        def renew(generation: int) -> Command:
            if hold.request_id not in self._open:  # while the generation was looked up
                raise NotSentError("the hold has ended")
            return calls.renew(generation, hold, deadline_ms=deadline_ms, lease_ms=self._lease_ms)

        return parse_outcome(await self._fenced.call(hold.shard, renew)), sent_ms
