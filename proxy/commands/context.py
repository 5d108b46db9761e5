"""What every command shares: which settings it speaks to, and how it prints and fails."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click
import orjson

from proxy.domain.settings import Settings, SettingsError, environment, parse_settings

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

EXIT_BAD_CONFIG: Final = 2
_OR_DEV: Final = "or give --data-dir DIR for an `apilink dev` that runs: .apilink for `make run`"
DEV_ENVIRONMENT: Final = "dev.env"  # written by `apilink dev` into its data directory


def data_dir_option(command: F) -> F:
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Talk to the `apilink dev` that runs in this directory.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")(
        command
    )


def settings_of(data_dir: Path | None, *, or_dev: bool = False) -> Settings:
    """From the environment, or from a running `dev`. Exits with status 2 and every mistake.

    `or_dev`: the command could speak to a running `dev`, and says so where nothing else is given.
    """
    environ = dict(environment())
    if data_dir is not None:
        path = data_dir / DEV_ENVIRONMENT
        try:
            lines = path.read_text().splitlines()
        except OSError:
            fail(f"{path}: no such file: is `apilink dev --data-dir {data_dir}` running?")
        environ.update((name, text) for name, _, text in (line.partition("=") for line in lines))
    try:
        return parse_settings(environ)
    except SettingsError as error:
        fail(*error.mistakes, *([_OR_DEV] if or_dev and data_dir is None else []))


def run(step: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(step)


def print_json(value: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


def fail(*reasons: str) -> NoReturn:
    """The reasons on stderr, one a line, and exit status 2."""
    for reason in reasons:
        click.echo(reason, err=True)
    sys.exit(EXIT_BAD_CONFIG)
