"""`apilink ledger rebuild`."""

import asyncio
from contextlib import suppress
from pathlib import Path

import click

from proxy.billing.rebuild import RebuildRefusedError, begin_rebuild, rebuild_steps
from proxy.commands.context import data_dir_option, json_option, print_json
from proxy.commands.stores import EXIT_AWAY, EXIT_REFUSED, exit_with, with_store
from proxy.domain.ports import Shard, ShardState
from proxy.store.pool import Store


@click.command(epilog="Example: apilink ledger rebuild 0")
@click.argument("shard", type=click.IntRange(0, 4095))
@click.option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=120,
    show_default=True,
    help="How long to watch; the rebuild goes on after that.",
)
@data_dir_option
@json_option
def rebuild(*, shard: int, seconds: int, data_dir: Path | None, as_json: bool) -> None:
    """Throw away what Redis has of a SHARD, and build it again from Postgres and the journals.

    Customers of the shard get 503 for the seconds that this takes; running streams go on. A worker
    does it: one must be running. Exit status: 0 it is open again, 1 refused, 3 it is not open yet.
    """

    async def step(store: Store) -> tuple[Shard, list[Shard]]:
        try:
            before = await begin_rebuild(store, shard)
        except (LookupError, RebuildRefusedError) as error:
            exit_with(EXIT_REFUSED, str(error.args[0]))
        seen: list[Shard] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for reached in rebuild_steps(store, before):
                    seen.append(reached)
                    if not as_json:
                        click.echo(f"generation {reached.generation}: {reached.state.value}")
        return before, seen

    before, seen = with_store(data_dir, step)
    is_open = bool(seen) and seen[-1].state is ShardState.OPEN
    if as_json:
        print_json(
            {
                "shard": shard,
                "is_open": is_open,
                "generation_before": before.generation,
                "generation": seen[-1].generation if seen else before.generation,
                "states": [reached.state.value for reached in seen],
            }
        )
    elif not seen:
        click.echo("no worker has taken it up: is `apilink work` running?", err=True)
    raise SystemExit(0 if is_open else EXIT_AWAY)
