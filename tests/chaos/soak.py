"""Several runs, one after another, and what they add up to."""

from collections import Counter
from dataclasses import asdict, dataclass, field

from tests.chaos.check import Violation
from tests.chaos.run import Result

RUN_SECONDS_MAX = 180


def soak(seed: int, runs: int) -> list[int]:
    """A seed for each: the first is the one that was asked for, so that a run can be repeated by
    itself."""
    return [seed + number for number in range(max(1, runs))]


@dataclass(slots=True)
class Counts:
    seeds: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    violations: list[Violation] = field(default_factory=list)

    def add(self, seed: int, result: Result) -> None:
        self.seeds.append(seed)
        self.faults.update(result.faults)
        self.counts.update(result.counts)
        self.rows += len(result.books.postgres.rows)
        self.violations += result.violations

    def summary(self) -> dict[str, object]:
        return {
            "seed": self.seeds[0],
            "seeds": self.seeds,
            "faults": dict(self.faults),
            "rows": self.rows,
            "counts": dict(self.counts),
            "violations": [asdict(violation) for violation in self.violations],
        }

    def report(self) -> list[str]:
        done = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        lines = [
            f"{len(self.seeds)} runs, seeds {self.seeds[0]}-{self.seeds[-1]}",
            f"faults: {done}",
        ]
        return lines + [f"  {name.replace('_', ' '):32} {n}" for name, n in self.counts.items()]
