"""`apilink ledger quarantine`: entries that Postgres refused."""

import getpass
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson

from proxy.billing.sweep import deliver
from proxy.commands.context import data_dir_option, json_option, print_json
from proxy.commands.stores import (
    EXIT_REFUSED,
    exit_with,
    open_both,
    open_migrated,
    with_settings,
    with_store,
)
from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.ports import Wallets
from proxy.domain.settings import Settings
from proxy.store.movements import Undelivered
from proxy.store.pool import Store
from proxy.store.quarantine import Quarantined, Resolved, StaysError
from routing.money import format_usd

F = TypeVar("F", bound=Callable[..., Any])
Resolve = Callable[[Store], Coroutine[Any, Any, Resolved]]

_CHARS_MAX: Final = 200
_ENTRY: Final = re.compile(r"([0-9]{1,4})/([0-9A-Za-z:-]{1,100})")


class EntryName(click.ParamType[Any]):
    """SHARD/ENTRY, as `list` shows them."""

    name = "entry"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, str]:
        if isinstance(value, tuple):
            return value
        found = _ENTRY.fullmatch(value)
        if found is None:
            self.fail(
                f"{value!r} is no entry such as 0/1763856000000-0: `list` shows them", param, ctx
            )
        return int(found[1]), found[2]


def _user() -> str:
    """Whoever is logged in; containers often run as a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


def _resolving(command: F) -> F:
    """What both ways to resolve an entry ask for."""
    for option in (
        click.argument("entry", type=EntryName()),
        click.option("--reason", required=True, help="Why: it is kept with the entry."),
        click.option("--actor", default=_user, help="Who does this.  [default: you]"),
    ):
        command = option(command)
    return json_option(data_dir_option(command))


@click.group()
def quarantine() -> None:
    """See to charges that Postgres refused: none is lost, and none is forgotten."""


@quarantine.command("list", epilog="Example: apilink ledger quarantine list --json")
@click.option("--all", "with_resolved", is_flag=True, help="Resolved ones too.")
@data_dir_option
@json_option
def list_(*, with_resolved: bool, data_dir: Path | None, as_json: bool) -> None:
    """List the entries, the oldest first; a thousand at most."""

    async def step(store: Store) -> Any:
        return await store.quarantine.list(with_resolved=with_resolved)

    found = with_store(data_dir, step)
    if as_json:
        print_json([_fields(entry) for entry in found])
        return
    for entry in found:
        click.echo(f"{entry.name} {_amount(entry)} {entry.account_id or '-'} {entry.reason!r}")


@quarantine.command(epilog="Example: apilink ledger quarantine show 0/1763856000000-0")
@click.argument("entry", type=EntryName())
@data_dir_option
def show(*, entry: tuple[int, str], data_dir: Path | None) -> None:
    """Show an entry whole, as JSON: counts, names and times. No charge has content."""

    async def step(store: Store) -> Quarantined | None:
        return await store.quarantine.find(*entry)

    found = with_store(data_dir, step)
    if found is None:
        exit_with(EXIT_REFUSED, f"no entry {entry[0]}/{entry[1]} in quarantine: `list` shows them")
    print_json({**_fields(found), "raw": _readable(found.raw)})


@quarantine.command(
    epilog="Example: apilink ledger quarantine post 0/1763856000000-0 --reason 'partition made'"
)
@_resolving
def post(
    *, entry: tuple[int, str], actor: str, reason: str, data_dir: Path | None, as_json: bool
) -> None:
    """Try again to make the entry's row, once what kept it out is mended.

    Row, money and books are made in one transaction, as a flush makes them.
    """
    _check(actor, reason)

    async def step(store: Store) -> Resolved:
        return await store.quarantine.post(*entry, actor=actor, reason=reason)

    _report("posted", _resolved(data_dir, step), as_json=as_json)


@quarantine.command(
    epilog="Example: apilink ledger quarantine waive 0/1763856000000-0 --reason 'cannot be read'"
)
@_resolving
def waive(
    *, entry: tuple[int, str], actor: str, reason: str, data_dir: Path | None, as_json: bool
) -> None:
    """Give the entry's amount back to its account. There will be no row of it."""
    _check(actor, reason)

    async def step(store: Store) -> Resolved:
        return await store.quarantine.waive(*entry, actor=actor, reason=reason)

    _report("waived", _resolved(data_dir, step), as_json=as_json)


def _check(actor: str, reason: str) -> None:
    for name, text in (("--actor", actor), ("--reason", reason)):
        if not 1 <= len(text.strip()) <= _CHARS_MAX or not text.isprintable():
            raise click.BadParameter(f"needs 1 to {_CHARS_MAX} characters", param_hint=name)


def _resolved(data_dir: Path | None, resolve: Resolve) -> tuple[Resolved, bool]:
    """And whether the ledger has it all; else the sweep brings it there."""

    async def step(settings: Settings) -> tuple[Resolved, bool]:
        async with open_migrated(settings) as store:
            done = await resolve(store)
        if done.sequence is None:
            return done, True
        try:
            async with open_both(settings) as (store, wallets):
                return done, await _deliver(store, wallets, done, done.sequence)
        except LedgerUnavailableError:
            return done, False

    try:
        return with_settings(data_dir, step)
    except (LookupError, StaysError) as error:
        exit_with(EXIT_REFUSED, str(error))


async def _deliver(store: Store, wallets: Wallets, done: Resolved, sequence: int) -> bool:
    account_id = done.entry.account_id
    assert account_id is not None, "a movement has an account"
    return await deliver(store, wallets, Undelivered(account_id, done.entry.shard, sequence - 1))


def _report(outcome: str, done: tuple[Resolved, bool], *, as_json: bool) -> None:
    resolved, delivered = done
    if as_json:
        print_json(
            {
                "outcome": outcome,
                "entry": resolved.entry.name,
                "sequence": resolved.sequence,
                "delivered": delivered,
            }
        )
        return
    click.echo(f"{outcome} {resolved.entry.name}: {_amount(resolved.entry)}")


def _amount(entry: Quarantined) -> str:
    return "-" if entry.charged_nanos is None else f"{format_usd(entry.charged_nanos)} USD"


def _fields(entry: Quarantined) -> dict[str, Any]:
    at = entry.resolved_at
    return {
        "entry": entry.name,
        "account_id": None if entry.account_id is None else str(entry.account_id),
        "charged_nanos": entry.charged_nanos,
        "reason": entry.reason,
        "created_at": entry.created_at.isoformat(),
        "resolved_at": None if at is None else at.isoformat(),
    }


def _readable(raw: bytes) -> Any:
    """A charge as it is; else the bytes, those escaped that are no text."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="backslashreplace")
