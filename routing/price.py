"""What a request costs: one function for the hold and for the charge.

Quantities are disjoint classes, each with its unit. A price gives every class a rate in attos per
unit; context tiers replace rates for the whole request, time windows and service tiers multiply.
"""

from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Final

from routing.money import Attos, Nanos, nanos_up


class Unit(StrEnum):
    """The classes of things that are counted and priced. Token classes are disjoint."""

    INPUT = "input"  # fresh input tokens
    CACHED_INPUT = "cached_input"
    CACHE_WRITE_5M = "cache_write_5m"
    CACHE_WRITE_1H = "cache_write_1h"
    OUTPUT = "output"
    REASONING = "reasoning"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    IMAGE_INPUT = "image_input"
    IMAGE_OUTPUT = "image_output"
    REQUEST = "request"  # from here on: fees in USD per unit, not per million tokens
    WEB_SEARCH = "web_search"
    AUDIO_SECOND = "audio_second"
    CHARACTER = "character"
    PAGE = "page"
    SEARCH_UNIT = "search_unit"


TOKEN_UNITS: Final = tuple(Unit)[:10]
INPUT_UNITS: Final = (
    Unit.INPUT,
    Unit.CACHED_INPUT,
    Unit.CACHE_WRITE_5M,
    Unit.CACHE_WRITE_1H,
    Unit.AUDIO_INPUT,
    Unit.IMAGE_INPUT,
)
OUTPUT_UNITS: Final = (Unit.OUTPUT, Unit.REASONING, Unit.AUDIO_OUTPUT, Unit.IMAGE_OUTPUT)
FEE_UNITS: Final = tuple(Unit)[10:]


@dataclass(frozen=True, slots=True)
class Quantities:
    """How much of each class a request used. All are counts, none negative, classes disjoint."""

    input: int = 0
    cached_input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    request: int = 0
    web_search: int = 0
    audio_second: int = 0
    character: int = 0
    page: int = 0
    search_unit: int = 0

    @property
    def input_tokens(self) -> int:
        """All input, however it was priced: what context tiers look at."""
        return sum(getattr(self, unit) for unit in INPUT_UNITS)

    @property
    def output_tokens(self) -> int:
        return sum(getattr(self, unit) for unit in OUTPUT_UNITS)


assert tuple(f.name for f in fields(Quantities)) == tuple(Unit), "one field per unit"


@dataclass(frozen=True, slots=True)
class Rates:
    """Attos per unit. A unit that is absent has no price: using it is an error, not free."""

    attos: dict[Unit, Attos]

    def of(self, unit: Unit) -> Attos | None:
        found = self.attos.get(unit)
        if found is None and unit is Unit.REASONING:
            return self.attos.get(Unit.OUTPUT)
        return found


@dataclass(frozen=True, slots=True)
class Multiplier:
    """An exact ratio: "0.5" is 5/10."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Tier:
    """Applies to the whole request when its input exceeds `above_input_tokens`."""

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Window:
    """A recurring span of UTC time in which the price is multiplied. `spans` are [start, end)."""

    weekdays: frozenset[int]  # 0 = Monday
    spans: tuple[tuple[time, time], ...]
    except_dates: frozenset[date]
    multiplier: Multiplier


@dataclass(frozen=True, slots=True)
class Price:
    """One dated row of a model's or a route's price."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()  # ascending by above_input_tokens
    windows: tuple[Window, ...] = ()
    service_tiers: dict[str, Multiplier] = field(default_factory=dict)
    image_fees: dict[str, Attos] = field(default_factory=dict)  # "1024x1024/high" → attos each
    from_date: date | None = None


@dataclass(frozen=True, slots=True)
class PriceHistory:
    """Rows ascending by date; the first has no date and holds since ever."""

    rows: tuple[Price, ...]
    revision: str  # a digest of everything a charge depends on

    def at(self, when: datetime) -> Price:
        day = when.astimezone(UTC).date()
        current = self.rows[0]
        for row in self.rows[1:]:
            if row.from_date is not None and row.from_date <= day:
                current = row
        return current


class UnpricedUnitError(Exception):
    """A class was used that the price does not cover. The loader's checks make this unreachable."""


def charge_nanos(
    history: PriceHistory,
    quantities: Quantities,
    *,
    at: datetime,
    service_tier: str | None = None,
) -> Nanos:
    """What the quantities cost at a moment: exact integers, rounded upward once.

    Raises UnpricedUnitError for a class that was used and has no rate.
    """
    price = history.at(at)
    rates = _rates_for(price, quantities.input_tokens)
    attos = 0
    for unit in Unit:
        count = getattr(quantities, unit)
        if count:
            rate = rates.of(unit)
            if rate is None:
                raise UnpricedUnitError(f"{count} {unit} have no price")
            attos += count * rate
    return nanos_up(_multiplied(attos, _multipliers(price, at, service_tier)))


def worst_case_nanos(
    history: PriceHistory, *, input_tokens: int, output_tokens: int, at: datetime
) -> Nanos:
    """An upper bound on `charge_nanos` at the same moment, over every class that the tokens may
    fall into, every tier that the input may reach and every service tier that the upstream may
    answer with. Counts one per-request fee."""
    price = history.at(at)
    reachable = [
        price.rates,
        *(t.rates for t in price.tiers if input_tokens > t.above_input_tokens),
    ]
    base = max(_bound_attos(rates, input_tokens, output_tokens) for rates in reachable)
    tiers = (None, *price.service_tiers)
    return nanos_up(max(_multiplied(base, _multipliers(price, at, tier)) for tier in tiers))


def _bound_attos(rates: Rates, input_tokens: int, output_tokens: int) -> int:
    dearest_input = max((rates.of(unit) or 0 for unit in INPUT_UNITS), default=0)
    dearest_output = max((rates.of(unit) or 0 for unit in OUTPUT_UNITS), default=0)
    fee = rates.of(Unit.REQUEST) or 0
    return input_tokens * dearest_input + output_tokens * dearest_output + fee


def _rates_for(price: Price, input_tokens: int) -> Rates:
    rates = price.rates
    for tier in price.tiers:
        if input_tokens > tier.above_input_tokens:
            rates = tier.rates
    return rates


def _multipliers(price: Price, at: datetime, service_tier: str | None) -> list[Multiplier]:
    moment = at.astimezone(UTC)
    found = [w.multiplier for w in price.windows if _is_open(w, moment)]
    if service_tier is not None and service_tier in price.service_tiers:
        found.append(price.service_tiers[service_tier])
    return found


def _is_open(window: Window, moment: datetime) -> bool:
    if moment.weekday() not in window.weekdays or moment.date() in window.except_dates:
        return False
    clock = moment.time()
    return any(start <= clock < end for start, end in window.spans)


def _multiplied(attos: int, multipliers: list[Multiplier]) -> int:
    """Upward at an atto, a billionth of the unit that is charged."""
    for m in multipliers:
        attos = -(-attos * m.numerator // m.denominator)
    return attos
