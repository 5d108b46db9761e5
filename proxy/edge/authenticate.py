"""Whose request this is: an API key from a header to what a gateway needs to know of it."""

from typing import Protocol

from multidict import MultiMapping

from proxy.domain.account import ApiKey
from proxy.domain.clock import Clock
from proxy.domain.ports import Directory


class Hasher(Protocol):
    def verify(self, secret: str, secret_hash: bytes) -> bool:
        """Compares in constant time."""


class Authenticator:
    """Keys by id, looked up once and kept for a while."""

    def __init__(
        self,
        directory: Directory,
        hasher: Hasher,
        clock: Clock,
        *,
        ttl_seconds: int,
        entries_max: int = 100_000,
    ) -> None: ...

    async def authenticate(self, headers: MultiMapping[str]) -> ApiKey:
        """Raises InvalidApiKeyError, InvalidRequestError, OverloadedError, StoreUnavailableError."""
        raise NotImplementedError

    def forget(self, key_id: str) -> None:
        """The next request with this key reads it anew."""
