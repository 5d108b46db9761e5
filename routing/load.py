"""The routing table from its file: all of it, or every reason why not."""

from pathlib import Path
from typing import Any, Final

from routing.build import build_table
from routing.coverage import check_models
from routing.document import TEXT_CHARS_MAX, AnyNode, Mapping, Report, Scalar, parse_document
from routing.format import FILE
from routing.jurisdiction import BUILT_IN_GROUPS
from routing.kinds import Reading
from routing.table import RoutingTable

_SECTIONS: Final = ("parties", "processors", "upstreams", "models")
_BYTES_PER_CHAR_MAX: Final = 4


def load_table(path: Path) -> RoutingTable:
    """Raises ConfigError with every problem found, a file that cannot be read included."""
    try:
        with path.open("rb") as file:
            raw = file.read(TEXT_CHARS_MAX * _BYTES_PER_CHAR_MAX + 1)
        text = raw.decode()
    except OSError as error:
        text = _unreadable(path, f"cannot be read: {error.strerror}", "give a file that exists")
    except UnicodeDecodeError as error:
        text = _unreadable(path, f"is not UTF-8 at byte {error.start}", "save it as UTF-8")
    return parse_table(text, str(path))


def parse_table(text: str, file: str = "routing.yaml") -> RoutingTable:
    """Pure. `file` only names the text in problems. Raises ConfigError."""
    report = Report(file)
    root = parse_document(text, report)
    reading = Reading(report, _names(root))
    entry: Any = FILE.read(root, reading)
    if entry is not None:
        check_models(entry, reading)
    report.raise_if_any()
    return build_table(entry)


def _unreadable(path: Path, reason: str, instead: str) -> str:
    report = Report(str(path))
    report.add(Scalar(1, 1, "$", "", "str"), reason, instead)
    report.raise_if_any()
    return ""


def _names(root: AnyNode) -> dict[str, frozenset[str]]:
    """What each section defines, known before anything that names it is read."""
    found: dict[str, AnyNode | None] = {}
    if isinstance(root, Mapping):
        found = {name: root.find(name) for name in (*_SECTIONS, "groups")}
    names = {
        name: frozenset(node.keys()) if isinstance(node, Mapping) else frozenset[str]()
        for name, node in found.items()
    }
    empty = frozenset[str]()
    own = names.get("groups", empty)
    return {name: names.get(name, empty) for name in _SECTIONS} | {
        "groups": own | frozenset(BUILT_IN_GROUPS)
    }
