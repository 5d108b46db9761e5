"""Which node of a cluster has a key. Pure.

Source: the Redis Cluster specification (key distribution, hash tags, MOVED and ASK redirection)
and the reply of CLUSTER SLOTS.
"""

from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.ledger.connection import Argument, Command

SLOTS: Final = 16_384
_ALL: Final = range(SLOTS)
NODES_MAX: Final = 1_000  # of one answer: the specification's own bound

Place = tuple[str, int]  # host, port


class ClusterReplyError(ValueError):
    """An answer about the cluster that cannot be used."""


def slot_of(key: Argument) -> int:
    """CRC16 (XMODEM) of the key, or of what its first braces enclose, unless that is nothing."""
    raw = key if isinstance(key, bytes) else str(key).encode()
    begin = raw.find(b"{")
    if begin >= 0:
        end = raw.find(b"}", begin)
        if end > begin + 1:
            raw = raw[begin + 1 : end]
    return crc_hqx(raw, 0) % SLOTS


def slot_of_command(command: Command) -> int:
    """By its first key: behind the count of keys for a function, else the first argument.

    Raises ValueError where there is none: such a command is for one node and not for a cluster.
    """
    if command[0] != "FCALL":
        return slot_of(command[1])
    if not command[2]:
        raise ValueError(f"{command[1]!r} has no key to find a node by")
    return slot_of(command[3])


def has_several_keys(command: Command) -> bool:
    return command[0] == "FCALL" and int(command[2]) > 1


@dataclass(frozen=True, slots=True)
class Topology:
    """`masters`: place → the slots that it serves. `replicas` are asked when no master answers."""

    masters: dict[Place, frozenset[int]]
    replicas: frozenset[Place]

    def places(self) -> Iterator[Place]:
        yield from self.masters
        yield from self.replicas


def parse_slots(reply: Any, asked: Place) -> Topology:
    """The answer of the node at `asked`, which leaves out a host that it does not know.

    Raises ClusterReplyError, also where a slot has no master: such a table is only a moment's.
    """
    masters: dict[Place, set[int]] = {}
    replicas: set[Place] = set()
    try:
        for first, last, master, *others in reply[:SLOTS]:
            masters.setdefault(_place(master, asked), set()).update(_ALL[first : last + 1])
            replicas.update(_place(other, asked) for other in others)
    except (TypeError, LookupError, AttributeError, ValueError) as error:
        raise ClusterReplyError("no answer to CLUSTER SLOTS") from error
    if len(masters) + len(replicas) > NODES_MAX:
        raise ClusterReplyError(f"more than {NODES_MAX} nodes")
    if len(set[int]().union(*masters.values())) != SLOTS:
        raise ClusterReplyError("not every slot has a master")
    return Topology(
        {place: frozenset(found) for place, found in masters.items()},
        frozenset(replicas - set(masters)),
    )


def _place(node: Sequence[Any], asked: Place) -> Place:
    host = (node[0] or b"").decode()
    return (asked[0] if host in ("", "?") else host, int(node[1]))


def parse_redirect(detail: str, asked: Place) -> Place:
    """`SLOT HOST:PORT` behind MOVED or ASK. Raises ClusterReplyError."""
    _, _, address = detail.partition(" ")
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ClusterReplyError(f"no redirection: {detail[:100]!r}")
    return host.removeprefix("[").removesuffix("]") or asked[0], int(port)
