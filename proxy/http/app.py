"""One request through the data plane: its id, its route, its handler, its error."""

from aiohttp import web

from proxy.domain.settings import Settings
from proxy.http.ports import Parts


class App:
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError


def make_app(parts: Parts, settings: Settings) -> App:
    raise NotImplementedError
