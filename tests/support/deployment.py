"""ApiLink as its operator runs it: its own database and Redis, processes, an upstream.

with run_deployment(postgres_url, template, directory, lease_seconds=5) as apilink:
    gateway = apilink.start_all(workers=2)
    with gateway.door() as door:
        assert door.chat(apilink.key(), "alpha/chat").status == 200

The upstream runs in a thread: the simulated provider, and beside it one that does as a test says.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from anyio.from_thread import BlockingPortal, start_blocking_portal

from proxy.billing.credit import credit
from proxy.dev.servers import Server, run_redis
from proxy.dev.simulator import Simulator
from proxy.domain.account import ApiKey, KeyLimits
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_key_token, mint_uuid7
from proxy.store.pool import Store, open_store
from proxy.vault import KeyHasher
from routing.money import Nanos
from tests.support.databases import cloned
from tests.support.doors import Door, open_door
from tests.support.platform import SECRET, TestKey
from tests.support.processes import ROOT, Program, until
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream

CHAT = "alpha/chat"  # answered by the simulated provider
HELD = "alpha/held"  # begins to answer, and goes on when it is let go
QUOTING = "alpha/quoting"  # refuses with status 400 and quotes the request
FAILING = "alpha/failing"  # the same with status 500
FRENCH = "beta/chat"  # by a party in FR; the others are in US
HELD_USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
HELD_NANOS = 7 * 1000 + 5 * 2000
CREDIT_NANOS = 5_000_000_000


class Held:
    """Says a first word at once and the last one when it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.refusals = 0

    async def __call__(self, seen: Seen, wire: Wire) -> None:
        name = seen.json()["model"]
        if name != f"up-{HELD}":
            self.refusals += 1
            quoted = {"error": {"message": f"I will not: {seen.body.decode()}", "code": "refused"}}
            await wire.json(quoted, 400 if name == f"up-{QUOTING}" else 500)
            return
        await wire.sse()
        await wire.event(_chunk({"content": "held"}))
        await self.let_go.wait()
        await wire.event(_chunk({}, "stop"))
        await wire.event({**_chunk({}), "choices": [], "usage": HELD_USAGE})
        await wire.chunk(b"data: [DONE]\n\n")
        await wire.end()


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-held", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice]}


class Gateway(Program):
    """`apilink serve`, ready. `pids` are the processes that serve."""

    port: int
    pids: list[int]
    _sockets: ExitStack

    def wait_ready(self, workers: int, sockets: ExitStack) -> None:
        self._sockets = sockets
        ready = self.ready(workers)
        self.port = int(ready[0]["base_url"].rpartition(":")[2].removesuffix("/v1"))
        self.pids = [line["pid"] for line in ready]

    def door(self, pid: int | None = None) -> Door:
        """A connection to whichever process takes it, or to a certain one."""
        door = Door(self.port) if pid is None else open_door(self.port, pid)
        return self._sockets.enter_context(door)


