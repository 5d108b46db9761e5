"""Leaving the server: nobody new comes in, those inside end in their time, the rest are cut."""

import asyncio
from contextlib import suppress

import orjson
import pytest

from proxy.domain.ports import Client
from routing.table import RoutingTable
from tests.support.data_plane import DataPlane, Served, running_data_plane
from tests.support.raw_http import RawConnection, request

GOOD = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})


def post(plane: DataPlane) -> bytes:
    key = f"authorization: Bearer {plane.token}"
    return request("/v1/chat/completions", key, "content-type: application/json", body=GOOD)


async def test_an_open_request_ends_and_idle_connections_end_at_once(
    routing_table: RoutingTable,
) -> None:
    release, started = asyncio.Event(), asyncio.Event()

    async def wait(served: Served, client: Client) -> None:
        del served
        started.set()
        await release.wait()
        await client.respond(200, {}, b"{}")

    scope = running_data_plane(routing_table, shutdown_seconds_max=30)
    plane = await scope.__aenter__()
    plane.gateway.script = wait
    async with (
        await RawConnection.open(plane.port) as idle,
        await RawConnection.open(plane.port) as busy,
        asyncio.TaskGroup() as group,
    ):
        idle.write(request("/healthz", method="GET"))
        assert (await idle.answer()).status == 200
        busy.write(post(plane))
        await started.wait()
        leaving = group.create_task(scope.__aexit__(None, None, None))
        assert await idle.closed() == b""
        with pytest.raises(OSError):  # noqa: PT011 - refused, reset: as the system likes
            await RawConnection.open(plane.port)
        assert not leaving.done()
        release.set()
        answer = await busy.answer()
        assert (answer.status, answer.is_last) == (200, True)
        assert await busy.closed() == b""
    assert not plane.cut.is_set()


async def test_a_stream_that_does_not_end_is_cut_by_the_gateway(
    routing_table: RoutingTable,
) -> None:
    started = asyncio.Event()
    scope = running_data_plane(routing_table, shutdown_seconds_max=0)
    plane = await scope.__aenter__()

    async def stream_until_cut(served: Served, client: Client) -> None:
        del served
        await client.start(200, {})
        started.set()
        await plane.cut.wait()
        await client.send(b'data: {"error":{}}\n\n')
        await client.finish()

    plane.gateway.script = stream_until_cut
    async with await RawConnection.open(plane.port) as connection, asyncio.TaskGroup() as group:
        connection.write(post(plane))
        await started.wait()
        group.create_task(scope.__aexit__(None, None, None))
        answer = await connection.answer()
        assert answer.body == b'data: {"error":{}}\n\n'
        assert await connection.closed() == b""


async def test_what_does_not_even_end_when_cut_is_cancelled(
    routing_table: RoutingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.http.server._LAST_WORDS_SECONDS", 0)
    started = asyncio.Event()

    async def never(served: Served, client: Client) -> None:
        del served, client
        started.set()
        await asyncio.Event().wait()

    scope = running_data_plane(routing_table, shutdown_seconds_max=0)
    plane = await scope.__aenter__()
    plane.gateway.script = never
    async with await RawConnection.open(plane.port) as connection:
        connection.write(post(plane))
        await started.wait()
        async with asyncio.timeout(5):
            await scope.__aexit__(None, None, None)
            await plane.gateway.cancelled.wait()
        with suppress(ConnectionError):
            assert await connection.closed() == b""
