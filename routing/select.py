"""Which routes a request may take, in which order, and why not the others. A pure choice.

A funnel: each stage keeps or rejects the routes that the stages before it kept. The stage that
leaves none names the error, so the client learns the one thing that would help.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import accumulate
from typing import Final

from routing.errors import (
    JurisdictionError,
    ModelNotAllowedError,
    NoRouteError,
    UnknownModelError,
    UnsupportedEndpointError,
    UnsupportedParameterError,
)
from routing.names import nearest
from routing.policy import Policy, Preferences, resolve_jurisdictions
from routing.price import Unit, usd_per_million_max
from routing.table import Carries, Dialect, Endpoint, Model, Party, Route, RoutingTable

__all__ = ["Selection", "resolve_jurisdictions", "select_routes"]

_ALTERNATIVES_MAX: Final = 5
_ANY_DIALECT: Final = frozenset(Dialect)


@dataclass(frozen=True, slots=True)
class Selection:
    """`routes` in the order to try them, never empty. `rejected`: (route id, reason)."""

    model: Model
    routes: tuple[Route, ...]
    rejected: tuple[tuple[str, str], ...]


def select_routes(
    table: RoutingTable,
    model_name: str,
    *,
    endpoint: Endpoint,
    dialect: Dialect,
    needs: frozenset[Carries] = frozenset(),
    policy: Policy,
    today: date,
    is_available: Callable[[Route], bool],
    rank: Callable[[Route], int] | None = None,
    draw: int = 0,
    callable_dialects: frozenset[Dialect] = _ANY_DIALECT,
) -> Selection:
    """The routes for one model, best first.

    `today` is the day in UTC. `rank` orders for `sort: throughput` and `latency`, lowest first.
    `draw` is a random number of 64 bits: it shares traffic between routes that state a weight.

    Raises UnknownModelError, ModelNotAllowedError, UnsupportedEndpointError, JurisdictionError,
    UnsupportedParameterError or NoRouteError.
    """
    model = get_model(table, model_name)
    if policy.models_allow is not None and not policy.models_allow & {model.id, *model.aliases}:
        raise ModelNotAllowedError(model.id)
    funnel = _Funnel(list(model.routes))
    funnel.keep(lambda route: _switched_off(route, today))
    funnel.raise_if_empty(model)
    funnel.keep(lambda route: _unserved(route, endpoint, callable_dialects))
    if not funnel.routes:
        raise UnsupportedEndpointError(model.id, _endpoints(model))
    kept = funnel.routes
    funnel.keep(lambda route: _forbidden_reason(route, policy))
    if not funnel.routes:
        party, country = _first_failure(kept, policy)
        others = _alternatives(table, model, endpoint, needs, policy, today, callable_dialects)
        raise JurisdictionError(model.id, party.name, country, others)
    kept = funnel.routes
    funnel.keep(lambda route: _cannot_carry(route, needs))
    if not funnel.routes:
        raise UnsupportedParameterError(model.id, _missing(kept, needs))
    preferences = policy.preferences
    funnel.keep(lambda route: _unwanted(route, model, preferences, today))
    funnel.keep(lambda route: None if is_available(route) else "not available now")
    funnel.raise_if_empty(model)
    ordered = _ordered(funnel.routes, dialect, preferences, today, rank, draw)
    if not preferences.allow_fallbacks:
        ordered = funnel.without_fallbacks(ordered, preferences)
    return Selection(model, tuple(ordered), tuple(funnel.rejected))


def get_model(table: RoutingTable, name: str) -> Model:
    """By id or alias. Raises UnknownModelError with the names that look like it."""
    found = table.names.get(name)
    if found is None:
        raise UnknownModelError(name, nearest(name, table.names))
    return found


@dataclass(slots=True)
class _Funnel:
    """What is left of a model's routes, and why the others are not."""

    routes: list[Route]
    rejected: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, reason_against: Callable[[Route], str | None]) -> None:
        kept = []
        for route in self.routes:
            reason = reason_against(route)
            if reason is None:
                kept.append(route)
            else:
                self.rejected.append((route.id, reason))
        self.routes = kept

    def raise_if_empty(self, model: Model) -> None:
        if not self.routes:
            raise NoRouteError(model.id, tuple(f"{id_}: {why}" for id_, why in self.rejected))

    def without_fallbacks(self, ordered: list[Route], preferences: Preferences) -> list[Route]:
        """The first one, or, where the client named an order, those that it named."""
        named = [route for route in ordered if _position(route, preferences.order) is not None]
        kept = named or ordered[:1]
        self.rejected.extend(
            (route.id, "the request allows no fallbacks") for route in ordered if route not in kept
        )
        return kept


def _switched_off(route: Route, today: date) -> str | None:
    if not route.enabled:
        return "switched off in the table"
    if route.effective_from is not None and route.effective_from > today:
        return f"in effect from {route.effective_from}"
    return None


def _unserved(route: Route, endpoint: Endpoint, dialects: frozenset[Dialect]) -> str | None:
    if endpoint not in route.endpoints:
        return f"does not serve {endpoint}"
    if dialects.isdisjoint(route.upstream.speaks):
        return f"{route.upstream.id} speaks only {', '.join(sorted(route.upstream.speaks))}"
    return None


def _endpoints(model: Model) -> tuple[str, ...]:
    return tuple(sorted({endpoint for route in model.routes for endpoint in route.endpoints}))


