"""`apilink migrate`."""

from pathlib import Path

import click

from proxy.commands.context import data_dir_option, json_option, print_json
from proxy.commands.stores import with_settings
from proxy.domain.settings import Settings
from proxy.store.migrate import migrate as apply_migrations
from proxy.store.pool import open_store


@click.command(epilog="Example: apilink migrate --json")
@data_dir_option
@json_option
def migrate(*, data_dir: Path | None, as_json: bool) -> None:
    """Bring the database's schema up to date, and make its shards.

    Several may run at once, and running it again changes nothing.
    """
    applied = with_settings(data_dir, _migrated)
    if as_json:
        print_json({"applied": applied})
        return
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("up to date")


async def _migrated(settings: Settings) -> list[str]:
    applied = await apply_migrations(settings.database_url)
    async with open_store(settings.database_url, connections_max=2) as store:
        await store.deployment.check(shards=settings.shards)
    return applied
