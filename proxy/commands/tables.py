"""Which routing table a command reads, and how it fails where it cannot."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from proxy.commands.context import fail
from proxy.domain.settings import PREFIX, Settings
from routing.errors import ConfigError
from routing.load import load_table
from routing.table import RoutingTable

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT: Final = Path(str(Settings.__dataclass_fields__["routing"].default))


def routing_option(command: F) -> F:
    return click.option(
        "--routing",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The routing table. Default: APILINK_ROUTING, else config/routing.yaml.",
    )(command)


def routing_path(given: Path | None, environ: Mapping[str, str]) -> Path:
    if given is not None:
        return given
    stated = environ.get(PREFIX + "ROUTING")
    return Path(stated) if stated else _DEFAULT


def table_of(given: Path | None, environ: Mapping[str, str]) -> RoutingTable:
    """Exits with status 2 and every problem of the file."""
    try:
        return load_table(routing_path(given, environ))
    except ConfigError as error:
        fail(*map(str, error.problems))
