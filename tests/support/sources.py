"""The product's files, as architecture tests read them."""

import ast
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file, parsed."""

    name: str
    text: str
    tree: ast.Module


def committed(*paths: str) -> list[Path]:
    """What git tracks; everything there is where this is no checkout."""
    run = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=ROOT, capture_output=True, check=False
    )
    if run.returncode == 0:
        names = run.stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    found = (file for path in paths for file in (ROOT / path).rglob("*"))
    return [file for file in found if file.is_file() and "__pycache__" not in file.parts]


def load_sources(*paths: str) -> list[Source]:
    files = [path for path in committed(*paths) if path.suffix == ".py"]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    return [Source(name, text, ast.parse(text)) for name, text in texts.items()]
