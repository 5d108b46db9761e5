"""Bodies made to be dear: what they may cost in time and in memory."""

import contextlib
import time
import tracemalloc

import pytest

from proxy.dialect.parse import parse_call
from proxy.dialect.strict_json import VALUES_MAX, parse_object
from proxy.domain.errors import InvalidRequestError
from routing.table import Endpoint

MB = 2**20


def of(filler: bytes, size: int = 10 * MB) -> bytes:
    return b'{"x":[' + b",".join([filler] * (size // (len(filler) + 1))) + b"]}"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(of(b"[]"), id="empty lists"),
        pytest.param(of(b"{}"), id="empty objects"),
        pytest.param(of(b"12345"), id="numbers"),
        pytest.param(of(b'""'), id="empty strings"),
        pytest.param(of(b'{"role":"user","content":"x"}'), id="messages"),
    ],
)
def test_a_large_body_of_very_many_values_is_refused_before_it_is_made(raw: bytes) -> None:
    """Ten megabytes of empty lists are two hundred in memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequestError, match="values") as caught:
            parse_object(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.param == "body"
    assert peak < MB


def test_commas_and_braces_in_texts_are_no_values() -> None:
    text = b'"' + b'{[,\\",]}' * (2 * MB) + b'"'
    body = parse_call(
        Endpoint.CHAT, b'{"model":"m","messages":[{"role":"user","content":%b}]}' % text, {}
    ).body
    assert len(body["messages"][0]["content"]) == 7 * 2 * MB


def test_the_bound_is_far_above_what_anybody_sends() -> None:
    """OpenAI takes 300 000 tokens in one request for embeddings, each a number at most."""
    tokens = b",".join([b"[" + b",".join([b"100255"] * 1000) + b"]"] * 300)
    call = parse_call(Endpoint.EMBEDDINGS, b'{"model":"m","input":[%b]}' % tokens, {})
    assert len(call.body["input"]) == 300
    assert VALUES_MAX > 300_000 * 2


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[" * (32 * MB), id="brackets"),
        pytest.param(b'{"a":' * (6 * MB), id="nested objects"),
        pytest.param(b'"\\' * (16 * MB), id="quotes that do not end"),
        pytest.param(b'"\\' * (16 * MB) + b'"', id="quotes that end in a backslash"),
        pytest.param(b'"' * (32 * MB), id="quotes"),
        pytest.param(b"\\" * (32 * MB), id="backslashes"),
        pytest.param(b'{"a":' + b"1" * (32 * MB) + b"}", id="digits"),
        pytest.param(b'{"a":1.' + b"1" * (32 * MB) + b"}", id="decimals"),
        pytest.param(b'{"a":1e' + b"0" * (32 * MB) + b"1}", id="an exponent"),
        pytest.param(b"{" + b'"a":1,' * 400_000 + b'"a":1}', id="one key"),
        pytest.param(b" " * (32 * MB), id="blanks"),
    ],
)
def test_no_body_takes_more_than_time_by_its_length(raw: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(InvalidRequestError):
        parse_object(raw)
    assert time.process_time() - began < 3
