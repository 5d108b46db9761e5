"""A table in force is written down once, however often that takes and however it came."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.domain.errors import StoreUnavailableError
from proxy.edge.live_table import LiveTable
from proxy.jobs.reload import Reloading
from proxy.observe.log import FIELDS
from routing.load import load_table
from routing.table import RoutingTable
from tests.support.tables import model, table, upstream


class Revisions:
    def __init__(self) -> None:
        self.recorded: list[str] = []
        self.is_away = False

    async def record(self, loaded: RoutingTable) -> None:
        if self.is_away:
            raise StoreUnavailableError("away")
        self.recorded.append(loaded.revision)


@pytest.fixture
def live_table(tmp_path: Path) -> LiveTable:
    path = tmp_path / "routing.yaml"
    write(path, "m")
    return LiveTable(path, load_table(path))


def write(path: Path, name: str) -> None:
    path.write_text(table(upstream("one", "http://127.0.0.1:9"), model(name, "one")))


async def test_a_table_is_recorded_once(live_table: LiveTable) -> None:
    revisions = Revisions()
    reloading = Reloading(live_table, revisions.record)
    await reloading.reload_once()
    await reloading.reload_once()
    assert revisions.recorded == [live_table().revision]


async def test_every_reload_leaves_a_line_with_its_outcome(
    live_table: LiveTable, tmp_path: Path
) -> None:
    path = tmp_path / "routing.yaml"
    good = path.read_text()
    with capture_logs() as lines:
        path.write_text(good.replace("maker:", "makr:"))
        assert not await live_table.reload_once()
        path.write_text(good)
        assert await live_table.reload_once()
        write(path, "other")
        assert await live_table.reload_once()
    refused, same, other = lines
    line = good.splitlines().index(next(t for t in good.splitlines() if "maker:" in t)) + 1
    assert (refused["event"], refused["line"], refused["count"]) == (
        "routing_reload_refused",
        line,
        2,
    )
    assert refused["where"].startswith("models.m")
    assert (same["event"], other["event"]) == ("routing_unchanged", "routing_reloaded")
    assert set(refused) - {"log_level"} <= FIELDS


async def test_what_could_not_be_recorded_serves_and_is_recorded_later(
    live_table: LiveTable, tmp_path: Path
) -> None:
    revisions = Revisions()
    reloading = Reloading(live_table, revisions.record)
    await reloading.reload_once()
    write(tmp_path / "routing.yaml", "other")
    revisions.is_away = True
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await reloading.reload_once()
    assert "other" in live_table().models
    revisions.is_away = False
    await reloading.reload_once()
    assert revisions.recorded[1:] == [live_table().revision]


async def test_a_table_that_was_loaded_on_a_signal_is_recorded_too(
    live_table: LiveTable, tmp_path: Path
) -> None:
    revisions = Revisions()
    reloading = Reloading(live_table, revisions.record)
    await reloading.reload_once()
    write(tmp_path / "routing.yaml", "other")
    assert await live_table.reload_once()
    await reloading.reload_once()
    assert revisions.recorded[1:] == [live_table().revision]
