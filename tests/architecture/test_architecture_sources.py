"""The rules of the house that no linter knows. None of them has a list of exceptions."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.sources import ROOT, Source

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
MONEY = ("routing/", "proxy/domain/", "proxy/billing/", "proxy/ledger/")


def test_functions_are_short(sources: list[Source]) -> None:
    long = [
        f"{source.name}:{node.lineno} {node.name}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_files_are_short(sources: list[Source]) -> None:
    assert [s.name for s in sources if s.text.count("\n") > FILE_LINES_MAX] == []


def test_nothing_is_global(sources: list[Source]) -> None:
    assert [s.name for s in sources if _has(s.tree, ast.Global)] == []


def test_money_is_whole(sources: list[Source]) -> None:
    floats = [
        f"{source.name}:{line}"
        for source in sources
        if source.name.startswith(MONEY)
        for line in _floats(source.tree)
    ]
    assert floats == []


def test_the_search_for_floats_finds_them() -> None:
    text = "a = 1.5\nb = float(a)\nc: float = a\nd = 1e3\ne = 1\nf = a / e"
    assert sorted(_floats(ast.parse(text))) == [1, 2, 3, 4]


def _floats(tree: ast.Module) -> Iterator[int]:
    """Literals, calls and annotations. A quotient of Decimals or Fractions is allowed."""
    for node in ast.walk(tree):
        is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
        if is_literal or (isinstance(node, ast.Name) and node.id == "float"):
            assert isinstance(node, ast.expr)
            yield node.lineno


def _has(tree: ast.Module, kind: type[ast.AST]) -> bool:
    return any(isinstance(node, kind) for node in ast.walk(tree))


def test_only_the_store_speaks_to_postgres(sources: list[Source]) -> None:
    importers = {
        source.name
        for source in sources
        if source.name.startswith(("proxy/", "routing/")) and _imports(source.tree, "asyncpg")
    }
    assert {name for name in importers if not name.startswith("proxy/store/")} == set()
    assert importers


def _imports(tree: ast.Module, package: str) -> bool:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        if any(name.split(".")[0] == package for name in names):
            return True
    return False


# Written so that this file is not what it looks for.
_REGISTRIES = ("pypi." + "org", "python" + "hosted", "npm" + "js.org", "crates" + ".io")
_STRANGERS = re.compile(
    "|".join([*map(re.escape, _REGISTRIES), r"/home/\w+/", "/wo" + "rk/", r"/User" + r"s/\w+/"])
)
_TEXT_BYTES_MAX = 2**21


def test_no_file_names_a_registry_or_a_place_on_somebody_s_machine(
    committed_files: list[Path],
) -> None:
    named = []
    for path in committed_files:
        raw = path.read_bytes()
        if len(raw) <= _TEXT_BYTES_MAX and b"\0" not in raw:
            found = _STRANGERS.search(raw.decode(errors="replace"))
            if found:
                named.append(f"{path.relative_to(ROOT)}: {found[0]}")
    assert named == []
