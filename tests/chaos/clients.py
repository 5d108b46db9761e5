"""The clients' process: asks as SDKs do, and keeps a book of what it received.

python -m tests.chaos.clients PLAN BOOK

PLAN is JSON: {"seed", "clients", "gateways": {name: base URL}, "keys": [text], "out": folder}. Each
try of a request has a marker of its own: the provider sees it in the prompt, the gateway as the
client's request id. No request begins at a gateway of whose name there is a file in `out`, while
there is another: so a load balancer treats one that is about to be restarted. SIGTERM lets open
requests end.
"""

import asyncio
import json
import os
import random
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

import aiohttp

from proxy.domain.clock import SystemClock

MODEL = "alpha/chat"
TRIES_MAX = 3
SECONDS_MAX = 20
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
_LINE_BYTES_MAX = 2**20
_CLOCK = SystemClock()


@dataclass(slots=True)
class Received:
    """One try, as its client saw it. `is_complete`: the final event, or the whole body."""

    marker: str
    gateway: str
    stream: bool
    began_ms: int
    ended_ms: int = 0
    status: int = 0
    request_id: str | None = None
    is_complete: bool = False
    hung_up: bool = False
    stated_nanos: int | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for. `leave_after` events the client hangs up."""

    script: str
    stream: bool
    wants_usage: bool = True
    tokens_max: int | None = 1000
    leave_after: int | None = None


def draw_wish(dice: random.Random) -> Wish:
    """Tiny and large, streamed and not, left early, without a limit, broken off by the provider."""
    tiny, some, pace = dice.randint(1, 12), dice.randint(15, 80), dice.choice((40, 80, 400))
    paced = f"tokens={some}; tokens-per-second={pace}; first-token-ms=30"
    large = f"tokens={dice.randint(500, 900)}; tokens-per-second=20000"
    wishes = (
        (32, Wish(f"tokens={tiny}", stream=False, tokens_max=20)),
        (30, Wish(paced, stream=True, tokens_max=100)),
        (10, Wish(paced, stream=True, tokens_max=None, wants_usage=False)),
        (8, Wish(large, stream=True)),
        (4, Wish(large, stream=False)),
        (12, Wish(paced, stream=True, tokens_max=100, leave_after=dice.randint(0, 12))),
        (2, Wish(f"{paced}; cut-after=5", stream=True, tokens_max=100)),
        (2, Wish("tokens=3; status=500", stream=False, tokens_max=20)),
    )
    return dice.choices([wish for _, wish in wishes], [weight for weight, _ in wishes])[0]


class Client:
    def __init__(
        self, plan: dict[str, Any], number: int, http: aiohttp.ClientSession, book: TextIO
    ) -> None:
        self._dice = random.Random(f"{plan['seed']}:{number}")
        self._gateways: dict[str, str] = plan["gateways"]
        self._keys: list[str] = plan["keys"]
        self._out = Path(plan["out"])
        self._http = http
        self._book = book

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wish = draw_wish(self._dice)
            key = self._dice.choice(self._keys)
            for attempt in range(TRIES_MAX):
                received = await self._try(wish, key)
                self._book.write(json.dumps(asdict(received)) + "\n")
                if received.status not in _RETRIED and received.status != 0:
                    break
                if stop.is_set():
                    return
                await asyncio.sleep(self._dice.uniform(0.1, 0.3) * 2**attempt)
            await asyncio.sleep(self._dice.uniform(0, 0.15))

    async def _try(self, wish: Wish, key: str) -> Received:
        name = self._choose()
        marker = str(UUID(int=self._dice.getrandbits(128), version=4))
        received = Received(marker, name, wish.stream, _CLOCK.unix_ms())
        request = self._http.post(
            f"{self._gateways[name]}/v1/chat/completions",
            json=body_of(wish, marker),
            headers={"authorization": f"Bearer {key}", "x-request-id": marker},
        )
        try:
            async with request as response:
                await _receive(response, wish, received)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            received.code = received.code or type(error).__name__
        received.ended_ms = _CLOCK.unix_ms()
        return received

    def _choose(self) -> str:
        names = sorted(self._gateways)
        balanced = [name for name in names if not (self._out / name).exists()]
        return self._dice.choice(balanced or names)


def body_of(wish: Wish, marker: str) -> dict[str, Any]:
    text = f"marker {marker} [simulate {wish.script}]"
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    if wish.tokens_max is not None:
        body["max_tokens"] = wish.tokens_max
    if wish.stream:
        body["stream"] = True
        if wish.wants_usage:
            body["stream_options"] = {"include_usage": True}
    return body


async def _receive(response: aiohttp.ClientResponse, wish: Wish, received: Received) -> None:
    received.status = response.status
    received.request_id = response.headers.get("x-request-id")
    if response.status != 200:
        error = (await response.json(content_type=None)).get("error", {})
        received.code = str(error.get("code") or error.get("type"))
    elif wish.stream:
        await _receive_events(response, wish, received)
    else:
        received.stated_nanos = int(response.headers["x-apilink-cost-nanos"])
        await response.read()
        received.is_complete = True


async def _receive_events(response: aiohttp.ClientResponse, wish: Wish, received: Received) -> None:
    events = 0
    async for line in response.content:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            received.is_complete = not received.code
            continue
        event = json.loads(data)
        if "error" in event:
            received.code = str(event["error"].get("code"))
        usage = event.get("usage") or {}
        if "cost_nanos" in usage:
            received.stated_nanos = usage["cost_nanos"]
        events += 1
        if wish.leave_after is not None and events > wish.leave_after:
            received.hung_up = True
            response.close()
            return


async def main(plan: dict[str, Any], path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    http = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=SECONDS_MAX),
        connector=aiohttp.TCPConnector(limit=0),
        read_bufsize=_LINE_BYTES_MAX,
    )
    with path.open("a", buffering=1) as book:
        async with http:
            print(json.dumps({"event": "ready", "pid": os.getpid()}), flush=True)  # noqa: T201 - its output
            async with asyncio.TaskGroup() as group:
                for number in range(plan["clients"]):
                    group.create_task(Client(plan, number, http, book).run(stop))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
