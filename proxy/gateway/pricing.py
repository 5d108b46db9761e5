"""What a usage costs by a model's price, and by a route's cost."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from proxy.domain.usage import Usage
from routing.money import Nanos
from routing.price import (
    INPUT_UNITS,
    OUTPUT_UNITS,
    PriceHistory,
    Quantities,
    UnpricedUnitError,
    charge_nanos,
)
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
        # The loader refuses a model that can produce a class without a price; an upstream that
        # reports one all the same is still paid by us, so it is priced as plain input or output.
        return charge_nanos(history, _plain(usage.quantities), at=at, service_tier=tier)


def _plain(quantities: Quantities) -> Quantities:
    return Quantities(
        input=sum(getattr(quantities, unit) for unit in INPUT_UNITS),
        output=sum(getattr(quantities, unit) for unit in OUTPUT_UNITS),
    )
