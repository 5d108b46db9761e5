"""One connection to Redis: pipelined calls, one write per loop turn, and no second try.

A call is either not sent (NotSentError), answered, or ambiguous. Once one answer is late, all of
the connection are in doubt, since answers come in order: every open call becomes ambiguous and the
connection is closed.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

from proxy.ledger.address import RedisAddress
from proxy.ledger.faults import READ_ONLY, AmbiguousError, NotSentError, RefusedError

Argument = str | bytes | int
Command = tuple[Argument, ...]
# Whoever gets a call's refusal before its caller does, and takes the call over by returning True.
OnRefused = Callable[["asyncio.Future[Any]", Command, RefusedError], bool]
_MS: Final = 1000
_ASKING: Final[Command] = ("ASKING",)


class Connection(asyncio.Protocol):
    """Made by `connect`. `on_lost` is called once, when it can no longer be used."""

    def __init__(
        self,
        *,
        timeout_ms: int,
        calls_max: int,
        on_lost: Callable[["Connection"], None],
        on_refused: OnRefused | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_ms = timeout_ms
        self._calls_max = calls_max
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._open: deque[tuple[asyncio.Future[Any], int, Command]] = deque()
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    @property
    def has_room(self) -> bool:
        return self.is_open and len(self._open) < self._calls_max

    @property
    def is_idle(self) -> bool:
        return not self._open

    def call(self, *arguments: Argument) -> "asyncio.Future[Any]":
        """The reply, as hiredis gives it; an error reply as RefusedError.

        Raises NotSentError at once where the connection is closed or has too many open calls.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send(future, arguments)
        return future

    def send(self, future: "asyncio.Future[Any]", command: Command) -> None:
        """A call whose future there is already. Raises as `call`."""
        if self._transport is None:
            raise NotSentError("not connected")
        if len(self._open) >= self._calls_max:
            raise NotSentError("too many open calls")
        packed = hiredis.pack_command(command)  # type: ignore[arg-type] # its stub says 1-tuple
        self._open.append((future, self._now_ms(), command))
        if not self._unsent:
            self._loop.call_soon(self._write)
        self._unsent.append(packed)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_ms / _MS, self._check)

    def ask(self, future: "asyncio.Future[Any]", command: Command) -> None:
        """A call that another node of the cluster passes on, this once. Raises as `call`."""
        if len(self._open) + 2 > self._calls_max:
            # A mark that stays behind alone would be for whichever call comes next.
            raise NotSentError("too many open calls")
        mark: asyncio.Future[Any] = self._loop.create_future()
        mark.cancel()  # nobody waits for its answer
        self.send(mark, _ASKING)
        self.send(future, command)

    def close(self) -> None:
        self._end(AmbiguousError("the connection was closed here"))

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface and not the base class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while self._open:
                reply = self._reader.gets()
                if reply is False:
                    return
                future, _, command = self._open.popleft()
                if isinstance(reply, hiredis.ReplyError):
                    self._refuse(future, command, RefusedError(str(reply)))
                elif not future.done():  # its caller may have been cancelled
                    future.set_result(reply)
        except hiredis.ProtocolError as error:
            self._end(AmbiguousError(f"not a Redis answer: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(AmbiguousError(f"the connection was lost: {exc or 'closed by Redis'}"))

    # Inside

    def _refuse(
        self, future: "asyncio.Future[Any]", command: Command, refused: RefusedError
    ) -> None:
        is_taken = self._on_refused is not None and self._on_refused(future, command, refused)
        if not is_taken and not future.done():
            future.set_exception(refused)
        if refused.code == READ_ONLY:
            self._end(AmbiguousError("Redis became a replica: another is the master"))

    def _write(self) -> None:
        batch, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(b"".join(batch))

    def _now_ms(self) -> int:
        return int(self._loop.time() * _MS)

    def _check(self) -> None:
        self._timer = None
        if not self._open:
            return
        left_ms = self._open[0][1] + self._timeout_ms - self._now_ms()
        if left_ms <= 0:
            self._end(AmbiguousError(f"no answer within {self._timeout_ms} ms"))
        else:
            self._timer = self._loop.call_later(left_ms / _MS, self._check)

    def _end(self, reason: AmbiguousError) -> None:
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        while self._open:
            future, _, _ = self._open.popleft()
            if not future.done():
                future.set_exception(reason)
        self._on_lost(self)


async def connect(
    address: RedisAddress,
    *,
    timeout_ms: int,
    calls_max: int,
    on_lost: Callable[[Connection], None],
    on_refused: OnRefused | None = None,
) -> Connection:
    """Connected, authenticated, on its database. Raises NotSentError: nothing was asked yet."""
    loop = asyncio.get_running_loop()

    def make() -> Connection:
        return Connection(
            timeout_ms=timeout_ms, calls_max=calls_max, on_lost=on_lost, on_refused=on_refused
        )

    try:
        async with asyncio.timeout(timeout_ms / _MS):
            if address.path is not None:
                _, connection = await loop.create_unix_connection(make, address.path)
            else:
                tls = ssl.create_default_context(cafile=address.ca) if address.is_tls else None
                _, connection = await loop.create_connection(
                    make, address.host, address.port, ssl=tls
                )
    except (OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {timeout_ms} ms"
        raise NotSentError(f"cannot connect to Redis: {reason}") from error
    try:
        await _sign_in(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


async def _sign_in(connection: Connection, address: RedisAddress) -> None:
    try:
        if address.password is not None:
            user = (address.username,) if address.username else ()
            await connection.call("AUTH", *user, address.password)
        if address.database:
            await connection.call("SELECT", address.database)
    except AmbiguousError as error:
        raise NotSentError(f"no answer to the sign-in: {error}") from error
