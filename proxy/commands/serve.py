"""`apilink serve`: the gateway, in one process or several on one port."""

import asyncio
import dataclasses
import os
import signal
import sys
from contextlib import AsyncExitStack

import click

from proxy.app import open_gateway
from proxy.commands.boot import BootError, booting, live_table_of, settings_for_boot
from proxy.commands.context import fail, print_json
from proxy.commands.loop import freeze_boot_objects, run_until_stopped
from proxy.commands.supervise import Ready, Supervisor
from proxy.domain.clock import SystemClock
from proxy.domain.finish import TaskSet
from proxy.domain.settings import Settings, environment
from proxy.edge.live_table import LiveTable
from proxy.observe.log import configure_logging


@click.command(epilog="Example: apilink serve --workers 4")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes that share the port.")
def serve(workers: int | None) -> None:
    """Run the gateway with the settings of the environment.

    A table or a setting that is wrong stops the start with every reason and status 2. SIGHUP, or
    a changed file, reloads the routing table: all of it, or nothing. SIGTERM lets requests end.
    """
    settings = settings_for_boot()
    if workers is not None:
        settings = dataclasses.replace(settings, workers=workers)
    if settings.workers > 1 and settings.listen.port == 0:
        fail("APILINK_LISTEN: port 0 would give every process a port of its own; name one")
    live_table = live_table_of(settings)
    configure_logging(settings.log_level)
    if settings.workers == 1:
        serve_here(settings, live_table, on_ready=lambda: None)
        return

    def work(ready: Ready) -> None:
        serve_here(settings, live_table, on_ready=ready)

    sys.exit(Supervisor(settings.workers, work, clock=SystemClock()).run())


def serve_here(settings: Settings, live_table: LiveTable, *, on_ready: Ready) -> None:
    """This process, until it is told to stop."""

    # A reload that comes before there is anything to reload must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def main(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            with booting(settings):
                running = await stack.enter_async_context(
                    open_gateway(
                        settings,
                        live_table,
                        environ=environment(),
                        reuse_port=settings.workers > 1,
                    )
                )
            reloads = TaskSet()
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGHUP,
                lambda: reloads.spawn(live_table.reload_once(), name="reload on SIGHUP"),
            )
            stack.push_async_callback(reloads.cancel)
            freeze_boot_objects()
            print_json({"event": "ready", "base_url": f"{running.base_url}/v1", "pid": os.getpid()})
            on_ready()
            await stop.wait()

    try:
        run_until_stopped(main)
    except BootError as error:
        fail(str(error))
