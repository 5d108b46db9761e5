"""Accounts and their keys, as everyone but the store sees them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from routing.money import Nanos


class Reset(StrEnum):
    """When a key's limit starts anew: at 00:00 UTC of the day, of Monday, of the first."""

    NONE = "none"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """None = unlimited."""

    spend_nanos: Nanos | None = None
    reset: Reset = Reset.NONE
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    account_id: UUID
    email: str
    shard: int
    created_at: datetime
    jurisdictions_allow: tuple[str, ...] | None = None  # as written: countries and group names
    jurisdictions_deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a gateway needs to know of a key to admit a request. `epoch` rises with every change."""

    key_id: str
    account_id: UUID
    shard: int
    epoch: int
    secret_hash: bytes = field(repr=False)
    limits: KeyLimits
    name: str = ""
    revoked: bool = False
    expires_at_ms: int | None = None
    models_allow: frozenset[str] | None = None
    jurisdictions_allow: tuple[str, ...] | None = None
    jurisdictions_deny: tuple[str, ...] = ()
    account_jurisdictions_allow: tuple[str, ...] | None = None
    account_jurisdictions_deny: tuple[str, ...] = ()
