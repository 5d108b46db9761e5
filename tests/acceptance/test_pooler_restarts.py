"""The whole platform through a pooler in transaction mode, which is killed while it works."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from proxy.dev.servers import Server
from tests.support.deployment import CHAT, Deployment, Gateway
from tests.support.platform import TestKey
from tests.support.pooler import PgBouncer, run_pgbouncer
from tests.support.processes import until

CLIENTS = 3


@pytest.fixture
def pooler(postgres_server: Server) -> Iterator[PgBouncer]:
    with run_pgbouncer(postgres_server.url) as running:
        yield running


class Clients:
    """Each with its own key asks again and again; they count what they were answered."""

    def __init__(self, gateway: Gateway, keys: list[TestKey]) -> None:
        self.answered = dict.fromkeys((key.key_id for key in keys), 0)
        self._gateway = gateway
        self._stop = Event()
        self._pool = ThreadPoolExecutor(len(keys))
        self._asking = [self._pool.submit(self._ask, key) for key in keys]

    def _ask(self, key: TestKey) -> None:
        door = self._gateway.door()
        while not self._stop.is_set():
            answer = door.chat(key, CHAT)
            assert answer.status == 200, answer
            self.answered[key.key_id] += 1

    def go_on(self, times: int) -> None:
        """Until everybody was answered so many times more."""
        wanted = {key_id: count + times for key_id, count in self.answered.items()}

        def enough() -> bool:
            for asking in self._asking:
                if asking.done():
                    asking.result()
            return all(self.answered[key_id] >= count for key_id, count in wanted.items())

        until(enough, 30)

    def stop(self) -> None:
        self._stop.set()
        for asking in self._asking:
            asking.result()
        self._pool.shutdown()


def test_charges_reach_postgres_once_though_the_pooler_dies(
    deployment: Deployment, pooler: PgBouncer
) -> None:
    pooled = pooler.of(deployment.dsn)
    deployment.environ = deployment.settings(database_url=pooled, lease_seconds=2)
    second = deployment.start("work")
    gateway = deployment.start_all()
    second.ready()
    keys = [deployment.key() for _ in range(CLIENTS)]
    for key in keys:
        assert gateway.door().chat(key, CHAT).status == 200
    clients = Clients(gateway, keys)
    clients.go_on(10)
    for _ in range(2):
        pooler.kill()
        clients.go_on(10)  # whom the gateway knows, it serves
        assert gateway.door().chat(deployment.key(), CHAT).status == 503
        pooler.start()
        clients.go_on(10)
        deployment.assert_books_agree()  # while charges are on their way
    clients.stop()
    for key in keys:
        rows = deployment.charged(key, gateway.door(), rows=clients.answered[key.key_id] + 1)
        assert {row["status"] for row in rows} == {"ok"}
    deployment.assert_books_agree()
    assert deployment.query("SELECT count(*) FROM quarantine") == [{"count": 0}]
    assert second.stop() == 0
