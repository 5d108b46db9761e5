from pathlib import Path

import pytest

from tests.support.sources import Source, committed, load_sources


@pytest.fixture(scope="session")
def committed_files() -> list[Path]:
    return committed(".")


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """The product, and what its tests share."""
    found = load_sources("proxy", "routing", "tests/support")
    assert len(found) > 50
    return found
