"""Edits of one member inside JSON text that leave every other byte as it came."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'
_TOKEN: Final = re.compile(_STRING + rb"|[{}\[\],:]", re.DOTALL)
_FLAT: Final = rb'\{(?:[^"{}]++|' + _STRING + rb")*+\}"
_COLON_AND_OBJECT: Final = re.compile(
    rb'[ \t\r\n]*+:[ \t\r\n]*+(\{(?:[^"{}]++|' + _STRING + rb"|" + _FLAT + rb")*+\})", re.DOTALL
)
_SPACE: Final = b" \t\r\n"


class Member(NamedTuple):
    """A member of an object: where its key, its value and its end are."""

    key: int
    value: int
    end: int


def find_member(raw: bytes, name: bytes, start: int = 0) -> Member | None:
    """The last member of that name in the object that opens at or after `start`.

    None too where the key is written with escapes: then only a parser finds it.
    """
    quoted = b'"%b"' % name
    found: Member | None = None
    key = value = -1
    for depth, token in _tokens(raw, start):
        if depth == 0:
            end = token.start()
        elif depth > 1:
            continue
        elif token.group() == b":":
            value = token.end()
            continue
        elif token.group() == b",":
            end = token.start()
        else:
            if token.group()[:1] == b'"' and value < 0:
                key = token.start() if token.group() == quoted else -1
            continue
        if key >= 0 and value >= 0:
            value = _skip_space(raw, value)
            found = Member(key, value, value + len(raw[value:end].rstrip(_SPACE)))
        key = value = -1
        if depth == 0:
            break
    return found


def guess_object(raw: bytes, name: bytes) -> Member | None:
    """Behind the name's last mention, where an object stands there that holds none deeper than
    its own members. Quick, because nothing before it is read; whose member it is, nobody knows."""
    quoted = b'"%b"' % name
    key = raw.rfind(quoted)
    found = None if key < 0 else _COLON_AND_OBJECT.match(raw, key + len(quoted))
    return None if found is None else Member(key, found.start(1), found.end(1))


def _tokens(raw: bytes, start: int) -> Iterator[tuple[int, re.Match[bytes]]]:
    """Tokens with the depth they leave behind: 1 directly inside the object, 0 at its end."""
    depth = 0
    for token in _TOKEN.finditer(raw, start):
        match token.group()[:1]:
            case b"{" | b"[":
                depth += 1
                if depth == 1:
                    continue
                yield depth, token
            case b"}" | b"]":
                depth -= 1
                yield depth if depth == 0 else depth + 1, token
            case _:
                yield depth, token


def replaced(raw: bytes, member: Member, value: bytes) -> bytes:
    return raw[: member.value] + value + raw[member.end :]


def removed(raw: bytes, member: Member) -> bytes:
    """Without the member and the one comma that stood for it."""
    after = _skip_space(raw, member.end)
    if raw[after : after + 1] == b",":
        return raw[: member.key] + raw[_skip_space(raw, after + 1) :]
    before = raw[: member.key].rstrip(_SPACE)
    return before.removesuffix(b",") + raw[member.end :]


def appended(raw_object: bytes, members: bytes) -> bytes:
    """An object's text with members at its end. `members` are written without braces."""
    inside = raw_object.rstrip(_SPACE)[:-1]
    head = inside.rstrip(_SPACE)
    comma = b"" if head.endswith(b"{") else b","
    return head + comma + members + inside[len(head) :] + b"}"


def _skip_space(raw: bytes, at: int) -> int:
    while raw[at : at + 1] in (b" ", b"\t", b"\r", b"\n"):
        at += 1
    return at
