"""Whose request this is: an API key from a header to what a gateway needs to know of it."""

import asyncio
from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

from multidict import MultiMapping

from proxy.domain.account import ApiKey
from proxy.domain.clock import Clock
from proxy.domain.errors import InvalidApiKeyError, InvalidRequestError, OverloadedError
from proxy.domain.finish import TaskSet
from proxy.domain.ids import KEY_CHARS, KEY_PREFIX, KeyToken, parse_key_token
from proxy.domain.ports import Directory

_LOOKUPS_MAX: Final = 256
_UNKNOWN_SECONDS_MAX: Final = 10
_BEARER: Final = "bearer "

T = TypeVar("T")


class Hasher(Protocol):
    def verify(self, secret: str, secret_hash: bytes) -> bool:
        """Compares in constant time."""


class Authenticator:
    """Keys by id, read once and kept for a while.

    Ids that nobody has are kept apart, so that a flood of them pushes no real key out. A lookup is
    shared by all who wait for it and ends whoever of them leaves.
    """

    def __init__(
        self,
        directory: Directory,
        hasher: Hasher,
        clock: Clock,
        *,
        ttl_seconds: int,
        entries_max: int = 100_000,
        lookups_max: int = _LOOKUPS_MAX,
    ) -> None:
        self._directory = directory
        self._hasher = hasher
        self._clock = clock
        self._known: _Expiring[ApiKey] = _Expiring(ttl_seconds, entries_max)
        self._unknown: _Expiring[bool] = _Expiring(
            min(ttl_seconds, _UNKNOWN_SECONDS_MAX), entries_max
        )
        self._lookups: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._lookups_max = lookups_max
        self._tasks = TaskSet()

    async def authenticate(self, headers: MultiMapping[str]) -> ApiKey:
        """Raises InvalidApiKeyError, or InvalidRequestError where two keys are given.

        OverloadedError and StoreUnavailableError say that the key could not be looked up.
        """
        token = _token(headers)
        key = self._known.get(token.key_id, self._clock.monotonic_ms())
        if key is None:
            key = await self._find(token.key_id)
        if (
            key is None
            or not self._hasher.verify(token.secret, key.secret_hash)
            or key.revoked
            or (key.expires_at_ms is not None and key.expires_at_ms <= self._clock.unix_ms())
        ):
            raise InvalidApiKeyError.of_unknown()
        return key

    def forget(self, key_id: str) -> None:
        """The next request with this key reads it anew, a lookup under way notwithstanding."""
        self._known.forget(key_id)
        self._unknown.forget(key_id)
        self._lookups.pop(key_id, None)

    async def close(self) -> None:
        await self._tasks.cancel()

    async def _find(self, key_id: str) -> ApiKey | None:
        if self._unknown.get(key_id, self._clock.monotonic_ms()):
            return None
        lookup = self._lookups.get(key_id)
        if lookup is None:
            lookup = self._start_lookup(key_id)
        return await asyncio.shield(lookup)

    def _start_lookup(self, key_id: str) -> "asyncio.Task[ApiKey | None]":
        if len(self._tasks) >= self._lookups_max:
            raise OverloadedError("Too many keys are being looked up.", retry_after_seconds=1)
        lookup = self._tasks.start(self._directory.find_key(key_id), name=f"key {key_id}")
        self._lookups[key_id] = lookup
        lookup.add_done_callback(lambda task: self._keep(key_id, task))
        return lookup

    def _keep(self, key_id: str, lookup: "asyncio.Task[ApiKey | None]") -> None:
        # Forgotten meanwhile: what it read may be older than what made us forget.
        is_current = self._lookups.get(key_id) is lookup
        if is_current:
            del self._lookups[key_id]
        if lookup.cancelled() or lookup.exception() is not None or not is_current:
            return
        now = self._clock.monotonic_ms()
        key = lookup.result()
        if key is None:
            self._unknown.put(key_id, value=True, now_ms=now)
        else:
            self._known.put(key_id, key, now)


class _Expiring(Generic[T]):
    """A bounded map whose entries leave after a while; the oldest leaves first for a new one."""

    def __init__(self, ttl_seconds: int, entries_max: int) -> None:
        self._ttl_ms = ttl_seconds * 1000
        self._entries_max = entries_max
        self._entries: OrderedDict[str, tuple[T, int]] = OrderedDict()

    def get(self, name: str, now_ms: int) -> T | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        if now_ms >= entry[1]:
            del self._entries[name]
            return None
        return entry[0]

    def put(self, name: str, value: T, now_ms: int) -> None:
        self._entries.pop(name, None)
        while len(self._entries) >= self._entries_max:
            self._entries.popitem(last=False)
        self._entries[name] = (value, now_ms + self._ttl_ms)

    def forget(self, name: str) -> None:
        self._entries.pop(name, None)


def _token(headers: MultiMapping[str]) -> KeyToken:
    text = _key_text(headers)
    token = parse_key_token(text)
    if token is not None:
        return token
    if text.startswith(KEY_PREFIX):
        raise InvalidApiKeyError(
            f"This API key looks mistyped: a key has {KEY_CHARS} characters and its last six are "
            "a checksum of the others. Copy it again, whole."
        )
    raise InvalidApiKeyError(f"This is not one of our API keys: they begin with {KEY_PREFIX!r}.")


def _key_text(headers: MultiMapping[str]) -> str:
    bearer = _only(headers, "authorization")
    plain = _only(headers, "x-api-key")
    if bearer is None:
        if plain is None:
            raise InvalidApiKeyError(
                "No API key was given. Send it as `Authorization: Bearer sk-al-…` or as "
                "`x-api-key: sk-al-…`."
            )
        return plain
    if bearer[: len(_BEARER)].lower() != _BEARER:
        raise InvalidApiKeyError(
            "The Authorization header must be the word `Bearer`, a space and an API key."
        )
    text = bearer[len(_BEARER) :].strip()
    if plain is not None and plain != text:
        raise InvalidRequestError(
            "Authorization and x-api-key give two different keys. Send one.", param="x-api-key"
        )
    return text


def _only(headers: MultiMapping[str], name: str) -> str | None:
    found = headers.getall(name, [])
    if len(found) > 1:
        raise InvalidRequestError(f"The header {name} is given twice. Send one.", param=name)
    return found[0] if found else None
