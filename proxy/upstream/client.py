"""The upstreams as the gateway sees them."""

import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from proxy.domain.clock import Clock
from proxy.domain.ports import Reply, UpstreamRequest
from routing.table import Route, Upstream

FindUpstream = Callable[[str], Upstream | None]
PathOf = Callable[[Route, UpstreamRequest], str]


class HttpUpstreams:
    """Providers over HTTP/1.1: `Upstreams` of `proxy.domain.ports`."""

    def is_available(self, route: Route) -> bool:
        raise NotImplementedError

    def has_credential(self, upstream_id: str) -> bool:
        raise NotImplementedError

    def open(self, route: Route, request: UpstreamRequest) -> AbstractAsyncContextManager[Reply]:
        raise NotImplementedError

    def report(self, route: Route, *, healthy: bool) -> None:
        raise NotImplementedError


@asynccontextmanager
async def open_upstreams(
    *,
    environ: Mapping[str, str],
    clock: Clock,
    find_upstream: FindUpstream,
    path_of: PathOf,
    jitter: Callable[[], float] = random.random,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[HttpUpstreams]:
    """`find_upstream` reads the table in force; `path_of` gives what follows the base URL.

    `ssl_context` replaces the system's certificate authorities. Leaving closes every connection.
    """
    del environ, clock, find_upstream, path_of, jitter, ssl_context
    yield HttpUpstreams()
