"""What a usage costs by a price: one rule for who charges and for who explains the charge."""

from dataclasses import replace
from datetime import datetime

from routing.money import Nanos
from routing.price import PriceHistory, Quantities, Unit, UnpricedUnitError, charge_nanos


def counted(history: PriceHistory, quantities: Quantities, at: datetime) -> Quantities:
    """With the request itself where it has a fee: no upstream's statement counts it."""
    if quantities.request or not history.at(at).rates.of(Unit.REQUEST):
        return quantities
    return replace(quantities, request=1)


def nanos_of(
    history: PriceHistory, quantities: Quantities, *, at: datetime, service_tier: str | None
) -> Nanos:
    """A side that the model does not sell, such as an embedding's output, is free: what it does
    sell is charged."""
    try:
        return charge_nanos(history, quantities, at=at, service_tier=service_tier)
    except UnpricedUnitError:
        sold = _sold(history, quantities, at)
        return charge_nanos(history, sold, at=at, service_tier=service_tier)


def _sold(history: PriceHistory, quantities: Quantities, at: datetime) -> Quantities:
    rates = history.at(at).rates.by_unit
    counts = (getattr(quantities, unit) for unit in Unit)
    pairs = zip(counts, rates, strict=True)
    return Quantities(*(0 if rate is None else count for count, rate in pairs))
