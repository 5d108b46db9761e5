"""`apilink accounts`."""

from pathlib import Path
from typing import Any

import click

from proxy.commands.context import data_dir_option, json_option, print_json
from proxy.commands.stores import EXIT_REFUSED, exit_with, open_migrated, with_settings, with_store
from proxy.commands.values import Email
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_uuid7
from proxy.domain.settings import Settings
from proxy.store.pool import Store
from proxy.store.shards import shard_of


@click.group()
def accounts() -> None:
    """Create and list accounts."""


@accounts.command(epilog="Example: apilink accounts create --email ada@example.com --json")
@click.option("--email", type=Email(), required=True, help="Where the account's owner is reached.")
@click.option("--actor", default="operator", show_default=True, help="Who does this.")
@data_dir_option
@json_option
def create(*, email: str, actor: str, data_dir: Path | None, as_json: bool) -> None:
    """Create an account with an empty wallet.

    Whoever creates it attests that its owner was shown the notice on transfers to other countries.
    """

    async def step(settings: Settings) -> dict[str, Any] | None:
        account_id = mint_uuid7(SystemClock())
        async with open_migrated(settings) as store:
            await store.deployment.check(shards=settings.shards)
            made = await store.accounts.create(
                account_id=account_id,
                email=email,
                shard=shard_of(account_id, settings.shards),
                notice_attested_by=actor,
            )
        return {"account_id": str(account_id)} if made else None

    made = with_settings(data_dir, step)
    if made is None:
        exit_with(EXIT_REFUSED, f"{email} has an account already: `apilink accounts list`")
    if as_json:
        print_json(made)
    else:
        click.echo(made["account_id"])


@accounts.command("list", epilog="Example: apilink accounts list --json")
@data_dir_option
@json_option
def list_(*, data_dir: Path | None, as_json: bool) -> None:
    """List every account, the oldest first."""

    async def step(store: Store) -> list[dict[str, Any]]:
        return [
            {
                "account_id": str(account.account_id),
                "email": account.email,
                "created_at": account.created_at.isoformat(),
            }
            async for account in store.accounts.all()
        ]

    found = with_store(data_dir, step)
    if as_json:
        print_json({"data": found})
        return
    for account in found:
        click.echo(f"{account['account_id']}  {account['created_at'][:10]}  {account['email']}")
