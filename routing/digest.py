"""A short digest of the meaning of frozen values: equal values, equal digest, on every machine."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from enum import Enum
from typing import Any, Final

_HEX_CHARS: Final = 16  # 64 bits: tables differ by accident less often than disks fail


def digest(value: object) -> str:
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_HEX_CHARS]


def _plain(value: Any) -> Any:
    """Fields that others follow from (`init=False`) and revisions, digests themselves, are left."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        names = (f.name for f in fields(value) if f.init and f.name != "revision")
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return value
