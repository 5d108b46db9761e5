"""The journal torn and damaged at every single byte, and removed under another's hands."""

import contextlib
import fcntl
import shutil
from pathlib import Path
from uuid import UUID

import pytest

from proxy.ledger.journal import (
    START,
    Journal,
    Record,
    adopt_journals,
    pack_record,
    scan_records,
)
from tests.support.charges import make_charge


def record(number: int, incarnation: str = "gateway") -> Record:
    charge = make_charge(UUID(int=1), number=number, incarnation=incarnation)
    return Record(1, charge, charge.to_bytes())


@pytest.fixture
def three() -> list[Record]:
    return [record(n) for n in (1, 2, 3)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def left_behind(root: Path, records: list[Record], incarnation: str = "dead") -> Path:
    journal = Journal(root, incarnation)
    journal.append(records)
    journal.close()
    return root / incarnation


def test_a_tail_that_was_torn_off_at_any_byte_costs_only_its_own_record(
    three: list[Record],
) -> None:
    packed = [pack_record(item) for item in three]
    raw = b"".join(packed)
    ends = [sum(map(len, packed[:n])) for n in range(4)]
    for cut in range(len(raw) + 1):
        whole = sum(end <= cut for end in ends[1:])
        for tail in (b"", bytes(64)):  # as the process left it, or the file system
            scan = scan_records(raw[:cut] + tail)
            assert scan.records == three[:whole]
            assert scan.end == ends[whole]


def test_a_changed_byte_is_never_taken_for_a_charge(root: Path, three: list[Record]) -> None:
    """And what stands behind it is not thrown away, whatever Postgres has."""
    raw = b"".join(map(pack_record, three))
    directory = left_behind(root, three)
    segment = directory / "00000001.log"
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 0xFF
        segment.write_bytes(changed)
        (adopted,) = adopt_journals(root)
        found, _ = adopted.segments.read(START, 10)
        assert found == three[: len(found)]
        adopted.prune({("gateway", 0): 3})
        damaged = segment.with_suffix(".damaged")
        if at < len(raw) - len(pack_record(three[-1])):  # else it may look like a torn tail
            assert damaged.read_bytes() == changed
        damaged.unlink(missing_ok=True)
        adopted.close()


def test_a_journal_that_its_owner_removes_meanwhile_is_not_adopted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding the lock and taking it."""
    directory = left_behind(root, [record(1)])

    def remove_then_lock(file: int, how: int) -> None:
        shutil.rmtree(directory)
        real_lock(file, how)

    real_lock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", remove_then_lock)
    assert adopt_journals(root) == []


def test_a_closed_journal_writes_to_no_file_that_was_opened_since(
    root: Path, tmp_path: Path, three: list[Record]
) -> None:
    """Its numbers of open files are given to others."""
    journal = Journal(root, "gateway")
    journal.close()
    with contextlib.ExitStack() as stack:
        others = [tmp_path / f"other-{n}" for n in range(8)]
        for other in others:
            stack.enter_context(other.open("wb"))
        with pytest.raises(OSError, match="Bad file descriptor"):
            journal.append(three)
        assert [other.read_bytes() for other in others] == [b""] * 8
