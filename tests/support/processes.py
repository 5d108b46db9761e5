"""Processes of ours: started with an environment, listened to, signalled and ended by their pid."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.01


class HasPid(Protocol):
    @property
    def pid(self) -> int: ...


def until(condition: Callable[[], T], seconds: float = 15) -> T:
    """What the condition gives, once it is true of something; fails after a while."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"not within {seconds} s: {found!r}"
        time.sleep(_POLL_SECONDS)
    return found


class Program:
    """`apilink WORDS` as a process; what it says goes into files."""

    def __init__(
        self,
        words: Sequence[object],
        environ: Mapping[str, str],
        out: Path,
        launcher: Sequence[object] = (),
    ) -> None:
        """`launcher` is what starts it and becomes it, such as `env` or `unshare`."""
        self.stdout = out.with_suffix(".stdout")
        self.stderr = out.with_suffix(".stderr")
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*map(str, launcher), sys.executable, "-m", "proxy", *map(str, words)],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def said(self) -> list[dict[str, Any]]:
        """The lines on stdout, each an event."""
        return [json.loads(line) for line in whole_lines(self.stdout)]

    def log(self, event: str) -> list[dict[str, Any]]:
        """Lines of the log with this event. Every line must be one: nothing else goes there."""
        found = [json.loads(line) for line in whole_lines(self.stderr)]
        return [line for line in found if line["event"] == event]

    def ready(self, count: int = 1) -> list[dict[str, Any]]:
        """Waits for so many ready lines: one for each process that serves."""

        def lines() -> list[dict[str, Any]] | None:
            assert not self.has_ended, self.stderr.read_text()
            found = [line for line in self.said() if line["event"] == "ready"]
            return found if len(found) >= count else None

        found = until(lines, 30)
        assert found is not None
        return found

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self, seconds: float = 20) -> int:
        """Waits for its end; the exit status."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def clear_away(self) -> None:
        """Whatever state a test left it in, its children included."""
        children = children_of(self.pid)
        if not self.has_ended:
            self.kill()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def children_of(pid: int) -> list[int]:
    """Its children's pids, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            children = [int(child) for child in path.read_text().split()]
            found += [*children, *(grand for child in children for grand in children_of(child))]
    return found


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@contextmanager
def paused(server: HasPid) -> Iterator[None]:
    """The server and its children stand still: connections stay open and nothing is answered."""
    pids = [server.pid, *children_of(server.pid)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
