"""The whole platform on a Redis Cluster whose master dies: clients get their answer or a 503."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.dev.binaries import NoServerError, find_redis
from proxy.dev.servers import Server
from tests.support.cluster_world import CREDIT_NANOS, SHARDS, ClusterWorld, shard_slot
from tests.support.databases import cloned
from tests.support.platform import chat_body, open_platform, settings_for
from tests.support.redis_cluster import running_cluster
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
COST = 7 * 1000 + 5 * 2000


async def script(_: Seen, wire: Wire) -> None:
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    await wire.json({"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE})


async def test_clients_while_a_master_dies(
    postgres_server: Server, platform_template: str, short_dir: Path, tmp_path: Path
) -> None:
    try:
        binary = find_redis({})
    except NoServerError as error:
        pytest.skip(str(error))
    async with (
        ScriptedUpstream(script).running() as up,
        running_cluster(short_dir / "cluster", binary) as cluster,
    ):
        text = table(upstream("one", up.url), model("m", "one"))
        with cloned(postgres_server.url, platform_template) as dsn:
            settings = settings_for(cluster.url, dsn, tmp_path, shards=SHARDS)
            async with open_platform(settings, text) as platform:
                world = ClusterWorld(cluster, platform)
                for shard in range(SHARDS):
                    await world.open_account(shard)
                served = await _serve_while_a_master_dies(world)
                await _assert_charged(world, served)


async def _serve_while_a_master_dies(world: ClusterWorld) -> dict[str, int]:
    """Requests that were answered, by key; each client goes on until it was served afterwards."""
    served = {key.key_id: 0 for key in world.keys}
    is_over = asyncio.Event()

    async def client(key_id: str) -> None:
        while True:
            was_over = is_over.is_set()
            status, headers = await _chat(world, world.tokens[key_id])
            if status == 200:
                served[key_id] += 1
                if was_over:
                    return
            else:
                assert status == 503
                assert int(headers["retry-after"]) >= 1
                await asyncio.sleep(0.05)  # a client of ours would wait for longer

    async with asyncio.timeout(60), asyncio.TaskGroup() as clients:
        for key in world.keys:
            clients.create_task(client(key.key_id))
        await world.cluster.kill_master(await world.cluster.shard_of(shard_slot(0)))
        is_over.set()
    return served


async def _chat(world: ClusterWorld, token: str) -> tuple[int, Any]:
    async with world.platform.http.post(
        f"{world.platform.base_url}/chat/completions",
        json=chat_body("m", max_tokens=5),
        headers={"authorization": f"Bearer {token}"},
    ) as response:
        await response.read()
        return response.status, response.headers


async def _assert_charged(world: ClusterWorld, served: dict[str, int]) -> None:
    for key in world.keys:
        await world.until_free(key)
        wallet = await world.platform.worker.wallets.snapshot(key.account_id, key.shard)
        assert wallet is not None
        assert wallet.balance_nanos == CREDIT_NANOS - served[key.key_id] * COST
    await world.until_posted(sum(served.values()))
    await world.platform.assert_clean()
    await world.assert_placed()
