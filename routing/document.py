"""A YAML text as nodes that know where they stand. The only importer of the YAML library.

YAML 1.2: `NO`, `on` and `1:30` are text. Scalars stay text with the type that YAML resolved, so a
price is never a float on its way to an integer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from routing.errors import ConfigError, Problem

TEXT_CHARS_MAX: Final = 4 * 2**20
_NODES_MAX: Final = 500_000
_DEPTH_MAX: Final = 32
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Scalar:
    """`kind` is YAML's word: str, int, float, bool, null, timestamp, merge, or a foreign tag."""

    line: int
    column: int
    path: str
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Items:
    line: int
    column: int
    path: str
    items: "tuple[AnyNode, ...]"


@dataclass(frozen=True, slots=True)
class Mapping:
    """`entries` keeps the file's order, each key once."""

    line: int
    column: int
    path: str
    entries: "tuple[tuple[Scalar, AnyNode], ...]"

    def find(self, key: str) -> "AnyNode | None":
        return next((value for name, value in self.entries if name.text == key), None)

    def keys(self) -> Iterator[str]:
        return (name.text for name, _ in self.entries)


AnyNode = Scalar | Items | Mapping


@dataclass(slots=True)
class Report:
    """Collects every problem of one file."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, node: AnyNode, reason: str, instead: str) -> None:
        problem = Problem(self.file, node.line, node.column, node.path, reason, instead)
        if problem not in self.problems:  # an aliased node is read twice
            self.problems.append(problem)

    def raise_if_any(self) -> None:
        if self.problems:
            ordered = sorted(self.problems, key=lambda p: (p.line, p.column))
            raise ConfigError(tuple(ordered))


def parse_document(text: str, report: Report) -> AnyNode:
    """Reports duplicate keys and keys that are not plain text.

    Raises ConfigError where the text is not one YAML document within bounds.
    """
    if len(text) > TEXT_CHARS_MAX:
        start = Scalar(1, 1, "$", "", "str")
        report.add(start, f"is longer than {TEXT_CHARS_MAX} characters", "write a smaller table")
        report.raise_if_any()
    root = _compose(text, report)
    return _Converter(report).convert(root, "")


def _compose(text: str, report: Report) -> Node:
    try:
        root = YAML(typ="rt", pure=True).compose(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = f"is not YAML: {error.problem or error.context}"
        begins = error.context_mark.line + 1 if error.context_mark else line
        instead = f"correct the syntax here or where it begins, in line {begins}"
        report.add(Scalar(line, column, "$", "", "str"), reason, instead)
    except YAMLError as error:  # a character that YAML forbids
        reason = f"is not YAML: {str(error).splitlines()[0]}"
        report.add(Scalar(1, 1, "$", "", "str"), reason, "remove that character")
    else:
        if isinstance(root, Node):
            return root
        report.add(Scalar(1, 1, "$", "", "str"), "is empty", "begin with `version: 1`")
    report.raise_if_any()
    raise AssertionError("reported above")


@dataclass(slots=True)
class _Converter:
    """Aliases are followed, so the count and the depth of what they expand to are bounded."""

    report: Report
    count: int = 0
    depth: int = 0

    def convert(self, node: Node, path: str) -> AnyNode:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self.count += 1
        if self.count > _NODES_MAX or self.depth > _DEPTH_MAX:
            place = Scalar(line, column, path or "$", "", "str")
            self.report.add(place, "is nested too deeply or too large", "write it out flat")
            self.report.raise_if_any()
        self.depth += 1
        try:
            return self._converted(node, path, line, column)
        finally:
            self.depth -= 1

    def _converted(self, node: Node, path: str, line: int, column: int) -> AnyNode:
        if isinstance(node, ScalarNode):
            return Scalar(line, column, path or "$", str(node.value), _kind(node))
        if isinstance(node, SequenceNode):
            items = (self.convert(item, f"{path}[{i}]") for i, item in enumerate(node.value))
            return Items(line, column, path or "$", tuple(items))
        assert isinstance(node, MappingNode), "YAML has three kinds of nodes"
        return Mapping(line, column, path or "$", tuple(self._entries(node, path)))

    def _entries(self, node: MappingNode, path: str) -> Iterator[tuple[Scalar, AnyNode]]:
        seen: dict[str, Scalar] = {}
        for key_node, value_node in node.value:
            key = self.convert(key_node, path)
            if not isinstance(key, Scalar) or key.kind == "merge":
                self.report.add(key, "is not a plain key", "write each key out as text")
                continue
            below = f"{path}.{key.text}" if path else key.text
            key = Scalar(key.line, key.column, below, key.text, key.kind)
            if key.text in seen:
                first = seen[key.text].line
                self.report.add(key, f"is a duplicate of line {first}", "remove one of the two")
                continue
            seen[key.text] = key
            yield key, self.convert(value_node, below)


def _kind(node: ScalarNode) -> str:
    return str(node.tag).removeprefix(_TAG)
