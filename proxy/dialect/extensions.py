"""What a request may say to us beside its dialect: read here and removed from the body.

The names are OpenRouter's where it has one. All of it only ever narrows where a request may go.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.dialect.fields import (
    bad,
    read_bool,
    read_decimal,
    read_object,
    read_texts,
    refuse_unknown,
)
from routing.policy import Preferences

JURISDICTIONS_HEADER: Final = "x-apilink-jurisdictions"
EXTENSIONS: Final = frozenset({"provider", "models", "jurisdictions"})

_PROVIDER: Final = frozenset(
    {
        "allow_fallbacks",
        "data_collection",
        "ignore",
        "max_price",
        "only",
        "order",
        "require_parameters",
        "sort",
        "zdr",
    }
)
_BOUNDS: Final = frozenset({"allow", "deny", "processing_allow", "seats_allow"})
_SORTS: Final = frozenset({"price", "throughput", "latency"})
_ENTRIES_MAX: Final = 300  # there are 249 countries
_MODELS_MAX: Final = 8
_COUNTRY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,31}")  # a country or a group's name
_COUNTRY_CHARS: Final = 2


@dataclass(frozen=True, slots=True)
class Extensions:
    preferences: Preferences
    fallback_models: tuple[str, ...]
    jurisdictions_allow: tuple[str, ...] | None
    jurisdictions_deny: tuple[str, ...]
    processing_allow: tuple[str, ...] | None = None
    seats_allow: tuple[str, ...] | None = None


def read_extensions(body: Mapping[str, Any], headers: Mapping[str, str]) -> Extensions:
    """Raises InvalidRequestError, which names the field."""
    if EXTENSIONS.isdisjoint(body) and _header(headers) is None:
        return _NONE
    bounds = _jurisdictions(body, headers)
    return Extensions(
        preferences=_preferences(read_object(body, "provider")),
        fallback_models=read_texts(body, "models", _MODELS_MAX),
        jurisdictions_allow=bounds.get("allow"),
        jurisdictions_deny=bounds.get("deny", ()),
        processing_allow=bounds.get("processing_allow"),
        seats_allow=bounds.get("seats_allow"),
    )


_NONE: Final = Extensions(Preferences(), (), None, ())


def _header(headers: Mapping[str, str]) -> str | None:
    """aiohttp's headers ignore case; a plain mapping may be written either way."""
    found = headers.get(JURISDICTIONS_HEADER)
    return headers.get("X-ApiLink-Jurisdictions") if found is None else found


def _preferences(provider: dict[str, Any]) -> Preferences:
    if not provider:
        return Preferences()
    at = "provider."
    refuse_unknown(provider, _PROVIDER, "provider")
    prices = read_object(provider, "max_price", at=at)
    refuse_unknown(prices, frozenset({"prompt", "completion"}), "provider.max_price")
    return Preferences(
        order=read_texts(provider, "order", _ENTRIES_MAX, at=at),
        only=frozenset(read_texts(provider, "only", _ENTRIES_MAX, at=at)),
        ignore=frozenset(read_texts(provider, "ignore", _ENTRIES_MAX, at=at)),
        allow_fallbacks=read_bool(provider, "allow_fallbacks", at=at, default=True),
        sort=_sort(provider.get("sort")),
        max_prompt_price=read_decimal(prices, "prompt", at="provider.max_price."),
        max_completion_price=read_decimal(prices, "completion", at="provider.max_price."),
        require_parameters=read_bool(provider, "require_parameters", at=at),
        deny_data_collection=_denies_collection(provider.get("data_collection")),
        zdr=read_bool(provider, "zdr", at=at),
    )


def _sort(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in _SORTS:
        raise bad("provider.sort", f"is none of {', '.join(sorted(_SORTS))}")
    return value


def _denies_collection(value: object) -> bool:
    if value not in (None, "allow", "deny"):
        raise bad("provider.data_collection", 'is neither "allow" nor "deny"')
    return value == "deny"


def _jurisdictions(
    body: Mapping[str, Any], headers: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """What is bound, by the names of the body's fields. The header is an `allow`."""
    stated = body.get("jurisdictions")
    header = _header(headers)
    if header is not None:
        if stated is not None:
            raise bad("jurisdictions", f"stands in the body and in {JURISDICTIONS_HEADER}")
        return {"allow": _countries([c.strip() for c in header.split(",")], JURISDICTIONS_HEADER)}
    found = read_object(body, "jurisdictions")
    refuse_unknown(found, _BOUNDS, "jurisdictions")
    bounds: dict[str, tuple[str, ...]] = {}
    for name in sorted(name for name in found if found[name] is not None):
        param = f"jurisdictions.{name}"
        names = read_texts(found, name, _ENTRIES_MAX, at="jurisdictions.")
        if not names and name != "deny":
            raise bad(param, "is empty: nothing would be allowed")
        bounds[name] = _countries(names, param)
    return bounds


def _countries(names: tuple[str, ...] | list[str], param: str) -> tuple[str, ...]:
    for name in names:
        if not _COUNTRY.fullmatch(name):
            raise bad(param, "is not a list of country codes or group names")
    return tuple(name.upper() if len(name) == _COUNTRY_CHARS else name for name in names)
