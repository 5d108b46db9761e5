"""What operators and their monitoring ask of a process, on an address of its own."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from proxy.domain.settings import Address

_CLOSE_SECONDS: Final = 1


class AdminAddressError(Exception):
    """Nothing can listen there."""


@asynccontextmanager
async def open_admin(
    address: Address, *, render: Callable[[], bytes], content_type: str
) -> AsyncIterator[str]:
    """Serves `/metrics`; port 0 picks one. Yields its URL. Raises AdminAddressError."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/metrics":
            return web.Response(status=HTTPStatus.NOT_FOUND, text="there is only /metrics\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": "GET"})
        return web.Response(body=render(), headers={"content-type": content_type})

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    try:
        await _listen(runner, address)
        name: tuple[Any, ...] = runner.addresses[0]
        yield f"http://{Address(address.host, name[1])}/metrics"
    finally:
        await runner.cleanup()


async def _listen(runner: web.ServerRunner, address: Address) -> None:
    try:
        await web.TCPSite(runner, address.host, address.port).start()
    except OSError as error:
        reason = error.strerror if error.errno is None else os.strerror(error.errno)
        raise AdminAddressError(
            f"APILINK_ADMIN_LISTEN: cannot listen at {address}: {reason}"
        ) from error
