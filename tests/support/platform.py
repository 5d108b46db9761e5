"""The whole platform in one process on real stores: gateway, worker, accounts, and its books.

async with start_platform(table_text, lease_seconds=1) as platform:
    key = await platform.key(nanos=5_000_000_000)
    answer = await platform.chat(key, model="m")
    await platform.charged(key, answer, 17_000, status="ok", source="reported")
"""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import orjson

from proxy.app import RunningGateway, open_gateway
from proxy.billing.credit import credit
from proxy.billing.keys import revoke
from proxy.billing.verify import Verification, verify
from proxy.domain.account import ApiKey, KeyLimits
from proxy.domain.charge import Charge
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_key_token, mint_uuid7
from proxy.domain.outcome import Outcome, WalletState
from proxy.domain.settings import Address, Settings
from proxy.edge.live_table import LiveTable
from proxy.ledger.worker_ledger import WorkerLedger
from proxy.store.pool import Store, open_store
from proxy.vault import KeyHasher
from proxy.work import open_worker
from routing.load import load_table
from routing.money import Nanos

SECRET = "0123456789abcdef" * 4
QUIET_SECONDS = 20

PlatformFactory = Callable[..., AbstractAsyncContextManager["Platform"]]


@dataclass(frozen=True, slots=True)
class TestKey:
    """A key as its owner has it; `str()` is what goes into the header."""

    __test__ = False
    text: str
    key_id: str
    account_id: UUID
    credited_nanos: int

    def __str__(self) -> str:
        return self.text

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.text}"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)

    def events(self) -> list[Any]:
        """The data of every event but `[DONE]`, decoded."""
        lines = (line for line in self.body.replace(b"\r\n", b"\n").split(b"\n"))
        data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        return [orjson.loads(item) for item in data if item != b"[DONE]"]


@dataclass(slots=True)
class Platform:
    settings: Settings
    store: Store
    worker: WorkerLedger
    running: RunningGateway
    http: aiohttp.ClientSession
    _gateway_scope: AsyncExitStack
    _keys: list[TestKey] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """As an SDK takes it."""
        return f"{self.running.base_url}/v1"

    async def key(
        self,
        *,
        nanos: int = 5_000_000_000,
        account_id: UUID | None = None,
        allow: tuple[str, ...] | None = None,
        **limits: Any,
    ) -> TestKey:
        """A key of a new account with that balance, or of a given account as it is."""
        clock = SystemClock()
        if account_id is None:
            account_id = mint_uuid7(clock)
            email = f"{account_id}@example.com"
            assert await self.store.accounts.create(account_id=account_id, email=email, shard=0)
            if nanos:
                given = await credit(
                    self.store, self.worker.wallets, account_id, Nanos(nanos), "r1", "test", "test"
                )
                assert given.outcome is Outcome.OK
        token = mint_key_token()
        key = ApiKey(
            key_id=token.key_id,
            account_id=account_id,
            shard=0,
            epoch=1,
            secret_hash=KeyHasher(SECRET).hash(token.secret),
            limits=KeyLimits(**limits),
            jurisdictions_allow=allow,
        )
        await self.store.keys.create(key)
        made = TestKey(str(token), token.key_id, account_id, nanos)
        self._keys.append(made)
        return made

    async def revoke(self, key: TestKey) -> None:
        await revoke(self.store, self.worker.wallets.publish_key, key.key_id)

    async def post(self, key: TestKey, path: str, body: Any, **headers: str) -> Answer:
        async with self.http.post(
            f"{self.base_url}{path}", json=body, headers={**key.headers, **headers}
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, await response.read())

    async def chat(self, key: TestKey, *, model: str, **fields: Any) -> Answer:
        return await self.post(key, "/chat/completions", chat_body(model, **fields))

    async def refused_hold_nanos(self, **fields: Any) -> int:
        """What such a request asks for, by the refusal of one that nothing covers."""
        answer = await self.chat(await self.key(nanos=0), **fields)
        assert answer.status == 402, answer
        found = re.search(r"needs a hold of (\S+) USD", answer.json()["error"]["message"])
        assert found is not None
        return int(Decimal(found[1]) * 10**9)

    def stream(self, key: TestKey, *, model: str, **fields: Any) -> Any:
        """`async with platform.stream(…) as response:` for tests that read as it comes."""
        return self.http.post(
            f"{self.base_url}/chat/completions",
            json=chat_body(model, stream=True, **fields),
            headers=key.headers,
        )

    async def wallet(self, key: TestKey) -> WalletState | None:
        return await self.worker.wallets.snapshot(key.account_id, 0)

    async def rows(self, key: TestKey) -> list[Charge]:
        """The account's usage as Postgres has it, newest first."""
        found = await self.store.usage.list_usage(
            key.account_id, from_ms=None, to_ms=None, before=None, limit=1000
        )
        return list(found)

    async def quiet(self, key: TestKey, *, rows: int) -> WalletState:
        """Waits until so many rows are in Postgres and nothing is held."""
        state = None
        async with asyncio.timeout(QUIET_SECONDS):
            while True:
                state = await self.wallet(key)
                held = 0 if state is None else state.held_nanos
                if not held and len(await self.rows(key)) >= rows:
                    break
                await asyncio.sleep(0.02)
        assert state is not None
        return state

    async def charged(
        self, key: TestKey, answer: Answer | None, nanos: int | None, *, status: str, source: str
    ) -> dict[str, Any]:
        """Waits for the one row of the key's account and checks it, the wallet and the books.

        `nanos=None` takes the row's amount as it is, which then must not be zero. Returns the
        row's quantities.
        """
        state = await self.quiet(key, rows=1)
        rows = await self.rows(key)
        assert len(rows) == 1, rows
        row = rows[0]
        assert (row.status, row.usage_source) == (status, source)
        if answer is not None:
            assert answer.headers["x-request-id"] == str(row.request_id)
        if nanos is None:
            assert row.charged_nanos > 0
        else:
            assert row.charged_nanos == nanos
        assert state.balance_nanos == key.credited_nanos - row.charged_nanos
        await self.assert_clean()
        return dataclasses.asdict(row.quantities)

    async def verify(self) -> Verification:
        return await verify(self.store, self.worker.wallets)

    async def assert_clean(self) -> None:
        found = await self.verify()
        assert found.verdict == "ok", found

    async def client_noticed(self) -> None:
        """Waits until the server has noticed that a client left."""
        async with asyncio.timeout(QUIET_SECONDS):
            while not any(e.journey.client_gone for e in self.running.gateway._open.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def stop_gateway(self) -> None:
        """As SIGTERM would; the worker runs on."""
        await self._gateway_scope.aclose()


def chat_body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Say something."}], **fields}


def settings_for(redis_url: str, database_url: str, directory: Path, **changes: Any) -> Settings:
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        secret_key=SECRET,
        routing=directory / "routing.yaml",
        listen=Address("127.0.0.1", 0),
        data_dir=directory,
        flush_interval_ms=20,
        shutdown_seconds_max=5,
    )
    return dataclasses.replace(settings, **changes)


@asynccontextmanager
async def open_platform(settings: Settings, table_text: str) -> AsyncIterator[Platform]:
    settings.routing.write_text(table_text)
    live_table = LiveTable(settings.routing, load_table(settings.routing))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.database_url))
        worker = await stack.enter_async_context(open_worker(settings, owner="test"))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        )
        scope = await stack.enter_async_context(AsyncExitStack())
        running = await scope.enter_async_context(
            open_gateway(settings, live_table, environ={"TEST_KEY": "sk-upstream"})
        )
        yield Platform(settings, store, worker, running, http, scope)
