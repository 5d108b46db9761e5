"""Prices and routing tables by revision: what a charge and a route referred to at their time."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from proxy.store.database import Database, Executor
from proxy.store.price_json import price_from_json, price_to_json
from proxy.store.queries import Queries
from routing.price import PriceHistory


class Revisions:
    """A revision is a digest of its content, so one that is known is never written again."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def record_prices(self, histories: Iterable[PriceHistory]) -> None:
        """Before a price takes traffic: a charge without its price cannot be explained."""
        documents = {h.revision: orjson.dumps(price_to_json(h)).decode() for h in histories}

        async def step(executor: Executor) -> None:
            for revision, document in sorted(documents.items()):
                await executor.execute(self._queries.insert_price_revision, revision, document)

        await self._database.transact(step)

    async def find_price(self, revision: str) -> PriceHistory | None:
        document = await self._database.fetchval(self._queries.find_price_revision, revision)
        return None if document is None else price_from_json(orjson.loads(document))

    async def record_routing(self, revision: str, routing: Mapping[str, Any]) -> None:
        document = orjson.dumps(routing).decode()
        await self._database.execute(self._queries.insert_routing_revision, revision, document)

    async def latest_routing(self, limit: int) -> list[tuple[str, str]]:
        """(revision, when it was recorded in ISO 8601), the newest first."""
        rows = await self._database.fetch(self._queries.list_routing_revisions, limit)
        return [(row["revision"], row["recorded_at"].isoformat()) for row in rows]
