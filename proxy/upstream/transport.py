"""One POST over a pooled HTTP/1.1 connection, and in which phase it failed.

The only module but `reply` that knows aiohttp. A failure before the first byte of the request was
handed to the socket is a NotConnectedError; nothing later is, whatever the operating system
reports. A request is written once: a pooled connection that turns out dead is replaced only while
nothing has been written to it.
"""

import asyncio
import select
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from aiohttp.payload import Payload
from yarl import URL

from proxy.domain.errors import (
    FirstByteTimeoutError,
    NoAnswerError,
    NotConnectedError,
    UpstreamError,
)
from proxy.upstream.idle import IdleWatch
from proxy.upstream.inflate import is_inflatable
from proxy.upstream.reply import HttpReply, content_coding
from routing.table import Timeouts

KEEPALIVE_SECONDS: Final = 30
DNS_SECONDS: Final = 30
READ_BYTES_MAX: Final = 64 * 2**10  # buffered of one answer; twice that for a moment
HEADER_BYTES_MAX: Final = 16 * 2**10  # each
HEADERS_MAX: Final = 128
STALE_MAX: Final = 8  # dead pooled connections passed over for one request
_WRITE_BYTES: Final = 64 * 2**10
_SWITCHING_PROTOCOLS: Final = 101
_HANG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class _StaleError(ConnectionError):
    """A pooled connection was dead before anything was written to it."""


@dataclass(frozen=True, slots=True)
class Post:
    """`on_written` is called as the first byte is handed over."""

    url: URL
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    timeouts: Timeouts
    on_written: Callable[[], None]


class Transport:
    """Connections to every upstream, pooled by host."""

    def __init__(self, *, session: aiohttp.ClientSession, idle: IdleWatch) -> None:
        self._session = session
        self._idle = idle

    async def open(self, post: Post) -> HttpReply:
        """To be closed here. Raises NotConnectedError, FirstByteTimeoutError or NoAnswerError."""
        for _ in range(STALE_MAX):
            reply = await self._attempt(post)
            if reply is not None:
                self._idle.add(reply)
                return reply
        raise NotConnectedError("every pooled connection had been closed by the upstream")

    def close(self, reply: HttpReply) -> None:
        self._idle.remove(reply)
        reply.close()

    async def _attempt(self, post: Post) -> HttpReply | None:
        """None where the pooled connection was stale.

        Failures are raised outside the handlers: aiohttp's errors hold the request's headers, the
        credential among them, and must not travel as anybody's context.
        """
        failure: UpstreamError
        deadline = asyncio.timeout(post.timeouts.connect_seconds)
        body = _Body(post, deadline)
        try:
            async with deadline:
                response = await self._session.post(
                    post.url, data=body, headers=post.headers, allow_redirects=False
                )
                body.is_answered = True
        except TimeoutError:
            failure = (
                FirstByteTimeoutError(f"no answer in {post.timeouts.first_byte_seconds} s")
                if body.is_begun
                else NotConnectedError(f"no connection in {post.timeouts.connect_seconds} s")
            )
        except (aiohttp.ClientError, OSError) as error:
            if body.is_stale:
                return None
            name = type(error).__name__
            failure = NoAnswerError(name) if body.is_begun else NotConnectedError(name)
        else:
            return self._accept(response, body, post)
        raise failure

    def _accept(
        self, response: aiohttp.ClientResponse, body: "_Body", post: Post
    ) -> HttpReply | None:
        if body.protocol is None:  # an answer that came before the request: to nobody
            response.close()
            return None
        coding = content_coding(response)
        if response.status == _SWITCHING_PROTOCOLS or (coding and not is_inflatable(coding)):
            response.close()
            raise NoAnswerError(f"unreadable: status {response.status}, {coding or 'no'} coding")
        return HttpReply(response, body.protocol, post.timeouts.idle_seconds)


class _Body(Payload):
    """The request's body, which is where a request's phases can be seen: aiohttp writes it once
    connected, in one piece with the head, and returns when the socket has taken it."""

    _autoclose = True  # nothing to close

    def __init__(self, post: Post, deadline: asyncio.Timeout) -> None:
        super().__init__(post.body)
        self._size = len(post.body)
        self._post = post
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self.protocol: ResponseHandler | None = None
        self.is_answered = False
        self.is_stale = False

    @property
    def is_begun(self) -> bool:
        return self.protocol is not None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._post.body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        assert isinstance(writer, StreamWriter)
        protocol = writer.protocol
        assert isinstance(protocol, ResponseHandler)
        if is_dead(protocol):
            self.is_stale = True
            raise _StaleError
        self._extend_deadline()
        self._post.on_written()
        self.protocol = protocol
        view = memoryview(self._post.body)
        for start in range(0, len(view), _WRITE_BYTES):
            await writer.write(view[start : start + _WRITE_BYTES])
        self._extend_deadline()

    def _extend_deadline(self) -> None:
        """The writing, and then the first byte, may each take so long."""
        when = self._loop.time() + self._post.timeouts.first_byte_seconds
        is_new = when != self._deadline.when()  # it is not where the socket took all at once
        if is_new and not self.is_answered and not self._deadline.expired():
            self._deadline.reschedule(when)


def is_dead(protocol: ResponseHandler) -> bool:
    """Closed by the peer, or holding bytes that nobody asked for (a 408 to an idle connection).

    Asks the socket itself: the loop may not have seen yet what the kernel has. Hang-up only, not
    readability: a new TLS connection has session tickets to read.
    """
    transport = protocol.transport
    if transport is None or protocol.should_close:
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), _HANG_UP)
    return bool(poll.poll(0))


@asynccontextmanager
async def open_transport(
    *, ssl_context: ssl.SSLContext, user_agent: str, idle: IdleWatch
) -> AsyncIterator[Transport]:
    connector = aiohttp.TCPConnector(
        ssl=ssl_context,
        limit=0,  # the gateway bounds its open requests, and each has at most one connection
        keepalive_timeout=KEEPALIVE_SECONDS,
        ttl_dns_cache=DNS_SECONDS,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "user-agent": user_agent,
            "accept-encoding": "identity",
            "content-type": "application/json",
        },
        skip_auto_headers=("accept",),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
        trust_env=False,
        requote_redirect_url=False,
        read_bufsize=READ_BYTES_MAX,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
        max_headers=HEADERS_MAX,
    )
    async with session:
        try:
            yield Transport(session=session, idle=idle)
        finally:
            idle.close()
