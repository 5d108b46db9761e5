"""The local journal: every charge is in it before the final byte of its answer leaves.

One directory per gateway incarnation, locked while its process lives; in it numbered segments of
records: length and CRC-32 of the payload (big-endian, 32 bits each), then the payload. Records are
only appended. A tail that a crash tore off is recognised by its length or checksum and ends the
segment; a segment goes once Postgres has every charge that is in it.
"""

import fcntl
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.domain.charge import Charge, parse_charge

SEGMENT_BYTES_MAX: Final = 16 * 2**20
RECORD_BYTES_MAX: Final = 2**20
_HEAD: Final = struct.Struct(">II")
_GENERATION: Final = struct.Struct(">Q")
DATA_BYTES_MAX: Final = RECORD_BYTES_MAX - _GENERATION.size
_LOCK: Final = "lock"
_SUFFIX: Final = ".log"
_DAMAGED: Final = ".damaged"
_NEW: Final = ".new-"
_CLOSED: Final = -1  # a number that no open file has

Committed = Mapping[tuple[str, int], int]
Highest = dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Record:
    """A charge and its bytes, with the generation its shard had when it was recorded."""

    generation: int
    charge: Charge
    data: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record begins. Segments count from 1."""

    segment: int
    offset: int


START: Final = Position(0, 0)


@dataclass(slots=True)
class Scan:
    """What could be read. `end` is behind the last record; `is_damaged` says that bytes are there
    which are neither a record nor the torn end of one."""

    records: list[Record]
    end: int = 0
    is_damaged: bool = False


def pack_record(record: Record) -> bytes:
    payload = _GENERATION.pack(record.generation) + record.data
    assert len(payload) <= RECORD_BYTES_MAX, "a charge is a row, not a document"
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def scan_records(raw: bytes, count_max: int | None = None) -> Scan:
    """Whole records from the start. A record of a later release, whose fields we do not know, is
    passed over and counts as damage: its file must stay."""
    scan = Scan([])
    while scan.end + _HEAD.size <= len(raw) and len(scan.records) != count_max:
        length, checksum = _HEAD.unpack_from(raw, scan.end)
        begin = scan.end + _HEAD.size
        if length == 0 and not any(raw[scan.end :]):  # space that the file system never filled
            break
        if not _GENERATION.size <= length <= RECORD_BYTES_MAX:
            scan.is_damaged = True
            break
        payload = raw[begin : begin + length]
        if len(payload) < length:
            break
        if zlib.crc32(payload) != checksum:
            scan.is_damaged = True
            break
        scan.end = begin + length
        try:
            scan.records.append(_parse_record(payload))
        except (ValueError, KeyError, TypeError):
            scan.is_damaged = True
    return scan


def _holds_record(raw: bytes) -> bool:
    """Whether a whole record begins anywhere in here: then a damaged length hides it, and what
    looks like a torn end is none."""
    return any(_is_record(raw, at) for at in range(len(raw) - _HEAD.size))


def _is_record(raw: bytes, at: int) -> bool:
    length, checksum = _HEAD.unpack_from(raw, at)
    begin = at + _HEAD.size
    if not _GENERATION.size <= length <= len(raw) - begin:
        return False
    found = zlib.crc32(raw[begin : begin + length])
    return found == int(checksum)


def _parse_record(payload: bytes) -> Record:
    (generation,) = _GENERATION.unpack_from(payload)
    data = payload[_GENERATION.size :]
    return Record(generation, parse_charge(data), data)


class Segments:
    """The segments of one incarnation's directory, read in order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.incarnation = directory.name

    def numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.directory.glob(f"*{_SUFFIX}"))

    def size_bytes(self) -> int:
        """What is set aside as damaged included."""
        with os.scandir(self.directory) as found:
            return sum(entry.stat().st_size for entry in found)

    def path(self, segment: int) -> Path:
        return self.directory / f"{segment:08d}{_SUFFIX}"

    def read(self, start: Position, count_max: int) -> tuple[list[Record], Position]:
        """Up to `count_max` records from `start`, and where the next one begins. Nothing more is
        there, for now, where none comes back."""
        for segment in self.numbers():
            if segment < start.segment:
                continue
            offset = start.offset if segment == start.segment else 0
            with self.path(segment).open("rb") as file:
                file.seek(offset)
                scan = scan_records(file.read(2 * RECORD_BYTES_MAX), count_max)
            if scan.records:
                return scan.records, Position(segment, offset + scan.end)
        return [], start

    def scan(self, segment: int) -> Scan:
        """Of the whole segment, which nobody writes to any more."""
        raw = self.path(segment).read_bytes()
        scan = scan_records(raw)
        scan.is_damaged = scan.is_damaged or _holds_record(raw[scan.end :].rstrip(b"\0"))
        return scan


def _raise_to(highest: Highest, charge: Charge) -> None:
    place = (charge.incarnation, charge.shard)
    highest[place] = max(highest.get(place, 0), charge.number)


