"""A client's body, parsed once and strictly at the edge."""

from collections.abc import Mapping

from proxy.domain.call import Call
from routing.table import Endpoint


def parse_call(endpoint: Endpoint, raw: bytes, headers: Mapping[str, str]) -> Call:
    """Raises InvalidRequestError, which names the field, or UnsupportedEndpointError."""
    raise NotImplementedError