@dataclass
class Deployment:
    directory: Path
    environ: dict[str, str]
    redis: Server
    store: Store
    dsn: str
    routing: Path
    portal: BlockingPortal
    _held: Held
    _sockets: ExitStack
    programs: list[Program] = field(default_factory=list)
    # By the program's first word: what starts it and becomes it.
    launchers: dict[str, Sequence[object]] = field(default_factory=dict)

    # Processes

    def start_all(self, workers: int = 1, **settings: object) -> Gateway:
        """A worker and, side by side, a gateway of so many processes."""
        worker = self.start("work", **settings)
        gateway = self.start_gateway(workers, **settings)
        worker.ready()
        return gateway

    def start_gateway(self, workers: int = 1, **settings: object) -> Gateway:
        """Several share a port that is kept for them; one takes any."""
        port = self._keep_port() if workers > 1 else 0
        environ = self.settings(listen=f"127.0.0.1:{port}", **settings)
        gateway = Gateway(
            ["serve", "--workers", workers],
            environ,
            self._out("serve"),
            self.launchers.get("serve", ()),
        )
        self.programs.append(gateway)
        gateway.wait_ready(workers, self._sockets)
        return gateway

    def start(self, *words: object, **settings: object) -> Program:
        """Not waited for."""
        name = str(words[0])
        program = Program(
            words, self.settings(**settings), self._out(name), self.launchers.get(name, ())
        )
        self.programs.append(program)
        return program

    def apilink(self, *words: object, status: int = 0) -> Any:
        """A command, to its end; what it printed, as JSON where it ends with `--json`."""
        done = subprocess.run(
            [sys.executable, "-m", "proxy", *map(str, words)],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return json.loads(done.stdout) if words[-1] == "--json" else done.stdout.decode()

    def settings(self, **settings: object) -> dict[str, str]:
        """The environment, with these settings changed or, as None, left out."""
        named = {f"APILINK_{name.upper()}": value for name, value in settings.items()}
        kept = {name: text for name, text in self.environ.items() if name not in named}
        return kept | {n: str(value) for n, value in named.items() if value is not None}

    def _out(self, name: str) -> Path:
        return self.directory / f"{len(self.programs)}-{name}"

    def _keep_port(self) -> int:
        """Bound and never listened on: nobody else gets it, and those that share it do."""
        kept = self._sockets.enter_context(socket.socket())
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        return int(kept.getsockname()[1])

    # Accounts

    def key(self, *, account_id: UUID | None = None, **limits: Any) -> TestKey:
        """A key of a new account with 5 USD, or one more of an account."""

        async def make() -> TestKey:
            return await _make_key(self.store, account_id, KeyLimits(**limits))

        return self.portal.call(make)

    def rows(self, key: TestKey) -> list[dict[str, Any]]:
        """The account's usage in Postgres, the oldest first."""
        return self.query(
            "SELECT *, request_id::text AS id FROM usage WHERE account_id = $1 ORDER BY request_id",
            key.account_id,
        )

    def query(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        async def fetch() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.dsn)
            try:
                return [dict(row) for row in await connection.fetch(statement, *arguments)]
            finally:
                await connection.close()

        return self.portal.call(fetch)

    def charged(self, key: TestKey, door: Door, *, rows: int) -> list[dict[str, Any]]:
        """Waits until so many rows are in Postgres and nothing is held; the wallet is exact."""

        def settled() -> dict[str, Any] | None:
            wallet: dict[str, Any] = door.get("/v1/key", key).json()["data"]
            is_quiet = wallet["held_nanos"] == 0 and len(self.rows(key)) >= rows
            return wallet if is_quiet else None

        wallet = until(settled)
        found = self.rows(key)
        assert wallet is not None
        assert len(found) == rows
        spent = sum(row["charged_nanos"] for row in found)
        assert wallet["balance_nanos"] == key.credited_nanos - spent
        return found

    def assert_books_agree(self) -> None:
        found = self.apilink("ledger", "verify", "--json")
        assert (found["ok"], found["difference_nanos"], found["faults"]) == (True, 0, []), found

    # Upstream

    def let_go(self) -> None:
        """Every held stream, also those to come, goes on to its end."""
        self.portal.call(self._held.let_go.set)

    def hold_again(self) -> None:
        """Those to come wait again."""
        self.portal.call(self._held.let_go.clear)

    @property
    def quoted(self) -> int:
        """How many requests the upstream refused while quoting them."""
        return self._held.refusals


async def _make_key(store: Store, account_id: UUID | None, limits: KeyLimits) -> TestKey:
    given = 0
    if account_id is None:
        account_id, given = mint_uuid7(SystemClock()), CREDIT_NANOS
        email = f"{account_id}@example.com"
        assert await store.accounts.create(account_id=account_id, email=email, shard=0)
        # Without the ledger: an account's first request loads its wallet.
        await credit(store, None, account_id, Nanos(given), "r1", "test", "test")
    token = mint_key_token()
    secret_hash = KeyHasher(SECRET).hash(token.secret)
    key = ApiKey(token.key_id, account_id, 0, 1, secret_hash, limits)
    await store.keys.create(key)
    return TestKey(str(token), token.key_id, account_id, given)


def table_text(provider: str, scripted: str) -> str:
    upstreams = upstream("sim", f"{provider}/openai") + upstream("scripted", scripted)
    upstreams += upstream("french", f"{provider}/openai", party="beta")
    models = model(CHAT, "sim") + model(FRENCH, "french")
    return table(
        upstreams, models + "".join(model(name, "scripted") for name in (HELD, QUOTING, FAILING))
    )


@contextmanager
def run_deployment(
    postgres_url: str,
    template: str,
    directory: Path,
    *,
    open_redis: Callable[[Path], Any] = run_redis,
    **settings: object,
) -> Iterator[Deployment]:
    """Nothing runs yet but the stores and the upstream. Settings go into the environment."""
    with ExitStack() as stack:
        dsn = stack.enter_context(cloned(postgres_url, template))
        redis = stack.enter_context(open_redis(directory / "redis"))
        portal = stack.enter_context(start_blocking_portal())
        held = Held()
        store, text = stack.enter_context(portal.wrap_async_context_manager(_open(dsn, held)))
        routing = directory / "routing.yaml"
        routing.write_text(text)
        secret = directory / "secret"
        secret.write_text(f"{SECRET}\n")
        deployment = Deployment(
            directory=directory,
            environ=clean_environ(),
            redis=redis,
            store=store,
            dsn=dsn,
            routing=routing,
            portal=portal,
            _held=held,
            _sockets=stack.enter_context(ExitStack()),
        )
        deployment.environ = deployment.settings(
            database_url=dsn,
            redis_url=redis.url,
            secret_key_file=secret,
            routing=routing,
            listen="127.0.0.1:0",
            data_dir=directory / "data",
            **{"flush_interval_ms": 20, "shutdown_seconds_max": 10, **settings},
        )
        try:
            yield deployment
        finally:
            for program in deployment.programs:
                program.clear_away()


def clean_environ() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("APILINK_")}
    return kept | {"TEST_KEY": "sk-upstream"}


@asynccontextmanager
async def _open(dsn: str, held: Held) -> AsyncIterator[tuple[Store, str]]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(Simulator().running())
        scripted = await stack.enter_async_context(ScriptedUpstream(held).running())
        store = await stack.enter_async_context(open_store(dsn, connections_max=2))
        yield store, table_text(provider, scripted.url)


def changed(text: str, old: str, new: str) -> str:
    """Exactly one change."""
    assert text.count(old) == 1, old
    return text.replace(old, new)
