"""One master of a cluster, and what a node of it says about the whole."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, cast

from proxy.ledger.address import RedisAddress
from proxy.ledger.connection import Argument, Command, Connection, connect
from proxy.ledger.faults import LedgerSetupError, NotSentError, RefusedError
from proxy.ledger.slots import (
    ClusterReplyError,
    Place,
    Topology,
    parse_slots,
    slot_of_command,
)

ELSEWHERE: Final = frozenset({"MOVED", "ASK", "TRYAGAIN"})
NOT_NOW: Final = frozenset({"CLUSTERDOWN", "MASTERDOWN", "LOADING"})

Greeting = Callable[[Connection], Awaitable[None]]
OnTenureRefused = Callable[["Tenure", "asyncio.Future[Any]", Command, RefusedError], bool]


class Tenure:
    """A connection to a master, and the slots that it was greeted for.

    A master that takes slots over may have lost writes (a replica that lagged), and greetings find
    that out: so a slot is served only after a greeting could ask for its shards. More slots are
    greeted on the connection that there is: its answers come in order, so what a greeting learns is
    not older than any answer before it.
    """

    def __init__(
        self,
        place: Place,
        *,
        greetings: Sequence[Greeting],
        on_lost: Callable[["Tenure"], None],
        on_refused: OnTenureRefused,
    ) -> None:
        self.place = place
        self.slots: set[int] = set()
        self.connection: Connection | None = None
        self._greetings = greetings
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._asked: set[asyncio.Future[Any]] = set()  # by greetings
        self._not_here: set[int] = set()

    async def open(self, address: RedisAddress, *, timeout_ms: int, calls_max: int) -> None:
        """Raises NotSentError or RefusedError. Nothing is served yet: `greet` comes next."""
        self.connection = await connect(
            address.at(self.place),
            timeout_ms=timeout_ms,
            calls_max=calls_max,
            on_lost=self._lost,
            on_refused=self._refused,
        )

    async def greet(self, slots: AbstractSet[int]) -> AbstractSet[int]:
        """Of these the slots that may be served: whose shards could be asked here.

        Raises LedgerFault, or what a greeting raises.
        """
        if self.connection is None:
            raise NotSentError("Redis hung up")
        self._not_here.clear()
        for greet in self._greetings:
            await greet(cast("Connection", _Asker(self.connection, self._asked)))
        return slots - self._not_here

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()

    def _lost(self, connection: Connection) -> None:
        if connection is self.connection:  # else `connect` says it
            self.connection = None
            self._on_lost(self)

    def _refused(
        self, future: "asyncio.Future[Any]", command: Command, refused: RefusedError
    ) -> bool:
        if future not in self._asked:
            return self._on_refused(self, future, command, refused)
        if refused.code in ELSEWHERE:
            self._not_here.add(slot_of_command(command))
        elif refused.code in NOT_NOW and not future.done():
            # Taken for "this shard is not open", it would be served unasked a moment later.
            future.set_exception(NotSentError(f"the cluster is not ready: {refused}"))
            return True
        return False


class _Asker:
    """What a greeting uses of a connection. Knows its calls from everybody else's."""

    def __init__(self, connection: Connection, asked: "set[asyncio.Future[Any]]") -> None:
        self._connection = connection
        self._asked = asked

    def call(self, *arguments: Argument) -> "asyncio.Future[Any]":
        future = self._connection.call(*arguments)
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return future


async def ask_topology(connection: Connection, place: Place) -> Topology:
    """Raises LedgerFault, ClusterReplyError where the node does not know, and LedgerSetupError
    where it is of no cluster."""
    try:
        info = await connection.call("CLUSTER", "INFO")
    except RefusedError as refused:
        if "cluster support disabled" in str(refused):
            raise LedgerSetupError(
                "Redis is no cluster: leave cluster=true out of its URL"
            ) from refused
        raise
    if b"cluster_state:ok" not in info:
        raise ClusterReplyError("the cluster is down, says the node")
    return parse_slots(await connection.call("CLUSTER", "SLOTS"), place)
