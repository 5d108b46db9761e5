"""Redis comes back with less than it had. What it forgot is in the gateways' journals."""

from pathlib import Path

from tests.chaos.losses import take_journal
from tests.support.processes import until
from tests.support.scene import Customer, Scene


def test_redis_is_restarted_empty(scene: Scene) -> None:
    ada = scene.customer()
    answer = ada.begins()
    scene.redis.kill()
    scene.redis.replace_data(None)
    scene.redis.start()
    assert ada.is_served_again()  # a new generation, its wallets from Postgres
    scene.provider_goes_on()
    assert answer.is_whole()  # its hold was taken again
    scene.ends_well(ada)


def test_redis_is_restarted_with_an_older_file(scene: Scene, tmp_path: Path) -> None:
    ada = scene.customer()
    older = scene.redis.copy_data(tmp_path / "older")
    answer = ada.begins()
    assert ada.is_served()
    scene.redis.kill()
    scene.redis.replace_data(older)
    scene.redis.start()
    assert ada.is_served_again()
    scene.provider_goes_on()
    assert answer.is_whole()
    scene.ends_well(ada)


def test_a_replica_that_lags_is_promoted(scene: Scene, tmp_path: Path) -> None:
    ada = scene.customer()
    with scene.redis.replica(tmp_path / "replica") as replica:
        answer = ada.begins()
        replica.stops_following()
        assert ada.is_served()
    scene.redis.kill()
    scene.redis.replace_data(replica.data)
    scene.redis.start()
    assert ada.is_served_again()
    scene.provider_goes_on()
    assert answer.is_whole()
    scene.ends_well(ada)


def test_a_journal_is_destroyed_and_a_replica_that_lags_is_promoted(
    scene: Scene, tmp_path: Path
) -> None:
    """The one way to lose charges: both copies go before a worker has brought them to Postgres.
    Lost is what was in both alone, to the request; and nothing is charged for it."""
    ada = scene.customer()
    scene.worker.kill()
    with scene.redis.replica(tmp_path / "replica") as replica:
        begun = ada.begins()
        replica.stops_following()
        scene.provider_goes_on()
        assert begun.is_whole()
        assert ada.is_served()
    scene.gateway.kill()
    scene.redis.kill()
    in_journals = take_journal(scene.deployment.directory / "data" / "journal")
    scene.redis.replace_data(replica.data)
    scene.redis.start()
    scene.start()
    lost = in_journals & ada.answered.keys() - ada.rows().keys()
    assert begun.request_id in lost
    assert len(lost) == 2
    _forget(ada, lost)
    # What the replica knew to be open says so, when its hold expires.
    row = until(lambda: ada.rows().get(begun.request_id))
    assert (row["status"], row["charged_nanos"]) == ("orphaned", 0)
    assert ada.is_served_again()
    scene.ends_well(ada)
    assert lost & ada.rows().keys() == {begun.request_id}


def _forget(customer: Customer, requests: frozenset[str]) -> None:
    for request_id in requests:
        del customer.answered[request_id]
