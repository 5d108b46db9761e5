"""`apilink work`: the jobs beside the gateways."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack

import click

from proxy.app import new_metrics, open_metrics
from proxy.commands.boot import BootError, booting, said_of, settings_for_boot
from proxy.commands.context import fail, print_json
from proxy.commands.loop import freeze_boot_objects, run_until_stopped
from proxy.observe.log import configure_logging
from proxy.work import open_worker


@click.command(epilog="Example: apilink work")
def work() -> None:
    """Run the jobs: flush charges to Postgres, expire holds, resend credits, make partitions.

    Any number may run: each shard has one flusher at a time, by a lease in Postgres.
    """
    settings = settings_for_boot()
    configure_logging(settings.log_level)
    owner = f"{socket.gethostname()}:{os.getpid()}"

    async def main(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            metrics = new_metrics()
            with booting(settings):
                serving = open_metrics(metrics, settings.admin_listen)
                metrics_url = await stack.enter_async_context(serving)
                await stack.enter_async_context(open_worker(settings, owner=owner, metrics=metrics))
            freeze_boot_objects()
            print_json({"event": "ready", "pid": os.getpid(), **said_of(metrics_url)})
            await stop.wait()

    try:
        run_until_stopped(main)
    except BootError as error:
        fail(str(error))
