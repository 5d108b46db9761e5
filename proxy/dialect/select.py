"""Which code speaks for a route: the seam where further dialects join."""

from collections.abc import Mapping
from enum import Enum, auto
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

_BODILESS: Final = (204, 205)


class Form(Enum):
    """What a success is, by its head."""

    EVENTS = auto()
    WHOLE = auto()
    FOREIGN = auto()  # a proxy's page, nothing at all, or events for who asked for none


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


def form_of(status: int, content_type: str, *, stream: bool) -> Form:
    """Not every upstream states a type, and an answer may come whole to who asked for a stream."""
    kind = content_type.partition(";")[0].strip().lower()
    if status in _BODILESS or kind.endswith(("html", "xml")):
        return Form.FOREIGN
    if "event-stream" in kind:
        return Form.EVENTS if stream else Form.FOREIGN
    return Form.EVENTS if stream and "json" not in kind else Form.WHOLE
