"""Recomputes a charge from its row: classes, price revision, context tier, the id's time."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from proxy.domain.charge import Charge
from proxy.domain.clock import at_ms
from proxy.domain.ids import uuid7_ms
from proxy.domain.pricing import nanos_of
from proxy.store.pool import Store
from routing.money import Nanos
from routing.price import Price, PriceHistory, Rates
from routing.price import Unit as PricedUnit


@dataclass(frozen=True, slots=True)
class Line:
    """One class: before time windows and service tiers multiply, and before the one rounding."""

    unit: PricedUnit
    count: int
    attos_each: int
    attos: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """`recomputed_nanos` is None where the price cannot be found: `reason` says why."""

    charge: Charge
    at: datetime
    recomputed_nanos: Nanos | None
    above_input_tokens: int | None
    lines: tuple[Line, ...]
    reason: str | None = None

    @property
    def matches(self) -> bool:
        return self.recomputed_nanos == self.charge.charged_nanos


async def explain(store: Store, request_id: UUID) -> Explanation | None:
    """None where no such request has been flushed."""
    charge = await store.usage.find(request_id)
    if charge is None:
        return None
    at = at_ms(uuid7_ms(request_id))
    if charge.price_revision is None:
        free = Nanos(0) if not charge.charged_nanos else None
        return Explanation(charge, at, free, None, (), "no price was involved")
    history = await store.revisions.find_price(charge.price_revision)
    if history is None:
        return Explanation(
            charge, at, None, None, (), f"price revision {charge.price_revision} is not recorded"
        )
    return _recomputed(charge, history, at)


def _recomputed(charge: Charge, history: PriceHistory, at: datetime) -> Explanation:
    price = history.at(at)
    above, rates = _rates(price, charge.quantities.input_tokens)
    lines = []
    for unit, each in zip(PricedUnit, rates.by_unit, strict=True):
        count = getattr(charge.quantities, unit)
        if count and each is not None:
            lines.append(Line(unit, count, each, count * each))
    nanos = nanos_of(history, charge.quantities, at=at, service_tier=charge.service_tier)
    return Explanation(charge, at, nanos, above, tuple(lines))


def _rates(price: Price, input_tokens: int) -> tuple[int | None, Rates]:
    reached = [tier for tier in price.tiers if input_tokens > tier.above_input_tokens]
    return (reached[-1].above_input_tokens, reached[-1].rates) if reached else (None, price.rates)
