"""Ids we mint. A request's id is a UUIDv7 (RFC 9562, 5.7): its first 48 bits are its time."""

import secrets
import zlib
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from proxy.domain.clock import Clock

KEY_PREFIX: Final = "sk-al-"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARS: Final = 12
_SECRET_CHARS: Final = 32
_CHECKSUM_CHARS: Final = 6
KEY_CHARS: Final = len(KEY_PREFIX) + _ID_CHARS + _SECRET_CHARS + _CHECKSUM_CHARS


def mint_uuid7(clock: Clock) -> UUID:
    random = int.from_bytes(secrets.token_bytes(10), "big")
    value = (clock.unix_ms() & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | random & (1 << 62) - 1
    return UUID(int=value)


def uuid7_ms(value: UUID) -> int:
    """When the id was minted, in milliseconds since the epoch."""
    return value.int >> 80


def uuid7_floor(unix_ms: int) -> UUID:
    """No greater than any id that is minted from that millisecond on."""
    return UUID(int=unix_ms << 80)


@dataclass(frozen=True, slots=True)
class KeyToken:
    """A key as its owner holds it: `sk-al-` + id + secret + checksum, all base62."""

    key_id: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        body = self.key_id + self.secret
        return KEY_PREFIX + body + _checksum(body)


def mint_key_token() -> KeyToken:
    return KeyToken(_random_base62(_ID_CHARS), _random_base62(_SECRET_CHARS))


def parse_key_token(text: str) -> KeyToken | None:
    """None where it cannot be one of ours: a typing error is told from a wrong key, for free."""
    if len(text) != KEY_CHARS or not text.startswith(KEY_PREFIX):
        return None
    body, checksum = text[len(KEY_PREFIX) : -_CHECKSUM_CHARS], text[-_CHECKSUM_CHARS:]
    if not body.isascii() or _checksum(body) != checksum:
        return None
    return KeyToken(body[:_ID_CHARS], body[_ID_CHARS:])


def _random_base62(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_CHARS):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
