"""A network that resets, swallows or delays what two of us say to each other."""

import pytest

from tests.chaos.wire import Mode
from tests.support.scene import Scene

MODES = (Mode.RESET, Mode.BLACK_HOLE, Mode.DELAY)


@pytest.mark.parametrize("mode", MODES)
def test_between_a_gateway_and_redis(scene: Scene, mode: Mode) -> None:
    ada = scene.customer()
    answer = ada.begins()
    with scene.broken("gateway-redis", mode):
        assert ada.is_told_to_come_back()
        scene.provider_goes_on()
        assert answer.is_whole()  # its charge is on the gateway's disk
    assert ada.is_served_again()
    scene.ends_well(ada)


@pytest.mark.parametrize("mode", MODES)
def test_between_a_gateway_and_postgres(scene: Scene, mode: Mode) -> None:
    ada, ben = scene.customer(), scene.new_customer()
    answer = ada.begins()
    with scene.broken("gateway-postgres", mode):
        scene.provider_goes_on()
        assert answer.is_whole()
        assert ada.is_served()  # whom the gateway knows, it serves
        assert ben.is_told_to_come_back()
    assert ben.is_served_again()
    scene.ends_well(ada, ben)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("store", ["redis", "postgres"])
def test_between_a_worker_and_a_store(scene: Scene, mode: Mode, store: str) -> None:
    ada = scene.customer()
    answer = ada.begins()
    with scene.broken(f"worker-{store}", mode):
        scene.provider_goes_on()
        assert answer.is_whole()
        assert ada.is_served()  # nobody needs a worker to be served
    scene.ends_well(ada)
