"""Sockets in, requests out: aiohttp's server without its application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.domain.settings import Address, Settings
from proxy.http.app import App


@asynccontextmanager
async def open_server(
    app: App,
    settings: Settings,
    *,
    address: Address | None = None,
    reuse_port: bool = False,
    cutting: asyncio.Event,
) -> AsyncIterator[str]:
    """Serves at the address (the settings' unless given; port 0 picks one); yields the base URL.

    Leaving stops accepting, lets open requests end for `settings.shutdown_seconds_max`, then sets
    `cutting` (upon which the gateway ends its streams with an error event) and shortly after
    closes what is left.
    """
    raise NotImplementedError
    yield ""
