"""The supervisor of `serve --workers N`, with work that does nothing but say what reaches it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT, children_of, until

# Each process writes a line for every signal it is sent; `broken` and `raises` spoil the next.
PROGRAM = """
import os, pathlib, signal, sys, time
from proxy.commands.supervise import Supervisor
from proxy.domain.clock import SystemClock
from proxy.observe.log import configure_logging

folder = pathlib.Path(sys.argv[1])
configure_logging("info")

def work(place, ready):
    if (folder / "broken").exists():
        sys.exit(2)
    if (folder / "raises").exists():
        raise RuntimeError("words that nobody may read")
    with (folder / str(os.getpid())).open("a", buffering=1) as out:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: out.write(signal.Signals(number).name + "\\n"))
        out.write("ready\\n")
        ready()
        while not (folder / "end").exists():
            time.sleep(0.02)

sys.exit(Supervisor(3, work, clock=SystemClock()).run())
"""


class Supervised:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = folder.with_name("log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(folder)],
                cwd=ROOT,
                stderr=log,
                start_new_session=True,
            )

    def heard(self) -> dict[int, list[str]]:
        """By process: what it was sent."""
        files = [path for path in self._folder.iterdir() if path.name.isdigit()]
        return {int(path.name): path.read_text().split() for path in files}

    def living(self) -> set[int]:
        return set(children_of(self.process.pid))

    def wait_ready(self, count: int) -> set[int]:
        """Until so many have ever served; those that live."""
        until(lambda: len([1 for heard in self.heard().values() if heard]) == count)
        return self.living()

    def mark(self, name: str) -> Path:
        path = self._folder / name
        path.touch()
        return path

    def stop(self) -> int:
        """Each process that lives hears it, and then comes to its end."""
        pids = self.living()
        self.process.terminate()
        until(lambda: all(self._has_heard(pid, "SIGTERM") for pid in pids & self.living()))
        self.mark("end")
        return self.process.wait(10)

    def _has_heard(self, pid: int, name: str) -> bool:
        return name in self.heard().get(pid, ())

    def wait_heard(self, pids: set[int], name: str) -> None:
        until(lambda: all(self._has_heard(pid, name) for pid in pids))


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    folder = tmp_path / "said"
    folder.mkdir()
    found = Supervised(folder)
    yield found
    for pid in found.living():
        os.kill(pid, signal.SIGKILL)
    found.process.kill()
    found.process.wait()


def test_every_process_hears_a_reload_and_the_end(supervised: Supervised) -> None:
    pids = supervised.wait_ready(3)
    supervised.process.send_signal(signal.SIGHUP)
    until(lambda: all(heard == ["ready", "SIGHUP"] for heard in supervised.heard().values()))
    assert supervised.living() == pids
    assert supervised.stop() == 0
    assert set(supervised.heard()) == pids
    assert {tuple(heard) for heard in supervised.heard().values()} == {
        ("ready", "SIGHUP", "SIGTERM")
    }


def test_a_terminal_s_interrupt_is_heard_once(supervised: Supervised) -> None:
    """Twice would mean: at once, whatever is under way."""
    pids = supervised.wait_ready(3)
    os.killpg(os.getpgid(supervised.process.pid), signal.SIGINT)
    supervised.wait_heard(pids, "SIGINT")
    supervised.mark("end")
    assert supervised.process.wait(10) == 0
    assert supervised.heard() == {pid: ["ready", "SIGINT"] for pid in pids}


def test_what_cannot_be_replaced_now_is_later_and_takes_nobody_along(
    supervised: Supervised,
) -> None:
    """As where a store is away: those that run serve on."""
    dead, *others = supervised.wait_ready(3)
    broken = supervised.mark("broken")
    os.kill(dead, signal.SIGKILL)
    until(lambda: supervised.log.read_text().count('"status":2') == 2)
    assert supervised.living() >= set(others)
    broken.unlink()
    assert len(supervised.wait_ready(4)) == 3
    assert supervised.stop() == 0


def test_a_mistake_of_ours_is_told_without_its_words(supervised: Supervised) -> None:
    dead, *_ = supervised.wait_ready(3)
    raises = supervised.mark("raises")
    os.kill(dead, signal.SIGKILL)
    until(lambda: "RuntimeError" in supervised.log.read_text())
    raises.unlink()
    assert "nobody may read" not in supervised.log.read_text()
    assert len(supervised.wait_ready(4)) == 3
    assert supervised.stop() == 0
