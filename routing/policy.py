"""Who a request may reach. A policy only ever tightens another."""

from dataclasses import dataclass
from decimal import Decimal

from routing.table import Party, Route


@dataclass(frozen=True, slots=True)
class Jurisdictions:
    """Bounds on the countries of a whole chain. None = no bound; groups are already resolved."""

    processing_allow: frozenset[str] | None = None
    seats_allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    def failure(self, route: Route) -> tuple[Party, str] | None:
        """The first party and country of the chain that is forbidden. Unknown means no."""
        for party in route.chain:
            places = _processing_of(party, route)
            for country in places or ("unknown",):
                if not self._allows(country, self.processing_allow):
                    return party, country
            for country in filter(None, (party.seat, party.controlled_from)):
                if not self._allows(country, self.seats_allow):
                    return party, country
        return None

    def _allows(self, country: str, bound: frozenset[str] | None) -> bool:
        return country not in self.deny and (bound is None or country in bound)


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


@dataclass(frozen=True, slots=True)
class Policy:
    """All that bounds one request: account, key and the request itself."""

    jurisdictions: tuple[Jurisdictions, ...] = ()
    models_allow: frozenset[str] | None = None
    preferences: Preferences = Preferences()
