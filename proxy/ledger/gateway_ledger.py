"""The ledger as a gateway uses it: reserve, extend, record, and leases that renew themselves."""

import asyncio
from typing import Final
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.charge import Charge
from proxy.domain.clock import Clock
from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.outcome import Hold, KeyState, Outcome, Reserved, WalletState
from proxy.domain.ports import Flushes
from proxy.ledger import calls
from proxy.ledger.attendant import Attendant
from proxy.ledger.core import Core
from proxy.ledger.faults import AmbiguousError, NotSentError, RefusedError, as_unavailable
from proxy.ledger.journals import Journals
from proxy.ledger.lookups import Lookups
from proxy.ledger.pump import PumpCounts, Settlement
from proxy.ledger.recorder import Recorder, RecorderCounts
from proxy.ledger.replies import Seen, parse_outcome
from proxy.ledger.wallets import RedisWallets
from routing.money import Nanos

# A cold start lacks both, and the key is looked at first: each is loaded once.
_LOADABLE: Final = (Outcome.STALE_KEY, Outcome.UNKNOWN_WALLET)


class RedisLedger:
    """`proxy.domain.ports.Ledger` on Redis. Made by `proxy.ledger.opening.open_ledger`."""

    def __init__(
        self,
        core: Core,
        *,
        recorder: Recorder,
        journals: Journals,
        attendant: Attendant,
        wallets: RedisWallets,
        clock: Clock,
        lease_ms: int,
        timeout_ms: int,
        unflushed_entries_max: int,
    ) -> None:
        self.wallets = wallets
        self._fenced = core.fenced
        self._generations = core.generations
        self._loader = core.loader
        self._keeper = core.keeper
        self._pump = core.pump
        self._tails = core.tails
        self._server_clock = core.server_clock
        self._lookups = Lookups(core.pump, core.fenced)
        self._recorder = recorder
        self._journals = journals
        self._attendant = attendant
        self._clock = clock
        self._lease_ms = lease_ms
        self._timeout_ms = timeout_ms
        self._unflushed_entries_max = unflushed_entries_max

    @property
    def counts(self) -> PumpCounts:
        return self._pump.counts

    @property
    def backlog(self) -> int:
        """Recorded charges and releases in memory that the ledger has not answered yet."""
        return self._pump.backlog + self._recorder.unplaced

    @property
    def unplaced(self) -> int:
        """Charges that neither the journal's disk nor Redis has taken yet: an alarm."""
        return self._recorder.unplaced

    @property
    def recorder_counts(self) -> RecorderCounts:
        return self._recorder.counts

    @property
    def journal_bytes(self) -> int:
        """Of all journals that this process answers for."""
        return self._journals.size_bytes()

    @property
    def is_connected(self) -> bool:
        return self._fenced.is_up

    @property
    def open_holds(self) -> int:
        return len(self._keeper)

    @property
    def lost_shards(self) -> frozenset[int]:
        """Shards that forgot settlements of ours and admit nothing until they are recovered:
        an alarm."""
        return self._tails.lost

    async def attend_once(self) -> bool:
        """A turn of this gateway's part in recoveries; True while one goes on. Raises
        StoreUnavailableError."""
        return await self._attendant.attend_once()

    async def reserve(
        self, key: ApiKey, request_id: UUID, amount_nanos: Nanos, tokens: int
    ) -> Reserved:
        """Raises LedgerUnavailableError, StoreUnavailableError or OverloadedError: then nothing is
        held, or is about to be given back."""
        try:
            with as_unavailable():
                self._tails.check(key.shard)
                if not self._recorder.has_room:
                    raise NotSentError("charges wait for a disk or Redis to take them")
                return await self._reserve_or_load(key, request_id, amount_nanos, tokens)
        except asyncio.CancelledError:
            self._give_back(key, request_id)
            raise
        except LedgerUnavailableError as error:
            if isinstance(error.__cause__, AmbiguousError):
                self._give_back(key, request_id)
            raise

    async def extend(self, hold: Hold, total_nanos: Nanos) -> Outcome:
        with as_unavailable():
            outcome = await self._extend(hold, total_nanos)
            if outcome is Outcome.NOT_FOUND and await self._keeper.renew(hold):
                outcome = await self._extend(hold, total_nanos)
        if outcome in (Outcome.OK, Outcome.EXISTS):
            hold.amount_nanos = max(hold.amount_nanos, total_nanos)
        return outcome

    def record(self, hold: Hold, charge: Charge) -> "asyncio.Future[None]":
        self._keeper.drop(hold)
        return self._recorder.record(charge)

    async def key_state(self, key: ApiKey) -> tuple[Outcome, KeyState, WalletState]:
        with as_unavailable():
            seen = await self._ask_state(key)
            for outcome in _LOADABLE:
                if seen.outcome is outcome and await self._load(outcome, key):
                    seen = await self._ask_state(key)
        return seen.outcome, seen.key, seen.wallet

    async def prune_once(self, flushes: Flushes) -> int:
        """Deletes journal segments whose every charge is in Postgres. Returns how many.

        Charges so old that the ledger cannot say whether they were made are looked up first, and
        made if they were not. Raises StoreUnavailableError.
        """
        await self._lookups.resolve_once(flushes)
        return await self._journals.prune_once(flushes)

    async def drain(self, *, seconds: int) -> bool:
        """True where every recorded charge was answered by the ledger in time."""
        self._recorder.write()
        return await self._pump.drain(seconds=seconds)

    # Reserving

    async def _reserve_or_load(
        self, key: ApiKey, request_id: UUID, amount_nanos: Nanos, tokens: int
    ) -> Reserved:
        reserved = await self._reserve(key, request_id, amount_nanos, tokens)
        for outcome in _LOADABLE:
            if reserved.outcome is outcome and await self._load(outcome, key):
                reserved = await self._reserve(key, request_id, amount_nanos, tokens)
        return reserved

    async def _reserve(
        self, key: ApiKey, request_id: UUID, amount_nanos: Nanos, tokens: int
    ) -> Reserved:
        try:
            seen, sent_ms = await self._send(key, request_id, amount_nanos, tokens)
        except RefusedError as refused:
            if not self._server_clock.correct(refused):
                raise
            seen, sent_ms = await self._send(key, request_id, amount_nanos, tokens)
        self._server_clock.observe(seen.server_ms, sent_ms)
        hold = None
        if seen.outcome is Outcome.OK:
            hold = Hold(
                request_id=request_id,
                account_id=key.account_id,
                key_id=key.key_id,
                shard=key.shard,
                epoch=key.epoch,
                amount_nanos=amount_nanos,
                window_ms=seen.window_ms,
                lease_until_ms=sent_ms + self._lease_ms,
            )
            self._keeper.keep(hold)
        return Reserved(seen.outcome, hold, seen.wallet, seen.key, seen.retry_after_ms)

    async def _send(
        self, key: ApiKey, request_id: UUID, amount_nanos: Nanos, tokens: int
    ) -> tuple[Seen, int]:
        sent_ms = self._clock.monotonic_ms()
        deadline_ms = self._server_clock.in_ms(self._timeout_ms)
        reply = await self._fenced.call(
            key.shard,
            lambda generation: calls.reserve(
                generation,
                key,
                request_id,
                amount_nanos,
                tokens,
                deadline_ms=deadline_ms,
                lease_ms=self._lease_ms,
                unflushed_max=self._unflushed_entries_max,
            ),
        )
        return Seen(reply), sent_ms

    async def _extend(self, hold: Hold, total_nanos: Nanos) -> Outcome:
        return parse_outcome(
            await self._fenced.call(
                hold.shard, lambda generation: calls.extend(generation, hold, total_nanos)
            )
        )

    async def _ask_state(self, key: ApiKey) -> Seen:
        return Seen(
            await self._fenced.call(key.shard, lambda generation: calls.key_state(generation, key))
        )

    async def _load(self, outcome: Outcome, key: ApiKey) -> bool:
        """False where asking again would bring the same answer."""
        if outcome is Outcome.UNKNOWN_WALLET:
            return await self._loader.load_wallet(key.account_id, key.shard)
        found = await self._loader.load_key(key.key_id)
        return found is not None and found.epoch == key.epoch and not found.revoked

    def _give_back(self, key: ApiKey, request_id: UUID) -> None:
        """Whether the hold was taken, is about to be, or never will be: it is given back, and the
        mark that this leaves stops a reservation that arrives later."""
        generation = self._generations.find(key.shard)
        if generation is not None:
            command = calls.give_back(generation, key, request_id)
            self._pump.give_back(Settlement(key.shard, generation, key.account_id, "", 0, command))
