"""Sockets in, requests out: aiohttp's server without its application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.web_protocol import _ErrInfo

from proxy.dialect.errors import render_error
from proxy.domain.clock import Clock
from proxy.domain.errors import InvalidRequestError
from proxy.domain.ids import mint_uuid7
from proxy.domain.settings import Address, Settings
from proxy.edge.respond import log_mistake
from proxy.http.app import App
from proxy.http.client_stream import Written, render_head
from routing.table import Dialect

_KEEPALIVE_SECONDS: Final = 75
_LINGER_SECONDS: Final = 2
_HEADERS_MAX: Final = 128
_BACKLOG: Final = 1024
_LAST_WORDS_SECONDS: Final = 5
_CLOSE_SECONDS: Final = 0.1  # aiohttp takes 0 for no bound


class Connection(web.RequestHandler):
    """aiohttp's connection, but for what it says when a request cannot be parsed, and for bodies
    whose framing breaks: as it comes, aiohttp would leave their readers waiting."""

    __slots__ = ("_clock", "_is_deaf")

    def __init__(self, manager: web.Server, *, clock: Clock, **options: Any) -> None:
        super().__init__(manager, **options)
        self._clock = clock
        self._is_deaf = False

    @property
    def is_retiring(self) -> bool:
        """No further request is taken here."""
        return self._close or self._force_close

    def retire(self) -> None:
        """Ends at once while idle, else after the running request."""
        is_idle = self._waiter is not None and not self._messages
        self.close()
        if is_idle and self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        super().data_received(data)
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._is_deaf = True
            self._break_open_bodies()

    def _break_open_bodies(self) -> None:
        bodies = [body for _, body in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        for body in bodies:
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError("broken framing"))
                body.feed_eof()

    def _make_error_handler(
        self, err_info: _ErrInfo
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """The parser's own words quote the request, credentials included: they go nowhere."""
        del err_info
        return self._refuse

    async def _refuse(self, request: web.BaseRequest) -> web.StreamResponse:
        del request
        if self.transport is not None:
            self.transport.write(render_malformed(self._clock))
            # The rest may still be on its way: closing on unread bytes would reset the connection
            # and take the answer with it. The client's own close ends this wait.
            if self.transport.can_write_eof():
                self.transport.write_eof()
                await asyncio.sleep(_LINGER_SECONDS)
        return Written(keep_alive=False)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Reached only by a mistake of ours beyond the app's own net."""
        del request, status, message
        if exc is not None:
            log_mistake(exc, None)
        if self.transport is not None:
            self.transport.abort()
        return Written(keep_alive=False)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        del args
        error = kw.get("exc_info")
        if isinstance(error, BaseException):
            log_mistake(error, None)


class Connections(web.Server):
    def __init__(self, app: App, **options: Any) -> None:
        super().__init__(app.handle, handler_cancellation=True)
        self._app = app
        self._options = options

    def __call__(self) -> Connection:
        return Connection(self, clock=self._app.clock, loop=self._loop, **self._options)

    def retire(self) -> None:
        for connection in self.connections:
            assert isinstance(connection, Connection)
            connection.retire()


def render_malformed(clock: Clock) -> bytes:
    """For what is no HTTP request. Which dialect was meant is not known, so the body is an error
    in both: OpenAI's `error` object has Anthropic's fields, beside which stand Anthropic's own."""
    request_id = str(mint_uuid7(clock))
    error = InvalidRequestError(
        "This is not a well-formed HTTP/1.1 request, or its request line or one of its headers is "
        "too long."
    )
    rendered = render_error(error, Dialect.OPENAI, request_id)
    body = {"type": "error", **orjson.loads(rendered.body), "request_id": request_id}
    raw = orjson.dumps(body)
    headers = {
        "x-request-id": request_id,
        "request-id": request_id,
        **rendered.headers,
        "content-length": str(len(raw)),
        "connection": "close",
    }
    return render_head(rendered.status, headers) + raw


@asynccontextmanager
async def open_server(
    app: App,
    settings: Settings,
    *,
    cut: Callable[[], Awaitable[None]],
    address: Address | None = None,
    reuse_port: bool = False,
) -> AsyncIterator[str]:
    """Serves at the address (the settings' unless given; port 0 picks one); yields the base URL.

    Leaving stops accepting, lets open requests end for `settings.shutdown_seconds_max`, then
    awaits `cut` (the gateway's: it ends its streams, each with an error event and its charge), and
    shortly after closes what is left. Raises OSError where the address is taken.
    """
    connections = Connections(
        app,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        lingering_time=_LINGER_SECONDS,
        max_line_size=settings.header_bytes_max,
        max_field_size=settings.header_bytes_max,
        max_headers=_HEADERS_MAX,
        auto_decompress=False,
        access_log=None,
    )
    at = address or settings.listen
    listener = await asyncio.get_running_loop().create_server(
        connections, at.host, at.port, backlog=_BACKLOG, reuse_port=reuse_port or None
    )
    try:
        yield f"http://{_bound(listener, at.host)}"
    finally:
        listener.close()
        connections.retire()
        if not await app.wait_idle(seconds=settings.shutdown_seconds_max):
            await cut()
            await app.wait_idle(seconds=_LAST_WORDS_SECONDS)
        await connections.shutdown(timeout=_CLOSE_SECONDS)


def _bound(listener: asyncio.Server, host: str) -> Address:
    name: tuple[Any, ...] = listener.sockets[0].getsockname()
    return Address(host, name[1])
