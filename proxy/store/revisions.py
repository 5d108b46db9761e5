"""Prices and routing tables by revision: what a charge and a route referred to at their time."""

import orjson

from proxy.store.database import Database, Executor
from proxy.store.price_json import price_from_json, price_to_json
from proxy.store.queries import Queries
from proxy.store.routing_json import routing_to_json
from routing.price import PriceHistory
from routing.table import RoutingTable


class Revisions:
    """A revision is a digest of its content, so one that is known is never written again."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def record(self, table: RoutingTable) -> None:
        """Before the table takes traffic: a charge without its price cannot be explained."""
        prices = {history.revision: history for history in _histories(table)}

        async def step(executor: Executor) -> None:
            await executor.execute(
                self._queries.insert_price_revisions,
                list(prices),
                [orjson.dumps(price_to_json(history)).decode() for history in prices.values()],
            )
            await executor.execute(
                self._queries.insert_routing_revision,
                table.revision,
                orjson.dumps(routing_to_json(table)).decode(),
            )

        await self._database.transact(step)

    async def find_price(self, revision: str) -> PriceHistory | None:
        document = await self._database.fetchval(self._queries.find_price_revision, revision)
        return None if document is None else price_from_json(orjson.loads(document))

    async def latest_routing(self, limit: int) -> list[tuple[str, str]]:
        """(revision, when it was recorded in ISO 8601), the newest first."""
        rows = await self._database.fetch(self._queries.list_routing_revisions, limit)
        return [(row["revision"], row["recorded_at"].isoformat()) for row in rows]


def _histories(table: RoutingTable) -> list[PriceHistory]:
    models = list(table.models.values())
    return [model.price for model in models] + [r.cost for m in models for r in m.routes]
