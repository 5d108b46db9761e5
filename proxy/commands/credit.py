"""`apilink credit`."""

import getpass
from pathlib import Path
from typing import Final
from uuid import UUID

import click

from proxy.billing.credit import Credited
from proxy.billing.credit import credit as credit_account
from proxy.commands.context import data_dir_option, json_option, print_json
from proxy.commands.stores import (
    EXIT_REFUSED,
    exit_with,
    open_both,
    open_migrated,
    with_settings,
)
from proxy.commands.values import AccountId, Usd
from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.outcome import Outcome
from proxy.domain.settings import Settings
from proxy.store.books import MovementKind
from proxy.store.movements import WalletFullError
from routing.money import Nanos, format_usd


def _user() -> str:
    """Whoever is logged in; containers often run as a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


_KINDS: Final = (MovementKind.TOP_UP.value, MovementKind.ADJUSTMENT.value)


@click.command(
    epilog="Example: apilink credit --account ID --usd 10.00 --reference bank-4711 --json"
)
@click.option("--account", type=AccountId(), required=True, help="The account's id.")
@click.option("--usd", type=Usd(), required=True, help="Dollars, with up to nine decimals.")
@click.option("--reference", required=True, help="What this is for: it counts once per account.")
@click.option("--actor", default=_user, help="Who does this.  [default: you]")
@click.option("--reason", default="", help="Why, for the books.")
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    default=_KINDS[0],
    show_default=True,
    help="What the books call it.",
)
@data_dir_option
@json_option
def credit(
    *,
    account: UUID,
    usd: Nanos,
    reference: str,
    actor: str,
    reason: str,
    kind: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Credit an account, or take something back (`--kind adjustment --usd=-1.00`).

    Repeated with the same reference and amount it changes nothing and succeeds.
    """
    if usd == 0 or (usd < 0 and kind == MovementKind.TOP_UP):
        raise click.BadParameter(
            "a top-up is above zero; `--kind adjustment --usd=-1.00` takes back", param_hint="--usd"
        )
    if not 1 <= len(reference) <= 200:  # noqa: PLR2004 - the column's bound
        raise click.BadParameter("needs 1 to 200 characters", param_hint="--reference")

    async def step(settings: Settings) -> Credited:
        given = (account, usd, reference, actor, reason)
        try:
            async with open_both(settings) as (store, wallets):
                return await credit_account(store, wallets, *given, kind=MovementKind(kind))
        except LedgerUnavailableError:  # the sweep brings it there
            async with open_migrated(settings) as store:
                return await credit_account(store, None, *given, kind=MovementKind(kind))

    try:
        _report(with_settings(data_dir, step), account, reference, as_json=as_json)
    except WalletFullError as error:
        exit_with(EXIT_REFUSED, f"a wallet holds at most 1,000,000 USD: {error} USD")


def _report(done: Credited, account: UUID, reference: str, *, as_json: bool) -> None:
    if done.outcome is Outcome.NOT_FOUND:
        exit_with(EXIT_REFUSED, f"no account {account}: `apilink accounts list` shows them")
    if done.outcome is Outcome.EXISTS_WITH_DIFFERENT_AMOUNT:
        exit_with(
            EXIT_REFUSED,
            f"{reference} was credited already, with another amount: give a new --reference",
        )
    if as_json:
        print_json(
            {
                "outcome": done.outcome.value,
                "account_id": str(account),
                "sequence": done.sequence,
                "balance_nanos": done.balance_nanos,
                "delivered": done.delivered,
            }
        )
        return
    again = " (as before)" if done.outcome is Outcome.EXISTS else ""
    click.echo(f"credited{again}; balance {format_usd(done.balance_nanos)} USD at the last flush")
