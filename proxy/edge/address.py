"""The client's address, behind proxies that we trust to say it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from multidict import MultiMapping

_IPV4_IN_IPV6_BITS: Final = 96
_HOPS_MAX: Final = 32


class ClientAddress:
    """Reads `X-Forwarded-For` from its right end: each trusted hop vouches for the one before."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        """Addresses or CIDR networks. Raises ValueError on anything else."""
        self._trusted = tuple(_network(text) for text in trusted_proxies)

    def of(self, peer: str | None, headers: MultiMapping[str]) -> str | None:
        """The nearest hop that is not a trusted proxy, without port or zone, so that every store
        takes it for an address. Hops beyond it are anybody's claim. None where the peer has no
        address: it came through a unix socket."""
        if not self._trusted:
            return (peer or "").partition("%")[0] or None
        nearest = _address(peer or "")
        if nearest is None:
            return None
        if not self._trusts(nearest):
            return _shown(nearest)
        for text in _hops(headers):
            hop = _address(text)
            if hop is None:
                break
            nearest = hop
            if not self._trusts(hop):
                break
        return _shown(nearest)

    def _trusts(self, address: IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _hops(headers: MultiMapping[str]) -> list[str]:
    lines = headers.getall("x-forwarded-for", [])
    return ",".join(lines).split(",")[: -_HOPS_MAX - 1 : -1]


def _network(text: str) -> IPv6Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network):
        return network
    mapped = _mapped(network.network_address)
    return IPv6Network((int(mapped), network.prefixlen + _IPV4_IN_IPV6_BITS))


def _address(text: str) -> IPv6Address | None:
    """With or without a port, with or without brackets. IPv4 as IPv4-mapped IPv6: one kind.

    A zone (`fe80::1%eth0`) names an interface of whoever wrote it, in any characters: it is left
    out.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return _mapped(address) if isinstance(address, IPv4Address) else address


def _mapped(address: IPv4Address) -> IPv6Address:
    return IPv6Address(0xFFFF << 32 | int(address))


def _shown(address: IPv6Address) -> str:
    return str(address.ipv4_mapped or address)
