"""The simulated upstream: canned bytes from a bare protocol, so that it is never the bottleneck.

`python -m tests.bench.origin PORT CHUNKS` answers a POST with one JSON answer, or with a stream of
CHUNKS chunks, 20 ms apart, where the body asks for a stream.
"""

import asyncio
import sys
from typing import cast

import uvloop

from tests.bench.shapes import CHUNK_SECONDS, answer_body, stream_events

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nx-request-id: req_bench\r\n\r\n"
)


def _framed(chunks: int) -> list[bytes]:
    framed = [b"%x\r\n%s\r\n" % (len(event), event) for event in stream_events(chunks)]
    framed[-1] += b"0\r\n\r\n"
    return framed


class Origin(asyncio.Protocol):
    def __init__(self, answer: bytes, chunks: list[bytes]) -> None:
        self._answer = answer
        self._chunks = chunks
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.index(b"content-length:") + 15
            length = int(head[at:].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            if b'"stream":true' in body:
                self._transport.write(_STREAM_HEAD)
                self._send_chunk(0)
            else:
                self._transport.write(self._answer)

    def _send_chunk(self, number: int) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        self._transport.write(self._chunks[number])
        if number + 1 < len(self._chunks):
            loop = asyncio.get_running_loop()
            loop.call_later(CHUNK_SECONDS, self._send_chunk, number + 1)


async def main(port: int, chunks: int) -> None:
    body = answer_body()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
    answer += b"content-length: %d\r\n\r\n%s" % (len(body), body)
    framed = _framed(chunks)
    server = await asyncio.get_running_loop().create_server(
        lambda: Origin(answer, framed), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
