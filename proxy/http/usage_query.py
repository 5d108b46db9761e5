"""What `GET /v1/usage` may be asked."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from multidict import MultiMapping

from proxy.domain.clock import ms_of
from proxy.domain.errors import InvalidRequestError

_LIMIT_MAX: Final = 1000
_LIMIT: Final = 100
_NAMES: Final = ("format", "from", "to", "limit", "cursor")


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Rows minted in [from_ms, to_ms), below `before`, newest first."""

    is_csv: bool
    from_ms: int | None
    to_ms: int | None
    before: UUID | None
    limit: int


def parse_usage_query(query: MultiMapping[str]) -> UsageQuery:
    """Raises InvalidRequestError, which names the parameter."""
    values = {name: only(query, name) for name in _NAMES}
    form = values["format"] or "json"
    if form not in ("json", "csv"):
        raise InvalidRequestError("`format` is json or csv.", param="format")
    from_ms, to_ms = _moment("from", values["from"]), _moment("to", values["to"])
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise InvalidRequestError("`from` is later than `to`.", param="from")
    cursor = values["cursor"]
    return UsageQuery(
        is_csv=form == "csv",
        from_ms=from_ms,
        to_ms=to_ms,
        before=None if cursor is None else parse_id("cursor", cursor),
        limit=_limit(values["limit"]),
    )


def only(query: MultiMapping[str], name: str) -> str | None:
    found = query.getall(name, [])
    if len(found) > 1:
        raise InvalidRequestError(f"`{name}` is given twice.", param=name)
    return found[0] if found else None


def parse_id(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequestError(
            f"`{name}` must be an id as this API gives them: a UUID.", param=name
        ) from None


def _limit(text: str | None) -> int:
    if text is None:
        return _LIMIT
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= _LIMIT_MAX:
        raise InvalidRequestError(
            f"`limit` must be a whole number from 1 to {_LIMIT_MAX}.", param="limit"
        )
    return int(text)


def _moment(name: str, text: str | None) -> int | None:
    """ISO 8601; a date is its first moment, and what names no zone is in UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(ms_of(moment), 0)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"`{name}` must be a date or time like 2026-11-01 or 2026-11-01T09:30:00Z.", param=name
        ) from None
