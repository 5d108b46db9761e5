"""Which code speaks for a route: the seam where further dialects join."""

from collections.abc import Mapping
from typing import Final

from proxy.dialect.exchange import PriceOf, StreamExchange
from proxy.dialect.openai_stream import OpenAIStream
from proxy.dialect.quirks import QUIRK_OF
from proxy.domain.call import Call
from routing.table import Dialect, Endpoint, Route

_PATHS: Final[Mapping[tuple[Endpoint, Dialect], str]] = {
    (Endpoint.CHAT, Dialect.OPENAI): "/chat/completions",
    (Endpoint.COMPLETIONS, Dialect.OPENAI): "/completions",
    (Endpoint.EMBEDDINGS, Dialect.OPENAI): "/embeddings",
}
# (endpoint, client's dialect, upstream's dialect): what somebody here can carry between them.
_SPOKEN: Final = frozenset((endpoint, Dialect.OPENAI, Dialect.OPENAI) for endpoint, _ in _PATHS)

CALLABLE_DIALECTS: Final = frozenset(upstream for _, _, upstream in _SPOKEN)


def supports(endpoint: Endpoint, client_dialect: Dialect, upstream_dialect: Dialect) -> bool:
    return (endpoint, client_dialect, upstream_dialect) in _SPOKEN


def dialect_for(endpoint: Endpoint, client_dialect: Dialect, route: Route) -> Dialect | None:
    """The dialect to speak on this route: the client's own where the upstream knows it."""
    candidates = sorted(route.upstream.speaks, key=lambda spoken: spoken is not client_dialect)
    return next((d for d in candidates if supports(endpoint, client_dialect, d)), None)


def path_of(endpoint: Endpoint, dialect: Dialect) -> str:
    """Behind the upstream's base URL. Raises KeyError for what `supports` denies."""
    return _PATHS[endpoint, dialect]


def open_exchange(call: Call, route: Route, price_of: PriceOf) -> StreamExchange:
    return OpenAIStream(call, QUIRK_OF[route.upstream.quirks], price_of)
