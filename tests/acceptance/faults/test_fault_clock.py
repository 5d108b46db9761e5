"""A machine's clock is stepped, as by an operator or a daemon that sets it right."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.clocks import Clocks, find_faketime
from tests.support.own_stores import OwnPostgres
from tests.support.scene import Scene, run_scene

pytestmark = pytest.mark.skipif(
    find_faketime() is None, reason="needs libfaketime (apt-get install libfaketime)"
)
HOUR = 3600


@pytest.fixture(scope="module")
def clocks(short_dir: Path) -> Clocks:
    directory = short_dir / "clocks"
    directory.mkdir()
    return Clocks(directory)


@pytest.fixture(scope="module")
def clock_scene(
    own_postgres: OwnPostgres, template: str, short_dir: Path, clocks: Clocks
) -> Iterator[Scene]:
    launchers = {"serve": _with(clocks, "gateway"), "work": _with(clocks, "worker")}
    with run_scene(
        own_postgres,
        template,
        short_dir / "clock-scene",
        redis_binary=clocks.redis_program(),
        launchers=launchers,
    ) as scene:
        scene.start()
        yield scene


def _with(clocks: Clocks, name: str) -> list[str]:
    return ["env", *(f"{name}={text}" for name, text in clocks.environ_of(name).items())]


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
@pytest.mark.parametrize("whose", ["gateway", "worker", "redis"])
def test_a_clock_is_stepped_and_set_right(
    clock_scene: Scene, clocks: Clocks, whose: str, seconds: int
) -> None:
    scene = clock_scene
    scene.deployment.hold_again()
    ada = scene.customer()
    answer = ada.begins()
    clocks.step(whose, seconds)
    if whose == "worker":
        assert ada.is_served()
    else:  # an id that is an hour off the ledger's clock could be one that is forgotten
        assert ada.is_told_to_come_back()
    scene.provider_goes_on()
    assert answer.is_whole()
    clocks.set_right(whose)
    assert ada.is_served_again()
    scene.ends_well(ada)
