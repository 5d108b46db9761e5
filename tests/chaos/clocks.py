"""Clocks that step, by libfaketime: each process looks its offset up in a file of its own.

The monotonic clock stays as it is: no machine's steps.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from proxy.dev.binaries import find_redis

STEPS_SECONDS = (5, -5, 90, -90, 400, -400, 4_000, -4_000)  # the longer ones are beyond any skew
_STILL = "+0\n"


def find_faketime() -> Path | None:
    """CHAOS_FAKETIME names it where it is not where distributions put it."""
    places = [Path(os.environ.get("CHAOS_FAKETIME", "/nowhere"))]
    places += sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return next((place for place in places if place.is_file()), None)


class Clocks:
    """Of all processes of a run. `directory` has a file for each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._library = find_faketime()

    def environ_of(self, name: str) -> Mapping[str, str]:
        """Empty where there is no libfaketime."""
        if self._library is None:
            return {}
        self.set_right(name)
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(name)),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # as releases before 0.9.11 call it
        }

    def redis_program(self) -> Path:
        """The server, with a clock that can be stepped."""
        program = find_redis(os.environ)
        environ = self.environ_of("redis")
        if not environ:
            return program
        script = self._directory / "redis-server"
        words = ["exec", "env", *(f"{name}={value}" for name, value in environ.items()), program]
        script.write_text(f'#!/bin/sh\n{shlex.join(map(str, words))} "$@"\n')
        script.chmod(0o700)
        return script

    def step(self, name: str, seconds: int) -> None:
        self._write(name, f"{seconds:+d}\n")

    def set_right(self, name: str) -> None:
        self._write(name, _STILL)

    def _write(self, name: str, text: str) -> None:
        """At once: who looks finds the old offset or the new one."""
        new = self._file(f"{name}-new")
        new.write_text(text)
        new.replace(self._file(name))

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}-clock"
