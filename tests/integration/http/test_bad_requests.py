"""Whatever arrives is answered in the 4xx range, in the API's own error shape; nothing of it is
logged, and the server goes on serving."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import orjson
import pytest
import structlog

from proxy.domain.ids import KEY_CHARS
from tests.support.data_plane import DataPlane, until
from tests.support.raw_http import RawAnswer, RawConnection, ask, chunked, request

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
CANARY = "canary-in-the-body"
LIMIT = 2**16  # of the body, as the fixture sets it
GOOD = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": CANARY}]})


@pytest.fixture(autouse=True)
async def silence(plane: DataPlane) -> AsyncIterator[None]:
    """No test here may write content to the log, nor leave the server unable to serve."""
    with structlog.testing.capture_logs() as lines:
        yield
    assert CANARY not in repr(lines)
    assert not [line for line in lines if line["event"] == "internal_error"]
    served = len(plane.gateway.served)
    answer = await ask(plane.port, good(plane))
    assert (answer.status, len(plane.gateway.served)) == (200, served + 1)


def good(plane: DataPlane, *headers: str) -> bytes:
    return post(plane, GOOD, *headers)


def post(plane: DataPlane, body: bytes, *headers: str, target: str = CHAT) -> bytes:
    key = f"authorization: Bearer {plane.token}"
    return request(target, key, JSON, *headers, body=body)


def assert_refused(
    answer: RawAnswer, status: int, code: str, param: str | None = None
) -> dict[str, str | None]:
    error = answer.json["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, param), error
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.headers.get("x-should-retry", "false") == "false"
    assert CANARY not in error["message"]
    return error


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"not json " + CANARY.encode(), "body"),
        (b'"a string"', "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"{}", "model"),
        (GOOD.replace(b'"m"', b'""'), "model"),
        (GOOD.replace(b'"m"', b"7"), "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":"' + CANARY.encode() + b'"}', "messages"),
        (GOOD[:-1] + b',"max_tokens":-1}', "max_tokens"),
        (GOOD[:-1] + b',"max_tokens":' + b"9" * 40 + b"}", "body"),
        (GOOD[:-1] + b',"max_tokens":' + b"9" * 18 + b"}", "max_tokens"),
        (GOOD[:-1] + b',"max_tokens":1.5}', "max_tokens"),
        (GOOD[:-1] + b',"max_tokens":"5"}', "max_tokens"),
        (GOOD[:-1] + b',"n":1000000000}', "n"),
        (GOOD[:-1] + b',"n":0}', "n"),
        (GOOD[:-1] + b',"stream":"yes"}', "stream"),
    ],
)
async def test_a_body_that_is_wrong_names_the_field(
    plane: DataPlane, body: bytes, param: str | None
) -> None:
    answer = await ask(plane.port, post(plane, body))
    assert_refused(answer, 400, "invalid_request", param)
    assert plane.gateway.served == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="deep objects"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="deep arrays"),
        pytest.param(GOOD[:-1] + b',"model":"other"}', id="duplicate key"),
        pytest.param(b'\xff\xfe{"model":"m"}', id="not UTF-8"),
        pytest.param(GOOD.replace(b"canary", b"\xc3\x28"), id="broken UTF-8 in a string"),
        pytest.param(GOOD.replace(b"canary", b"\x00"), id="raw NUL"),
        pytest.param(b"\x00" * 64, id="NULs"),
        pytest.param(GOOD.replace(b"canary", b"\\ud800"), id="lone surrogate"),
    ],
)
async def test_a_body_that_is_no_strict_json_is_refused(plane: DataPlane, body: bytes) -> None:
    answer = await ask(plane.port, post(plane, body))
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
    assert plane.gateway.served == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_told_the_right_one(plane: DataPlane, method: str) -> None:
    raw = request(CHAT, JSON, body=GOOD, method=method)
    answer = await ask(plane.port, raw, method=method)
    assert_refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, OPTIONS"


async def test_a_body_where_none_belongs_is_read_past(plane: DataPlane) -> None:
    key = f"authorization: Bearer {plane.token}"
    async with await RawConnection.open(plane.port) as connection:
        connection.write(request("/v1/models", key, JSON, body=GOOD, method="GET"))
        assert (await connection.answer()).status == 200
        connection.write(good(plane))
        assert (await connection.answer()).status == 200


async def test_one_byte_over_the_limit_is_refused_before_it_is_sent(plane: DataPlane) -> None:
    key = f"authorization: Bearer {plane.token}"
    answer = await ask(plane.port, request(CHAT, key, JSON, length=LIMIT + 1))
    assert_refused(answer, 413, "request_too_large")
    assert answer.is_last


async def test_the_limit_itself_is_accepted_and_one_byte_over_is_not(plane: DataPlane) -> None:
    padded = GOOD + b" " * (LIMIT - len(GOOD))
    for body, status in ((padded, 200), (padded + b" ", 413)):
        key = f"authorization: Bearer {plane.token}"
        head = request(CHAT, key, JSON, "transfer-encoding: chunked")
        assert (await ask(plane.port, head + chunked(body, 1000))).status == status
    assert (await ask(plane.port, post(plane, padded))).status == 200


async def test_an_endless_chunked_body_ends_at_the_limit(plane: DataPlane) -> None:
    key = f"authorization: Bearer {plane.token}"
    async with await RawConnection.open(plane.port) as connection:
        connection.write(request(CHAT, key, JSON, "transfer-encoding: chunked"))
        for _ in range(20):
            connection.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        answer = await connection.answer()
        assert_refused(answer, 413, "request_too_large")
        assert answer.is_last


async def test_a_client_that_sends_all_of_a_refused_body_still_reads_why(plane: DataPlane) -> None:
    """Closing on unread bytes would reset the connection, and the answer with it."""
    async with await RawConnection.open(plane.port) as connection:
        connection.write(post(plane, b"x" * 2**23))
        await connection.writer.drain()
        assert_refused(await connection.answer(), 413, "request_too_large")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(gzip.compress(GOOD), 200, None, id="good"),
        pytest.param(gzip.compress(b" " * 2**24), 413, "request_too_large", id="bomb"),
        pytest.param(gzip.compress(GOOD)[:-4], 400, "invalid_request", id="truncated"),
        pytest.param(gzip.compress(GOOD) + b"x", 400, "invalid_request", id="trailing byte"),
        pytest.param(gzip.compress(GOOD) * 2, 400, "invalid_request", id="two members"),
        pytest.param(GOOD, 400, "invalid_request", id="not gzip"),
        pytest.param(b"", 400, "invalid_request", id="empty"),
    ],
)
async def test_gzip_is_counted_while_it_is_decoded(
    plane: DataPlane, body: bytes, status: int, code: str | None
) -> None:
    key = f"authorization: Bearer {plane.token}"
    fields = (key, JSON, "content-encoding: gzip", "transfer-encoding: chunked")
    # The bomb of 16 MiB is 16 KiB on the wire: only its decoded side is over the limit.
    answer = await ask(plane.port, request(CHAT, *fields) + chunked(body, 1500))
    assert answer.status == status
    if code is not None:
        assert_refused(answer, status, code)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
async def test_other_encodings_are_not_understood(plane: DataPlane, encoding: str) -> None:
    answer = await ask(plane.port, good(plane, f"content-encoding: {encoding}"))
    assert_refused(answer, 415, "unsupported_media_type", "content-encoding")


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin-1", "x"],
)
async def test_a_body_must_be_json(plane: DataPlane, content_type: str) -> None:
    key = f"authorization: Bearer {plane.token}"
    raw = request(CHAT, key, f"content-type: {content_type}", body=GOOD)
    assert_refused(await ask(plane.port, raw), 415, "unsupported_media_type", "content-type")


@pytest.mark.parametrize("content_type", [None, "application/json; charset=UTF-8"])
async def test_a_body_may_leave_unsaid_that_it_is_json(
    plane: DataPlane, content_type: str | None
) -> None:
    fields = [f"authorization: Bearer {plane.token}"]
    if content_type is not None:
        fields.append(f"content-type: {content_type}")
    assert (await ask(plane.port, request(CHAT, *fields, body=GOOD))).status == 200


async def test_a_slow_body_is_given_up(plane: DataPlane) -> None:
    async with await RawConnection.open(plane.port) as connection:
        connection.write(good(plane)[:-1])
        answer = await connection.answer()
        assert_refused(answer, 408, "request_timeout")
        assert answer.is_last


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nabc\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"-5\r\nabc\r\n", b"f" * 40 + b"\r\n"]
)
async def test_broken_chunk_framing_is_refused_at_once(plane: DataPlane, chunks: bytes) -> None:
    """In one packet with the head, and behind a handler that waits for the body already."""
    key = f"authorization: Bearer {plane.token}"
    head = request(CHAT, key, JSON, "transfer-encoding: chunked")
    async with asyncio.timeout(0.9):  # sooner than a slow body would be given up
        answer = await ask(plane.port, head + chunks)
        assert (answer.status, answer.is_last) == (400, True)
        async with await RawConnection.open(plane.port) as connection:
            connection.write(head)
            await until(lambda: plane.app.requests_open == 1)
            connection.write(chunks)
            answer = await connection.answer()
            assert_refused(answer, 400, "invalid_request")
            assert answer.is_last
            assert await connection.closed() == b""


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"content-length: 5\r\ntransfer-encoding: chunked", id="length and chunked"),
        pytest.param(b"content-length: 5\r\ncontent-length: 6", id="two lengths"),
        pytest.param(b"content-length: 5, 5", id="a list of lengths"),
        pytest.param(b"content-length: -5", id="negative length"),
        pytest.param(b"content-length: +5", id="signed length"),
        pytest.param(b"content-length: 0x5", id="hexadecimal length"),
        pytest.param(b"content-length: 99999999999999999999999", id="huge length"),
        pytest.param(b"transfer-encoding: chunked, identity", id="chunked not last"),
        pytest.param(b"transfer-encoding: xchunked", id="unknown coding"),
        pytest.param(b"bad header: x", id="space in a name"),
        pytest.param(b"x-a: b\r\n folded", id="folded line"),
        pytest.param(b"x-a: \x00", id="NUL in a value"),
        pytest.param(b"x-request-id: a\rset-cookie: b", id="bare CR"),
        pytest.param(b"host: again", id="two hosts"),
        pytest.param(b"x-big: " + b"x" * 2**16, id="64 KiB header"),
        pytest.param(b"authorization: Bearer sk-al-" + b"x" * 2**16, id="64 KiB key"),
        pytest.param(b"\r\n".join(b"x-%d: y" % n for n in range(200)), id="200 headers"),
    ],
)
async def test_a_head_that_cannot_be_trusted_is_refused(plane: DataPlane, head: bytes) -> None:
    async with await RawConnection.open(plane.port) as connection:
        connection.write(b"POST %b HTTP/1.1\r\nhost: test\r\n%b\r\n\r\n" % (CHAT.encode(), head))
        answer = await connection.answer()
        assert_malformed(answer)
        assert await connection.closed() == b""
    assert plane.keys.lookups == []


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", id="TLS"),
        pytest.param(b"GET\r\n\r\n", id="no target"),
        pytest.param(b"FROB /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", id="unknown method"),
        pytest.param(b"GET /v1/models HTTP/9.9\r\nhost: x\r\n\r\n", id="unknown version"),
        pytest.param(b"GET /v1/models HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n" % (b"x" * 70_000), id="70 KiB path"),
        pytest.param(b"GET http:///v1 HTTP/1.1\r\nhost: x\r\n\r\n", id="no authority"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
    ],
)
async def test_what_is_no_request_is_refused(plane: DataPlane, raw: bytes) -> None:
    async with await RawConnection.open(plane.port) as connection:
        connection.write(raw)
        assert_malformed(await connection.answer())


def assert_malformed(answer: RawAnswer) -> None:
    assert_refused(answer, 400, "invalid_request")
    assert answer.is_last
    # Nobody can tell which dialect was meant: the body is an error in both.
    assert answer.json["type"] == "error"
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert answer.json["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    "target",
    ["/v1/chat/completions%00", "/%00", "/v1/%ff%fe", "/v1/../etc/passwd", "//v1/models", "/v1"],
)
async def test_a_path_that_is_nowhere_is_not_found(plane: DataPlane, target: str) -> None:
    answer = await ask(plane.port, request(target, method="GET"))
    assert_refused(answer, 404, "not_found")


async def test_an_absolute_target_names_a_path_and_no_other_server(plane: DataPlane) -> None:
    answer = await ask(plane.port, post(plane, GOOD, target=f"http://elsewhere.example{CHAT}"))
    assert answer.status == 200


@pytest.mark.parametrize("target", ["elsewhere.example:443", "*"])
async def test_nothing_is_tunnelled(plane: DataPlane, target: str) -> None:
    method = "CONNECT" if ":" in target else "OPTIONS"
    answer = await ask(plane.port, request(target, method=method), method=method)
    assert 400 <= answer.status < 500


async def test_an_upgrade_is_declined_and_the_request_served(plane: DataPlane) -> None:
    fields = ("connection: upgrade", "upgrade: websocket", "sec-websocket-key: x")
    answer = await ask(plane.port, request("/v1/realtime", *fields, method="GET"))
    assert_refused(answer, 404, "unsupported_endpoint")


async def test_a_client_request_id_is_echoed_only_as_a_uuid(plane: DataPlane) -> None:
    good_id = "0190f0a0-0000-7000-8000-00000000000A"
    answer = await ask(plane.port, good(plane, f"x-request-id: {good_id}"))
    assert answer.headers["x-client-request-id"] == good_id
    assert answer.headers["x-request-id"] != good_id
    assert plane.gateway.served[-1].caller.client_request_id == good_id
    for other in ("evil%0d%0aset-cookie: a=b", good_id + "0", "{" + good_id + "}", "\x85x", ""):
        answer = await ask(plane.port, good(plane, f"x-request-id: {other}"))
        assert answer.status == 200
        assert "x-client-request-id" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert plane.gateway.served[-1].caller.client_request_id is None


class TestKeys:
    async def test_no_key(self, plane: DataPlane) -> None:
        answer = await ask(plane.port, request(CHAT, JSON, body=GOOD))
        assert "No API key" in str(assert_refused(answer, 401, "invalid_api_key")["message"])

    async def test_a_mistyped_key_is_told_from_a_wrong_one_without_a_lookup(
        self, plane: DataPlane
    ) -> None:
        text = str(plane.token)
        mistyped = text[:10] + ("a" if text[10] != "a" else "b") + text[11:]
        for key in (mistyped, text[:-1], text + "x", "sk-al-" + "x" * 8000):
            raw = request(CHAT, f"authorization: Bearer {key}", JSON, body=GOOD)
            error = assert_refused(await ask(plane.port, raw), 401, "invalid_api_key")
            assert f"{KEY_CHARS} characters" in str(error["message"])
            assert key not in str(error["message"])
        assert plane.keys.lookups == []

    async def test_a_key_may_come_as_x_api_key(self, plane: DataPlane) -> None:
        raw = request(CHAT, f"x-api-key: {plane.token}", JSON, body=GOOD)
        assert (await ask(plane.port, raw)).status == 200

    async def test_two_keys_are_one_too_many(self, plane: DataPlane) -> None:
        mine, other = f"authorization: Bearer {plane.token}", plane.keys.add()
        twice = request(CHAT, mine, mine, JSON, body=GOOD)
        answer = await ask(plane.port, twice)
        assert_refused(answer, 400, "invalid_request", "authorization")
        both = request(CHAT, mine, f"x-api-key: {other}", JSON, body=GOOD)
        assert_refused(await ask(plane.port, both), 400, "invalid_request", "x-api-key")
        same = request(CHAT, mine, f"x-api-key: {plane.token}", JSON, body=GOOD)
        assert (await ask(plane.port, same)).status == 200

    async def test_a_store_that_is_away_is_no_wrong_key(self, plane: DataPlane) -> None:
        plane.keys.is_away = True
        answer = await ask(plane.port, good(plane))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["error"]["code"] == "ledger_unavailable"
        plane.keys.is_away = False
