"""What `apilink dev` adds to a gateway and a worker: stores, a provider, a clock of its phases."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from proxy.dev.home import Home
from proxy.dev.servers import Server, open_postgres, open_redis
from proxy.domain.clock import Clock
from proxy.domain.settings import PREFIX

_WATCH_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Stores:
    postgres: Server
    redis: Server

    async def wait_exited(self) -> Server:
        """Returns the first that ended by itself, which none should."""
        servers = (self.postgres, self.redis)
        while not (ended := [s for s in servers if s.has_exited]):  # noqa: ASYNC110 - no event
            await asyncio.sleep(_WATCH_SECONDS)
        return ended[0]


@asynccontextmanager
async def open_stores(home: Home) -> AsyncIterator[Stores]:
    """Both at once. Raises ServerError or NoServerError, and leaves neither behind."""
    async with AsyncExitStack() as stack:
        postgres, redis = await _enter_together(
            stack, open_postgres(home.postgres), open_redis(home.redis)
        )
        yield Stores(postgres, redis)


async def _enter_together(
    stack: AsyncExitStack, *scopes: AbstractAsyncContextManager[Server]
) -> list[Server]:
    """Waits for all even where one fails, so that the stack ends every one that started."""
    entering = (stack.enter_async_context(scope) for scope in scopes)
    results = await asyncio.gather(*entering, return_exceptions=True)
    entered = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        entered.append(result)
    return entered


def dev_environ(
    environ: Mapping[str, str], home: Home, stores: Stores, *, listen: str, routing: str
) -> dict[str, str]:
    """The settings of this `dev`: its own stores whatever the environment says, the rest of the
    environment's settings as they are."""
    given = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
    own = {
        "DATABASE_URL": stores.postgres.url,
        "REDIS_URL": stores.redis.url,
        "SECRET_KEY": home.secret_key(),
        "ROUTING": routing,
        "LISTEN": listen,
        "DATA_DIR": str(home.directory),
    }
    for name in own:
        given.pop(f"{PREFIX}{name}_FILE", None)
    return given | {f"{PREFIX}{name}": text for name, text in own.items()}


class Phases:
    """How long each part of the start took, for the person who waits for it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ms = clock.monotonic_ms()
        self._spans: list[tuple[str, int]] = []

    def done(self, name: str) -> None:
        now_ms = self._clock.monotonic_ms()
        self._spans.append((name, now_ms - self._last_ms))
        self._last_ms = now_ms

    @property
    def total_ms(self) -> int:
        return sum(span for _, span in self._spans)

    def __str__(self) -> str:
        return ", ".join(f"{name} {_seconds(span)}" for name, span in self._spans)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000 // 10:02d} s"
