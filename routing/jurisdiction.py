"""Countries and named groups of them, dated, with their sources."""

from collections.abc import Iterable
from typing import Final

# ISO 3166-1 alpha-2. Sources: EU: Treaty on European Union, art. 52 with accessions to 2013.
EU: Final = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()
)
# EEA Agreement (1994): EU, Iceland, Liechtenstein, Norway.
EEA: Final = EU | frozenset({"IS", "LI", "NO"})
# Adequacy decisions of the European Commission under GDPR art. 45, in force on 2026-11-22. The US
# is left out: its decision of 2023-07-10 covers certified companies only, not the country.
ADEQUATE: Final = frozenset("AD AR BR CA CH FO GB GG IL IM JE JP KR NZ UY".split())

BUILT_IN_GROUPS: Final[dict[str, frozenset[str]]] = {"EU": EU, "EEA": EEA, "ADEQUATE": ADEQUATE}

# What stands for a processing place that nobody has stated. Every bound refuses it.
UNKNOWN: Final = "unknown"

# The preset that the privacy page recommends: processing in the EEA and the US only, by parties
# that are seated there or where an adequacy decision holds.
PRESET_EU_US: Final = "eu-us"
PRESETS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    PRESET_EU_US: (EEA | {"US"}, EEA | {"US"} | ADEQUATE),
}


def abbreviated(countries: Iterable[str]) -> tuple[str, ...]:
    """Sorted, with a complete EEA or EU by its name: for people, never for a decision."""
    left = frozenset(countries)
    for name in ("EEA", "EU"):
        if BUILT_IN_GROUPS[name] <= left:
            left = left - BUILT_IN_GROUPS[name] | {name}
    return tuple(sorted(left))
