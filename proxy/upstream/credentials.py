"""Which credential an attempt carries. Values stay in here: no text or repr of ours shows one."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from routing.table import Upstream, UpstreamKey

REFUSED_MS_MIN: Final = 10_000
REFUSED_MS_MAX: Final = 600_000
REST_MS: Final = 10_000
REST_MS_MAX: Final = 60_000
_VALUE: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_REFUSED: Final = (401, 402)  # the key itself, or its account
_RESTS: Final = (403, 429)  # perhaps only this model or this content: prefer another key

_HEADERS: Final = {
    "bearer": ("authorization", "Bearer "),
    "x-api-key": ("x-api-key", ""),
    "x-goog-api-key": ("x-goog-api-key", ""),
}


class NoCredentialError(Exception):
    """No key of this upstream can be used now: none is set, or all are busy or refused."""


class Credential:
    """One key of one upstream and how it has fared. Times are monotonic milliseconds."""

    def __init__(self, value: str, *, auth: str, concurrency: int | None) -> None:
        name, prefix = _HEADERS[auth]
        self._header = {name: prefix + value}
        self._concurrency = concurrency
        self._refusals = 0
        self._refused_until_ms = 0
        self._rests_until_ms = 0
        self.in_flight = 0
        self.turn = 0

    @property
    def headers(self) -> Mapping[str, str]:
        return self._header

    def is_usable(self, now_ms: int) -> bool:
        has_room = self._concurrency is None or self.in_flight < self._concurrency
        return has_room and now_ms >= self._refused_until_ms

    def rests(self, now_ms: int) -> bool:
        return now_ms < self._rests_until_ms

    def note(self, status: int, now_ms: int, *, retry_after_seconds: int | None) -> None:
        """What an answer says of the key.

        Refused (401, 402): out of use, ten seconds at first and longer each time. 403 and 429 only
        put it behind the others: they may be about one model or one prompt, and a customer must not
        be able to switch an upstream off for everybody.
        """
        if status in _REFUSED:
            span_ms = min(REFUSED_MS_MIN << min(self._refusals, 16), REFUSED_MS_MAX)
            self._refusals += 1
            self._refused_until_ms = now_ms + span_ms
        elif status in _RESTS:
            rest_ms = REST_MS if retry_after_seconds is None else retry_after_seconds * 1000
            self._rests_until_ms = now_ms + min(rest_ms, REST_MS_MAX)
        elif status < 300:  # noqa: PLR2004 - 2xx: the key is in order
            self._refusals = 0
            self._rests_until_ms = 0


class Keyring:
    """The keys of every upstream, from the environment, by upstream and variable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._credentials: dict[tuple[str, str], Credential] = {}
        self._turns = 0

    def has_any(self, upstream: Upstream) -> bool:
        return upstream.auth == "none" or any(
            parse_value(self._environ.get(key.env)) for key in upstream.keys
        )

    def is_available(self, upstream: Upstream, now_ms: int) -> bool:
        return upstream.auth == "none" or any(
            credential.is_usable(now_ms) for credential in self._of(upstream)
        )

    def borrow(self, upstream: Upstream, now_ms: int) -> Credential | None:
        """The least busy key, one that rests only where all do; None where none is needed.

        Whoever borrows counts `in_flight` down again. Raises NoCredentialError.
        """
        if upstream.auth == "none":
            return None
        usable = [c for c in self._of(upstream) if c.is_usable(now_ms)]
        if not usable:
            raise NoCredentialError(f"no key of {upstream.id} can be used now")
        credential = min(usable, key=lambda c: (c.rests(now_ms), c.in_flight, c.turn))
        self._turns += 1
        credential.turn = self._turns
        credential.in_flight += 1
        return credential

    def _of(self, upstream: Upstream) -> Iterator[Credential]:
        for key in upstream.keys:
            found = self._credentials.get((upstream.id, key.env))
            if found is None:
                found = self._load(upstream, key)
            if found is not None:
                yield found

    def _load(self, upstream: Upstream, key: UpstreamKey) -> Credential | None:
        value = parse_value(self._environ.get(key.env))
        if value is None:
            return None
        credential = Credential(value, auth=upstream.auth, concurrency=key.concurrency)
        self._credentials[upstream.id, key.env] = credential
        return credential


def parse_value(text: str | None) -> str | None:
    """Without surrounding space. None where it is empty or cannot stand in a header."""
    stripped = (text or "").strip()
    return stripped if _VALUE.fullmatch(stripped) else None


def credential_problems(
    upstreams: Iterable[Upstream], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """One line for each variable that is set to something that cannot be a credential."""
    return tuple(
        f"{key.env}: set, but empty or with characters that no credential has (line breaks?)"
        for upstream in upstreams
        for key in upstream.keys
        if key.env in environ and parse_value(environ[key.env]) is None
    )