class Journal:
    """This process's own."""

    def __init__(
        self, root: Path, incarnation: str, *, segment_bytes_max: int = SEGMENT_BYTES_MAX
    ) -> None:
        self.incarnation = incarnation
        self._lock = _make_directory(root, incarnation)
        self.segments = Segments(root / incarnation)
        self._segment_bytes_max = segment_bytes_max
        self._highest: dict[int, Highest] = {1: {}}
        self._segment = 1
        self._size = 0
        self._is_named = False  # on the disk: the directory that has the segment's name
        self._file = self._create(1)
        self._is_torn = False

    @property
    def end(self) -> Position:
        return Position(self._segment, self._size)

    def append(self, records: Sequence[Record]) -> list[Position]:
        """One write for all of them; where each begins. Raises OSError where the disk refuses: then
        none of them is in the journal."""
        if self._is_torn or self._size >= self._segment_bytes_max:
            self._rotate()
        packed = [pack_record(record) for record in records]
        self._write(b"".join(packed))
        positions = []
        for record, raw in zip(records, packed, strict=True):
            positions.append(Position(self._segment, self._size))
            self._size += len(raw)
            _raise_to(self._highest[self._segment], record.charge)
        return positions

    def begin_sync(self, first: int | None = None) -> Callable[[], None]:
        """A step for another thread, after which what was appended so far is on the disk, of
        segment `first` (or the current one) and all later ones. Raises OSError, and so does the
        step: then nothing that it was to sync may be counted on."""
        directory = self.segments.directory
        names = [] if self._is_named else [directory, directory.parent]
        older = [
            self.segments.path(number) for number in range(first or self._segment, self._segment)
        ]
        file = os.dup(self._file)
        self._is_named = True

        def sync() -> None:
            try:
                for path in older:
                    _sync_path(path)
                os.fsync(file)
                for path in names:
                    _sync_path(path)
            finally:
                os.close(file)

        return sync

    def distrust(self) -> None:
        """After a sync that failed: the kernel may have dropped what it could not write, and says
        so only once. What comes next goes to another file."""
        self._is_torn = True
        self._is_named = False

    def prune(self, committed: Committed) -> int:
        """Deletes full segments whose every number is committed. Returns how many."""
        full = [segment for segment in self._highest if segment != self._segment]
        covered = [segment for segment in full if _is_covered(self._highest[segment], committed)]
        for segment in covered:
            self.segments.path(segment).unlink(missing_ok=True)
            del self._highest[segment]
        return len(covered)

    def close(self) -> None:
        file, self._file = self._file, _CLOSED
        os.close(file)
        os.close(self._lock)

    def _create(self, segment: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._is_named = False
        return os.open(self.segments.path(segment), flags, 0o600)

    def _rotate(self) -> None:
        file = self._create(self._segment + 1)
        os.close(self._file)
        self._file = file
        self._segment += 1
        self._size = 0
        self._highest[self._segment] = {}
        self._is_torn = False

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            # Half a record would hide everything that is written after it.
            self._is_torn = True
            os.ftruncate(self._file, self._size)
            self._is_torn = False  # or each try on a full disk would leave one more empty file
            raise


class AdoptedJournal:
    """What an incarnation left that ended without us: read, and deleted once it is committed."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.segments = Segments(directory)
        self.incarnation = directory.name
        self._lock = lock
        self._scanned: dict[int, tuple[Highest, bool]] = {}

    @property
    def is_empty(self) -> bool:
        return all(path.name == _LOCK for path in self.segments.directory.iterdir())

    def places(self) -> frozenset[tuple[str, int]]:
        """Every (incarnation, shard) that has a charge in it."""
        return frozenset(place for n in self.segments.numbers() for place in self._scan(n)[0])

    def prune(self, committed: Committed) -> int:
        """Deletes segments whose every number is committed; a damaged one is set aside instead."""
        covered = 0
        for segment in self.segments.numbers():
            highest, is_damaged = self._scan(segment)
            if not _is_covered(highest, committed):
                continue
            path = self.segments.path(segment)
            if is_damaged:
                path.rename(path.with_suffix(_DAMAGED))
            else:
                path.unlink()
            covered += 1
        return covered

    def remove(self) -> None:
        shutil.rmtree(self.segments.directory, ignore_errors=True)
        self.close()

    def close(self) -> None:
        os.close(self._lock)

    def _scan(self, segment: int) -> tuple[Highest, bool]:
        if segment not in self._scanned:
            scan = self.segments.scan(segment)
            highest: Highest = {}
            for record in scan.records:
                _raise_to(highest, record.charge)
            self._scanned[segment] = highest, scan.is_damaged
        return self._scanned[segment]


def adopt_journals(root: Path) -> list[AdoptedJournal]:
    """The journals under `root` that no living process holds; they are ours from now on."""
    adopted = []
    for directory in sorted(root.iterdir()) if root.is_dir() else ():
        lock = _try_lock(directory)
        if lock is not None:
            adopted.append(AdoptedJournal(directory, lock))
    return adopted


def _sync_path(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # pruned: Postgres has all of it
        return
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _is_covered(highest: Mapping[tuple[str, int], int], committed: Committed) -> bool:
    return all(committed.get(place, 0) >= number for place, number in highest.items())


def _make_directory(root: Path, incarnation: str) -> int:
    """Locked before it has its name, so that nobody can adopt it in between."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = root / f"{_NEW}{incarnation}"
    new.mkdir(mode=0o700)
    lock = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    new.rename(root / incarnation)
    return lock


def _try_lock(directory: Path) -> int | None:
    if directory.name.startswith(_NEW) or not directory.is_dir():
        return None
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # another process has just removed it
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if os.fstat(lock).st_nlink == 0:  # removed between the two
        os.close(lock)
        return None
    return lock
