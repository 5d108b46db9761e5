"""Requests as bytes, so that they may be as wrong as a test needs; answers read strictly."""

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import orjson


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]  # lower case; a repeated one fails
    body: bytes
    is_last: bool  # the server closes, or says that it will

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class RawConnection:
    """One connection. Reads answers by their framing, and fails on bytes beyond it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> "RawConnection":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, method: str = "POST") -> RawAnswer:
        async with asyncio.timeout(10):
            return await self._answer(method)

    async def _answer(self, method: str) -> RawAnswer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode().strip().split("\r\n")
        status = int(status_line.split()[1])
        if status == 100:
            return RawAnswer(status, {}, b"", is_last=False)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name == name.lower()
            assert name not in headers
            headers[name] = value
        is_last = headers.get("connection") == "close"
        body = b"" if method == "HEAD" else await self._body(headers, is_last=is_last)
        return RawAnswer(status, headers, body, is_last)

    async def _body(self, headers: dict[str, str], *, is_last: bool) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read() if is_last else b""
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return b"".join(parts)

    async def closed(self) -> bytes:
        """What still comes before the server closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()


async def ask(port: int, raw: bytes, *, method: str = "POST") -> RawAnswer:
    async with await RawConnection.open(port) as connection:
        connection.write(raw)
        return await connection.answer(method=method)


def request(
    target: str,
    *headers: str,
    body: bytes = b"",
    method: str = "POST",
    length: int | None = None,
) -> bytes:
    """An HTTP/1.1 request; `length` lies about the body's."""
    lines = [f"{method} {target} HTTP/1.1", "host: test", *headers]
    if body or length is not None:
        lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 4096) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
