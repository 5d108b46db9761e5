"""`GET /v1/models`: what can be asked for, at what price, and who would see it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from proxy.domain.errors import ModelNotFoundError
from proxy.http.arrival import Arrival
from proxy.http.catalogue import Catalogue
from proxy.http.identify import Identify
from routing.errors import UnknownModelError
from routing.select import get_model
from routing.table import RoutingTable

_NAME_CHARS_MAX: Final = 256  # beyond it, looking for names that look alike takes too long


class Models:
    def __init__(
        self,
        identify: Identify,
        catalogue: Catalogue,
        table: Callable[[], RoutingTable],
    ) -> None:
        self._identify = identify
        self._catalogue = catalogue
        self._table = table

    async def list(self, arrival: Arrival) -> None:
        await self._identify(arrival.request.headers)
        await arrival.client.respond(HTTPStatus.OK, {}, self._catalogue.rendering().everything)

    async def one(self, arrival: Arrival) -> None:
        """By id or alias; an id's slash may stand raw or as %2F."""
        await self._identify(arrival.request.headers)
        if len(arrival.rest) > _NAME_CHARS_MAX:
            raise ModelNotFoundError("There is no such model.", param="model")
        try:
            model = get_model(self._table(), arrival.rest)
        except UnknownModelError as error:
            near = f" Did you mean {' or '.join(error.nearest)}?" if error.nearest else ""
            raise ModelNotFoundError(
                f"There is no such model.{near} GET /v1/models lists all.", param="model"
            ) from error
        await arrival.client.respond(HTTPStatus.OK, {}, self._catalogue.rendering().by_id[model.id])
