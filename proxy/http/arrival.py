"""One request as it arrived: what every handler gets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from proxy.http.client_stream import ClientStream


@dataclass(frozen=True, slots=True)
class Arrival:
    """`rest` is what follows a route's prefix in the path, decoded; handlers raise ApiError."""

    request: web.BaseRequest
    request_id: UUID
    client_request_id: str | None
    client: ClientStream
    rest: str = ""


Handler = Callable[[Arrival], Awaitable[None]]
