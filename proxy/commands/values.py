"""How commands take money, countries and account ids."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import click

from proxy.domain.ids import KEY_PREFIX, parse_key_token
from routing.money import Nanos, format_usd, parse_usd_nanos

_COUNTRY_CHARS: Final = 2
_DAY_CHARS: Final = len("2026-10-31")
_EMAIL: Final = re.compile(r"[^\s@<>,;\"]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")
_EMAIL_CHARS_MAX: Final = 254


class Usd(click.ParamType[Any]):
    """ "10.00" and up to nine decimals, as nanos."""

    name = "usd"

    def __init__(self, minimum: int | None = None) -> None:
        self._minimum = minimum

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Nanos:
        if isinstance(value, int):
            return Nanos(value)
        try:
            nanos = parse_usd_nanos(value)
        except ValueError as error:
            self.fail(f"{error}; write dollars such as 10.00", param, ctx)
        if self._minimum is not None and nanos < self._minimum:
            self.fail(f"{value} is below {format_usd(self._minimum)}", param, ctx)
        return nanos


class Names(click.ParamType[Any]):
    """A comma list."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in value.split(","))
        if not all(names):
            self.fail("has an empty name; write names with commas between them", param, ctx)
        return names


class Places(Names):
    """Countries (ISO 3166-1 alpha-2), groups of the routing table and presets; whether there is
    one of that name only the table knows."""

    name = "countries"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        places = super().convert(value, param, ctx)
        return tuple(p.upper() if len(p) == _COUNTRY_CHARS else p for p in places)


class AccountId(click.ParamType[Any]):
    name = "account"
    where = "`apilink accounts list` shows them"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        if isinstance(value, UUID):
            return value
        try:
            return UUID(value)
        except ValueError:
            self.fail(f"{value!r} is not an id; {self.where}", param, ctx)


class KeyId(click.ParamType[Any]):
    """A key's id. A whole key stands for its id: whoever revokes one has often nothing else. It is
    never repeated, because terminals are recorded."""

    name = "key_id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text.startswith(KEY_PREFIX):
            return text
        token = parse_key_token(text)
        if token is None:
            self.fail("this key looks mistyped; `apilink keys list` shows ids", param, ctx)
        return token.key_id


class RequestId(AccountId):
    name = "request"
    where = "it is a response's x-request-id"


class Month(click.ParamType[Any]):
    """ "2026-10", as its first day."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(value, "%Y-%m").replace(tzinfo=UTC).date()
        except ValueError:
            self.fail(f"{value!r} is not a month such as 2026-10", param, ctx)


class Moment(click.ParamType[Any]):
    """A day, which stands for its end in UTC, or a moment with its offset."""

    name = "date"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if len(value) == _DAY_CHARS:
                day = date.fromisoformat(value)
                return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
            found = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no date such as 2026-10-31", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value!r} lacks its offset: write {value}Z for UTC", param, ctx)
        return found


class OrNone(click.ParamType[Any]):
    """A value of another type, or the word `none`, which is not the same as saying nothing."""

    NONE: Final = object()

    def __init__(self, other: click.ParamType[Any]) -> None:
        self.name = other.name
        self._other = other

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is self.NONE or value == "none":
            return self.NONE
        return self._other.convert(value, param, ctx)


class Email(click.ParamType[Any]):
    """In lower case, whole: nobody tells two people apart by the case of their address."""

    name = "email"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        address = str(value).strip().lower()
        if len(address) > _EMAIL_CHARS_MAX or not _EMAIL.fullmatch(address):
            self.fail(f"{value!r} is not an email address", param, ctx)
        return address
