"""Where a fault's story is played: stores, a worker and a gateway as real processes, with a wire
between any two that can be broken, and customers who know what they were answered.

scene.customer() has been served once and has money; `scene.ends_well(customer)` is the last line
of a story: every answer has exactly one row, the wallet is exact, and verification agrees.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from proxy.billing.credit import Credited, credit
from proxy.billing.verify import Verdict, Verification, verify
from proxy.domain.clock import SystemClock
from proxy.domain.outcome import Outcome
from proxy.domain.ports import Wallets
from proxy.ledger.opening import open_wallets
from proxy.store.pool import Store
from routing.money import Nanos
from tests.chaos.wire import Mode, Wire, dial_unix
from tests.support.deployment import (
    CHAT,
    CREDIT_NANOS,
    HELD,
    HELD_NANOS,
    Deployment,
    Gateway,
    run_deployment,
)
from tests.support.doors import Stream
from tests.support.own_stores import OwnPostgres, OwnRedis
from tests.support.platform import Answer, TestKey
from tests.support.processes import Program, until

T = TypeVar("T")

NANOS_PER_USD = 10**9
DONE = b"data: [DONE]\n\n"
# Outages are noticed soon, and leases end while a test waits.
SETTINGS = {"lease_seconds": 2, "ledger_timeout_ms": 300, "flush_interval_ms": 20}
LINKS = ("gateway-redis", "gateway-postgres", "worker-redis", "worker-postgres")


class Streaming:
    """An answer that has begun, and goes on when the provider does."""

    def __init__(self, stream: Stream, customer: "Customer") -> None:
        self.request_id = stream.headers["x-request-id"]
        self._stream = stream
        self._customer = customer
        stream.event()

    def rest(self) -> Answer:
        """To its end, whatever that is. Raises OSError or HTTPException where it is reset."""
        answer = self._stream.rest()
        if answer.body.endswith(DONE):
            self._customer.answered[self.request_id] = HELD_NANOS
        return answer

    def is_whole(self) -> bool:
        return self.rest().body.endswith(DONE)

    def is_reset(self) -> bool:
        try:
            self.rest()
        except (OSError, HTTPException):
            return True
        return False


@dataclass
class Customer:
    """`answered`: each request that was answered to its end, and what it was told that it costs."""

    key: TestKey
    scene: "Scene"
    answered: dict[str, int] = field(default_factory=dict)
    credited_nanos: int = CREDIT_NANOS

    def pays(self, usd: int, reference: str) -> Outcome:
        """By `apilink credit`, in this process."""
        nanos = Nanos(usd * NANOS_PER_USD)
        found = self.scene.credit(self.key, nanos, reference)
        if found.outcome is Outcome.OK:
            self.credited_nanos += nanos
        return found.outcome

    def asks(self, gateway: Gateway | None = None) -> Answer:
        answer = (gateway or self.scene.gateway).door().chat(self.key, CHAT)
        if answer.status == 200:
            cost = int(answer.headers["x-apilink-cost-nanos"])
            self.answered[answer.headers["x-request-id"]] = cost
        return answer

    def begins(self) -> Streaming:
        return Streaming(self.scene.gateway.door().stream(self.key, HELD), self)

    def is_served(self) -> bool:
        return self.asks().status == 200

    def is_told_to_come_back(self) -> bool:
        """503 with `retry-after`: never 401, never a hang."""
        answer = self.asks()
        code = answer.json()["error"]["code"] if answer.status != 200 else "ok"
        return (answer.status, code) == (503, "ledger_unavailable") and (
            int(answer.headers["retry-after"]) >= 1
        )

    def is_served_again(self) -> bool:
        """Soon; until then it is told to come back."""

        def is_served() -> bool:
            answer = self.asks()
            assert answer.status in (200, 503), answer
            return answer.status == 200

        return until(is_served, 20)

    def wallet(self) -> dict[str, Any]:
        answer = self.scene.gateway.door().get("/v1/key", self.key)
        found: dict[str, Any] = answer.json()["data"] if answer.status == 200 else {}
        return found

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in self.scene.deployment.rows(self.key)}

    def charged_row(self, answer: Streaming) -> dict[str, Any] | None:
        """Its row, once it is no orphan."""
        row = self.rows().get(answer.request_id)
        return row if row is not None and row["status"] != "orphaned" else None

    def balance_nanos(self) -> int:
        """Once nothing is held."""
        wallet = until(lambda: found if (found := self.wallet()).get("held_nanos") == 0 else None)
        assert wallet is not None
        return int(wallet["balance_nanos"])


class Scene:
    """Made by `run_scene`."""

    gateway: Gateway
    worker: Program

    def __init__(
        self,
        deployment: Deployment,
        redis: OwnRedis,
        postgres: OwnPostgres,
        wires: dict[str, Wire],
        settings: dict[str, object],
    ) -> None:
        self.deployment = deployment
        self.redis = redis
        self.postgres = postgres
        self.is_over = False  # a story ended well: another one may be played here
        self._wires = wires
        self._settings = settings

    def start(self) -> None:
        self.start_worker(wait=False)
        self.start_gateway()
        self.worker.ready()

    def start_gateway(self) -> Gateway:
        settings = self._settings | self._ways("gateway")
        self.gateway = self.deployment.start_gateway(**settings)
        return self.gateway

    def start_worker(self, *, wait: bool = True) -> Program:
        self.worker = self.deployment.start("work", **self._settings | self._ways("worker"))
        if wait:
            self.worker.ready()
        return self.worker

    def new_customer(self) -> Customer:
        """With 5 USD, and unknown to every gateway."""
        return Customer(self.deployment.key(), self)

    def customer(self) -> Customer:
        """With 5 USD, of which one answer is paid."""
        customer = self.new_customer()
        assert customer.is_served_again()  # a shard may take a moment to open
        until(customer.rows)
        return customer

    def provider_goes_on(self) -> None:
        """With the answers that have begun."""
        self.deployment.let_go()

    @contextmanager
    def broken(self, link: str, mode: Mode) -> Iterator[None]:
        """The network between two of us, one of LINKS."""
        wire = self._wires[link]
        self.deployment.portal.call(setattr, wire, "mode", mode)
        try:
            yield
        finally:
            self.deployment.portal.call(setattr, wire, "mode", Mode.PASS)

    def verification(self) -> Verification:
        """What `apilink ledger verify` finds, in this process."""
        return self.with_wallets(verify)

    def credit(self, key: TestKey, nanos: Nanos, reference: str) -> Credited:
        async def step(store: Store, wallets: Wallets) -> Credited:
            return await credit(store, wallets, key.account_id, nanos, reference, "eve", "paid")

        return self.with_wallets(step)

    def with_wallets(self, step: Callable[[Store, Wallets], Awaitable[T]]) -> T:
        store = self.deployment.store

        async def opened() -> T:
            async with open_wallets(
                redis_url=self.redis.url, shards=store.shards, clock=SystemClock(), timeout_ms=2000
            ) as wallets:
                return await step(store, wallets)

        return self.deployment.portal.call(opened)

    def ends_well(self, *customers: Customer) -> None:
        """Each answer has one row that costs what the answer said, and nothing else costs anything;
        each wallet is what was paid in less its rows; and all books agree."""
        for customer in customers:
            until(lambda c=customer: c.answered.keys() <= c.rows().keys())  # type: ignore[misc]
        until(self._at_rest, 20)
        for customer in customers:
            charged = {id_: row["charged_nanos"] for id_, row in customer.rows().items()}
            assert {id_: nanos for id_, nanos in charged.items() if nanos} == customer.answered
            assert customer.balance_nanos() == customer.credited_nanos - sum(charged.values())
        self.agrees()

    def agrees(self) -> None:
        """Redis, Postgres and the books, once all is written and delivered."""
        found = until(self._at_rest, 20)
        assert found is not None
        assert (found.verdict, found.differences, found.faults) == (Verdict.OK, [], []), found
        self.is_over = True

    def _at_rest(self) -> Verification | None:
        found = self.verification()
        is_moving = found.unflushed_nanos or found.undelivered_nanos
        return None if is_moving or found.verdict is Verdict.UNKNOWN else found

    def _ways(self, who: str) -> dict[str, object]:
        """Through the wires."""
        database = urlsplit(self.deployment.dsn).path
        to_postgres, to_redis = (self._wires[f"{who}-{store}"] for store in ("postgres", "redis"))
        host = f"apilink@127.0.0.1:{to_postgres.port}"
        return {
            "database_url": f"postgresql://{host}{database}?sslmode=disable",
            "redis_url": f"redis://127.0.0.1:{to_redis.port}",
        }


@contextmanager
def run_scene(
    postgres: OwnPostgres,
    template: str,
    directory: Path,
    *,
    redis_binary: Path | None = None,
    launchers: Mapping[str, Sequence[object]] | None = None,
    **settings: object,
) -> Iterator[Scene]:
    """Only the stores and the wires are there: `start` starts the rest."""
    redis = OwnRedis(directory / "redis", redis_binary)
    with ExitStack() as stack:
        stack.callback(redis.stop)
        redis.start()
        deployment = stack.enter_context(
            run_deployment(
                postgres.url, template, directory, open_redis=lambda _: nullcontext(redis)
            )
        )
        deployment.launchers.update(launchers or {})
        wires = {}
        for link in LINKS:
            socket = redis.socket if link.endswith("redis") else postgres.socket
            wires[link] = Wire(link, dial_unix(socket))
            running = wires[link].running()
            stack.enter_context(deployment.portal.wrap_async_context_manager(running))
        yield Scene(deployment, redis, postgres, wires, {**SETTINGS, **settings})


class Stage:
    """Scenes for many stories: one that ended well is played on again by the next."""

    def __init__(self, postgres: OwnPostgres, template: str, directory: Path) -> None:
        self._postgres = postgres
        self._template = template
        self._directory = directory
        self._count = 0
        self._scene: Scene | None = None
        self._running = ExitStack()

    def scene(self) -> Scene:
        """Everything serves, and no answer goes on by itself."""
        if self._scene is None or not self._scene.is_over:
            self.clear()
            self._count += 1
            scene = run_scene(self._postgres, self._template, self._directory / str(self._count))
            self._scene = self._running.enter_context(scene)
            self._scene.start()
        self._scene.is_over = False
        self._scene.deployment.hold_again()
        return self._scene

    def clear(self) -> None:
        if not self._postgres.is_running:
            self._postgres.start()
        self._running.close()
        self._scene = None
