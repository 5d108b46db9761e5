"""A gateway's part in recoveries: it says that it lives, tells of what was lost, brings Postgres
what it recorded in generations that are over, and takes its holds again in the new one."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

import structlog

from proxy.domain.charge import parse_charge
from proxy.domain.errors import StoreUnavailableError
from proxy.domain.finish import TaskSet
from proxy.domain.ports import FencedError, Flushes, Shard, Shards, ShardState, Suspicion
from proxy.ledger import calls
from proxy.ledger.core import Core
from proxy.ledger.journals import POST_MAX, Journals
from proxy.ledger.pump import Settlement
from proxy.ledger.recorder import Recorder

ATTEND_MS: Final = 1000
_BUSY_MS: Final = 50
_MS: Final = 1000


class Attendant:
    def __init__(
        self,
        core: Core,
        recorder: Recorder,
        journals: Journals,
        *,
        shards: Shards,
        flushes: Flushes,
    ) -> None:
        self._incarnation = core.incarnation
        self._shards = shards
        self._flushes = flushes
        self._generations = core.generations
        self._tails = core.tails
        self._keeper = core.keeper
        self._pump = core.pump
        self._recorder = recorder
        self._journals = journals
        # What was recorded before it is all in Postgres. This process began with these.
        self._posted = {number: s.generation for number, s in core.generations.all().items()}
        self._reasserted: dict[int, Shard] = {}
        self._wake = asyncio.Event()  # the ledger refused something
        self._tasks = TaskSet()
        core.pump.on_refused.append(core.generations.doubt)
        core.generations.on_doubt.append(self._wake.set)

    async def start(self) -> None:
        """Raises StoreUnavailableError. Whose journals were adopted here lives no longer."""
        await self._shards.leave(self._journals.adopted)
        await self.attend_once()
        _ = self._tasks.start(self._run(), name="ledger attendance")

    async def attend_once(self) -> bool:
        """True where a recovery goes on. Raises StoreUnavailableError."""
        shards = await self._shards.attend(self._incarnation)
        self._generations.learn(shards)
        for shard in shards.values():
            await self._tell(shard)
        await self._post_older(shards)
        await self._post_stranded()
        for shard in shards.values():
            await self._report(shard)
        return any(shard.state is not ShardState.OPEN for shard in shards.values())

    async def close(self) -> None:
        """A recovery does not wait for this gateway any more."""
        await self._tasks.cancel()
        try:
            await self._post_stranded()  # some may be in no journal
            await self._shards.leave((self._incarnation,))
        except StoreUnavailableError:
            return  # it is not seen any more, which takes a little longer

    async def _run(self) -> None:
        """Once a second; while a recovery goes on, or calls are refused, more often. Where being
        refused is all that happens, ever less so."""
        pause_ms = _BUSY_MS
        while True:
            self._wake.clear()
            is_busy = await self._try_attend()
            await asyncio.sleep(pause_ms / _MS)
            if is_busy:
                pause_ms = _BUSY_MS
                continue
            pause_ms = min(2 * pause_ms, ATTEND_MS) if self._wake.is_set() else _BUSY_MS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), ATTEND_MS / _MS)

    async def _try_attend(self) -> bool:
        try:
            return await self.attend_once()
        except Exception as error:  # noqa: BLE001 - nobody else would post what this gateway has
            _warn(error)
            return False

    async def _tell(self, shard: Shard) -> None:
        """What only gateways can know of the shard."""
        if shard.number in self._tails.lost:
            await self._shards.suspect(shard.number, shard.generation, Suspicion.TAIL)
        ahead = self._generations.ahead_of(shard)
        if ahead is not None and shard.state is not ShardState.DRAINING:
            await self._shards.bump(shard.number, shard.generation, above=ahead)

    async def _post_older(self, shards: Mapping[int, Shard]) -> None:
        """Once for each new generation: its ledger knows nothing of what is in our journals. What
        cannot be read now comes later, as sequenced debits: no shard waits for that."""
        news = {
            number: shard
            for number, shard in shards.items()
            if shard.generation > self._posted.get(number, 0)
        }
        if news:
            self._recorder.write()  # what this turn of the loop still has, of the old generation
            try:
                await self._journals.post_older(self._flushes, news)
            except OSError as error:
                _warn(error)
            else:
                self._posted |= {number: shard.generation for number, shard in news.items()}

    async def _post_stranded(self) -> None:
        for number, settlements in _batches(self._pump.stranded):
            forgone = [s for s in settlements if self._is_forgone(s)]
            posted = [s for s in settlements if s not in forgone]
            charges = [(s.generation, parse_charge(calls.data_of(s.command))) for s in posted]
            try:
                await self._flushes.post(number, charges)
                await self._flushes.forgo(number, [(s.incarnation, s.number) for s in forgone])
            except FencedError as error:  # Postgres is behind the ledger, and will be told so
                _warn(error)
            else:
                self._pump.posted(settlements)

    def _is_forgone(self, settlement: Settlement) -> bool:
        """Read again from a journal that was left, so nobody knows whether it was settled: where
        Postgres was restored, that may be in balances already."""
        shard = self._generations.all().get(settlement.shard)
        is_ours = settlement.incarnation == self._incarnation
        return shard is not None and not is_ours and settlement.generation <= shard.restored

    async def _report(self, shard: Shard) -> None:
        """At every turn: a Postgres that lost its last moments may have lost an earlier report."""
        if shard.state is ShardState.OPEN:
            return
        if shard.state is ShardState.REASSERTING and self._reasserted.get(shard.number) != shard:
            if not await self._keeper.reassert(shard.number):
                return
            self._reasserted[shard.number] = shard
        await self._shards.report(self._incarnation, shard)


def _warn(error: Exception) -> None:
    structlog.get_logger().warning("attendance_failed", error_class=type(error).__name__)


def _batches(settlements: Sequence[Settlement]) -> Sequence[tuple[int, Sequence[Settlement]]]:
    """Of one shard each, and not too many rows for one transaction."""
    in_order = sorted(settlements, key=lambda settlement: settlement.shard)
    found: list[tuple[int, Sequence[Settlement]]] = []
    for shard, group in groupby(in_order, key=lambda settlement: settlement.shard):
        of_shard = list(group)
        begins = range(0, len(of_shard), POST_MAX)
        found.extend((shard, of_shard[begin : begin + POST_MAX]) for begin in begins)
    return found
