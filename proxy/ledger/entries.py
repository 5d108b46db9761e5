"""Entries of the charge stream."""

from dataclasses import dataclass
from typing import Any

from proxy.domain.charge import Charge, parse_charge


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream. `poison` says why it cannot be a charge, "" where it is one."""

    entry_id: str
    raw: bytes
    charge: Charge | None = None
    poison: str = ""


def parse_entry(entry: Any) -> Entry:
    """The row must say what the money did: it is compared with the fields that the ledger wrote."""
    entry_id = entry[0].decode()
    fields = dict(zip(entry[1][::2], entry[1][1::2], strict=True))
    raw = fields.get(b"d", b"")
    try:
        charge = parse_charge(raw)
        moved = (
            fields[b"a"].decode(),
            fields[b"k"].decode(),
            int(fields[b"c"]),
            int(fields[b"w"]),
            int(fields[b"n"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        return Entry(entry_id, _all_of(fields), poison=f"{type(error).__name__}: not a charge")
    told = (
        str(charge.account_id),
        charge.key_id,
        charge.charged_nanos,
        charge.window_ms,
        charge.number,
    )
    if told != moved:
        return Entry(entry_id, _all_of(fields), poison="the row differs from what was moved")
    return Entry(entry_id, raw, charge)


def _all_of(fields: dict[bytes, bytes]) -> bytes:
    return b"\n".join(name + b"=" + value for name, value in fields.items())


def stream_position(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence)
