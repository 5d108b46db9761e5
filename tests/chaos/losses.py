"""Ways in which Redis comes back with less than it had: empty, older, or as a replica that lagged.

Each ends the server by SIGKILL and starts it again on other data, at the same address. In between
a private server opens the files: what was lost is known exactly, not guessed.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.dev.binaries import find_redis
from proxy.dev.children import Identity, kill_child, spawn
from proxy.domain.clock import SystemClock
from proxy.ledger.journal import Segments
from tests.chaos.members import StoreMember
from tests.chaos.records import Loss, RedisBook
from tests.chaos.redis_book import read_client
from tests.chaos.wire import Mode, Wire, dial_port

_POLL_SECONDS = 0.05
_SYNC_SECONDS = 20
_DATA = "data"
_CLOCK = SystemClock()

Child = subprocess.Popen[bytes]


# What else happens while the store is down; it may know more of what is lost.
Meanwhile = Callable[[Loss], Awaitable[Loss]]


async def _nothing(loss: Loss) -> Loss:
    return loss


async def empty(redis: StoreMember, directory: Path, seconds: float) -> Loss:
    return await _lose("redis_empty", redis, directory, None, seconds, _nothing)


async def older(redis: StoreMember, directory: Path, seconds: float) -> Loss:
    """With the file as it was `seconds` ago: what a restored disk has."""
    copy = directory / "older"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory / _DATA, copy)
    await asyncio.sleep(seconds)
    return await _lose("redis_older", redis, directory, copy, 0, _nothing)


async def promoted(
    redis: StoreMember, directory: Path, seconds: float, meanwhile: Meanwhile = _nothing
) -> Loss:
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
    return await _lose("replica_promoted", redis, directory, lagging, 0, meanwhile)


async def _lose(
    kind: str,
    redis: StoreMember,
    directory: Path,
    by: Path | None,
    seconds: float,
    meanwhile: Meanwhile,
) -> Loss:
    """Kills the store and opens both what it had and what it will have."""
    found: list[Loss] = []

    async def replace() -> None:
        had = await autopsy(directory / _DATA)
        has = RedisBook() if by is None else await autopsy(by)
        loss = lost_between(kind, _CLOCK.unix_ms(), had, has)
        found.append(await meanwhile(loss))
        _replace(directory / _DATA, by)

    await redis.kill_for(seconds, before_start=replace)
    return found[0]


def lost_between(kind: str, at_ms: int, had: RedisBook, has: RedisBook) -> Loss:
    kept = {(entry.place, entry.request_id) for entry in has.entries}
    return Loss(
        kind,
        at_ms,
        entries=[entry for entry in had.entries if (entry.place, entry.request_id) not in kept],
        holds=had.holds,
        generations=had.generations,
        kept=frozenset(entry.request_id for entry in has.entries),
    )


async def autopsy(data: Path) -> RedisBook:
    """What a server finds in these files: its own copy of them, so that they stay as they are."""
    copy = data.with_name(f"{data.name}-autopsy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(data, copy)
    socket = copy / "autopsy.sock"
    options = {"port": "0", "unixsocket": str(socket), "dir": str(copy), "appendonly": "yes"}
    process = _spawn({**options, "save": ""}, copy.parent / "autopsy.log")
    try:
        async with Redis(unix_socket_path=str(socket)) as client:
            await _wait_for(lambda: _answers(client), process)
            return await read_client(client)
    finally:
        kill_child(process)
        shutil.rmtree(copy, ignore_errors=True)


async def _answers(client: "Redis") -> bool:
    try:
        return bool(await client.ping())
    except (OSError, RedisError):  # it starts, or loads
        return False


async def _listen(master: "Redis") -> int:
    await master.config_set("bind", "127.0.0.1")
    await master.config_set("repl-diskless-sync-delay", 0)  # it waits 5 s for other replicas
    if found := int((await master.config_get("port"))["port"] or 0):
        return found
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
    process = _spawn(options, directory.parent / "replica.log")
    try:
        await _wait_for(lambda: _is_synced(socket), process)
        yield
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_SYNC_SECONDS):
            while process.poll() is None:  # noqa: ASYNC110 - a child's end is no event here
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        kill_child(process)


def _spawn(options: Mapping[str, str], log: Path) -> Child:
    words = [
        word for name, text in options.items() for word in (f"--{name}", *(text.split() or [""]))
    ]
    return spawn(
        [find_redis(os.environ), *words],
        identity=Identity(),
        environ=os.environ,
        log=log,
        death_signal=signal.SIGKILL,
    )


async def _wait_for(condition: Callable[[], Awaitable[bool]], process: Child) -> None:
    async with asyncio.timeout(_SYNC_SECONDS):
        while not await condition():
            if process.poll() is not None:
                raise RuntimeError(f"a server ended with {process.returncode}")
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


def take_journal(directory: Path) -> frozenset[str]:
    """Destroys every journal in it; the requests whose charges were in there."""
    found: set[str] = set()
    for one in sorted(directory.iterdir()):
        segments = Segments(one)
        for number in segments.numbers():
            found |= {str(record.charge.request_id) for record in segments.scan(number).records}
        shutil.rmtree(one)
    return frozenset(found)
