"""One connection, against a server that a test plays."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from proxy.ledger.address import RedisAddress
from proxy.ledger.connection import Connection, connect
from proxy.ledger.faults import AmbiguousError, NotSentError, RefusedError

Answer = Callable[[bytes], bytes | None]


class Server:
    """Answers each chunk that it reads; None hangs up, b"" stays silent."""

    def __init__(self, answer: Answer) -> None:
        self.chunks: list[bytes] = []
        self.ended: set[asyncio.Task[None]] = set()
        self._answer = answer

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.ended.add(task)
        with suppress(OSError):
            while data := await reader.read(2**16):
                self.chunks.append(data)
                answer = self._answer(data)
                if answer is None:
                    break
                writer.write(answer)
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def connected(
    answer: Answer, *, timeout_ms: int = 2_000, calls_max: int = 100, **address: str
) -> AsyncIterator[tuple[Connection, Server, list[Connection]]]:
    lost: list[Connection] = []
    server = Server(answer)
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory:
        path = str(Path(directory) / "s")
        async with await asyncio.start_unix_server(server.accept, path):
            try:
                connection = await connect(
                    RedisAddress(path=path, **address),  # type: ignore[arg-type]
                    timeout_ms=timeout_ms,
                    calls_max=calls_max,
                    on_lost=lost.append,
                )
                yield connection, server, lost
                connection.close()
            finally:
                if server.ended:
                    await asyncio.wait(server.ended)


async def test_calls_of_one_turn_are_one_write_and_answered_in_order() -> None:
    async with connected(lambda data: b":1\r\n$2\r\nab\r\n*1\r\n:3\r\n") as (connection, server, _):
        calls = [connection.call("ONE"), connection.call("TWO", b"\x00", 2), connection.call("3")]
        assert await asyncio.gather(*calls) == [1, b"ab", [3]]
    assert server.chunks[0] == (
        b"*1\r\n$3\r\nONE\r\n*3\r\n$3\r\nTWO\r\n$1\r\n\x00\r\n$1\r\n2\r\n*1\r\n$1\r\n3\r\n"
    )
    assert len(server.chunks) == 1


async def test_an_error_reply_is_a_refusal_with_its_code() -> None:
    async with connected(lambda _: b"-STALEGENERATION 7\r\n") as (connection, _, _):
        with pytest.raises(RefusedError) as raised:
            await connection.call("X")
        assert (raised.value.code, raised.value.detail) == ("STALEGENERATION", "7")
        assert connection.is_open


async def test_a_cancelled_call_does_not_shift_the_answers() -> None:
    async with connected(lambda _: b":1\r\n:2\r\n") as (connection, _, _):
        first, second = connection.call("A"), connection.call("B")
        first.cancel()
        assert await second == 2


async def test_a_late_answer_makes_all_ambiguous_and_closes() -> None:
    async with connected(lambda _: b"", timeout_ms=50) as (connection, _, lost):
        calls = [connection.call("A"), connection.call("B")]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in found] == [AmbiguousError, AmbiguousError]
        assert lost == [connection]
        with pytest.raises(NotSentError):
            connection.call("C")


async def test_answers_in_time_keep_a_busy_connection_open() -> None:
    """The limit counts from each call, not from the first."""
    async with connected(lambda _: b":1\r\n", timeout_ms=100) as (connection, _, lost):
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.3
        while loop.time() < until:
            assert await connection.call("A") == 1
        assert lost == []


async def test_a_hang_up_makes_what_is_open_ambiguous() -> None:
    async with connected(lambda _: None) as (connection, _, lost):
        with pytest.raises(AmbiguousError, match="lost"):
            await connection.call("A")
        assert lost == [connection]


async def test_bytes_that_are_no_answer_end_the_connection() -> None:
    async with connected(lambda _: b"HTTP/1.1 400 Bad Request\r\n") as (connection, _, lost):
        with pytest.raises(AmbiguousError, match="not a Redis answer"):
            await connection.call("A")
        assert lost == [connection]


async def test_open_calls_are_bounded() -> None:
    async with connected(lambda _: b":1\r\n:2\r\n", calls_max=2) as (connection, _, _):
        calls = [connection.call("A"), connection.call("B")]
        with pytest.raises(NotSentError, match="too many"):
            connection.call("C")
        assert await asyncio.gather(*calls) == [1, 2]
        assert connection.has_room


async def test_it_signs_in_first() -> None:
    async with connected(
        lambda _: b"+OK\r\n",
        username="u",
        password="p",
        database=3,  # type: ignore[arg-type]
    ) as (_, server, _):
        assert server.chunks == [
            b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n",
            b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n",
        ]


async def test_a_wrong_password_is_said() -> None:
    with pytest.raises(RefusedError, match="WRONGPASS"):
        async with connected(lambda _: b"-WRONGPASS no\r\n", password="p"):
            pass


async def test_a_server_that_is_not_there_was_sent_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotSentError):
        await connect(
            RedisAddress(path=str(tmp_path / "none")),
            timeout_ms=100,
            calls_max=1,
            on_lost=lambda _: None,
        )
