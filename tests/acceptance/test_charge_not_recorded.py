"""Neither disk nor ledger takes the charge: the answer waits a little, and then says so. What was
delivered is charged when one of the two is back; what was withheld costs nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from proxy.billing.explain import explain
from proxy.domain.errors import LedgerUnavailableError
from tests.support.answers import (
    TEXT,
    USAGE,
    USAGE_NANOS,
    completion,
    delta,
    platform_with,
    usage_chunk,
)
from tests.support.platform import Answer, Platform, PlatformFactory, TestKey
from tests.support.scripted_upstream import Seen, Wire


@dataclass(slots=True)
class Scene:
    """One request, held up at its upstream; what its gateway can write to goes and comes."""

    platform: Platform
    key: TestKey
    answer: "asyncio.Task[Answer]"
    upstream_goes_on: asyncio.Event
    monkeypatch: pytest.MonkeyPatch

    async def lose_both(self) -> None:
        def refuse(*_: object) -> int:
            raise OSError(28, "No space left on device")

        self.monkeypatch.setattr(os, "write", refuse)
        async with redis.asyncio.Redis.from_url(self.platform.settings.redis_url) as client:
            await client.ping()  # connected: its name goes now
            self._socket.rename(self._hidden)
            await client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(5):
            while self.platform.running.ledger.is_connected:  # noqa: ASYNC110 - the link tells nobody
                await asyncio.sleep(0.005)

    async def nobody_takes_the_charge(self) -> None:
        """Until it was tried."""
        recorder = self.platform.running.ledger._recorder
        async with asyncio.timeout(5):
            while not recorder.unplaced:  # noqa: ASYNC110 - the recorder tells nobody
                await asyncio.sleep(0.005)

    def disk_is_back(self) -> None:
        self.monkeypatch.undo()

    def redis_is_back(self) -> None:
        self._hidden.rename(self._socket)

    async def both_are_back(self) -> None:
        self.disk_is_back()
        if self._hidden.exists():
            self.redis_is_back()
        async with asyncio.timeout(10):
            while not await self._worker_sees_redis():  # noqa: ASYNC110 - the link tells nobody
                await asyncio.sleep(0.01)

    async def _worker_sees_redis(self) -> bool:
        try:
            await self.platform.wallet(self.key)
        except LedgerUnavailableError:
            return False
        return True

    @property
    def _socket(self) -> Path:
        return Path(self.platform.settings.redis_url.removeprefix("unix://"))

    @property
    def _hidden(self) -> Path:
        return self._socket.with_suffix(".hidden")


@asynccontextmanager
async def scene(
    start_platform: PlatformFactory,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stream: bool,
    **settings: Any,
) -> AsyncIterator[Scene]:
    """The upstream has begun and says no more until it is told to; both are away."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        if stream:
            await wire.sse()
            await wire.event(delta(TEXT))
        begun.set()
        await goes_on.wait()
        if not stream:
            await wire.json(completion(usage=USAGE))
            return
        await wire.event(delta(finish="stop"))
        await wire.event(usage_chunk())
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()

    async with platform_with(start_platform, {"m": script}, **settings) as (platform, _):
        key = await platform.key()
        chat = platform.chat(key, model="m", stream=stream)
        found = Scene(
            platform, key, asyncio.get_running_loop().create_task(chat), goes_on, monkeypatch
        )
        try:
            await begun.wait()
            await found.lose_both()
            goes_on.set()
            await found.nobody_takes_the_charge()
            yield found
        finally:
            await found.both_are_back()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first_back", ["disk", "redis"])
async def test_a_short_outage_of_both_is_a_pause(
    start_platform: PlatformFactory,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stream: bool,
    first_back: str,
) -> None:
    async with scene(start_platform, monkeypatch, stream=stream) as found:
        assert not found.answer.done()
        if first_back == "disk":
            found.disk_is_back()
        else:
            found.redis_is_back()
        answer = await found.answer
        assert answer.status == 200
        assert answer.body.endswith(b"data: [DONE]\n\n") if stream else TEXT.encode() in answer.body
        await found.both_are_back()
        await found.platform.charged(found.key, answer, USAGE_NANOS, status="ok", source="reported")


async def test_a_stream_that_waited_too_long_ends_with_an_error_and_is_charged_later(
    start_platform: PlatformFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(start_platform, monkeypatch, stream=True) as found:
        answer = await found.answer
        assert answer.events()[0]["choices"][0]["delta"]["content"] == TEXT
        assert answer.events()[-1]["error"]["code"] == "ledger_unavailable"
        assert b"[DONE]" not in answer.body
        await found.both_are_back()
        await found.platform.charged(found.key, answer, USAGE_NANOS, status="ok", source="reported")


async def test_a_whole_answer_that_is_withheld_costs_nothing_and_says_what_was_served(
    start_platform: PlatformFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(start_platform, monkeypatch, stream=False) as found:
        answer = await found.answer
        assert (answer.status, answer.json()["error"]["code"]) == (503, "ledger_unavailable")
        assert answer.headers["x-apilink-cost-nanos"] == "0"
        await found.both_are_back()
        counts = await found.platform.charged(
            found.key, answer, 0, status="ledger_unavailable", source="reported"
        )
        assert (counts["input"], counts["output"]) == (7, 5)
        (row,) = await found.platform.rows(found.key)
        assert row.upstream_nanos > 0
        explanation = await explain(found.platform.store, row.request_id)
        assert explanation is not None
        assert explanation.matches


async def test_a_shutdown_tells_who_still_waits_and_waits_for_the_charge(
    start_platform: PlatformFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(start_platform, monkeypatch, stream=True, shutdown_seconds_max=0) as found:
        stopping = asyncio.get_running_loop().create_task(found.platform.stop_gateway())
        answer = await found.answer
        assert answer.events()[-1]["error"]["code"] == "overloaded"
        assert not stopping.done()
        found.redis_is_back()
        await stopping
        await found.platform.charged(found.key, answer, USAGE_NANOS, status="ok", source="reported")
