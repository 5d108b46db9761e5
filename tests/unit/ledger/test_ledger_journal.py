"""The journal against crashes, full disks, torn and damaged files, and two gateways."""

import os
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from proxy.domain.charge import Charge
from proxy.ledger.journal import (
    START,
    Journal,
    Record,
    adopt_journals,
    pack_record,
    scan_records,
)
from tests.support.ledger_bench import api_key, charge_of, hold_of, request_id

KEY = api_key()


def _charge(number: int, *, shard: int = 0, incarnation: str = "first") -> Charge:
    hold = hold_of(KEY, request_id(number), 10)
    charge = charge_of(hold, number, number=number, incarnation=incarnation)
    return replace(charge, shard=shard)


def _record(number: int, **given: object) -> Record:
    charge = _charge(number, **given)  # type: ignore[arg-type]
    return Record(7, charge, charge.to_bytes())


def _numbers(records: list[Record]) -> list[int]:
    return [record.charge.number for record in records]


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "first")
    records = [_record(n) for n in (1, 2, 3)]
    positions = journal.append(records)
    found, end = journal.segments.read(START, 2)
    assert found == records[:2]
    assert end == positions[2]
    assert journal.segments.read(end, 9) == (records[2:], journal.end)
    assert journal.segments.read(journal.end, 9) == ([], journal.end)
    journal.close()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_tail_ends_the_file_and_is_no_damage(cut: int) -> None:
    raw = pack_record(_record(1)) + pack_record(_record(2))
    scan = scan_records(raw[:-cut])
    assert (_numbers(scan.records), scan.is_damaged) == ([1], False)
    assert raw[scan.end :] == pack_record(_record(2))


def test_space_that_was_never_filled_is_no_damage() -> None:
    scan = scan_records(pack_record(_record(1)) + bytes(4096))
    assert (_numbers(scan.records), scan.is_damaged) == ([1], False)


@pytest.mark.parametrize("place", [0, 5, 8, 40])
def test_a_changed_byte_is_damage_and_nothing_behind_it_is_believed(place: int) -> None:
    first, second, third = (pack_record(_record(n)) for n in (1, 2, 3))
    changed = bytearray(second)
    changed[place] ^= 0xFF
    scan = scan_records(first + bytes(changed) + third)
    assert (_numbers(scan.records), scan.is_damaged) == ([1], True)


def test_a_record_of_a_later_release_is_passed_over_but_kept() -> None:
    later = Record(7, _charge(2), _charge(2).to_bytes().replace(b'"model"', b'"modal"'))
    scan = scan_records(pack_record(_record(1)) + pack_record(later) + pack_record(_record(3)))
    assert (_numbers(scan.records), scan.is_damaged) == ([1, 3], True)


def test_a_full_segment_goes_once_every_number_in_it_is_committed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "first", segment_bytes_max=1)
    journal.append([_record(1), _record(1, shard=1)])
    journal.append([_record(2)])
    journal.append([_record(3)])
    assert journal.segments.numbers() == [1, 2, 3]
    assert journal.prune({("first", 0): 2}) == 1  # shard 1 is not there yet
    assert journal.segments.numbers() == [1, 3]
    assert journal.prune({("first", 0): 99, ("first", 1): 1}) == 1
    assert journal.segments.numbers() == [3]  # the one that is written is never deleted
    assert _numbers(journal.segments.read(START, 9)[0]) == [3]
    journal.close()


def test_half_a_record_on_a_full_disk_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, "first")
    journal.append([_record(1)])
    write = os.write
    calls = []

    def full(file: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(file, data[:20])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append([_record(2)])
    monkeypatch.undo()
    journal.append([_record(3)])
    read: list[Record] = []
    position = START
    while found := journal.segments.read(position, 9)[0]:
        position = journal.segments.read(position, 9)[1]
        read += found
    assert _numbers(read) == [1, 3]
    assert not journal.segments.scan(1).is_damaged
    journal.close()


def test_a_living_gateways_journal_is_not_adopted(tmp_path: Path) -> None:
    living = Journal(tmp_path, "living")
    dead = Journal(tmp_path, "dead")
    dead.append([_record(1, incarnation="dead")])
    dead.close()
    (adopted,) = adopt_journals(tmp_path)
    assert adopted.incarnation == "dead"
    assert adopt_journals(tmp_path) == []  # it has an owner again
    assert adopted.places() == {("dead", 0)}
    assert adopted.prune({("dead", 0): 0}) == 0
    assert adopted.prune({("dead", 0): 1}) == 1
    assert adopted.is_empty
    adopted.remove()
    living.close()
    assert [path.name for path in tmp_path.iterdir()] == ["living"]


def test_a_damaged_journal_is_set_aside_and_never_deleted(tmp_path: Path) -> None:
    dead = Journal(tmp_path, "dead")
    dead.append([_record(n, incarnation="dead") for n in (1, 2)])
    dead.close()
    path = dead.segments.path(1)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 0xFF
    path.write_bytes(raw)
    (adopted,) = adopt_journals(tmp_path)
    assert adopted.prune({("dead", 0): 1}) == 1
    assert not adopted.is_empty
    assert [p.name for p in path.parent.glob("*.damaged")] == ["00000001.damaged"]
    adopted.close()


def test_nothing_to_adopt_where_there_is_no_directory(tmp_path: Path) -> None:
    assert adopt_journals(tmp_path / "none") == []


def test_an_account_is_the_same_after_the_journal(tmp_path: Path) -> None:
    charge = replace(
        _charge(1), account_id=UUID(int=2**128 - 1), client_address="::1", jurisdictions=("CN",)
    )
    journal = Journal(tmp_path, "first")
    journal.append([Record(1, charge, charge.to_bytes())])
    ((found,), _) = journal.segments.read(START, 1)
    assert found.charge == charge
    journal.close()
