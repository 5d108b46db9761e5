"""A request's two ids: ours, which everything is keyed by, and the client's, which is echoed."""

import re
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def parse_client_request_id(text: str | None) -> str | None:
    """None unless it is a UUID in its usual form: nothing else is echoed or written to a log.

    Proxies stamp requests with ids of many forms, so another form is no error.
    """
    return text if text is not None and _UUID.fullmatch(text) else None
