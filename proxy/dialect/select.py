"""Which code speaks for a route: the seam where further dialects join."""

from proxy.dialect.exchange import Answer, Outgoing, PriceOf, StreamExchange
from proxy.domain.call import Call
from routing.table import Dialect, Endpoint, Route


def supports(endpoint: Endpoint, client_dialect: Dialect, upstream_dialect: Dialect) -> bool:
    raise NotImplementedError


def dialect_for(endpoint: Endpoint, client_dialect: Dialect, route: Route) -> Dialect | None:
    """The dialect to speak on this route: the client's own where the upstream knows it."""
    raise NotImplementedError


def path_of(endpoint: Endpoint, dialect: Dialect) -> str:
    """Behind the upstream's base URL, with a leading slash."""
    raise NotImplementedError


def make_outgoing(call: Call, route: Route) -> Outgoing:
    """Raises UnsupportedParameterError where a hint must be carried and cannot."""
    raise NotImplementedError


def open_exchange(call: Call, route: Route, price_of: PriceOf) -> StreamExchange:
    raise NotImplementedError


def read_answer(call: Call, route: Route, body: bytes, price_of: PriceOf) -> Answer:
    """A complete 2xx body. Raises UpstreamCutError where it is no JSON."""
    raise NotImplementedError
