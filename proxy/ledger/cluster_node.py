"""One master of a cluster, and what a node of it says about the whole."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from proxy.ledger.address import RedisAddress
from proxy.ledger.connection import Command, Connection, OnRefused, connect
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


class Tenure:
    """A connection to a master, for the slots that the master had when it was greeted.

    A master that takes slots over may have lost writes (a replica that lagged): so a slot is served
    only by a tenure whose greeting could ask for it. More slots are another tenure.
    """

    def __init__(self, place: Place, slots: Iterable[int]) -> None:
        self.place = place
        self.slots = set(slots)
        self.connection: Connection | None = None
        self._on_refused: OnRefused | None = None

    async def open(
        self,
        address: RedisAddress,
        greetings: Sequence[Callable[[Connection], Awaitable[None]]],
        *,
        timeout_ms: int,
        calls_max: int,
        on_lost: Callable[["Tenure"], None],
        on_refused: Callable[["Tenure", Any, Command, RefusedError], bool],
    ) -> None:
        """Raises LedgerFault, or what a greeting raises."""

        def lost(_: Connection) -> None:
            if self.connection is not None:  # else `open` says it
                self.connection = None
                on_lost(self)

        connection = await connect(
            address.at(self.place),
            timeout_ms=timeout_ms,
            calls_max=calls_max,
            on_lost=lost,
            on_refused=self._refused,
        )
        try:
            for greet in greetings:
                await greet(connection)
        except BaseException:
            connection.close()
            raise
        if not connection.is_open:
            raise NotSentError("Redis hung up")
        self._on_refused = lambda *refusal: on_refused(self, *refusal)
        self.connection = connection

    def _refused(self, future: Any, command: Command, refused: RefusedError) -> bool:
        if self._on_refused is not None:
            return self._on_refused(future, command, refused)
        if refused.code in ELSEWHERE:  # a question of the greeting that was not answered here
            self.slots.discard(slot_of_command(command))
        elif refused.code in NOT_NOW and not future.done():
            future.set_exception(NotSentError(f"the cluster is not ready: {refused}"))
            return True
        return False


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
