"""`apilink check`: what a boot would refuse, and what it would take with a doubt."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from proxy.commands.context import EXIT_BAD_CONFIG, json_option, print_json
from proxy.commands.tables import routing_option, routing_path
from proxy.domain.settings import PREFIX, SettingsError, environment, parse_settings
from proxy.upstream.credentials import Keyring, credential_problems
from routing.disclose import find_doubts
from routing.errors import ConfigError
from routing.load import load_table
from routing.table import RoutingTable


@click.command(epilog="Example: apilink check --routing config/routing.yaml")
@routing_option
@json_option
def check(routing: Path | None, *, as_json: bool) -> None:
    """Check settings and the routing table as a boot would.

    Exits with status 2 and every reason where a boot would fail. Doubts and models that no key in
    the environment serves are told, and are no failure. Settings are checked where any is set.
    """
    environ = environment()
    problems = [*_settings_problems(environ)]
    table: RoutingTable | None = None
    try:
        table = load_table(routing_path(routing, environ))
    except ConfigError as error:
        problems += [str(problem) for problem in error.problems]
    report = _report(table, environ) if table is not None else {}
    problems += report.pop("problems", [])
    report = {"ok": not problems, "problems": problems, **report}
    if as_json:
        print_json(report)
    else:
        _print(report)
    if problems:
        raise SystemExit(EXIT_BAD_CONFIG)


def _settings_problems(environ: Mapping[str, str]) -> tuple[str, ...]:
    own = (PREFIX + "ROUTING", PREFIX + "SERVICE_", PREFIX + "PORT")
    if not any(name.startswith(PREFIX) and not name.startswith(own) for name in environ):
        return ()
    try:
        parse_settings(environ)
    except SettingsError as error:
        return error.mistakes
    return ()


def _report(table: RoutingTable, environ: Mapping[str, str]) -> dict[str, Any]:
    keyring = Keyring(environ)
    served = {name: keyring.has_any(upstream) for name, upstream in table.upstreams.items()}
    unavailable = {
        model.id: sorted({key.env for r in model.routes if r.enabled for key in r.upstream.keys})
        for model in table.models.values()
        if not any(served[route.upstream.id] for route in model.routes if route.enabled)
    }
    return {
        "problems": list(credential_problems(table.upstreams.values(), environ)),
        "revision": table.revision,
        "models": len(table.models),
        "routes": sum(len(model.routes) for model in table.models.values()),
        "parties": len(table.parties),
        "warnings": [
            {"path": doubt.path, "reason": doubt.reason}
            for doubt in find_doubts(table, datetime.now(UTC).date())
        ],
        "unavailable": unavailable,
    }


def _print(report: dict[str, Any]) -> None:
    """What stops a start comes last, where a reader of a long list looks."""
    if "revision" in report:
        _print_doubts(report, "" if report["problems"] else "; no mistakes")
    for problem in report["problems"]:
        click.echo(problem, err=True)
    if report["problems"]:
        many = "s" if len(report["problems"]) > 1 else ""
        click.echo(f"{len(report['problems'])} mistake{many}: nothing would start", err=True)


def _print_doubts(report: dict[str, Any], outcome: str) -> None:
    for warning in report["warnings"]:
        click.echo(f"warning: {warning['path']}: {warning['reason']}")
    for model, names in report["unavailable"].items():
        click.echo(f"unavailable: {model}: set {' or '.join(names)}")
    click.echo(
        f"revision {report['revision']}: {report['models']} models, {report['routes']} routes, "
        f"{report['parties']} parties; {len(report['warnings'])} warnings, "
        f"{len(report['unavailable'])} models without a key{outcome}"
    )
