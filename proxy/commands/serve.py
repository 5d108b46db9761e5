"""`apilink serve`: the gateway, in one process or several on one port."""

import asyncio
import dataclasses
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import Final

import click

from proxy.app import new_metrics, open_gateway, open_metrics
from proxy.commands.boot import BootError, booting, live_table_of, said_of, settings_for_boot
from proxy.commands.context import fail, print_json
from proxy.commands.loop import freeze_boot_objects, run_until_stopped
from proxy.commands.supervise import Ready, Supervisor
from proxy.domain.clock import SystemClock
from proxy.domain.finish import TaskSet
from proxy.domain.settings import Address, Settings, environment
from proxy.edge.live_table import LiveTable
from proxy.observe.log import configure_logging

_PORT_MAX: Final = 65_535


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
    _check_admin(settings)
    live_table = live_table_of(settings)
    configure_logging(settings.log_level)
    if settings.workers == 1:
        serve_here(settings, live_table, on_ready=lambda: None)
        return

    def work(place: int, ready: Ready) -> None:
        own = dataclasses.replace(settings, admin_listen=_admin_address(settings, place))
        serve_here(own, live_table, on_ready=ready)

    sys.exit(Supervisor(settings.workers, work, clock=SystemClock()).run())


def _check_admin(settings: Settings) -> None:
    """Each process has a port of its own for its metrics, from the one given upwards."""
    first = settings.admin_listen
    if first is None or settings.workers == 1:
        return
    if first.port == 0:
        fail("APILINK_ADMIN_LISTEN: port 0 would hide where each process is; name one")
    if first.port + settings.workers - 1 > _PORT_MAX:
        fail(f"APILINK_ADMIN_LISTEN: {settings.workers} processes need as many ports from it on")


def _admin_address(settings: Settings, place: int) -> Address | None:
    first = settings.admin_listen
    return None if first is None else Address(first.host, first.port + place)


def serve_here(settings: Settings, live_table: LiveTable, *, on_ready: Ready) -> None:
    """This process, until it is told to stop."""

    # A reload that comes before there is anything to reload must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def main(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            metrics = new_metrics()
            with booting(settings):
                serving = open_metrics(metrics, settings.admin_listen)
                metrics_url = await stack.enter_async_context(serving)
                running = await stack.enter_async_context(
                    open_gateway(
                        settings,
                        live_table,
                        environ=environment(),
                        metrics=metrics,
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
            said = {
                "base_url": f"{running.base_url}/v1",
                "pid": os.getpid(),
                **said_of(metrics_url),
            }
            print_json({"event": "ready", **said})
            on_ready()
            await stop.wait()

    try:
        run_until_stopped(main)
    except BootError as error:
        fail(str(error))
