"""SIGSTOP and, later, SIGCONT: connections stay open, and nobody answers."""

from tests.support.processes import paused, until
from tests.support.scene import Scene


def test_a_gateway_stands_still_for_longer_than_its_leases(scene: Scene) -> None:
    ada = scene.customer()
    answer = ada.begins()
    with paused(scene.gateway):
        until(lambda: ada.rows().get(answer.request_id))  # its hold expired: orphaned
    scene.provider_goes_on()
    assert not answer.is_whole()  # it knows by its own clock, and sends nothing more
    row = until(lambda: ada.charged_row(answer))
    # In the orphan's place: what was delivered is paid for.
    assert (row["status"], row["usage_source"]) == ("cut_lease", "estimated")
    ada.answered[answer.request_id] = row["charged_nanos"]
    assert ada.is_served_again()
    scene.ends_well(ada)


def test_a_worker_stands_still_and_wakes_up_beside_another(scene: Scene) -> None:
    ada = scene.customer()
    answer = ada.begins()
    first = scene.worker
    with paused(first):
        scene.provider_goes_on()
        assert answer.is_whole()
        assert ada.is_served()  # nobody needs a worker to be served
        scene.start_worker()  # it takes over when the first one's lease has ended
        scene.ends_well(ada)
    assert ada.is_served()
    scene.ends_well(ada)  # whichever of the two writes it
    assert first.stop() == 0


def test_redis_stands_still(scene: Scene) -> None:
    ada = scene.customer()
    answer = ada.begins()
    with paused(scene.redis):
        assert ada.is_told_to_come_back()
        scene.provider_goes_on()
        assert answer.is_whole()  # its charge is on the gateway's disk
    assert ada.is_served_again()
    scene.ends_well(ada)


def test_postgres_stands_still(scene: Scene) -> None:
    ada, ben = scene.customer(), scene.new_customer()
    answer = ada.begins()
    with paused(scene.postgres):
        scene.provider_goes_on()
        assert answer.is_whole()
        assert ada.is_served()  # whom the gateway knows, it serves
        assert ben.is_told_to_come_back()
    assert ben.is_served_again()
    scene.ends_well(ada, ben)
