"""`apilink ledger close|trial-balance|balance`: what a bookkeeper asks of the books."""

import getpass
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from proxy.billing.close import close_month
from proxy.commands.context import data_dir_option, json_option, print_json
from proxy.commands.stores import EXIT_REFUSED, exit_with, open_both, with_settings, with_store
from proxy.commands.values import AccountId, Moment, Month
from proxy.domain.clock import SystemClock, at_ms
from proxy.domain.settings import Settings
from proxy.store.closes import Close, CloseRefusedError, CodeBalance
from proxy.store.pool import Store
from routing.money import Nanos, format_usd

_SECONDS: Final = 600  # a month of the books is read whole


def _user() -> str:
    """Whoever is logged in; containers often run as a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


@click.command(epilog="Example: apilink ledger close 2026-10 --json")
@click.argument("month", type=Month())
@click.option("--actor", default=_user, help="Who does this.  [default: you]")
@data_dir_option
@json_option
def close(*, month: date, actor: str, data_dir: Path | None, as_json: bool) -> None:
    """Close a finished month, with the totals of every account and a trial balance.

    Months are closed in order, and once: again, it prints what was written. Refused while the
    month runs, while charges of it are not flushed, while entries from before its end are in
    quarantine, or where usage rows and books disagree. A month is what was posted in it, in UTC.
    """

    async def step(settings: Settings) -> Close:
        async with open_both(settings, timeout_seconds=_SECONDS) as (store, wallets):
            return await close_month(store, wallets, month, actor)

    try:
        done = with_settings(data_dir, step)
    except CloseRefusedError as error:
        exit_with(EXIT_REFUSED, f"{month:%Y-%m} stays open: {error}")
    if as_json:
        print_json(_closed(done))
        return
    click.echo(
        f"{month:%Y-%m} {'closed' if done.is_new else 'was closed'} by {done.actor} at "
        f"{done.closed_at.isoformat()}: {done.accounts} accounts, {done.batches} batches, "
        f"{done.usage_rows} usage rows"
    )
    click.echo(f"moved    {format_usd(Nanos(done.moved_nanos))} USD")
    click.echo(f"charged  {format_usd(Nanos(done.charged_nanos))} USD")
    click.echo(f"prepaid  {format_usd(Nanos(done.prepaid_nanos))} USD at its end")


@click.command("trial-balance", epilog="Example: apilink ledger trial-balance --month 2026-10")
@click.option("--month", type=Month(), help="Of this month, closed or not. Default: all until now.")
@data_dir_option
@json_option
def trial_balance(*, month: date | None, data_dir: Path | None, as_json: bool) -> None:
    """Debits less credits of every account of the chart. Exit status 1 unless they add up to 0."""

    async def step(store: Store) -> Sequence[CodeBalance]:
        return await store.closes.trial_balance(month)

    lines = with_store(data_dir, step, timeout_seconds=_SECONDS)
    total = sum(line.closing_nanos for line in lines)
    if as_json:
        print_json(_trial(month, lines, total))
    else:
        for line in lines:
            click.echo(
                f"{line.code:<14} {line.kind:<10} {_usd(line.opening_nanos)} "
                f"{_usd(line.debited_nanos)} {_usd(-line.credited_nanos)} "
                f"{_usd(line.closing_nanos)}"
            )
        click.echo(f"{'in all':<25} {'':>22} {'':>22} {'':>22} {_usd(total)}")
    raise SystemExit(EXIT_REFUSED if total else 0)


@click.command(epilog="Example: apilink ledger balance --account ID --as-of 2026-10-31")
@click.option("--account", type=AccountId(), required=True, help="The account's id.")
@click.option(
    "--as-of",
    type=Moment(),
    help="The end of a day in UTC, or a moment such as 2026-10-31T12:00:00Z.  [default: today]",
)
@data_dir_option
@json_option
def balance(*, account: UUID, as_of: datetime | None, data_dir: Path | None, as_json: bool) -> None:
    """What the books owed an account then. For today: as of the last flush."""
    latest = _end_of_today()
    if as_of is not None and as_of > latest:
        raise click.BadParameter("lies ahead", param_hint="--as-of")
    before = latest if as_of is None else as_of

    async def step(store: Store) -> Nanos | None:
        return await store.closes.balance_at(account, before)

    nanos = with_store(data_dir, step, timeout_seconds=_SECONDS)
    if nanos is None:
        exit_with(EXIT_REFUSED, f"no account {account}: `apilink accounts list` shows them")
    if as_json:
        print_json(
            {
                "account_id": str(account),
                "before": before.astimezone(UTC).isoformat(),
                "balance_nanos": nanos,
            }
        )
        return
    click.echo(f"{format_usd(nanos)} USD before {before.astimezone(UTC).isoformat()}")


def _end_of_today() -> datetime:
    now = at_ms(SystemClock().unix_ms())
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)


def _usd(nanos: int) -> str:
    return f"{format_usd(Nanos(nanos)):>22}"


def _closed(done: Close) -> dict[str, Any]:
    return {
        "month": f"{done.month:%Y-%m}",
        "outcome": "ok" if done.is_new else "exists",
        "accounts": done.accounts,
        "batches": done.batches,
        "usage_rows": done.usage_rows,
        "moved_nanos": done.moved_nanos,
        "charged_nanos": done.charged_nanos,
        "prepaid_nanos": done.prepaid_nanos,
        "actor": done.actor,
        "closed_at": done.closed_at.isoformat(),
    }


def _trial(month: date | None, lines: Sequence[CodeBalance], total: int) -> dict[str, Any]:
    return {
        "ok": total == 0,
        "month": None if month is None else f"{month:%Y-%m}",
        "total_nanos": total,
        "accounts": [
            {
                "code": line.code,
                "kind": line.kind,
                "opening_nanos": line.opening_nanos,
                "debited_nanos": line.debited_nanos,
                "credited_nanos": line.credited_nanos,
                "closing_nanos": line.closing_nanos,
            }
            for line in lines
        ],
    }
