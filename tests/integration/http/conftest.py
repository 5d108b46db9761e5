from collections.abc import AsyncIterator

import pytest

from routing.load import parse_table
from routing.table import RoutingTable
from tests.support.data_plane import DataPlane, running_data_plane
from tests.support.tables import model, table, upstream


@pytest.fixture(scope="session")
def routing_table() -> RoutingTable:
    text = table(
        upstream("one", "http://127.0.0.1:9") + upstream("two", "http://127.0.0.1:9", "beta"),
        model("acme/m", "one", "two", aliases="[m]") + model("plain", "one"),
    )
    return parse_table(text)


@pytest.fixture
async def plane(routing_table: RoutingTable) -> AsyncIterator[DataPlane]:
    """Small limits: what is refused at 32 MiB is refused at 64 KiB in the same way."""
    async with running_data_plane(
        routing_table, body_bytes_max=2**16, body_seconds_max=1, header_bytes_max=16384
    ) as running:
        yield running