def _forbidden(route: Route, policy: Policy) -> tuple[Party, str] | None:
    for bounds in policy.jurisdictions:
        failure = bounds.failure(route)
        if failure is not None:
            return failure
    return None


def _forbidden_reason(route: Route, policy: Policy) -> str | None:
    failure = _forbidden(route, policy)
    if failure is None:
        return None
    party, country = failure
    return f"{party.name} is bound to {country}, which the policy does not allow"


def _first_failure(routes: Iterable[Route], policy: Policy) -> tuple[Party, str]:
    return next(failure for route in routes if (failure := _forbidden(route, policy)))


def _alternatives(
    table: RoutingTable,
    refused: Model,
    endpoint: Endpoint,
    needs: frozenset[Carries],
    policy: Policy,
    today: date,
    dialects: frozenset[Dialect],
) -> tuple[str, ...]:
    """Models that would pass, in the table's order."""
    found: list[str] = []
    for model in table.models.values():
        allowed = policy.models_allow is None or model.id in policy.models_allow
        if model is not refused and allowed:
            funnel = _Funnel(list(model.routes))
            funnel.keep(lambda route: _switched_off(route, today))
            funnel.keep(lambda route: _unserved(route, endpoint, dialects))
            funnel.keep(lambda route: _forbidden_reason(route, policy))
            funnel.keep(lambda route: _cannot_carry(route, needs))
            if funnel.routes:
                found.append(model.id)
        if len(found) == _ALTERNATIVES_MAX:
            break
    return tuple(found)


def _cannot_carry(route: Route, needs: frozenset[Carries]) -> str | None:
    missing = needs - route.accepts
    return f"cannot carry {', '.join(sorted(missing))}" if missing else None


def _missing(routes: Iterable[Route], needs: frozenset[Carries]) -> tuple[str, ...]:
    """What the most capable route lacks: the least that the client would have to give up."""
    lacks: list[list[str]] = [sorted(needs - route.accepts) for route in routes]
    lacks.sort(key=len)
    return tuple(lacks[0])


def _unwanted(route: Route, model: Model, wishes: Preferences, today: date) -> str | None:
    names = _names(route)
    reason: str | None = None
    if wishes.only and names.isdisjoint(wishes.only):
        reason = "not among the request's `only`"
    elif names & wishes.ignore:
        reason = "among the request's `ignore`"
    elif wishes.zdr and route.zdr is not True:
        reason = "zero data retention is not assured along its chain"
    elif wishes.deny_data_collection and route.trains is not False:
        reason = "it is not assured that no party of its chain trains on requests"
    elif _dearer(model, Unit.INPUT, wishes.max_prompt_price, today):
        reason = "the model's input costs more than the request's `max_price`"
    elif _dearer(model, Unit.OUTPUT, wishes.max_completion_price, today):
        reason = "the model's output costs more than the request's `max_price`"
    return reason


def _names(route: Route) -> frozenset[str]:
    """All names by which a client may mean this route."""
    return frozenset({route.upstream.id, *(party.id for party in route.chain)})


def _dearer(model: Model, unit: Unit, limit: Decimal | None, today: date) -> bool:
    return limit is not None and usd_per_million_max(model.price, unit, today) > limit


def _position(route: Route, order: tuple[str, ...]) -> int | None:
    names = _names(route)
    return next((place for place, name in enumerate(order) if name in names), None)


def _ordered(
    routes: list[Route],
    dialect: Dialect,
    wishes: Preferences,
    today: date,
    rank: Callable[[Route], int] | None,
    draw: int,
) -> list[Route]:
    """The client's `order`, then its own dialect, then its `sort`, then the file's order."""

    def key(route: Route) -> tuple[int, bool, Decimal]:
        place = _position(route, wishes.order)
        translated = dialect not in route.upstream.speaks
        named_last = len(wishes.order) if place is None else place
        return named_last, translated, _sort_key(route, wishes.sort, today, rank)

    ordered = sorted(routes, key=key)
    return _shared(ordered, key, draw)


def _sort_key(
    route: Route, sort: str | None, today: date, rank: Callable[[Route], int] | None
) -> Decimal:
    if sort == "price":
        units = (Unit.INPUT, Unit.OUTPUT)
        return sum((usd_per_million_max(route.cost, unit, today) for unit in units), Decimal(0))
    if sort is not None and rank is not None:
        return Decimal(rank(route))
    return Decimal(0)


def _shared(
    ordered: list[Route], key: Callable[[Route], tuple[int, bool, Decimal]], draw: int
) -> list[Route]:
    """Runs of equally good neighbours that state a weight, drawn in proportion to it."""
    done: list[Route] = []
    run: list[Route] = []
    for route in ordered:
        joins = route.weight is not None and (not run or key(run[0]) == key(route))
        if not joins:
            done.extend(_drawn(run, draw))
            run = []
        if route.weight is None:
            done.append(route)
        else:
            run.append(route)
    return [*done, *_drawn(run, draw)]


def _drawn(run: list[Route], draw: int) -> list[Route]:
    """Drawn without replacement, each in proportion to its weight."""
    left = {route.id: route.weight or 1 for route in run}
    by_id = {route.id: route for route in run}
    done: list[Route] = []
    while left:
        draw, point = divmod(draw, sum(left.values()))
        sums = zip(left, accumulate(left.values()), strict=True)
        chosen = next(id_ for id_, top in sums if point < top)
        done.append(by_id[chosen])
        del left[chosen]
    return done
