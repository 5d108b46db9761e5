"""Names that look like one that does not exist, for messages that say what to write instead."""

import difflib
from collections.abc import Iterable
from typing import Final

_NEAREST_MAX: Final = 3
_LIKENESS: Final = 1 / 2


def nearest(name: str, known: Iterable[str], limit: int = _NEAREST_MAX) -> tuple[str, ...]:
    """The best first. Letter case does not count."""
    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(candidate.casefold(), candidate)
    found = difflib.get_close_matches(name.casefold(), by_folded, n=limit, cutoff=_LIKENESS)
    return tuple(by_folded[folded] for folded in found)
