"""What a usage costs by a model's price, and by a route's cost."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from proxy.domain.usage import Usage
from routing.money import Nanos
from routing.price import PriceHistory, Quantities, Unit, UnpricedUnitError, charge_nanos
from routing.table import Model, Route


def price_of(model: Model, at: datetime) -> Callable[[Usage], Nanos]:
    """What the customer pays for a request that was admitted at that moment."""
    return partial(_nanos, model.price, at)


def cost_of(route: Route, at: datetime) -> Callable[[Usage], Nanos]:
    """What we pay for it."""
    return partial(_nanos, route.cost, at)


def _nanos(history: PriceHistory, at: datetime, usage: Usage) -> Nanos:
    tier = usage.service_tier
    try:
        return charge_nanos(history, usage.quantities, at=at, service_tier=tier)
    except UnpricedUnitError:
        # Output of a model that sells none, or input likewise: what it does sell is charged.
        return charge_nanos(history, _priced_side(history, at, usage), at=at, service_tier=tier)


def _priced_side(history: PriceHistory, at: datetime, usage: Usage) -> Quantities:
    rates = history.at(at).rates
    counts = usage.quantities
    return Quantities(
        input=counts.input_tokens if rates.of(Unit.INPUT) is not None else 0,
        output=counts.output_tokens if rates.of(Unit.OUTPUT) is not None else 0,
    )
