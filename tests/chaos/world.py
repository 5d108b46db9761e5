"""A deployment whose every link can be broken.

clients ─ wire ─ gateways ─ wires ─ Redis, Postgres, provider
                 workers  ─ wires ─ Redis, Postgres
auditor ───────────────────────────  Redis, Postgres (directly)
"""

import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proxy.billing.credit import credit
from proxy.dev.servers import open_postgres, open_redis
from proxy.domain.account import ApiKey, KeyLimits
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_key_token, mint_uuid7
from proxy.store.migrate import migrate
from proxy.store.pool import Store, open_store
from proxy.vault import KeyHasher
from routing.money import Nanos
from tests.chaos import disks, templates
from tests.chaos.clients import MODEL
from tests.chaos.clocks import Clocks
from tests.chaos.cluster import ClusterMember
from tests.chaos.members import Member, Process, StoreMember
from tests.chaos.wire import Wire, dial_port, dial_unix
from tests.support.deployment import clean_environ
from tests.support.platform import SECRET
from tests.support.tables import model, table, upstream

RICH_NANOS = 10**12
POOR_NANOS = 4_000_000
_ACCOUNTS_RICH, _ACCOUNTS_POOR, _KEYS_EACH = 6, 3, 2
_CLOCK = SystemClock()

# Short, so that a run of minutes sees leases end, outages be noticed and flushers change.
SETTINGS = {
    "lease_seconds": 3,
    "ledger_timeout_ms": 700,
    "flush_interval_ms": 50,
    "shutdown_seconds_max": 8,
    "key_cache_seconds": 5,
    "drain_seconds_max": 15,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of what. `bug` is a deliberate one, "" for none."""

    gateways: int = 2
    workers: int = 2
    clients: int = 24
    bug: str = ""
    shards: int = 1
    is_cluster: bool = False
    template: Path | None = None  # a Postgres to begin with a copy of
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class World:
    directory: Path
    shape: Shape
    redis: StoreMember | ClusterMember
    postgres: StoreMember
    clocks: Clocks
    gateways: dict[str, Member] = field(default_factory=dict)
    workers: dict[str, Member] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    poor: list[str] = field(default_factory=list)
    credited: dict[tuple[str, str], int] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    provider: Process | None = None
    _processes: list[Process] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def book(self, name: str) -> Path:
        return self.directory / f"{name}.jsonl"

    @property
    def redis_url(self) -> str:
        return self.redis.url

    @property
    def dsn(self) -> str:
        return self.postgres.url

    @property
    def out(self) -> Path:
        """Names of gateways to which nobody sends a new request."""
        return self.directory / "out-of-rotation"

    def disk_of(self, target: str) -> Path:
        return self.directory / target

    async def start_clients(self, seed: int) -> Process:
        names = self.gateways
        urls = {name: f"http://127.0.0.1:{self.wires[f'clients-{name}'].port}" for name in names}
        plan = {"seed": seed, "clients": self.shape.clients, "gateways": urls}
        plan |= {"keys": self.keys, "out": str(self.out)}
        return await self._start("clients", plan)

    async def start_auditor(self) -> Process:
        plan = {
            "database_url": self.dsn,
            "redis_url": self.redis_url,
            "poor": self.poor,
            "entries": str(self.book("entries")),
        }
        return await self._start("auditor", plan)

    async def apilink(self, *words: str) -> tuple[int, str]:
        """A command, past the wires; its status and what it printed."""
        process = Process(
            [*_program(self.shape), *words],
            self.environ | {"APILINK_REDIS_URL": self.redis_url, "APILINK_DATABASE_URL": self.dsn},
            self.logs / "-".join(words),
        )
        status = await process.wait_ended(60)
        return status, process.stdout.read_text()

    async def _start(self, name: str, plan: dict[str, Any]) -> Process:
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(plan))
        argv = ["-m", f"tests.chaos.{name}", str(path), str(self.book(name))]
        return await self.start_process(name, argv)

    async def start_process(self, name: str, argv: list[str]) -> Process:
        process = Process(argv, self.environ, self.logs / name)
        self._processes.append(process)
        await process.wait_ready(30)
        return process

    async def close(self) -> None:
        for process in self._processes:
            if process.status is None:
                process.kill()
        for member in (*self.gateways.values(), *self.workers.values()):
            await member.destroy()


def _program(shape: Shape) -> list[str]:
    return ["-m", "tests.chaos.bugged" if shape.bug else "proxy"]


@asynccontextmanager
async def open_world(directory: Path, shape: Shape) -> AsyncIterator[World]:
    """Everything serves, and nothing is broken yet."""
    async with AsyncExitStack() as stack:
        redis_dir = directory / "redis"
        stack.enter_context(disks.mounted(redis_dir))
        clocks = Clocks(directory)
        program = clocks.redis_program()
        redis: StoreMember | ClusterMember
        if shape.is_cluster:
            redis = ClusterMember(redis_dir, {})
        else:
            redis = StoreMember("redis", lambda: open_redis(redis_dir, binary=program))
        postgres_dir = directory / "postgres"
        if shape.template is not None:
            templates.copy(shape.template, postgres_dir)
        postgres = StoreMember(
            "postgres", lambda: open_postgres(postgres_dir, settings=templates.POSTGRES_SETTINGS)
        )
        world = World(directory, shape, redis, postgres, clocks)
        world.logs.mkdir(parents=True)
        world.out.mkdir()
        world.environ = clean_environ() | {"CHAOS_BUG": shape.bug, "CHAOS_DIR": str(directory)}
        for store in (redis, postgres):
            stack.push_async_callback(store.stop)
            await store.start()
        await migrate(world.dsn)
        stack.push_async_callback(world.close)
        await _prepare(world)
        await _start_all(stack, world)
        yield world


async def _prepare(world: World) -> None:
    async with open_store(world.dsn, connections_max=2) as store:
        await store.deployment.check(shards=world.shape.shards)
        for number in range(_ACCOUNTS_RICH + _ACCOUNTS_POOR):
            is_poor = number >= _ACCOUNTS_RICH
            nanos = POOR_NANOS if is_poor else RICH_NANOS
            shard = number % world.shape.shards
            account_id = await _make_account(world, store, shard, nanos)
            if is_poor:
                world.poor.append(account_id)


async def _make_account(world: World, store: Store, shard: int, nanos: int) -> str:
    account_id = mint_uuid7(_CLOCK)
    email = f"{account_id}@example.com"
    assert await store.accounts.create(account_id=account_id, email=email, shard=shard)
    await credit(store, None, account_id, Nanos(nanos), "first", "chaos", "the first credit")
    world.credited[str(account_id), "first"] = nanos
    world.accounts.append(str(account_id))
    for _ in range(_KEYS_EACH):
        token = mint_key_token()
        secret_hash = KeyHasher(SECRET).hash(token.secret)
        await store.keys.create(
            ApiKey(token.key_id, account_id, shard, 1, secret_hash, KeyLimits())
        )
        world.keys.append(str(token))
    return str(account_id)


async def _start_all(stack: AsyncExitStack, world: World) -> None:
    argv = ["-m", "tests.chaos.provider", str(world.book("provider"))]
    world.provider = await world.start_process("provider", argv)
    ready = world.provider.ready()
    assert ready is not None
    provider_port = int(ready["url"].rpartition(":")[2])
    for number in range(world.shape.gateways):
        await _add_gateway(stack, world, f"g{number}", provider_port)
    for number in range(world.shape.workers):
        name = f"w{number}"
        environ = await _environ_of(stack, world, name)
        world.workers[name] = Member(name, [*_program(world.shape), "work"], environ, world.logs)
    members = (*world.workers.values(), *world.gateways.values())
    for member in members:
        member.start()
    for member in members:
        await member.wait_serving()


async def _add_gateway(stack: AsyncExitStack, world: World, name: str, provider_port: int) -> None:
    """With a routing table of its own: its way to the provider is a wire of its own."""
    to_provider = await _add_wire(
        stack, world, Wire(f"{name}-provider", dial_port(lambda: provider_port))
    )
    url = f"http://127.0.0.1:{to_provider.port}/openai"
    routing = world.directory / f"{name}-routing.yaml"
    routing.write_text(table(upstream("sim", url), model(MODEL, "sim")))
    data_dir = world.disk_of(name)
    stack.enter_context(disks.mounted(data_dir))
    environ = await _environ_of(stack, world, name, routing=routing, data_dir=data_dir)
    member = Member(name, [*_program(world.shape), "serve"], environ, world.logs)
    world.gateways[name] = member
    await _add_wire(stack, world, Wire(f"clients-{name}", dial_port(lambda: member.port)))


async def _environ_of(
    stack: AsyncExitStack, world: World, name: str, **settings: object
) -> dict[str, str]:
    to_postgres = Wire(f"{name}-postgres", dial_unix(_postgres_socket(world.dsn)))
    await _add_wire(stack, world, to_postgres)
    secret = world.directory / "secret"
    secret.write_text(f"{SECRET}\n")
    named: dict[str, object] = {
        "redis_url": await _way_to_redis(stack, world, name),
        "database_url": f"postgresql://apilink@127.0.0.1:{to_postgres.port}/postgres?sslmode=disable",
        "secret_key_file": secret,
        "shards": world.shape.shards,
        "listen": "127.0.0.1:0",
        "data_dir": world.directory / f"{name}-data",
        **SETTINGS,
        **world.shape.settings,
        **settings,
    }
    environ = {f"APILINK_{key.upper()}": str(value) for key, value in named.items()}
    world.environ |= environ
    return {**world.environ, **world.clocks.environ_of(name)}


async def _way_to_redis(stack: AsyncExitStack, world: World, name: str) -> str:
    if world.shape.is_cluster:
        return world.redis_url
    wire = Wire(f"{name}-redis", dial_unix(world.redis_url.removeprefix("unix://")))
    await _add_wire(stack, world, wire)
    return f"redis://127.0.0.1:{wire.port}"


async def _add_wire(stack: AsyncExitStack, world: World, wire: Wire) -> Wire:
    await stack.enter_async_context(wire.running())
    world.wires[wire.name] = wire
    return wire


def _postgres_socket(dsn: str) -> str:
    (directory,) = parse_qs(urlsplit(dsn).query)["host"]
    return f"{directory}/.s.PGSQL.5432"


async def stop_process(process: Process, seconds: float = 60) -> int:
    process.signal(signal.SIGTERM)
    return await process.wait_ended(seconds)
