"""What a usage costs by a model's price, and by a route's cost."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from proxy.domain.pricing import counted, nanos_of
from proxy.domain.usage import Usage
from routing.money import Nanos
from routing.price import PriceHistory
from routing.table import Model, Route


def price_of(model: Model, at: datetime) -> Callable[[Usage], Nanos]:
    """What the customer pays for a request that was admitted at that moment."""
    return partial(_nanos, model.price, at)


def cost_of(route: Route, at: datetime) -> Callable[[Usage], Nanos]:
    """What we pay for it."""
    return partial(_nanos, route.cost, at)


def _nanos(history: PriceHistory, at: datetime, usage: Usage) -> Nanos:
    quantities = counted(history, usage.quantities, at)
    return nanos_of(history, quantities, at=at, service_tier=usage.service_tier)
