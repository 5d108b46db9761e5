"""A changed routing table takes effect, and its prices are written down until that succeeded."""

from collections.abc import Awaitable, Callable

from proxy.edge.live_table import LiveTable
from routing.table import RoutingTable


class Reloading:
    def __init__(
        self, live_table: LiveTable, record: Callable[[RoutingTable], Awaitable[None]]
    ) -> None:
        self._live_table = live_table
        self._record = record
        self._recorded: str | None = None

    async def reload_once(self) -> None:
        """Also records a table that came by another way, or that could not be recorded before.

        Raises StoreUnavailableError where it can still not be: it serves all the same.
        """
        await self._live_table.reload_if_changed_once()
        table = self._live_table()
        if table.revision != self._recorded:
            await self._record(table)
            self._recorded = table.revision
