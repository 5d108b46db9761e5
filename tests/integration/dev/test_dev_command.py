"""`apilink dev` as a user runs it: a process, a ready line, a streamed answer, an end."""

import asyncio
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from proxy.dev.simulator import Simulator
from tests.support.tables import model, table, upstream

ROOT = Path(__file__).resolve().parents[3]
BODY = {
    "model": "demo-model",
    "messages": [{"role": "user", "content": "Say hello."}],
    "max_tokens": 8,
    "stream": True,
    "stream_options": {"include_usage": True},
}


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="al-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def write_table(place: Path, url: str = "https://provider.example") -> Path:
    path = place / "routing.yaml"
    path.write_text(table(upstream("alpha", url), model("demo-model", "alpha")))
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "proxy", *map(str, words)]


def clean_environ(**environ: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("APILINK_")}
    return kept | environ


@asynccontextmanager
async def running_dev(
    place: Path, *options: str, **environ: str
) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    """The process and its ready line. Ends by SIGTERM, cleanly, unless it has ended before."""
    words = ["dev", "--data-dir", place / "data", "--listen", "127.0.0.1:0", *options]
    words += ["--routing", place / "routing.yaml"]
    with (place / "stderr").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command(*words),
            cwd=ROOT,
            env=clean_environ(**environ),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            await process.wait()
            pytest.fail((place / "stderr").read_text())
        yield process, json.loads(line)
        if process.returncode is None:
            process.terminate()
            code = await asyncio.wait_for(process.wait(), 30)
            assert code == 0, (place / "stderr").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def streamed(ready: dict[str, Any], **headers: str) -> tuple[dict[str, str], list[Any]]:
    headers = {"authorization": f"Bearer {ready['demo_key']}"} | headers
    async with (
        ClientSession() as session,
        session.post(f"{ready['base_url']}/chat/completions", json=BODY, headers=headers) as answer,
    ):
        raw = await answer.text()
        assert answer.status == 200, raw
        events = [e.removeprefix("data: ") for e in raw.strip().split("\n\n")]
        assert events[-1] == "[DONE]"
        lower = {name.lower(): text for name, text in answer.headers.items()}
        return lower, [json.loads(e) for e in events[:-1] if not e.startswith(":")]


