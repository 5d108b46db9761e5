"""The upstreams as the gateway sees them: a route and a request in, a reply or a phase out."""

import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from yarl import URL

from proxy import __version__
from proxy.domain.clock import Clock
from proxy.domain.errors import NotConnectedError
from proxy.domain.ports import Reply, UpstreamRequest
from proxy.upstream.breaker import Breaker
from proxy.upstream.credentials import Credential, Keyring, NoCredentialError
from proxy.upstream.idle import TICK_SECONDS, IdleWatch
from proxy.upstream.transport import Post, Transport, open_transport
from routing.table import Dialect, Endpoint, Route, Upstream

FindUpstream = Callable[[str], Upstream | None]
PathOf = Callable[[Endpoint, Dialect], str]

_URLS_CACHED_MAX: Final = 4096
_RETRY_AFTER_DIGITS_MAX: Final = 6
_TOO_MANY: Final = 429
# Ours alone: whatever a request brings of these is left out.
_RESERVED_HEADERS: Final = frozenset(
    "host connection keep-alive transfer-encoding content-length te trailer upgrade expect "
    "accept-encoding content-encoding authorization proxy-authorization x-api-key x-goog-api-key "
    "cookie".split()
)


@dataclass(slots=True)
class _Health:
    breaker: Breaker = field(default_factory=Breaker)
    refusals: int = 0  # requests that we refused ourselves, whose report is still to come


class HttpUpstreams:
    """Providers over HTTP/1.1: `Upstreams` of `proxy.domain.ports`."""

    def __init__(
        self,
        *,
        transport: Transport,
        keyring: Keyring,
        clock: Clock,
        find_upstream: FindUpstream,
        path_of: PathOf,
        jitter: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._keyring = keyring
        self._clock = clock
        self._find_upstream = find_upstream
        self._path_of = path_of
        self._jitter = jitter
        self._health: dict[str, _Health] = {}

    def is_available(self, route: Route) -> bool:
        now_ms = self._clock.monotonic_ms()
        return self._health_of(route).breaker.allows(now_ms) and self._keyring.is_available(
            route.upstream, now_ms
        )

    def has_credential(self, upstream_id: str) -> bool:
        upstream = self._find_upstream(upstream_id)
        return upstream is not None and self._keyring.has_any(upstream)

    @asynccontextmanager
    async def open(self, route: Route, request: UpstreamRequest) -> AsyncIterator[Reply]:
        now_ms = self._clock.monotonic_ms()
        health = self._health_of(route)
        if not health.breaker.allows(now_ms):
            raise _refused(health, f"{route.upstream.id} is left alone for now")
        try:
            credential = self._keyring.borrow(route.upstream, now_ms)
        except NoCredentialError as error:
            raise _refused(health, str(error)) from None
        try:
            health.breaker.enter(now_ms)
            exchange = self._transport.exchange(self._post(route, request, credential))
            del request  # the transport lets go of the body once it is answered
            async with exchange as reply:
                self._note(credential, reply)
                yield reply
        finally:
            if credential is not None:
                credential.in_flight -= 1

    def report(self, route: Route, *, healthy: bool) -> None:
        health = self._health_of(route)
        if not healthy and health.refusals:
            health.refusals -= 1  # we had refused it ourselves: no news of the upstream
            return
        now_ms = self._clock.monotonic_ms()
        health.breaker.record(now_ms, healthy=healthy, jitter=self._jitter())

    def _health_of(self, route: Route) -> _Health:
        found = self._health.get(route.upstream.id)
        if found is None:
            found = self._health[route.upstream.id] = _Health()
        return found

    def _post(self, route: Route, request: UpstreamRequest, credential: Credential | None) -> Post:
        base = route.upstream.speaks[request.dialect]
        headers = {
            name: value
            for given in (route.headers, request.headers)
            for name, value in _lower(given)
            if name not in _RESERVED_HEADERS
        }
        if credential is not None:
            headers.update(credential.headers)
        return Post(
            url=join_url(base, self._path_of(request.endpoint, request.dialect)),
            headers=headers,
            body=request.body,
            timeouts=route.timeouts,
            on_written=request.on_written,
        )

    def _note(self, credential: Credential | None, reply: Reply) -> None:
        if credential is None:
            return
        text = reply.headers.get("retry-after", "") if reply.status == _TOO_MANY else ""
        is_seconds = text.isascii() and text.isdigit() and len(text) <= _RETRY_AFTER_DIGITS_MAX
        credential.note(
            reply.status,
            self._clock.monotonic_ms(),
            retry_after_seconds=int(text) if is_seconds else None,
        )


def _lower(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name.lower(), value) for name, value in headers.items())


def _refused(health: _Health, reason: str) -> NotConnectedError:
    health.refusals += 1
    return NotConnectedError(reason)


@lru_cache(_URLS_CACHED_MAX)
def join_url(base: str, path: str) -> URL:
    """Raises ValueError where the path could lead away from the base's host."""
    url = URL(base + path, encoded=True)
    if not path.startswith("/") or url.user is not None or url.origin() != URL(base).origin():
        raise ValueError(f"{path!r} does not follow a base URL")
    return url


@asynccontextmanager
async def open_upstreams(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    find_upstream: FindUpstream,
    path_of: PathOf,
    jitter: Callable[[], float] = random.random,
    ssl_context: ssl.SSLContext | None = None,
    idle_tick_seconds: float = TICK_SECONDS,
) -> AsyncIterator[HttpUpstreams]:
    """`find_upstream` reads the table in force; `path_of` gives what follows the base URL.

    `ssl_context` replaces the system's certificate authorities. Leaving closes every connection.
    """
    async with open_transport(
        ssl_context=ssl_context or ssl.create_default_context(),
        user_agent=f"apilink/{__version__}",
        idle=IdleWatch(tick_seconds=idle_tick_seconds),
    ) as transport:
        yield HttpUpstreams(
            transport=transport,
            keyring=Keyring(environ),
            clock=clock,
            find_upstream=find_upstream,
            path_of=path_of,
            jitter=jitter,
        )
