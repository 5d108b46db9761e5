"""How far Postgres is behind, also while it is away: that is when it matters."""

from collections.abc import Mapping
from typing import cast

import pytest

from proxy.domain.errors import LedgerUnavailableError, StoreUnavailableError
from proxy.domain.outcome import Unflushed
from proxy.domain.ports import Wallets
from proxy.jobs.measuring import Measuring
from tests.support.data_plane import HandMovedClock


class World:
    """Cursors and streams by shard; None: away."""

    def __init__(self) -> None:
        self.clock = HandMovedClock()
        self.cursors: Mapping[int, str] | None = {0: "5-0", 1: "0-0"}
        self.streams: Mapping[int, Unflushed] | None = {}
        self.asked: list[tuple[int, str]] = []
        self.measuring = Measuring(self.load_cursors, cast("Wallets", self), self.clock)

    async def load_cursors(self) -> Mapping[int, str]:
        if self.cursors is None:
            raise StoreUnavailableError("away")
        return self.cursors

    async def unflushed(self, shard: int, cursor_id: str) -> Unflushed:
        if self.streams is None:
            raise LedgerUnavailableError("away")
        self.asked.append((shard, cursor_id))
        return self.streams.get(shard, Unflushed(0, None))


async def test_each_shard_by_its_oldest_charge() -> None:
    world = World()
    world.streams = {1: Unflushed(3, world.clock.now_ms - 1_500)}
    await world.measuring.measure_once()
    assert world.asked == [(0, "5-0"), (1, "0-0")]
    assert world.measuring.entries() == {"0": 0, "1": 3}
    assert world.measuring.lag_seconds() == {"0": 0, "1": 1.5}


async def test_with_postgres_away_the_lag_grows() -> None:
    world = World()
    world.streams = {0: Unflushed(1, world.clock.now_ms)}
    await world.measuring.measure_once()
    world.cursors = None
    world.clock.now_ms += 60_000
    await world.measuring.measure_once()
    assert world.measuring.lag_seconds()["0"] == 60


async def test_with_redis_away_nothing_is_said() -> None:
    world = World()
    await world.measuring.measure_once()
    assert world.measuring.entries()
    world.streams = None
    with pytest.raises(LedgerUnavailableError):
        await world.measuring.measure_once()
    assert world.measuring.entries() == world.measuring.lag_seconds() == {}


async def test_a_charge_from_a_clock_that_is_ahead_is_not_younger_than_now() -> None:
    world = World()
    world.streams = {0: Unflushed(1, world.clock.now_ms + 5)}
    await world.measuring.measure_once()
    assert world.measuring.lag_seconds()["0"] == 0
