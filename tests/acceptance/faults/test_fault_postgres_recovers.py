"""Postgres is restarted, and is not at once what it was."""

import pytest

from tests.support.scene import Scene


def test_postgres_is_restarted(scene: Scene) -> None:
    ada, ben = scene.customer(), scene.new_customer()
    answer = ada.begins()
    scene.postgres.stop()
    assert ada.is_served()  # whom the gateway knows, it serves
    assert ben.is_told_to_come_back()
    scene.provider_goes_on()
    assert answer.is_whole()
    scene.postgres.start()
    assert ben.is_served_again()
    scene.ends_well(ada, ben)


def test_postgres_crashes_and_recovers_by_itself(scene: Scene) -> None:
    """One of its processes dies: it ends all connections and replays its log."""
    ada, ben = scene.customer(), scene.new_customer()
    answer = ada.begins()
    scene.postgres.kill_backend()
    scene.provider_goes_on()
    assert answer.is_whole()
    assert ada.is_served()
    assert ben.is_served_again()
    scene.ends_well(ada, ben)


@pytest.mark.parametrize("reads", ["on", "off"])
def test_postgres_is_in_recovery(scene: Scene, reads: str) -> None:
    """It takes connections and refuses what writes, or refuses connections."""
    ada, ben = scene.customer(), scene.new_customer()
    answer = ada.begins()
    scene.postgres.stop()
    scene.postgres.become_standby()
    scene.postgres.start(hot_standby=reads)
    scene.provider_goes_on()
    assert answer.is_whole()
    assert ada.is_served()
    assert ben.is_served() if reads == "on" else ben.is_told_to_come_back()
    scene.postgres.promote()
    assert ben.is_served_again()
    scene.ends_well(ada, ben)
