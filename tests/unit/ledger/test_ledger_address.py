from pathlib import Path

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
        (
            "rediss://h?ca=%2Fetc%2Fred%20is.pem",
            RedisAddress(host="h", is_tls=True, ca=Path("/etc/red is.pem")),
        ),
        ("redis://h:7000?cluster=true", RedisAddress(host="h", port=7000, is_cluster=True)),
        (
            "rediss://u:p%2Cw@a:1,b,[::1]:3/?cluster=true&ca=ca.pem",
            RedisAddress(
                host="a",
                port=1,
                is_tls=True,
                username="u",
                password="p,w",
                ca=Path("ca.pem"),
                is_cluster=True,
                more_seeds=(("b", 6379), ("::1", 3)),
            ),
        ),
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
        "redis://a,b",
        "redis://a,,b?cluster=true",
        "redis://h?cluster=yes",
        "redis://h/1?cluster=true",
        "unix:///s?cluster=true",
        "redis://h?ca=ca.pem",
        "redis://h?db=1&db=2",
        "redis://a:1,b:x?cluster=true",
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


@pytest.mark.parametrize("url", ["redis://u:se,cret@a,b", "redis://u:se,cret@a:x?cluster=true"])
def test_a_mistake_beside_a_password_does_not_show_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as raised:
        parse_redis_url(url)
    assert "cret" not in str(raised.value)


def test_a_node_has_the_clusters_credentials() -> None:
    cluster = parse_redis_url("rediss://u:p@a:1,b:2?cluster=true&ca=f")
    assert cluster.seeds == (("a", 1), ("b", 2))
    assert cluster.at(("c", 3)) == parse_redis_url("rediss://u:p@c:3?ca=f")
