"""Which routing table a command reads, and how it fails where it cannot."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from proxy.commands.context import fail
from proxy.domain.settings import PREFIX, Settings
from routing.errors import ConfigError, UnknownJurisdictionError, UnknownModelError
from routing.load import load_table
from routing.policy import Jurisdictions, resolve_jurisdictions
from routing.select import get_model
from routing.table import Model, RoutingTable

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


def bounds_of(
    table: RoutingTable, allow: Iterable[str] | None, deny: Iterable[str]
) -> Jurisdictions:
    """Exits with status 2 where a name is no country, group or preset."""
    try:
        return resolve_jurisdictions(table, allow, deny)
    except UnknownJurisdictionError as error:
        fail(f"{error.name!r} names no country, group or preset{_near(error.nearest)}")


def model_of(table: RoutingTable, name: str) -> Model:
    """By id or alias. Exits with status 2 where there is none."""
    try:
        return get_model(table, name)
    except UnknownModelError as error:
        near = _near(error.nearest) or "; `apilink routes show` lists them"
        fail(f"there is no model {error.model!r}{near}")


def _near(names: tuple[str, ...]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""
