"""For those who watch the process: is it up, and can it serve."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import orjson

from proxy.http.arrival import Arrival


class Health:
    """`checks` are asked, not run: each answers at once from what its part already knows."""

    def __init__(self, checks: Mapping[str, Callable[[], bool]]) -> None:
        self._checks = checks

    async def root(self, arrival: Arrival) -> None:
        """Clients probe a base URL before they use it."""
        await arrival.client.respond(HTTPStatus.OK, {}, b'{"object":"api","base_path":"/v1"}')

    async def live(self, arrival: Arrival) -> None:
        await arrival.client.respond(HTTPStatus.OK, {}, b'{"status":"ok"}')

    async def ready(self, arrival: Arrival) -> None:
        found = {name: check() for name, check in self._checks.items()}
        is_ready = all(found.values())
        body = {"status": "ok" if is_ready else "unavailable", "checks": found}
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        await arrival.client.respond(status, {"cache-control": "no-store"}, orjson.dumps(body))