async def balance_nanos(ready: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {ready['demo_key']}"}
    async with (
        ClientSession() as session,
        session.get(f"{ready['base_url']}/credits", headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        found: int = (await answer.json())["data"]["balance_nanos"]
        return found


def children_of(process: Process) -> list[int]:
    """The pids of its servers and of theirs."""
    found, seen = [], [process.pid]
    while seen:
        for path in Path(f"/proc/{seen.pop()}/task").glob("*/children"):
            pids = [int(pid) for pid in path.read_text().split()]
            found += pids
            seen += pids
    return found


async def ended(pidfds: list[int]) -> None:
    for fd in pidfds:
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, gone.set)
        await asyncio.wait_for(gone.wait(), 20)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


async def test_a_first_start_serves_a_simulated_stream_that_is_charged_and_a_second_remembers(
    place: Path,
) -> None:
    write_table(place)
    async with running_dev(place) as (process, ready):
        servers = [os.pidfd_open(pid) for pid in children_of(process)]
        assert len(servers) > 2  # Redis, Postgres and its processes
        assert set(ready) == {"event", "base_url", "console_url", "demo_key"}
        assert ready["event"] == "ready"
        assert ready["base_url"] == f"{ready['console_url']}/v1"
        headers, events = await streamed(ready)
        assert headers["x-apilink-provider"] == "simulator"
        usage = events[-1]["usage"]
        cost = usage["prompt_tokens"] * 1000 + usage["completion_tokens"] * 2000
        assert usage["cost_nanos"] == cost
        assert await balance_nanos(ready) == 5 * 10**9 - cost
        mode = (place / "data" / "dev.env").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert not (place / "data" / "dev.env").exists()
    await ended(servers)

    async with running_dev(place) as (_, again):
        assert again["demo_key"] == ready["demo_key"]
        assert await balance_nanos(again) == 5 * 10**9 - cost


async def test_a_key_in_the_environment_reaches_the_real_provider(place: Path) -> None:
    simulator = Simulator(keep_requests=True)
    async with simulator.running() as url:
        write_table(place, url)
        async with running_dev(place, TEST_KEY="sk-real") as (_, ready):
            headers, _ = await streamed(ready)
            assert headers["x-apilink-provider"] == "alpha"
            assert simulator.served[0].headers["authorization"] == "Bearer sk-real"


async def test_without_the_simulator_a_model_without_a_key_has_no_route(place: Path) -> None:
    write_table(place)
    async with running_dev(place, "--no-simulator") as (_, ready), ClientSession() as session:
        headers = {"authorization": f"Bearer {ready['demo_key']}"}
        url = f"{ready['base_url']}/chat/completions"
        async with session.post(url, json=BODY, headers=headers) as answer:
            assert answer.status == 503
            assert (await answer.json())["error"]["code"] == "no_route_available"


async def test_commands_reach_a_running_dev(place: Path) -> None:
    write_table(place)

    async def run(*words: object) -> dict[str, Any]:
        argv = command(*words, "--data-dir", place / "data", "--json")
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=ROOT, env=clean_environ(), stdout=PIPE, stderr=PIPE
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        found: dict[str, Any] = json.loads(out)
        return found

    async with running_dev(place) as (_, ready):
        account = (await run("accounts", "create", "--email", "ada@example.com"))["account_id"]
        await run("credit", "--account", account, "--usd", "1.50", "--reference", "first")
        key = (await run("keys", "create", "--account", account))["key"]
        headers, _ = await streamed(ready | {"demo_key": key})
        assert headers["x-apilink-provider"] == "simulator"
        verdict = await run("ledger", "verify")
        assert verdict["ok"] is True
        assert verdict["difference_nanos"] == 0


async def test_killed_it_leaves_no_children_and_starts_again(place: Path) -> None:
    write_table(place)
    async with running_dev(place) as (process, ready):
        servers = [os.pidfd_open(pid) for pid in children_of(process)]
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await ended(servers)
    async with running_dev(place) as (_, again):
        assert again["demo_key"] == ready["demo_key"]
        await streamed(again)


async def test_a_second_dev_on_the_same_data_is_refused(place: Path) -> None:
    write_table(place)
    async with running_dev(place) as (process, _):
        argv = command("dev", "--data-dir", place / "data", "--listen", "127.0.0.1:0")
        second = await asyncio.create_subprocess_exec(
            *argv, "--routing", str(place / "routing.yaml"), cwd=ROOT,
            env=clean_environ(), stdout=PIPE, stderr=PIPE
        )  # fmt: skip
        out, errors = await second.communicate()
        assert (second.returncode, out) == (2, b"")
        assert f"already run by process {process.pid}".encode() in errors


async def test_a_store_that_dies_ends_it_with_a_reason(place: Path) -> None:
    write_table(place)
    async with running_dev(place) as (process, _):
        pid = int((place / "data" / "redis" / "server.lock").read_text())
        os.kill(pid, signal.SIGKILL)
        assert await asyncio.wait_for(process.wait(), 60) == 2
    assert "Redis ended by itself" in (place / "stderr").read_text()


async def test_mistakes_stop_it_before_anything_starts(place: Path) -> None:
    path = write_table(place)
    path.write_text("version: 2\n")
    for listen, expected in (("127.0.0.1:0", "routing.yaml:1:"), ("nonsense", "HOST:PORT")):
        argv = command("dev", "--data-dir", place / "data", "--listen", listen)
        process = await asyncio.create_subprocess_exec(
            *argv, "--routing", str(path), cwd=ROOT, env=clean_environ(), stdout=PIPE, stderr=PIPE
        )
        out, errors = await process.communicate()
        assert (process.returncode, out) == (2, b"")
        assert expected in errors.decode()
    assert not (place / "data").exists()
