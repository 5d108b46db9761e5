"""Ways in which Redis comes back with less than it had: empty, older, or as a replica that lagged.

Each ends the server by SIGKILL and starts it again on other data, at the same address.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.dev.binaries import find_redis
from proxy.dev.children import Identity, kill_child, spawn
from tests.chaos.members import StoreMember
from tests.chaos.wire import Mode, Wire, dial_port

_POLL_SECONDS = 0.05
_SYNC_SECONDS = 20
_DATA = "data"


async def empty(redis: StoreMember, directory: Path, seconds: float) -> None:
    await redis.kill_for(seconds, before_start=lambda: _replace(directory / _DATA, None))


async def older(redis: StoreMember, directory: Path, seconds: float) -> None:
    """With the file as it was `seconds` ago: what a restored disk has."""
    copy = directory / "older"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory / _DATA, copy)
    await asyncio.sleep(seconds)
    await redis.kill_for(0, before_start=lambda: _replace(directory / _DATA, copy))


async def promoted(redis: StoreMember, directory: Path, seconds: float) -> None:
    """A real replica that follows, is cut off for a while, and then takes the master's place."""
    lagging = directory / "replica"
    shutil.rmtree(lagging, ignore_errors=True)
    lagging.mkdir()
    async with Redis.from_url(redis.url) as master:
        port = await _listen(master)
        wire = Wire("redis-replica", dial_port(lambda: port))
        async with wire.running(), _replica(lagging, wire.port):
            wire.mode = Mode.BLACK_HOLE
            await asyncio.sleep(seconds)
            wire.mode = Mode.RESET  # what it did not get by now it never gets
    await redis.kill_for(0, before_start=lambda: _replace(directory / _DATA, lagging))


async def _listen(master: "Redis") -> int:
    await master.config_set("bind", "127.0.0.1")
    await master.config_set("repl-diskless-sync-delay", 0)  # it waits 5 s for other replicas
    if (found := (await master.config_get("port"))["port"]) != "0":
        return int(found)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    await master.config_set("port", port)
    return port


@asynccontextmanager
async def _replica(directory: Path, port: int) -> AsyncIterator[None]:
    """In step with its master when entered; on the way out it ends by itself, its file whole."""
    socket = directory / "replica.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "dir": str(directory),
        "appendonly": "yes",
        "save": "",
        "replicaof": f"127.0.0.1 {port}",
    }
    words = [
        word for name, text in options.items() for word in (f"--{name}", *(text.split() or [""]))
    ]
    process = spawn(
        [find_redis(os.environ), *words],
        identity=Identity(),
        environ=os.environ,
        log=directory.parent / "replica.log",
        death_signal=signal.SIGKILL,
    )
    try:
        await _wait_synced(socket)
        yield
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_SYNC_SECONDS):
            while process.poll() is None:  # noqa: ASYNC110 - a child's end is no event here
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        kill_child(process)


async def _wait_synced(socket: Path) -> None:
    async with asyncio.timeout(_SYNC_SECONDS):
        while not await _is_synced(socket):  # noqa: ASYNC110 - a state of another process
            await asyncio.sleep(_POLL_SECONDS)


async def _is_synced(socket: Path) -> bool:
    try:
        async with Redis(unix_socket_path=str(socket)) as replica:
            found = await replica.info()
    except (OSError, RedisError):  # it starts, or loads what it was sent
        return False
    is_linked = found["master_link_status"] == "up" and not found["master_sync_in_progress"]
    return bool(is_linked and not found["aof_rewrite_in_progress"])


def _replace(data: Path, by: Path | None) -> None:
    shutil.rmtree(data)
    if by is None:
        data.mkdir()
    else:
        shutil.move(by, data)
