"""A gateway for the vendors' SDKs: it runs in a thread of its own, so that an SDK may block.

Behind it stand the simulated provider and, for what needs an exact moment, a scripted one; before
it a wiretap. Upstreams that are made to fail have their own names: a breaker that opens for one
check must not be felt by another.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anyio.from_thread import BlockingPortal, start_blocking_portal

from proxy.dev.servers import Server, run_redis
from proxy.dev.simulator import Simulator
from proxy.dev.simulator.server import Served
from proxy.domain.ids import KeyToken, mint_key_token, parse_key_token
from tests.support.databases import cloned
from tests.support.platform import Platform, TestKey, open_platform, settings_for
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream
from tests.support.wiretap import Wiretap

CHAT = "alpha/chat"
EMBED = "alpha/embed"
HELD = "alpha/held"
FAILURES = ("failing", "busy", "cutting")
INPUT_NANOS, OUTPUT_NANOS = 1000, 2000  # per token, as the table's prices say


@dataclass(slots=True)
class Held:
    """An upstream that begins to answer, then says nothing until it is let go."""

    let_go: asyncio.Event

    async def __call__(self, seen: Seen, wire: Wire) -> None:
        del seen
        head = {
            "id": "chatcmpl-held",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
        }
        said = {"index": 0, "delta": {"content": "held"}, "finish_reason": None}
        done = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await wire.sse()
        await wire.event(head | {"choices": [said]})
        await self.let_go.wait()
        await wire.event(head | {"choices": [done]})
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()


@dataclass(frozen=True, slots=True)
class SdkWorld:
    """Methods may be called from any thread but the gateway's."""

    base_url: str
    good: TestKey
    _portal: BlockingPortal
    _platform: Platform
    _simulator: Simulator
    _tap: Wiretap
    _held: Held

    def key(self, **limits: Any) -> TestKey:
        async def make() -> TestKey:
            return await self._platform.key(**limits)

        return self._portal.call(make)

    def revoke(self, key: TestKey) -> None:
        self._portal.call(self._platform.revoke, key)

    def unknown_key(self) -> str:
        """A real key's id with another secret."""
        token = parse_key_token(str(self.good))
        assert token is not None
        return str(KeyToken(token.key_id, mint_key_token().secret))

    def mistyped_key(self) -> str:
        text = str(self.good)
        return text[:20] + ("a" if text[20] != "a" else "b") + text[21:]

    def retries(self, key: TestKey | str) -> list[str]:
        """For every request with this key, the how-manieth attempt its SDK says it is; sorted."""
        return sorted(one.headers["x-stainless-retry-count"] for one in self._tap.asked(str(key)))

    def wait_answered(self, key: TestKey, status: int) -> None:
        self._portal.call(self._tap.wait_answered, str(key), status)

    def let_go(self) -> None:
        self._portal.call(self._held.let_go.set)

    def upstream_saw(self, text: str) -> list[Served]:
        """The requests at the provider in whose body the text stands."""
        return [served for served in list(self._simulator.served) if text in str(served.body)]

    def charged_nanos(self, key: TestKey, *, rows: int) -> list[int]:
        """What each request of the key cost, once so many are in the books; these add up."""

        async def settled() -> list[int]:
            state = await self._platform.quiet(key, rows=rows)
            found = [int(row.charged_nanos) for row in await self._platform.rows(key)]
            assert state.balance_nanos == key.credited_nanos - sum(found)
            await self._platform.assert_clean()
            return found

        return self._portal.call(settled)


@contextmanager
def run_sdk_world(postgres_url: str, template: str, directory: Path) -> Iterator[SdkWorld]:
    with (
        cloned(postgres_url, template) as dsn,
        run_redis(directory / "redis") as redis,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_open(portal, redis, dsn, directory)) as world,
    ):
        yield world


@asynccontextmanager
async def _open(
    portal: BlockingPortal, redis: Server, dsn: str, directory: Path
) -> AsyncIterator[SdkWorld]:
    simulator = Simulator(keep_requests=True)
    held = Held(asyncio.Event())
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(simulator.running())
        scripted = await stack.enter_async_context(ScriptedUpstream(held).running())
        settings = settings_for(redis.url, dsn, directory)
        platform = await stack.enter_async_context(
            open_platform(settings, _table(f"{provider}/openai", scripted.url))
        )
        address = urlsplit(platform.base_url)
        tap = Wiretap(str(address.hostname), address.port or 0)
        url = await stack.enter_async_context(tap.running())
        good = await platform.key()
        yield SdkWorld(f"{url}/v1", good, portal, platform, simulator, tap, held)


def _table(provider: str, scripted: str) -> str:
    upstreams = "".join(upstream(name, provider) for name in ("usual", *FAILURES))
    models = model(CHAT, "usual") + model(EMBED, "usual", endpoints="[embeddings]")
    models += "".join(model(f"alpha/{name}", name) for name in FAILURES)
    return table(upstreams + upstream("held", scripted), models + model(HELD, "held"))
