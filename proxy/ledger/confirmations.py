"""Whether Redis has brought what it answered to its disk, or to a replica.

`WAITAOF` and `WAIT` speak of what their own connection wrote, and nothing behind them on it is
answered before they are. So they have a connection of their own, and write to it first: the offset
of that write is behind every write that was answered before it, on whichever connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from proxy.domain.durability import LedgerDurability
from proxy.domain.finish import TaskSet
from proxy.ledger.address import RedisAddress
from proxy.ledger.connection import Command, Connection
from proxy.ledger.faults import LedgerFault, LedgerSetupError, as_unavailable
from proxy.ledger.link import Link

# Belongs to no shard: what it holds is of no interest, only that it was written.
_MARK: Final = ("INCR", "al:durability")
# A server that syncs every second says so within two; its answer that it did not is one, too.
WAIT_MS: Final = 2_000
_ANSWER_MS: Final = 2_000  # on top of it
_CALLS_MAX: Final = 100
_PROBES: Final = 3
_PROBE_MS: Final = 100


class Confirmations:
    """One question at a time; who asks meanwhile goes with the next. `link` is for this alone, its
    timeout longer than `wait_ms`."""

    def __init__(self, link: Link, durability: LedgerDurability, *, wait_ms: int = WAIT_MS) -> None:
        assert durability is not LedgerDurability.MEMORY
        assert link.timeout_ms > wait_ms, "or every answer that is no would close the connection"
        self._link = link
        self._durability = durability
        self._wait_ms = wait_ms
        self._asking: list[asyncio.Future[bool]] = []
        self._is_running = False
        self._tasks = TaskSet()

    def request(self) -> "asyncio.Future[bool]":
        """True once every write that was answered before this call is where it should be; False
        where Redis did not say so in time."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking.append(future)
        if not self._is_running:
            self._is_running = True
            self._tasks.spawn(self._run(), name="ledger confirmations")
        return future

    async def greet(self, connection: Connection) -> None:
        """Raises LedgerSetupError where this server cannot keep the promise."""
        if b"cluster_enabled:1" in await connection.call("INFO", "cluster"):
            raise LedgerSetupError(
                "APILINK_LEDGER_DURABILITY: a cluster's masters cannot be asked; set memory"
            )
        if self._durability is LedgerDurability.REPLICA:
            return
        if await connection.call("COMMAND", "INFO", "WAITAOF") in ([None], []):
            raise LedgerSetupError(
                "APILINK_LEDGER_DURABILITY=disk needs WAITAOF: Redis 7.2 or later, or Valkey"
            )
        if await _config(connection, "appendonly") != b"yes":
            raise LedgerSetupError(
                "APILINK_LEDGER_DURABILITY=disk needs an append-only file: set appendonly yes"
            )
        policy = await _config(connection, "appendfsync")
        if policy == b"no" or (policy == b"everysec" and await _answers_early(connection)):
            raise LedgerSetupError(
                f"APILINK_LEDGER_DURABILITY=disk: with appendfsync {policy.decode()}, this server"
                " does not wait for its disk: set appendfsync always"
            )

    async def close(self) -> None:
        await self._tasks.cancel()
        _tell(self._asking, said=False)

    async def _run(self) -> None:
        try:
            while self._asking:
                batch, self._asking = self._asking, []
                said = False
                try:
                    said = await self._ask()
                finally:
                    _tell(batch, said=said)
        finally:
            self._is_running = False

    async def _ask(self) -> bool:
        try:
            marked = self._link.call(*_MARK)
            waited = self._link.call(*self._wait())
            await asyncio.gather(marked, waited)
        except LedgerFault:
            return False
        reply = waited.result()
        return bool(reply[0] if isinstance(reply, list) else reply)

    def _wait(self) -> Command:
        if self._durability is LedgerDurability.DISK:
            return ("WAITAOF", 1, 0, self._wait_ms)
        return ("WAIT", 1, self._wait_ms)


async def _config(connection: Connection, name: str) -> bytes:
    _, value = await connection.call("CONFIG", "GET", name)
    return bytes(value)


async def _answers_early(connection: Connection) -> bool:
    """A server that syncs once a second cannot have synced three writes in a row at once. Valkey
    9.1 without replicas says that it has (seen in its system calls); Redis 8.2 waits."""
    for _ in range(_PROBES):
        await connection.call(*_MARK)
        if not (await connection.call("WAITAOF", 1, 0, _PROBE_MS))[0]:
            return False
    return True


@asynccontextmanager
async def open_confirmations(
    address: RedisAddress, durability: LedgerDurability, *, wait_ms: int = WAIT_MS
) -> AsyncIterator[Confirmations | None]:
    """None where nothing is to be confirmed. Raises LedgerSetupError where the server cannot, and
    LedgerUnavailableError where it does not answer."""
    if durability is LedgerDurability.MEMORY:
        yield None
        return
    link = Link(address, timeout_ms=wait_ms + _ANSWER_MS, calls_max=_CALLS_MAX)
    confirmations = Confirmations(link, durability, wait_ms=wait_ms)
    link.greetings.append(confirmations.greet)
    try:
        with as_unavailable():
            await link.start()
        yield confirmations
    finally:
        await confirmations.close()
        await link.close()


def _tell(futures: "list[asyncio.Future[bool]]", *, said: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(said)
