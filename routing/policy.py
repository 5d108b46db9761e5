"""Who a request may reach. A policy only ever tightens another."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from routing.countries import COUNTRIES
from routing.errors import UnknownJurisdictionError
from routing.jurisdiction import PRESETS, UNKNOWN
from routing.names import nearest
from routing.table import Party, Route, RoutingTable


@dataclass(frozen=True, slots=True)
class Jurisdictions:
    """Bounds on the countries of a whole chain. None = no bound; groups are already resolved."""

    processing_allow: frozenset[str] | None = None
    seats_allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    def permits(self, route: Route) -> bool:
        """Whether `failure` finds nothing, at a fraction of its price."""
        processing = route.processing
        if self.processing_allow is None:
            if self._bounds_any and (UNKNOWN in processing or not processing):
                return False
        elif not processing or not self.processing_allow.issuperset(processing):
            return False
        is_seated = self.seats_allow is None or self.seats_allow.issuperset(route.seats)
        return is_seated and self.deny.isdisjoint(route.jurisdictions)

    def failure(self, route: Route) -> tuple[Party, str] | None:
        """The first party and country of the chain that is forbidden. Unknown means no."""
        for party in route.chain:
            places = _processing_of(party, route)
            for country in places or (UNKNOWN,):
                if not self._allows(country, self.processing_allow):
                    return party, country
            for country in filter(None, (party.seat, party.controlled_from)):
                if not self._allows(country, self.seats_allow):
                    return party, country
        return None

    @property
    def _bounds_any(self) -> bool:
        return bool(self.deny) or self.processing_allow is not None or self.seats_allow is not None

    def _allows(self, country: str, bound: frozenset[str] | None) -> bool:
        if country == UNKNOWN:  # it may be any country, a denied one too
            return not self._bounds_any
        return country not in self.deny and (bound is None or country in bound)


NO_BOUNDS: Final = Jurisdictions()


def resolve_jurisdictions(
    table: RoutingTable, allow: Iterable[str] | None, deny: Iterable[str] = ()
) -> Jurisdictions:
    """Bounds from names as people write them: countries, groups of the table, the preset `eu-us`.

    None allows everything, an empty `allow` nothing. Raises UnknownJurisdictionError.
    """
    denied = frozenset[str]().union(*(_countries(table, name) for name in deny))
    if allow is None:
        return Jurisdictions(deny=denied) if denied else NO_BOUNDS
    processing, seats = _places_and_seats(table, allow)
    return Jurisdictions(processing, seats, denied)


def resolve_apart(
    table: RoutingTable, processing: Iterable[str] | None, seats: Iterable[str] | None
) -> Jurisdictions:
    """Bounds on processing places and on seats, each from names of its own; None bounds nothing.

    Raises UnknownJurisdictionError.
    """
    return Jurisdictions(
        processing_allow=None if processing is None else _places_and_seats(table, processing)[0],
        seats_allow=None if seats is None else _places_and_seats(table, seats)[1],
    )


def _places_and_seats(
    table: RoutingTable, names: Iterable[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """A preset alone tells the two apart."""
    processing: frozenset[str] = frozenset()
    seats: frozenset[str] = frozenset()
    for name in names:
        more = PRESETS.get(name.lower()) or (_countries(table, name),) * 2
        processing |= more[0]
        seats |= more[1]
    return processing, seats


def _countries(table: RoutingTable, name: str) -> frozenset[str]:
    code = name.upper()
    if code in COUNTRIES:
        return frozenset({code})
    for group, countries in table.groups.items():
        if group.upper() == code:
            return countries
    known = (*table.groups, *PRESETS, *sorted(COUNTRIES))
    raise UnknownJurisdictionError(name, nearest(code, known))


def _processing_of(party: Party, route: Route) -> tuple[str, ...]:
    if party.id == route.upstream.party.id:
        return route.upstream.processes_in
    return party.processes_in


@dataclass(frozen=True, slots=True)
class Preferences:
    """The request's own wishes, in OpenRouter's names (`provider: {...}`), tighten-only."""

    order: tuple[str, ...] = ()
    only: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    allow_fallbacks: bool = True
    sort: str | None = None  # "price" | "throughput" | "latency"
    max_prompt_price: Decimal | None = None  # USD per million tokens
    max_completion_price: Decimal | None = None
    require_parameters: bool = False
    deny_data_collection: bool = False
    zdr: bool = False

    @property
    def names_all(self) -> bool:
        """Whether `order` names every route that may be tried, and not only the first ones."""
        return bool(self.order) and not self.allow_fallbacks

    @property
    def restricts(self) -> bool:
        """Whether any route could be unwanted."""
        return bool(
            self.only
            or self.names_all
            or self.ignore
            or self.zdr
            or self.deny_data_collection
            or self.max_prompt_price is not None
            or self.max_completion_price is not None
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """All that bounds one request: account, key and the request itself."""

    jurisdictions: tuple[Jurisdictions, ...] = ()
    models_allow: frozenset[str] | None = None
    preferences: Preferences = Preferences()
