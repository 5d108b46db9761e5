"""The harness as it is run: every class of fault is clean, and each deliberate bug is caught.

One run after another, each a deployment of its own: they are about time, and would disturb each
other. `--slow` adds every class by itself and longer seeds.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults import DEFAULT
from tests.support.processes import ROOT

SECONDS_MAX = 170
SEED = "20"

# The bug, the schedule that opens its gap, and the violations of which at least one names it.
CAUGHT = {
    "acknowledge_before_commit": ("workers_killed_in_a_gap", {"not_charged", "not_flushed"}),
    "settle_without_idempotency": ("answers_late", {"charged_twice"}),
    "expiry_ignoring_the_lease": ("calm", {"hold_expired"}),
    "final_byte_before_the_journal": ("gateways_killed", {"not_charged"}),
    "unfenced_second_flusher": ("calm", {"cursor_went_back", "verify_alarm"}),
    "pruning_by_stream_position": ("cut_off_and_killed", {"not_charged"}),
    "journal_replayed_through_settle": ("redis_emptied", {"wallet_differs"}),
}
# What must be zero in every run, by the counts that it prints.
NEVER = (
    "complete_and_not_charged",
    "charged_twice_in_usage",
    "charged_twice_in_books",
    "charged_twice_in_wallet",
    "unexplained_debt_nanos",
    "holds_left",
    "difference_nanos",
    "verdicts_different",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    said: str
    summary: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.summary["counts"]
        return found

    def kinds(self) -> set[str]:
        return {violation["kind"] for violation in self.summary["violations"]}


def run_chaos(directory: Path, *words: str, seconds_max: int = SECONDS_MAX) -> Outcome:
    """All runs of a session begin with copies of one Postgres."""
    out, template = directory / "summary.json", directory.parent / "postgres"
    more = ("--template", str(template), "--json", str(out))
    argv = [sys.executable, "-m", "tests.chaos", *words, *more]
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, timeout=seconds_max, check=False, text=True
    )
    said = done.stdout + done.stderr
    return Outcome(done.returncode, said, json.loads(out.read_text()) if out.exists() else {})


def assert_clean(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome.said
    assert outcome.summary["violations"] == []
    assert {name: outcome.counts[name] for name in NEVER} == dict.fromkeys(NEVER, 0)


@pytest.mark.timeout(SECONDS_MAX + 10)
def test_a_seed_of_every_fault_is_clean(tmp_path: Path) -> None:
    """The planted nano is part of every run that is clean."""
    outcome = run_chaos(tmp_path, "--seed", SEED, "--seconds", "30")
    assert_clean(outcome)
    assert outcome.counts["complete"] > 100
    assert outcome.counts["verdicts_ok"] > 50


@pytest.mark.timeout(3 * SECONDS_MAX)
@pytest.mark.parametrize("bug", CAUGHT)
def test_a_deliberate_bug_is_caught(bug: str, tmp_path: Path) -> None:
    """The load's interleaving is the machine's: a slow one may miss a gap once, not three times."""
    schedule, named = CAUGHT[bug]
    words = ["--bug", bug, "--directed", schedule, "--scratch", "--seconds", "7", "--clients", "12"]
    said = ""
    for seed in ("1", "2", "3"):
        outcome = run_chaos(tmp_path, *words, "--seed", seed)
        if outcome.kinds() & named:
            assert outcome.status == 1, outcome.said
            return
        said += outcome.said
    pytest.fail(said)


@pytest.mark.timeout(SECONDS_MAX + 10)
def test_a_journal_and_the_tail_that_it_covered_lose_what_was_predicted(tmp_path: Path) -> None:
    words = ("--directed", "journal_and_tail_lost", "--seed", "1", "--clients", "12")
    outcome = run_chaos(tmp_path, *words, "--seconds", "8")
    assert_clean(outcome)
    assert outcome.counts["lost_as_predicted"] > 0, outcome.said


@pytest.mark.timeout(SECONDS_MAX + 10)
def test_a_cluster_that_loses_masters_is_clean(tmp_path: Path) -> None:
    words = ("--cluster", "--directed", "masters_lost", "--seed", "1", "--seconds", "25")
    outcome = run_chaos(tmp_path, *words)
    assert_clean(outcome)
    done = {"slots_moved", "laggard_took_over", "master_killed", "gateway_kill"}
    assert done <= set(outcome.summary["faults"])
    assert outcome.counts["complete"] > 100


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", DEFAULT)
def test_each_class_of_fault_alone_is_clean(kind: str, tmp_path: Path) -> None:
    assert_clean(run_chaos(tmp_path, "--faults", kind, "--seconds", "20", "--seed", "1"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(101, 106))
def test_more_seeds_are_clean(seed: int, tmp_path: Path) -> None:
    words = ("--seed", str(seed), "--seconds", "180")
    assert_clean(run_chaos(tmp_path, *words, seconds_max=1100))
