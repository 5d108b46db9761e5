import pytest

from proxy.ledger.address import RedisAddress, parse_redis_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", RedisAddress()),
        ("redis://10.0.0.1:7000/3", RedisAddress(host="10.0.0.1", port=7000, database=3)),
        ("redis://[::1]:7000", RedisAddress(host="::1", port=7000)),
        (
            "rediss://us%40er:p%2Fw@redis.example:6380",
            RedisAddress(
                host="redis.example", port=6380, is_tls=True, username="us@er", password="p/w"
            ),
        ),
        ("redis://:pw@h", RedisAddress(host="h", password="pw")),
        ("unix:///tmp/a/redis.sock", RedisAddress(path="/tmp/a/redis.sock")),
        ("unix:///tmp/r.sock?db=2", RedisAddress(path="/tmp/r.sock", database=2)),
    ],
)
def test_a_url_says_where_redis_is(url: str, address: RedisAddress) -> None:
    assert parse_redis_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis://h/zero",
        "redis://h?timeout=1",
        "unix://",
        "redis://h:0x10",
        "redis://h?db",
    ],
)
def test_what_is_no_such_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_redis_url(url)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(parse_redis_url("redis://u:secret@h"))
    with pytest.raises(ValueError, match="option") as raised:
        parse_redis_url("redis://u:secret@h?x=1")
    assert "secret" not in str(raised.value)
