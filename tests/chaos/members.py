"""What takes part in a run: processes of ours that are started again when they end, and stores."""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from proxy.dev.servers import Server
from proxy.domain.finish import TaskSet
from tests.support.processes import ROOT, children_of, whole_lines

_POLL_SECONDS = 0.02
_AGAIN_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


Step = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    return


class Process:
    """One life of a program of ours; it says that it is ready on a line of JSON."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], out: Path) -> None:
        self.stdout = out.with_suffix(".stdout")
        with self.stdout.open("wb") as stdout, out.with_suffix(".stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *argv],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - this process has one thread
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def ready(self) -> dict[str, Any] | None:
        lines = [json.loads(line) for line in whole_lines(self.stdout)]
        return next((line for line in lines if line.get("event") == "ready"), None)

    async def wait_ready(self, seconds: float) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while (found := self.ready()) is None:
                if self.status is not None:
                    raise RuntimeError(f"{self.stdout} ended with {self.status} at its start")
                await asyncio.sleep(_POLL_SECONDS)
        return found

    async def wait_ended(self, seconds: float = 40) -> int:
        """Killed where it does not end by itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.status is None:  # noqa: ASYNC110 - a child's end is no event here
                    await asyncio.sleep(_POLL_SECONDS)
        if self.status is None:
            self.kill()
            raise TimeoutError(f"{self.stdout}: does not end within {seconds} s")
        return self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _die_with_parent() -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl

    def step() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return step


class Member:
    """A program that is started again whenever it ends, as a service manager does it.

    `deaths` are ends that nobody asked for after it was ready: a finding. A start that fails, with
    a store away, is none.
    """

    def __init__(
        self, name: str, argv: Sequence[str], environ: Mapping[str, str], logs: Path
    ) -> None:
        self.name = name
        self.deaths: list[str] = []
        self.starts = 0
        self.port = 0
        self._argv = argv
        self._environ = environ
        self._logs = logs
        self._life: Process | None = None
        self._is_wanted = True
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._serves = asyncio.Event()
        self._tasks = TaskSet()

    def start(self) -> None:
        _ = self._tasks.start(self._live(), name=f"member {self.name}")

    @property
    def pid(self) -> int:
        assert self._life is not None
        return self._life.pid

    async def wait_serving(self, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            await self._serves.wait()

    async def kill_for(self, seconds: float, *, before_start: Step = _nothing) -> None:
        """kill -9, and down for a while."""
        await self._end(signal.SIGKILL, seconds, before_start)

    async def restart(self) -> None:
        await self._end(signal.SIGTERM, 0)

    async def pause_for(self, seconds: float) -> None:
        life = self._life
        if life is None:
            return
        life.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            life.signal(signal.SIGCONT)

    async def stop(self) -> int:
        """For good; its exit status."""
        self._is_wanted = False
        life = self._life
        if life is None:
            return 0
        life.signal(signal.SIGCONT)
        life.signal(signal.SIGTERM)
        status = await life.wait_ended()
        await self._tasks.wait(seconds=5)
        return status

    async def destroy(self) -> None:
        self._is_wanted = False
        await self._tasks.cancel()
        if self._life is not None and self._life.status is None:
            self._life.kill()

    async def _end(
        self, number: signal.Signals, down_seconds: float, before_start: Step = _nothing
    ) -> None:
        life = self._life
        if life is None:
            return
        self._may_start.clear()
        self._serves.clear()
        life.signal(number)
        try:
            await life.wait_ended()
            self._life = None
            await asyncio.sleep(down_seconds)
            await before_start()
        finally:
            self._may_start.set()

    async def _live(self) -> None:
        while self._is_wanted:
            await self._may_start.wait()
            out = self._logs / f"{self.name}-{self.starts:03d}"
            self.starts += 1
            life = self._life = Process(self._argv, self._environ, out)
            try:
                ready = await life.wait_ready(60)
            except (RuntimeError, TimeoutError):
                if life.status is None:
                    life.kill()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self.port = int(ready.get("base_url", ":0").rpartition(":")[2].removesuffix("/v1"))
            if self._may_start.is_set():
                self._serves.set()
            while life.status is None:  # noqa: ASYNC110 - a child's end is no event here
                await asyncio.sleep(_POLL_SECONDS)
            self.port = 0
            self._serves.clear()
            if self._is_asked_for(life):
                self.deaths.append(f"{out.name} ended with {life.status}")
                await asyncio.sleep(_AGAIN_SECONDS)

    def _is_asked_for(self, life: Process) -> bool:
        """Nobody told this life to end."""
        return self._is_wanted and self._may_start.is_set() and self._life is life


OpenServer = Callable[[], AbstractAsyncContextManager[Server]]


class StoreMember:
    """Postgres or Redis under the supervisor's own code; killed with all its children."""

    def __init__(self, name: str, open_server: OpenServer) -> None:
        self.name = name
        self._open = open_server
        self._scope = AsyncExitStack()
        self.server: Server | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    async def start(self) -> None:
        self.server = await self._scope.enter_async_context(self._open())

    async def stop(self) -> None:
        self.server = None
        await self._scope.aclose()

    async def kill_for(self, seconds: float, *, before_start: Step = _nothing) -> None:
        self._signal(signal.SIGKILL)
        await self._again(seconds, before_start)

    async def restart_for(self, seconds: float) -> None:
        await self._again(seconds)

    async def pause_for(self, seconds: float) -> None:
        self._signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._signal(signal.SIGCONT)

    async def _again(self, seconds: float, before_start: Step = _nothing) -> None:
        try:
            await self.stop()
            await asyncio.sleep(seconds)
            await before_start()
        finally:
            await self.start()

    def _signal(self, number: signal.Signals) -> None:
        assert self.server is not None
        for pid in [self.server.pid, *children_of(self.server.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
