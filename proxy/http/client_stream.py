"""The client's side of one request: bytes onto its connection, one write per send."""

import asyncio
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from proxy.domain.errors import ClientGoneError
from proxy.edge.headers import JSON, STREAM

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Written(web.StreamResponse):
    """What aiohttp is handed back: the answer is on its way already."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class ClientStream:
    """Implements `proxy.domain.ports.Client` on a request's own connection.

    `own_headers` stand on every answer, whoever gives it. `on_start` is called once, as an answer
    begins. A client that takes nothing for `stall_seconds_max` counts as gone.
    """

    def __init__(
        self, request: web.BaseRequest, own_headers: Mapping[str, str], *, stall_seconds_max: int
    ) -> None:
        self._request = request
        self._own_headers = own_headers
        self._stall_seconds_max = stall_seconds_max
        self._has_body = request.method != "HEAD"
        self._is_chunked = False
        self._keeps_alive = False
        self._has_started = False
        self._has_finished = False
        self._unsent_head = b""
        self.on_start: Callable[[], None] = _nothing

    @property
    def has_started(self) -> bool:
        return self._has_started

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        fields = {**JSON, **headers}
        if status in _BODILESS:
            fields.pop("content-type")
            body = b""
        else:
            fields["content-length"] = str(len(body))
        head = self._begin(status, fields)
        self._write(head + body if self._has_body else head)
        self._has_finished = True
        await self._drained()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        fields = {**STREAM, **headers}
        if self._request.version >= (1, 1):
            self._is_chunked = self._has_body
            fields["transfer-encoding"] = "chunked"
        self._unsent_head = self._begin(status, fields)
        # The first event usually follows at once and shares the head's packet.
        asyncio.get_running_loop().call_soon(self._send_head)

    async def send(self, data: bytes) -> None:
        assert self._has_started, "a head comes first"
        # A keep-alive comment may come a moment too late: behind the end it would be taken for
        # the beginning of the connection's next answer.
        if not data or not self._has_body or self._has_finished:
            return
        head, self._unsent_head = self._unsent_head, b""
        if self._is_chunked:
            data = b"%b%x\r\n%b\r\n" % (head, len(data), data)
        elif head:
            data = head + data
        self._write(data)
        await self._drained()

    async def finish(self) -> None:
        if self._has_finished:
            return
        head, self._unsent_head = self._unsent_head, b""
        self._write(head + _LAST_CHUNK if self._is_chunked else head)
        self._has_finished = True
        await self._drained()

    def close(self) -> Written:
        """For aiohttp, once the handler is done. An answer that was begun and not finished takes
        its connection with it, or the client would take it for whole."""
        transport = self._request.transport
        if self._has_started and not self._has_finished and transport is not None:
            if self._is_chunked:
                self._send_head()
                transport.close()
            else:
                transport.abort()
        return Written(keep_alive=self._keeps_alive and self._has_finished)

    def _begin(self, status: int, fields: dict[str, str]) -> bytes:
        assert not self._has_started, "an answer is given once"
        self._keeps_alive = self._can_keep_alive(fields)
        if not self._keeps_alive:
            fields["connection"] = "close"
        elif self._request.version < (1, 1):
            fields["connection"] = "keep-alive"
        head = render_head(status, {**self._own_headers, **fields})
        self._has_started = True
        self.on_start()
        return head

    def _can_keep_alive(self, fields: Mapping[str, str]) -> bool:
        """Only where the answer's end is framed and the request's body is here: one that was
        refused may still come, and must not be taken for the next request."""
        request = self._request
        if not request.keep_alive or getattr(request.protocol, "is_retiring", False):
            return False
        if request.version < (1, 1) and "content-length" not in fields:
            return False
        if request.content.exception() is not None:
            return False
        if not request.content.is_eof():
            request.content.read_nowait()
        return request.content.is_eof()

    def _send_head(self) -> None:
        head, self._unsent_head = self._unsent_head, b""
        transport = self._request.transport
        if head and transport is not None and not transport.is_closing():
            transport.write(head)

    def _write(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ClientGoneError
        if data:
            transport.write(data)

    async def _drained(self) -> None:
        """The backpressure: returns at once unless the transport holds as much as it may."""
        if not self._request.protocol.writing_paused:
            return
        try:
            async with asyncio.timeout(self._stall_seconds_max):
                await self._request.writer.drain()
        except (ConnectionError, TimeoutError) as error:
            transport = self._request.transport
            if transport is not None:
                transport.abort()
            raise ClientGoneError from error


def render_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Raises ValueError where a value could begin a line of its own."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if _CONTROL.search("".join(lines)):
        raise ValueError("a header holds a control character")
    reason = _REASONS.get(status, "")
    text = f"HTTP/1.1 {status} {reason}\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    return text.encode("utf-8", "replace")


def _nothing() -> None:
    """Nobody waits for the answer to begin."""
