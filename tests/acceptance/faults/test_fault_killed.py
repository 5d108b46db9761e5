"""kill -9, in the middle of an answer that somebody pays for."""

from tests.support.processes import until
from tests.support.scene import Scene


def test_a_gateway_is_killed(scene: Scene) -> None:
    ada = scene.customer()
    answer = ada.begins()
    scene.gateway.kill()
    assert answer.is_reset()
    scene.start_gateway()
    assert ada.is_served()
    row = until(lambda: ada.rows().get(answer.request_id))  # when its lease has ended
    assert (row["status"], row["charged_nanos"]) == ("orphaned", 0)
    scene.ends_well(ada)


def test_a_worker_is_killed(scene: Scene) -> None:
    ada = scene.customer()
    answer = ada.begins()
    scene.worker.kill()
    scene.provider_goes_on()
    assert answer.is_whole()
    assert ada.is_served()  # nobody needs a worker to be served
    scene.start_worker()
    scene.ends_well(ada)


def test_redis_is_killed(scene: Scene) -> None:
    ada = scene.customer()
    answer = ada.begins()
    scene.redis.kill()
    assert ada.is_told_to_come_back()
    scene.provider_goes_on()
    assert answer.is_whole()  # its charge is on the gateway's disk
    scene.redis.start()
    assert ada.is_served_again()
    scene.ends_well(ada)


def test_postgres_is_killed(scene: Scene) -> None:
    ada, ben = scene.customer(), scene.new_customer()
    answer = ada.begins()
    scene.postgres.kill()
    scene.provider_goes_on()
    assert answer.is_whole()
    assert ada.is_served()  # whom the gateway knows, it serves
    assert ben.is_told_to_come_back()
    scene.postgres.start()
    assert ben.is_served_again()
    scene.ends_well(ada, ben)
