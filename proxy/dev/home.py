"""The data directory of `apilink dev`: its secret, its demo key, and how commands find it."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import orjson

_ENVIRONMENT: Final = "dev.env"  # read by every command's --data-dir
_SECRET: Final = "secret-key"  # noqa: S105 - a file's name
_DEMO: Final = "demo.json"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo account, with the key in clear: it opens play money on this machine."""

    account_id: UUID
    key_id: str
    key: str


class Home:
    """Private files in a private directory. All are replaced whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def postgres(self) -> Path:
        return self.directory / "postgres"

    @property
    def redis(self) -> Path:
        return self.directory / "redis"

    def secret_key(self) -> str:
        """Made at the first start: keys that it hashed stay valid."""
        path = self.directory / _SECRET
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            secret = secrets.token_hex(_SECRET_BYTES)
            _write_private(path, f"{secret}\n".encode())
            return secret

    def write_environment(self, environ: Mapping[str, str]) -> None:
        lines = (f"{name}={text}\n" for name, text in sorted(environ.items()))
        _write_private(self.directory / _ENVIRONMENT, "".join(lines).encode())

    def remove_environment(self) -> None:
        """Nothing runs any more: `--data-dir` shall say so."""
        (self.directory / _ENVIRONMENT).unlink(missing_ok=True)

    def find_demo(self) -> Demo | None:
        try:
            found = orjson.loads((self.directory / _DEMO).read_bytes())
        except FileNotFoundError:
            return None
        return Demo(UUID(found["account_id"]), found["key_id"], found["key"])

    def keep_demo(self, demo: Demo) -> None:
        fields = {"account_id": str(demo.account_id), "key_id": demo.key_id, "key": demo.key}
        raw = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        _write_private(self.directory / _DEMO, raw)


def _write_private(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
