"""Calls that no node took: how long they are tried again, and what becomes of them."""

import asyncio
from typing import Any

import pytest

from proxy.ledger.cluster_repeats import DELAYS_MS, Repeats
from proxy.ledger.connection import Command
from proxy.ledger.faults import NotSentError, RefusedError

COMMAND: Command = ("HGET", "k", "f")
MOVED = RefusedError("MOVED 1 h:1")
TRY_AGAIN = RefusedError("TRYAGAIN later")


class Node:
    """Refuses as long as it has refusals."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.sent = 0
        self.repeats = Repeats(self.send, timeout_ms=1_000)

    def send(self, future: "asyncio.Future[Any]", command: Command) -> None:
        self.sent += 1
        refusal = self.refusals.pop(0) if self.refusals else None
        if isinstance(refusal, NotSentError):
            raise refusal
        if refusal is None:
            future.set_result(self.sent)
        else:
            self.refuse(future, refusal)

    def refuse(self, future: "asyncio.Future[Any]", refusal: Any) -> None:
        if not self.repeats.take(future, COMMAND, refusal) and not future.done():
            future.set_exception(refusal)


def a_call() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


async def test_a_refused_call_comes_again_until_it_is_taken() -> None:
    node, future = Node(TRY_AGAIN, NotSentError("not connected")), a_call()
    node.refuse(future, MOVED)
    assert await future == 3


async def test_a_call_that_nobody_takes_fails_with_the_last_refusal() -> None:
    node, future = Node(*[TRY_AGAIN] * 9), a_call()
    node.refuse(future, MOVED)
    with pytest.raises(RefusedError, match="TRYAGAIN"):
        await future
    assert node.sent == len(DELAYS_MS)


async def test_a_call_whose_node_does_not_come_back_fails_with_its_refusal() -> None:
    node, future = Node(*[NotSentError("not connected")] * 9), a_call()
    node.refuse(future, MOVED)
    with pytest.raises(RefusedError, match="MOVED"):
        await future


async def test_no_call_comes_again_after_its_time() -> None:
    repeats, future = Repeats(lambda *_: None, timeout_ms=-1), a_call()
    assert not repeats.take(future, COMMAND, TRY_AGAIN)


async def test_a_call_that_nobody_waits_for_is_not_sent_again() -> None:
    node, future = Node(), a_call()
    node.refuse(future, TRY_AGAIN)
    future.cancel()
    again = a_call()
    node.refuse(again, TRY_AGAIN)
    assert await again == 1  # the first one's turn was before
    assert not node.repeats.take(future, COMMAND, TRY_AGAIN)


async def test_only_so_many_calls_wait() -> None:
    repeats, futures = Repeats(lambda *_: None, timeout_ms=1_000, repeats_max=2), []
    for _ in range(3):
        futures.append(a_call())
        repeats.take(futures[-1], COMMAND, TRY_AGAIN)
    assert not repeats.take(futures[2], COMMAND, TRY_AGAIN)
    assert repeats.take(futures[1], COMMAND, TRY_AGAIN)
    repeats.close()
    found = await asyncio.gather(*futures[:2], return_exceptions=True)
    assert found == [TRY_AGAIN, TRY_AGAIN]


async def test_a_call_is_passed_on_only_once() -> None:
    repeats, future, passed = Repeats(lambda *_: None, timeout_ms=1_000), a_call(), []
    for _ in range(2):
        repeats.pass_on(future, COMMAND, MOVED, lambda *call: passed.append(call))
    assert passed == [(future, COMMAND)]


async def test_who_cannot_be_passed_on_to_leaves_the_refusal() -> None:
    def no_room(*_: object) -> None:
        raise NotSentError("too many open calls")

    repeats = Repeats(lambda *_: None, timeout_ms=1_000)
    assert not repeats.pass_on(a_call(), COMMAND, MOVED, no_room)
