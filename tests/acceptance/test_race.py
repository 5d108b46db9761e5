"""Many clients, one balance: what it covers is served, to the last hold, and nothing beyond."""

import asyncio

from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream

CLIENTS = 200
SERVED = 500
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
COST = 7 * 1000 + 5 * 2000


async def script(_: Seen, wire: Wire) -> None:
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    await wire.json({"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE})


async def test_clients_race_one_balance(start_platform: PlatformFactory) -> None:
    async with ScriptedUpstream(script).running() as up:
        text = table(upstream("one", up.url), model("m", "one"))
        async with start_platform(text) as platform:
            hold = await platform.refused_hold_nanos(model="m", max_tokens=5)
            key = await platform.key(nanos=(SERVED - 1) * COST + hold)
            served = 0

            async def client() -> None:
                nonlocal served
                while True:
                    before = await platform.wallet(key)
                    answer = await platform.chat(key, model="m", max_tokens=5)
                    if answer.status == 200:
                        served += 1
                        continue
                    assert answer.status == 402, answer
                    assert answer.headers["x-should-retry"] == "false"
                    # Refused though nothing was held when it was asked: the money is gone.
                    if before is not None and not before.held_nanos:
                        return

            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            assert served == SERVED
            refused = await platform.chat(key, model="m", max_tokens=5)
            assert refused.json()["error"]["code"] == "insufficient_balance"
            state = await platform.quiet(key, rows=SERVED)
            assert state.balance_nanos == hold - COST
            rows = await platform.rows(key)
            assert len({row.request_id for row in rows}) == len(rows) == SERVED
            assert {(row.status, row.charged_nanos) for row in rows} == {("ok", COST)}
            await platform.assert_clean()
