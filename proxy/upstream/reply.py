"""An answer whose head has come: its bytes, and how it ends."""

import asyncio
from collections.abc import Mapping
from typing import cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from proxy.domain.errors import UpstreamCutError, UpstreamError, UpstreamIdleError
from proxy.upstream.inflate import Inflater


class HttpReply:
    """`Reply` of `proxy.domain.ports` over one response.

    `protocol` is the response's connection. It is asked only before the body's end, or where the
    connection's end is the body's end: otherwise it may serve another request by then.
    """

    __slots__ = (
        "_content",
        "_ends_with_connection",
        "_error",
        "_headers",
        "_idle_seconds",
        "_inflater",
        "_loop",
        "_protocol",
        "_response",
        "_waits_since",
    )

    def __init__(
        self, response: aiohttp.ClientResponse, protocol: ResponseHandler, idle_seconds: float
    ) -> None:
        self._response = response
        self._content = response.content
        self._headers: dict[str, str] | None = None
        coding = content_coding(response)
        self._inflater = Inflater(coding) if coding else None
        self._protocol = protocol
        self._ends_with_connection = _ends_with_connection(response)
        self._error: UpstreamError | None = None
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = idle_seconds
        self._waits_since: float | None = None

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Without cookies, and without what described a compressed body."""
        if self._headers is None:
            self._headers = _plain_headers(self._response, inflated=self._inflater is not None)
        return self._headers

    @property
    def is_at_end(self) -> bool:
        if self._error is not None or not self._content.at_eof() or self._was_reset():
            return False
        return self._inflater is None or self._inflater.is_complete or not self._content.total_bytes

    async def read(self) -> bytes:
        if self._inflater is None:
            return await self._read_raw()
        while not (data := self._inflater.take()):
            raw = await self._read_raw()
            if not raw:
                if not self.is_at_end:
                    raise UpstreamCutError("the compressed body ended early")
                return b""
            self._inflater.feed(raw)
        return data

    def close(self) -> None:
        """Before the body's end this closes the connection; after it, the pool has it already."""
        if not self._content.is_eof():
            self._response.close()

    def check_idle(self, now: float) -> None:
        if self._waits_since is None:
            return
        if not self._protocol.connected:
            # Garbage where a chunk's header should be: aiohttp closes, and wakes nobody.
            self._content.set_exception(UpstreamCutError("the body was cut: bad framing"))
        elif now - self._waits_since > self._idle_seconds:
            self._content.set_exception(UpstreamIdleError(f"silent for {self._idle_seconds} s"))

    async def _read_raw(self) -> bytes:
        if self._error is not None:
            raise self._error
        if self._content.exception() is not None:
            return self._rest()
        data = b""
        self._waits_since = self._loop.time()
        try:
            data = await self._content.readany()
        except (UpstreamIdleError, UpstreamCutError) as error:
            self._error = error
            raise
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, RuntimeError) as e:
            self._error = UpstreamCutError(f"the body was cut: {type(e).__name__}")
        finally:
            self._waits_since = None
        if self._error is not None:
            raise self._error
        if not data and self._was_reset():
            raise UpstreamCutError("the connection was reset before the body's end")
        return data

    def _rest(self) -> bytes:
        """What had come before the cut while nobody was reading: the stream would hide it behind
        its error, but the upstream has billed it and the client can have it."""
        content = self._content
        self._error = UpstreamCutError(f"the body was cut: {type(content.exception()).__name__}")
        content.set_exception(cast("BaseException", None))  # its way to say: no error
        data = content.read_nowait()
        if not data:
            raise self._error
        return data

    def _was_reset(self) -> bool:
        return self._ends_with_connection and isinstance(self._protocol.exception(), OSError)


def content_coding(response: aiohttp.ClientResponse) -> str:
    """The content-encoding in lower case, "" for identity."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    return "" if coding == "identity" else coding


def _ends_with_connection(response: aiohttp.ClientResponse) -> bool:
    """Neither a length nor chunks: RFC 9112, 6.3, rule 8."""
    headers = response.headers
    return "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", "")


def _plain_headers(response: aiohttp.ClientResponse, *, inflated: bool) -> dict[str, str]:
    left_out = {"set-cookie"}
    if inflated:
        left_out |= {"content-encoding", "content-length"}
    headers: dict[str, str] = {}
    for given, value in response.headers.items():
        name = given.lower()
        if name not in left_out:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
