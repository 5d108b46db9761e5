"""A connection that comes back. It repeats no call that a server may have run: who made a call
knows what it was."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from proxy.domain.finish import TaskSet
from proxy.ledger.address import RedisAddress
from proxy.ledger.connection import Argument, Connection, connect
from proxy.ledger.faults import LedgerFault, LedgerSetupError, NotSentError
from proxy.ledger.library import check_single

Greeting = Callable[[Connection], Awaitable[None]]

BACKOFF_MS: Final = (20, 50, 100, 200, 500, 1000, 2000)
_MS: Final = 1000


class Link:
    """`greetings` run on every new connection before anyone else may use it; `on_up` after."""

    def __new__(  # noqa: PYI034 - what it makes may be a subclass
        cls, address: RedisAddress, *, timeout_ms: int, calls_max: int
    ) -> "Link":
        """A cluster's address makes a ClusterLink, as a Path is made a PosixPath."""
        from proxy.ledger.cluster import ClusterLink  # noqa: PLC0415 - which is built on this class

        del timeout_ms, calls_max
        return super().__new__(ClusterLink if address.is_cluster else cls)

    def __init__(self, address: RedisAddress, *, timeout_ms: int, calls_max: int) -> None:
        self.timeout_ms = timeout_ms
        self._address = address
        self._calls_max = calls_max
        self._connection: Connection | None = None
        self._tasks = TaskSet()
        self._is_closed = False
        self.greetings: list[Greeting] = []
        self.on_up: list[Callable[[], None]] = []

    @property
    def is_up(self) -> bool:
        return self._connection is not None

    @property
    def is_partly_up(self) -> bool:
        """True where calls for some shards at least can be made: of one server, for all."""
        return self.is_up

    @property
    def has_room(self) -> bool:
        return self._connection is not None and self._connection.has_room

    def call(self, *arguments: Argument) -> "asyncio.Future[Any]":
        """Raises NotSentError at once where there is no connection or no room on it."""
        if self._connection is None:
            raise NotSentError("not connected to Redis")
        return self._connection.call(*arguments)

    async def start(self) -> None:
        """The first connection. Raises LedgerFault where it cannot be had, or what a greeting
        raises; from then on the link looks after itself."""
        await self._connect()

    async def close(self) -> None:
        self._is_closed = True
        await self._tasks.cancel()
        if self._connection is not None:
            self._connection.close()

    async def _connect(self) -> None:
        connection = await connect(
            self._address,
            timeout_ms=self.timeout_ms,
            calls_max=self._calls_max,
            on_lost=self._lost,
        )
        try:
            for greet in (check_single, *self.greetings):
                await greet(connection)
        except BaseException:
            connection.close()
            raise
        if not connection.is_open:
            raise NotSentError("Redis hung up")
        self._connection = connection
        for call in self.on_up:
            call()

    def _lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            if not self._is_closed:
                _ = self._tasks.start(self._reconnect(), name="ledger reconnect")

    async def _reconnect(self) -> None:
        for attempt in range(2**31):
            try:
                await self._connect()
            except (LedgerFault, LedgerSetupError):
                wait_ms = BACKOFF_MS[min(attempt, len(BACKOFF_MS) - 1)]
                await asyncio.sleep(wait_ms / _MS)
            else:
                return
