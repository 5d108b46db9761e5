"""Secrets: derive and hash. The only importer of cryptography."""

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES: Final = 32


def derive_key(secret_key: str, purpose: str) -> bytes:
    """A key of its own for every purpose (HKDF-SHA256, RFC 5869): one that leaks opens no other."""
    return HKDF(SHA256(), _KEY_BYTES, None, f"apilink {purpose}".encode()).derive(
        secret_key.encode()
    )


class KeyHasher:
    """Hashes the secrets of API keys.

    They are 32 random characters, so one keyed hash is enough: nothing can be guessed, and whoever
    has only the database cannot even check a guess.
    """

    def __init__(self, secret_key: str) -> None:
        self._pepper = derive_key(secret_key, "api keys v1")

    def hash(self, secret: str) -> bytes:
        return hmac.digest(self._pepper, secret.encode(), hashlib.sha256)

    def verify(self, secret: str, secret_hash: bytes) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(self.hash(secret), secret_hash)
