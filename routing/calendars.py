"""Built-in calendars of days that price windows leave out."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days in local time. `until` is the last day that the source speaks of."""

    days: frozenset[date]
    until: date
    source: str


def _spans(*spans: tuple[str, str]) -> frozenset[date]:
    days: set[date] = set()
    for first, last in spans:
        day, end = date.fromisoformat(first), date.fromisoformat(last)
        while day <= end:
            days.add(day)
            day += timedelta(days=1)
    return frozenset(days)


CALENDARS: Final[dict[str, Calendar]] = {
    # Beijing is UTC+8 without summer time: the windows that use it lie within one day of both.
    "prc_holidays": Calendar(
        days=_spans(
            ("2026-01-01", "2026-01-03"),  # New Year
            ("2026-02-15", "2026-02-23"),  # Spring Festival
            ("2026-04-04", "2026-04-06"),  # Qingming
            ("2026-05-01", "2026-05-05"),  # Labour Day
            ("2026-06-19", "2026-06-21"),  # Dragon Boat Festival
            ("2026-09-25", "2026-09-27"),  # Mid-Autumn Festival
            ("2026-10-01", "2026-10-07"),  # National Day
        ),
        until=date(2026, 12, 31),
        source="General Office of the State Council, holiday arrangements for 2026 (2025-11-04)",
    ),
}
