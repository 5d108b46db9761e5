"""Kinds of single values in the file: each reads a node and describes itself as JSON Schema.

A kind reports what is wrong and answers None; nothing is built from a file with problems.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from routing.countries import COUNTRIES
from routing.document import AnyNode, Report, Scalar
from routing.jurisdiction import UNKNOWN
from routing.names import nearest

Schema = dict[str, Any]


@dataclass(slots=True)
class Reading:
    """One file being read: where problems go, and which names its sections define."""

    report: Report
    names: Mapping[str, frozenset[str]]  # "parties" → ids, also "upstreams" and "groups"

    def add(self, node: AnyNode, reason: str, instead: str) -> None:
        self.report.add(node, reason, instead)


class Kind(Protocol):
    def read(self, node: AnyNode, reading: Reading) -> Any: ...

    def schema(self, defs: dict[str, Schema]) -> Schema: ...


def scalar(node: AnyNode, reading: Reading, what: str) -> Scalar | None:
    """The node as text, whatever type YAML gave it."""
    if not isinstance(node, Scalar) or node.kind == "null":
        reading.add(node, f"is not {what}", f"write {what}")
        return None
    return node


def did_you_mean(text: str, known: Iterable[str]) -> str:
    known = tuple(known)
    found = nearest(text, known, 1)
    if found:
        return f"did you mean {found[0]}?"
    return f"write one of {', '.join(sorted(known))}" if known else "none is defined"


@dataclass(frozen=True, slots=True)
class Text:
    """Any text that is not empty, or one that `pattern` matches whole."""

    what: str = "text"
    pattern: str | None = None
    secret: bool = False  # a value that fails may be a pasted secret: never shown

    def read(self, node: AnyNode, reading: Reading) -> str | None:
        found = scalar(node, reading, self.what)
        if found is None:
            return None
        if found.kind != "str":
            reading.add(node, f"is a {found.kind} to YAML", f'write "{found.text}" in quotes')
            return None
        if not found.text or (self.pattern and not re.fullmatch(self.pattern, found.text)):
            shown = "the value" if self.secret else repr(found.text)
            reading.add(node, f"{shown} is not {self.what}", f"write {self.what}")
            return None
        return found.text

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        pattern = {"pattern": f"^(?:{self.pattern})$"} if self.pattern else {"minLength": 1}
        return {"type": "string", **pattern}


@dataclass(frozen=True, slots=True)
class Parsed:
    """Text that `parse` turns into a value. Its ValueError's words say what is wrong."""

    parse: Callable[[str], Any]
    what: str
    pattern: str
    example: str

    def read(self, node: AnyNode, reading: Reading) -> Any:
        found = scalar(node, reading, self.what)
        if found is None:
            return None
        if found.kind in ("int", "float"):
            reading.add(node, "is a number", f'write "{found.text}" in quotes')
            return None
        try:
            return self.parse(found.text)
        except ValueError as error:
            reading.add(node, str(error), f'write {self.what}, like "{self.example}"')
            return None

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        return {"type": "string", "pattern": f"^(?:{self.pattern})$", "examples": [self.example]}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number in plain digits."""

    minimum: int
    maximum: int

    def read(self, node: AnyNode, reading: Reading) -> int | None:
        what = f"a whole number from {self.minimum} to {self.maximum}"
        found = scalar(node, reading, what)
        if found is None:
            return None
        plain = found.kind == "int" and re.fullmatch(r"0|[1-9]\d{0,17}", found.text)
        if not plain or not self.minimum <= int(found.text) <= self.maximum:
            reading.add(node, f"{found.text!r} is not {what}", f"write {what}, without quotes")
            return None
        return int(found.text)

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class Truth:
    def read(self, node: AnyNode, reading: Reading) -> bool | None:
        if isinstance(node, Scalar) and node.kind == "bool" and node.text in ("true", "false"):
            return node.text == "true"
        reading.add(node, "is not a truth value", "write true or false, without quotes")
        return None

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Day:
    def read(self, node: AnyNode, reading: Reading) -> date | None:
        found = scalar(node, reading, "a date")
        if found is None:
            return None
        if re.fullmatch(r"\d{4}-\d\d-\d\d", found.text):
            with contextlib.suppress(ValueError):  # the 31st of February
                return date.fromisoformat(found.text)
        reading.add(node, f"{found.text!r} is not a date", "write it as 2026-11-22")
        return None

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        return {"type": "string", "format": "date", "pattern": r"^\d{4}-\d\d-\d\d$"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a closed list of words."""

    words: tuple[str, ...]

    def read(self, node: AnyNode, reading: Reading) -> str | None:
        found = scalar(node, reading, "one word of a list")
        if found is None:
            return None
        if found.text not in self.words:
            instead = did_you_mean(found.text, self.words)
            reading.add(node, f"{found.text!r} is not known here", instead)
            return None
        return found.text

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class NameIn:
    """A name that a section of this file defines."""

    section: str

    def read(self, node: AnyNode, reading: Reading) -> str | None:
        found = scalar(node, reading, f"a name out of `{self.section}`")
        if found is None:
            return None
        known = reading.names[self.section]
        if found.text not in known:
            reason = f"{found.text!r} is not defined under `{self.section}`"
            reading.add(node, reason, did_you_mean(found.text, known))
            return None
        return found.text

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class Place:
    """A country, and, as told, the name of a group or the word `unknown`."""

    groups: bool = False
    unknown: bool = False

    def read(self, node: AnyNode, reading: Reading) -> str | None:
        found = scalar(node, reading, "a country's two letters")
        if found is None:
            return None
        code = found.text
        if code in COUNTRIES or (self.unknown and code == UNKNOWN):
            return code
        groups = reading.names["groups"]
        if self.groups and code in groups:
            return code
        if code.upper() in COUNTRIES:
            instead = f"write {code.upper()}"
        else:
            word = f", a group ({', '.join(sorted(groups))})" if self.groups else ""
            instead = f"write two letters of ISO 3166-1, like US{word}"
            instead += f", or {UNKNOWN}" if self.unknown else ""
        reading.add(node, f"{code!r} is not a country", instead)
        return None

    def schema(self, defs: dict[str, Schema]) -> Schema:
        del defs
        if self.groups:
            return {"type": "string", "minLength": 2}
        return {"type": "string", "pattern": "^[A-Z]{2}$"}
