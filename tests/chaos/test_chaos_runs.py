"""The harness as it is run: a seed of every fault is clean, and each deliberate bug is caught.

The runs are processes, a few at a time, and each test waits for its own.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults import DEFAULT
from tests.support.processes import ROOT

# Whole runs depend on what else the machine does: `make chaos` has them, `make test` the parts.
pytestmark = pytest.mark.slow

AT_ONCE = 2
SECONDS_MAX = 170
SEED = "20"

# The bug, the schedule that opens its gap, and the violations of which at least one names it.
CAUGHT = {
    "acknowledge_before_commit": ("workers_killed", {"not_charged", "not_flushed"}),
    "settle_without_idempotency": ("answers_late", {"charged_twice"}),
    "expiry_ignoring_the_lease": ("calm", {"hold_expired"}),
    "final_byte_before_the_journal": ("gateways_killed", {"not_charged"}),
    "unfenced_second_flusher": ("calm", {"cursor_went_back", "verify_alarm"}),
    "pruning_by_stream_position": ("cut_off_and_killed", {"not_charged"}),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    said: str
    summary: dict[str, Any]

    def kinds(self) -> set[str]:
        return {violation["kind"] for violation in self.summary["violations"]}


def run_chaos(directory: Path, *words: str) -> Outcome:
    directory.mkdir()
    out = directory / "summary.json"
    argv = [sys.executable, "-m", "tests.chaos", *words, "--json", str(out)]
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, timeout=SECONDS_MAX, check=False, text=True
    )
    said = done.stdout + done.stderr
    return Outcome(done.returncode, said, json.loads(out.read_text()) if out.exists() else {})


def words_for(name: str) -> list[str]:
    if name == "seed":
        return ["--seed", SEED, "--seconds", "45"]
    bug = ["--bug", name, "--directed", CAUGHT[name][0], "--seed", "1"]
    return [*bug, "--seconds", "7", "--clients", "12", "--scratch"]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[Outcome]"]]:
    """Of the tests that were chosen, begun beside each other."""
    directory = tmp_path_factory.mktemp("chaos")
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    params = [item.callspec.params for item in items if item.module is request.module]
    names = [str(found["name"]) for found in params if "name" in found]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {n: pool.submit(run_chaos, directory / n, *words_for(n)) for n in names}


@pytest.mark.timeout(2 * SECONDS_MAX)
@pytest.mark.parametrize("name", ["seed"])
def test_a_seed_of_every_fault_is_clean(name: str, runs: dict[str, "Future[Outcome]"]) -> None:
    outcome = runs[name].result()
    assert outcome.status == 0, outcome.said
    assert outcome.summary["violations"] == []
    assert outcome.summary["complete"] > 100
    assert outcome.summary["verifications"] > 20


@pytest.mark.timeout(2 * SECONDS_MAX)
@pytest.mark.parametrize("name", CAUGHT)
def test_a_deliberate_bug_is_caught(name: str, runs: dict[str, "Future[Outcome]"]) -> None:
    outcome = runs[name].result()
    assert outcome.status == 1, outcome.said
    assert outcome.kinds() & CAUGHT[name][1], outcome.said


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", DEFAULT)
def test_each_class_of_fault_alone_is_clean(kind: str, tmp_path: Path) -> None:
    outcome = run_chaos(tmp_path / kind, "--faults", kind, "--seconds", "20", "--seed", "1")
    assert outcome.status == 0, outcome.said


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(101, 106))
def test_more_seeds_are_clean(seed: int, tmp_path: Path) -> None:
    words = ["--seed", str(seed), "--seconds", "180"]
    argv = [sys.executable, "-m", "tests.chaos", *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
