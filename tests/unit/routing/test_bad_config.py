"""One bad file per mistake: each says at which line and column, and what to write instead."""

import re
from pathlib import Path

import pytest

from routing.errors import ConfigError
from routing.load import load_table

FOLDER = Path(__file__).parents[2] / "fixtures" / "bad_config"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_its_place_and_reason(path: Path) -> None:
    first_line = path.read_text().partition("\n")[0]
    expected = re.fullmatch(r"# expect (\d+):(\d+) (.+)", first_line)
    assert expected, "the first line says what is expected"

    with pytest.raises(ConfigError) as caught:
        load_table(path)

    told = [str(problem) for problem in caught.value.problems]
    place = f"{path}:{expected[1]}:{expected[2]}: "
    assert any(line.startswith(place) and expected[3] in line for line in told), told
    assert all(problem.instead for problem in caught.value.problems)
    assert len(told) <= 2, told  # one mistake is told once, or with the one that follows from it
