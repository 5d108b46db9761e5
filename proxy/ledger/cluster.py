"""A link to a Redis Cluster: a connection to each master, and a call goes where its key is.

Which node has which slot is asked of the nodes: at the start, whenever one of them points
elsewhere or is lost, and now and then. One question at a time, and not more often than BACKOFF_MS
allows, however many calls were refused.
"""

import asyncio
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from proxy.ledger.address import RedisAddress
from proxy.ledger.cluster_node import ELSEWHERE, NOT_NOW, Tenure, ask_topology
from proxy.ledger.cluster_repeats import Repeats
from proxy.ledger.connection import Argument, Command, connect
from proxy.ledger.faults import LedgerFault, LedgerSetupError, NotSentError, RefusedError
from proxy.ledger.link import Link
from proxy.ledger.slots import (
    NODES_MAX,
    SLOTS,
    ClusterReplyError,
    Place,
    Topology,
    has_several_keys,
    parse_redirect,
    slot_of_command,
)

BACKOFF_MS: Final = (20, 50, 100, 200, 500)
REFRESH_MS: Final = 15_000
ASKED_MAX: Final = 16  # nodes, for one answer
_MS: Final = 1000


class ClusterLink(Link):
    """`greetings` run on every master, and again where it takes slots over. `is_up` says that every
    slot has its master; calls are answered for those that have."""

    def __init__(self, address: RedisAddress, *, timeout_ms: int, calls_max: int) -> None:
        super().__init__(address, timeout_ms=timeout_ms, calls_max=calls_max)
        self._table: list[Tenure | None] = [None] * SLOTS
        self._tenures: dict[Place, Tenure] = {}
        self._opening: set[Place] = set()
        self._topology = Topology({}, frozenset())
        self._pointer: Place | None = None  # the node that last pointed elsewhere: it knows more
        self._wake = asyncio.Event()
        self._is_whole = False
        self._repeats = Repeats(self._send, timeout_ms=timeout_ms)

    @property
    def is_up(self) -> bool:
        return self._is_whole

    @property
    def is_partly_up(self) -> bool:
        return any(tenure.connection is not None for tenure in self._tenures.values())

    @property
    def has_room(self) -> bool:
        found = (tenure.connection for tenure in self._tenures.values())
        return any(connection is not None and connection.has_room for connection in found)

    def call(self, *arguments: Argument) -> "asyncio.Future[Any]":
        """Raises NotSentError at once where no node is connected or this one has no room. Where
        this one is away and others are there, the future brings it: a caller with calls for many
        shards goes on with those. Raises ValueError for a command without a key."""
        tenure = self._table[slot_of_command(arguments)]
        if tenure is not None and tenure.connection is not None:
            return tenure.connection.call(*arguments)
        away = NotSentError("not connected to the node of this shard")
        if not self.is_partly_up:
            raise away
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(away)
        return future

    async def start(self) -> None:
        self._topology = await self._find_topology()
        masters = self._topology.masters
        opening = (self._open(place, masters[place]) for place in masters)
        for error in await asyncio.gather(*opening, return_exceptions=True):
            if error is not None:
                raise error
        if not self._is_whole:
            raise NotSentError("the cluster is being changed: not every shard could be asked")
        _ = self._tasks.start(self._run(), name="ledger cluster")

    async def close(self) -> None:
        self._is_closed = True
        await self._tasks.cancel()
        for tenure in self._tenures.values():
            tenure.close()
        self._repeats.close()

    # Topology

    async def _run(self) -> None:
        failures = 0
        while True:
            if await self._refresh_once():
                failures = 0
                await asyncio.sleep(BACKOFF_MS[0] / _MS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_MS / _MS):
                        await self._wake.wait()
            else:
                await asyncio.sleep(BACKOFF_MS[min(failures, len(BACKOFF_MS) - 1)] / _MS)
                failures += 1

    async def _refresh_once(self) -> bool:
        """True where the cluster is whole, as far as a node of it knows."""
        self._wake.clear()
        try:
            self._topology = await self._find_topology()
            is_known = True
        except (LedgerFault, LedgerSetupError):
            is_known = False  # what was known stays, and lost connections are made anew
        self._adopt(self._topology)
        return is_known and self._is_whole and not self._opening

    async def _find_topology(self) -> Topology:
        """Raises NotSentError where no node knows it, or LedgerSetupError."""
        reason: Exception | None = None
        for place in islice(self._places(), ASKED_MAX):
            try:
                return await self._ask_topology(place)
            except (LedgerFault, ClusterReplyError) as error:
                reason = error
        raise NotSentError(f"no node of the cluster knows it whole: {reason}") from reason

    def _places(self) -> Iterator[Place]:
        """Whom to ask, the best first. A seed may be a name behind which the nodes changed."""
        pointer, self._pointer = self._pointer, None
        connected = [place for place, t in self._tenures.items() if t.connection is not None]
        found = [*connected, *self._address.seeds, *self._topology.places()]
        yield from dict.fromkeys(found if pointer is None else [pointer, *found])

    async def _ask_topology(self, place: Place) -> Topology:
        tenure = self._tenures.get(place)
        if tenure is not None and tenure.connection is not None:
            return await ask_topology(tenure.connection, place)
        connection = await connect(
            self._address.at(place),
            timeout_ms=self.timeout_ms,
            calls_max=self._calls_max,
            on_lost=lambda _: None,
        )
        try:
            return await ask_topology(connection, place)
        finally:
            connection.close()

    def _adopt(self, topology: Topology) -> None:
        for place in set(self._tenures) - set(topology.masters):
            # Closed before its successor is greeted: an answer that came later would be of a write
            # that the successor may not have, and no greeting would look for it.
            self._tenures.pop(place).close()
        for place, slots in topology.masters.items():
            found = self._tenures.get(place)
            if found is None or found.connection is None or not slots <= found.slots:
                self._start_open(place, slots)
            else:
                # What it lost and gets back is greeted again: others wrote to it in between.
                found.slots &= slots

    def _start_open(self, place: Place, slots: AbstractSet[int]) -> None:
        if place not in self._opening and len(self._opening) < NODES_MAX:
            self._opening.add(place)
            _ = self._tasks.start(self._try_open(place, slots), name="ledger cluster node")

    async def _try_open(self, place: Place, slots: AbstractSet[int]) -> None:
        try:
            with suppress(LedgerFault, LedgerSetupError):  # the next refresh tries again
                await self._open(place, slots)
        finally:
            self._opening.discard(place)

    async def _open(self, place: Place, slots: AbstractSet[int]) -> None:
        """Raises LedgerFault, or what a greeting raises."""
        tenure = self._tenures.get(place)
        if tenure is not None and tenure.connection is not None:
            self._install(tenure, await tenure.greet(slots))
            return
        tenure = self._tenure(place)
        await tenure.open(self._address, timeout_ms=self.timeout_ms, calls_max=self._calls_max)
        try:
            self._install(tenure, await tenure.greet(slots))
        except BaseException:
            tenure.close()
            raise

    def _tenure(self, place: Place) -> Tenure:
        return Tenure(place, greetings=self.greetings, on_lost=self._left, on_refused=self._refused)

    def _install(self, tenure: Tenure, greeted: AbstractSet[int]) -> None:
        if tenure.connection is None:
            raise NotSentError("Redis hung up")
        self._tenures[tenure.place] = tenure
        # The table may have changed since the greeting began.
        found = greeted & self._topology.masters.get(tenure.place, frozenset())
        for other in self._tenures.values():
            other.slots -= found
        tenure.slots |= found
        for slot in found:
            self._table[slot] = tenure
        self._look()
        for call in self.on_up:
            call()

    def _left(self, _: Tenure) -> None:
        if not self._is_closed:
            self._look()
            self._wake.set()

    def _look(self) -> None:
        self._is_whole = all(t is not None and t.connection is not None for t in set(self._table))

    # Calls that were not taken

    def _send(self, future: "asyncio.Future[Any]", command: Command) -> None:
        tenure = self._table[slot_of_command(command)]
        if tenure is None or tenure.connection is None:
            raise NotSentError("not connected to the node of this shard")
        tenure.connection.send(future, command)

    def _refused(
        self, tenure: Tenure, future: "asyncio.Future[Any]", command: Command, refused: RefusedError
    ) -> bool:
        if refused.code == "MOVED" or refused.code in NOT_NOW:
            self._pointer = tenure.place
            self._wake.set()
        if refused.code not in ELSEWHERE or self._is_closed:
            return False
        if refused.code == "ASK":
            return self._pass_on(tenure, future, command, refused)
        return self._repeats.take(future, command, refused)

    def _pass_on(
        self, tenure: Tenure, future: "asyncio.Future[Any]", command: Command, refused: RefusedError
    ) -> bool:
        """A slot is being moved key by key, and none of the call's keys is here any more. The other
        node refuses a call of several keys unless it has them all. A call of one key it would run
        even on nothing, and a shard would be opened a second time: that one waits for the end."""
        if not has_several_keys(command):
            return False
        try:
            place = parse_redirect(refused.detail, tenure.place)
        except ClusterReplyError:
            return False
        target = self._tenures.get(place)
        if target is None:
            # A master without slots yet: no node lists it. Greeted, it is there for the next call.
            self._start_open(place, frozenset())
            return self._repeats.take(future, command, refused)
        if target.connection is None:
            return False
        return self._repeats.pass_on(future, command, refused, target.connection.ask)
