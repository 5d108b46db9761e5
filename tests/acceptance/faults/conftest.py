"""A scene for each story. One that ended well is played on again by the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import make_template
from tests.support.own_stores import OwnPostgres
from tests.support.scene import Scene, Stage


@pytest.fixture(scope="session")
def own_postgres(short_dir: Path) -> Iterator[OwnPostgres]:
    postgres = OwnPostgres(short_dir / "faults-postgres")
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="session")
def template(own_postgres: OwnPostgres) -> str:
    return make_template(own_postgres.url)


@pytest.fixture(scope="session")
def stage(own_postgres: OwnPostgres, template: str, short_dir: Path) -> Iterator[Stage]:
    found = Stage(own_postgres, template, short_dir / "faults")
    yield found
    found.clear()


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return stage.scene()
