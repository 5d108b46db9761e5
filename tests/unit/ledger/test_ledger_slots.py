import pytest

from proxy.ledger.slots import (
    SLOTS,
    ClusterReplyError,
    Place,
    has_several_keys,
    parse_redirect,
    parse_slots,
    slot_of,
    slot_of_command,
)

ASKED: Place = ("10.0.0.1", 7000)
A, B, C = ([host, 7000, b"id", []] for host in (b"10.0.0.1", b"10.0.0.2", b"10.0.0.3"))


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 0x31C3 % SLOTS),  # the specification's own example of its CRC16
        ("foo", 12182),
        (b"foo", 12182),
        ("{foo}.bar", 12182),
        ("al:{foo}:w:1", 12182),
        ("{foo}{bar}", 12182),
        (7, slot_of("7")),
    ],
)
def test_a_key_has_one_slot_by_its_hash_tag(key: str | bytes | int, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize("key", ["{}foo", "{foo", "foo}bar{"])
def test_braces_that_enclose_nothing_are_part_of_the_key(key: str) -> None:
    assert slot_of(key) == slot_of(key.encode())
    assert slot_of(key) != slot_of("foo")
    assert slot_of("{}{foo}") != slot_of("foo")


def test_a_shards_keys_are_in_one_slot() -> None:
    assert slot_of("al:{s3}:shard") == slot_of("al:{s3}:7:w:x{y}") == slot_of("s3")


def test_a_command_goes_by_its_first_key() -> None:
    assert slot_of_command(("FCALL", "f", 2, "{foo}a", "{foo}b", "arg")) == 12182
    assert slot_of_command(("XRANGE", "foo", "-", "+")) == 12182
    with pytest.raises(ValueError, match="no key"):
        slot_of_command(("FCALL", "ledger_version", 0))


def test_only_a_function_has_several_keys() -> None:
    assert has_several_keys(("FCALL", "f", 2, "a", "b"))
    assert not has_several_keys(("FCALL", "f", 1, "a", "b"))
    assert not has_several_keys(("XRANGE", "a", "-", "+"))


def test_the_table_of_slots() -> None:
    found = parse_slots([[0, 99, A, C], [200, SLOTS - 1, A, C], [100, 199, B]], ASKED)
    assert {place: len(slots) for place, slots in found.masters.items()} == {
        ("10.0.0.1", 7000): SLOTS - 100,
        ("10.0.0.2", 7000): 100,
    }
    assert found.replicas == {("10.0.0.3", 7000)}
    assert 150 in found.masters["10.0.0.2", 7000]


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_a_host_that_is_not_known_is_the_one_that_was_asked(host: bytes | None) -> None:
    found = parse_slots([[0, SLOTS - 1, [host, 7001, b"id"]]], ASKED)
    assert set(found.masters) == {("10.0.0.1", 7001)}


@pytest.mark.parametrize(
    "reply",
    [
        [],
        [[0, SLOTS - 2, A]],  # the last slot has no master
        [[0, 5, A], [7, SLOTS - 1, B]],
        b"OK",
        [[0, SLOTS - 1]],
        [[0, SLOTS - 1, [b"h", b"port", b"id"]]],
    ],
)
def test_a_table_that_is_not_whole_is_refused(reply: object) -> None:
    with pytest.raises(ClusterReplyError):
        parse_slots(reply, ASKED)


@pytest.mark.parametrize(
    ("detail", "place"),
    [
        ("3999 127.0.0.1:6381", ("127.0.0.1", 6381)),
        ("3999 redis-1.example:6381", ("redis-1.example", 6381)),
        ("3999 ::1:6381", ("::1", 6381)),
        ("3999 :6381", ("10.0.0.1", 6381)),
    ],
)
def test_a_redirection_names_a_node(detail: str, place: Place) -> None:
    assert parse_redirect(detail, ASKED) == place


@pytest.mark.parametrize("detail", ["", "3999", "3999 host:", "3999 host:x"])
def test_what_is_no_redirection_is_refused(detail: str) -> None:
    with pytest.raises(ClusterReplyError):
        parse_redirect(detail, ASKED)
