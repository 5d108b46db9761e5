"""A scene for each story. One that ended well is played on again by the next."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.databases import make_template
from tests.support.own_stores import OwnPostgres
from tests.support.scene import Scene, run_scene


@pytest.fixture(scope="session")
def own_postgres(short_dir: Path) -> Iterator[OwnPostgres]:
    postgres = OwnPostgres(short_dir / "faults-postgres")
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="session")
def template(own_postgres: OwnPostgres) -> str:
    return make_template(own_postgres.url)


class Stage:
    def __init__(self, postgres: OwnPostgres, template: str, directory: Path) -> None:
        self._postgres = postgres
        self._template = template
        self._directory = directory
        self._count = 0
        self._scene: Scene | None = None
        self._running = ExitStack()

    def scene(self) -> Scene:
        """Everything serves, and no answer goes on by itself."""
        if self._scene is None or not self._scene.is_over:
            self.clear()
            self._count += 1
            scene = run_scene(self._postgres, self._template, self._directory / str(self._count))
            self._scene = self._running.enter_context(scene)
            self._scene.start()
        self._scene.is_over = False
        self._scene.deployment.hold_again()
        return self._scene

    def clear(self) -> None:
        if not self._postgres.is_running:
            self._postgres.start()
        self._running.close()
        self._scene = None


@pytest.fixture(scope="session")
def stage(own_postgres: OwnPostgres, template: str, short_dir: Path) -> Iterator[Stage]:
    found = Stage(own_postgres, template, short_dir / "faults")
    yield found
    found.clear()


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return stage.scene()
