"""Calls that a node of the cluster did not take, sent again.

That is safe for every call: a node redirects, or says TRYAGAIN, before it runs anything. It is
not for long: then the caller learns of the refusal, and knows best whether to come again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from proxy.ledger.connection import Command
from proxy.ledger.faults import NotSentError, RefusedError

DELAYS_MS: Final = (10, 30, 100)
REPEATS_MAX: Final = 10_000
_MS: Final = 1000

Send = Callable[["asyncio.Future[Any]", Command], None]


@dataclass(slots=True)
class _Repeat:
    command: Command
    refused: RefusedError
    until_ms: int  # of the loop's time
    tries: int = 0
    was_passed_on: bool = False
    timer: asyncio.TimerHandle | None = None


class Repeats:
    """`send` finds the node by the table as it is then; raises NotSentError."""

    def __init__(self, send: Send, *, timeout_ms: int, repeats_max: int = REPEATS_MAX) -> None:
        self._send = send
        self._timeout_ms = timeout_ms
        self._repeats_max = repeats_max
        self._repeats: dict[asyncio.Future[Any], _Repeat] = {}

    def take(self, future: "asyncio.Future[Any]", command: Command, refused: RefusedError) -> bool:
        """Later. False where it was tried often enough: the caller gets the refusal."""
        repeat = self._find(future, command, refused)
        return repeat is not None and self._wait(future, repeat)

    def pass_on(
        self, future: "asyncio.Future[Any]", command: Command, refused: RefusedError, send: Send
    ) -> bool:
        """At once and elsewhere, and only once. False as above."""
        repeat = self._find(future, command, refused)
        if repeat is None or repeat.was_passed_on:
            return False
        repeat.was_passed_on = True
        try:
            send(future, command)
        except NotSentError:
            return False
        return True

    def close(self) -> None:
        for future, repeat in list(self._repeats.items()):
            if repeat.timer is not None:
                repeat.timer.cancel()
                _fail(future, repeat.refused)

    def _find(
        self, future: "asyncio.Future[Any]", command: Command, refused: RefusedError
    ) -> _Repeat | None:
        if future.done():  # nobody waits for it
            return None
        repeat = self._repeats.get(future)
        if repeat is None:
            if len(self._repeats) >= self._repeats_max:
                return None
            until_ms = _now_ms(future.get_loop()) + self._timeout_ms
            repeat = self._repeats[future] = _Repeat(command, refused, until_ms)
            future.add_done_callback(self._forget)
        repeat.refused = refused
        return repeat

    def _forget(self, future: "asyncio.Future[Any]") -> None:
        repeat = self._repeats.pop(future)
        if repeat.timer is not None:
            repeat.timer.cancel()

    def _wait(self, future: "asyncio.Future[Any]", repeat: _Repeat) -> bool:
        loop = future.get_loop()
        if repeat.tries == len(DELAYS_MS) or _now_ms(loop) > repeat.until_ms:
            return False
        delay_ms = DELAYS_MS[repeat.tries]
        repeat.tries += 1
        repeat.timer = loop.call_later(delay_ms / _MS, self._again, future, repeat)
        return True

    def _again(self, future: "asyncio.Future[Any]", repeat: _Repeat) -> None:
        repeat.timer = None
        if future.done():
            return
        try:
            self._send(future, repeat.command)
        except NotSentError:  # the node that has it now is not connected yet
            if not self._wait(future, repeat):
                _fail(future, repeat.refused)


def _fail(future: "asyncio.Future[Any]", refused: RefusedError) -> None:
    if not future.done():
        future.set_exception(refused)


def _now_ms(loop: asyncio.AbstractEventLoop) -> int:
    return int(loop.time() * _MS)
