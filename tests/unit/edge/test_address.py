import pytest
from multidict import CIMultiDict

from proxy.edge.address import ClientAddress

PROXIES = ("10.0.0.0/8", "192.0.2.7", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # Nobody is believed who does not come from a trusted proxy.
        ("198.51.100.9", ["203.0.113.1"], "198.51.100.9"),
        ("10.1.1.1", ["203.0.113.1"], "203.0.113.1"),
        # What the client itself wrote stands left of what the proxy saw.
        ("10.1.1.1", ["1.1.1.1, 203.0.113.1"], "203.0.113.1"),
        ("10.1.1.1", ["1.1.1.1, 203.0.113.1, 192.0.2.7, 10.2.2.2"], "203.0.113.1"),
        ("10.1.1.1", ["1.1.1.1", "203.0.113.1"], "203.0.113.1"),
        # All trusted: the farthest of them.
        ("10.1.1.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.1.1.1", [], "10.1.1.1"),
        # Nonsense ends the chain where it stands.
        ("10.1.1.1", ["203.0.113.1, nonsense, 10.2.2.2"], "10.2.2.2"),
        ("10.1.1.1", ["", ","], "10.1.1.1"),
        # Forms.
        ("10.1.1.1", ["203.0.113.1:4711"], "203.0.113.1"),
        ("fd00::1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.1.1.1", ["203.0.113.1"], "203.0.113.1"),
        ("::ffff:198.51.100.9", ["203.0.113.1"], "198.51.100.9"),
        # No store takes a zone for a part of an address, and anybody can write one.
        ("fd00::1", ["fe80::1%eth0"], "fe80::1"),
        ("fd00::1", ["[fe80::1%eth0]:443"], "fe80::1"),
        ("fd00::1", ["2001:db8::1%a\0b"], "2001:db8::1"),
        ("fd00::1%eth0", ["203.0.113.1"], "203.0.113.1"),
        ("fe80::1%eth0", ["203.0.113.1"], "fe80::1"),
        ("fd00::1", ["%eth0"], "fd00::1"),
        ("", ["203.0.113.1"], None),
        (None, ["203.0.113.1"], None),
    ],
)
def test_the_nearest_hop_that_is_not_ours(
    peer: str | None, forwarded: list[str], expected: str | None
) -> None:
    headers = CIMultiDict([("X-Forwarded-For", line) for line in forwarded])
    assert ClientAddress(PROXIES).of(peer, headers) == expected


def test_a_long_chain_is_read_only_so_far() -> None:
    headers = CIMultiDict({"x-forwarded-for": "203.0.113.1," + "10.0.0.1," * 1000 + "10.0.0.2"})
    assert ClientAddress(PROXIES).of("10.1.1.1", headers) == "10.0.0.1"


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    headers = CIMultiDict({"x-forwarded-for": "203.0.113.1"})
    assert ClientAddress(()).of("10.1.1.1", headers) == "10.1.1.1"
    assert ClientAddress(()).of("fe80::1%eth0", headers) == "fe80::1"
    assert ClientAddress(()).of(None, headers) is None


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.1/8", "10.0.0.0/33", ""])
def test_a_proxy_is_an_address_or_a_network(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        ClientAddress((text,))
