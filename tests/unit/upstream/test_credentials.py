"""Which key is lent, and that none is ever shown."""

import pytest

from proxy.upstream.credentials import (
    REFUSED_MS_MIN,
    REST_MS,
    REST_MS_MAX,
    Credential,
    Keyring,
    NoCredentialError,
    credential_problems,
    parse_value,
)
from routing.table import Upstream, UpstreamKey
from tests.support.routes import make_upstream

ENVIRON = {"A": "key-a", "B": " key-b\n", "EMPTY": "  ", "BROKEN": "key\r\nx: y"}


def two_keys(concurrency: int | None = None) -> Upstream:
    keys = (UpstreamKey("A", concurrency), UpstreamKey("B", concurrency))
    return make_upstream("http://h/v1", keys=keys)


def borrow(keyring: Keyring, upstream: Upstream, now_ms: int = 0) -> Credential:
    credential = keyring.borrow(upstream, now_ms)
    assert credential is not None
    return credential


def value_of(credential: Credential) -> str:
    return next(iter(credential.headers.values())).removeprefix("Bearer ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sk-1", "sk-1"),
        (" sk-1\r\n", "sk-1"),
        (None, None),
        ("", None),
        ("a\nb", None),
        ("a b", None),
        ("ключ", None),
        ("a\x00b", None),
        ("x" * 4097, None),
    ],
)
def test_parse_value(text: str | None, value: str | None) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        ("bearer", {"authorization": "Bearer key-a"}),
        ("x-api-key", {"x-api-key": "key-a"}),
        ("x-goog-api-key", {"x-goog-api-key": "key-a"}),
    ],
)
def test_kinds_of_auth(auth: str, headers: dict[str, str]) -> None:
    upstream = make_upstream("http://h", keys=(UpstreamKey("A"),), auth=auth)
    assert borrow(Keyring(ENVIRON), upstream).headers == headers


def test_no_auth_needs_no_key() -> None:
    upstream = make_upstream("http://h", keys=(), auth="none")
    keyring = Keyring({})
    assert keyring.has_any(upstream)
    assert keyring.is_available(upstream, 0)
    assert keyring.borrow(upstream, 0) is None


@pytest.mark.parametrize("env", ["MISSING", "EMPTY", "BROKEN"])
def test_without_a_value_there_is_nothing_to_lend(env: str) -> None:
    upstream = make_upstream("http://h", keys=(UpstreamKey(env),))
    keyring = Keyring(ENVIRON)
    assert not keyring.has_any(upstream)
    assert not keyring.is_available(upstream, 0)
    with pytest.raises(NoCredentialError):
        keyring.borrow(upstream, 0)


def test_keys_take_turns_and_the_less_busy_goes_first() -> None:
    keyring, upstream = Keyring(ENVIRON), two_keys()
    lent = [borrow(keyring, upstream) for _ in range(4)]
    assert [value_of(c) for c in lent] == ["key-a", "key-b", "key-a", "key-b"]
    lent[0].in_flight -= 2
    assert value_of(borrow(keyring, upstream)) == "key-a"
    assert value_of(borrow(keyring, upstream)) == "key-a"


def test_concurrency_is_a_bound() -> None:
    keyring, upstream = Keyring(ENVIRON), two_keys(concurrency=1)
    first, _ = borrow(keyring, upstream), borrow(keyring, upstream)
    assert not keyring.is_available(upstream, 0)
    with pytest.raises(NoCredentialError):
        keyring.borrow(upstream, 0)
    first.in_flight -= 1
    assert borrow(keyring, upstream) is first


@pytest.mark.parametrize("status", [401, 402])
def test_a_refused_key_is_out_of_use_for_longer_each_time(status: int) -> None:
    keyring, upstream = Keyring(ENVIRON), make_upstream("http://h", keys=(UpstreamKey("A"),))
    credential = borrow(keyring, upstream)
    credential.note(status, 0, retry_after_seconds=None)
    assert not keyring.is_available(upstream, REFUSED_MS_MIN - 1)
    assert keyring.is_available(upstream, REFUSED_MS_MIN)
    credential.note(status, REFUSED_MS_MIN, retry_after_seconds=None)
    assert not keyring.is_available(upstream, 3 * REFUSED_MS_MIN - 1)
    assert keyring.is_available(upstream, 3 * REFUSED_MS_MIN)


@pytest.mark.parametrize(
    ("status", "retry_after_seconds", "rest_ms"),
    [(429, None, REST_MS), (429, 3, 3_000), (429, 9_999, REST_MS_MAX), (403, None, REST_MS)],
)
def test_a_resting_key_comes_last_and_is_still_used(
    status: int, retry_after_seconds: int | None, rest_ms: int
) -> None:
    keyring, upstream = Keyring(ENVIRON), two_keys()
    credential = borrow(keyring, upstream)
    credential.note(status, 0, retry_after_seconds=retry_after_seconds)
    for _ in range(3):
        other = borrow(keyring, upstream, rest_ms - 1)
        assert other is not credential
    other.note(429, 0, retry_after_seconds=60)
    credential.in_flight = 0
    assert keyring.is_available(upstream, 1)
    assert borrow(keyring, upstream, rest_ms) is credential


def test_nothing_shows_a_value() -> None:
    keyring, upstream = Keyring(ENVIRON), two_keys()
    shown = [repr(borrow(keyring, upstream)), str(keyring), repr(vars(keyring)["_credentials"])]
    assert not any("key-a" in text for text in shown)


def test_problems_name_the_variable_and_not_its_value() -> None:
    keys = tuple(UpstreamKey(env) for env in ("A", "EMPTY", "BROKEN", "MISSING"))
    problems = credential_problems([make_upstream("http://h", keys=keys)], ENVIRON)
    assert [line.partition(":")[0] for line in problems] == ["EMPTY", "BROKEN"]
    assert "key" not in " ".join(problems)
