"""`apilink serve`: the gateway, in one process or several on one port."""

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

import click
import structlog

from proxy.app import open_gateway
from proxy.commands.context import EXIT_BAD_CONFIG, fail, print_json, settings_of
from proxy.commands.loop import run_until_stopped
from proxy.domain.errors import ApiError
from proxy.domain.settings import Settings, environment
from proxy.edge.live_table import LiveTable
from proxy.observe.log import configure_logging
from routing.errors import ConfigError
from routing.load import load_table

_RESTARTS_MAX: Final = 20


@click.command(epilog="Example: apilink serve --workers 4")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes that share the port.")
def serve(workers: int | None) -> None:
    """Run the gateway with the settings of the environment.

    A table or a setting that is wrong stops the start with every reason and status 2. SIGHUP, or
    a changed file, reloads the routing table: all of it, or nothing. SIGTERM lets requests end.
    """
    settings = settings_of(None)
    if workers is not None:
        settings = dataclasses.replace(settings, workers=workers)
    live_table = live_table_of(settings)
    configure_logging(settings.log_level)
    if settings.workers == 1:
        serve_here(settings, live_table)
    else:
        supervise(settings.workers, lambda: serve_here(settings, live_table))


def live_table_of(settings: Settings) -> LiveTable:
    """Exits with status 2 and every problem of the file."""
    try:
        return LiveTable(settings.routing, load_table(settings.routing))
    except ConfigError as error:
        fail(*map(str, error.problems))
    except OSError as error:
        fail(f"{settings.routing}: cannot be read: {error.strerror}")


def serve_here(settings: Settings, live_table: LiveTable) -> None:
    """This process, until it is told to stop."""

    async def main(stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        async with open_gateway(
            settings, live_table, environ=environment(), reuse_port=settings.workers > 1
        ) as running:
            loop.add_signal_handler(
                signal.SIGHUP,
                lambda: asyncio.run_coroutine_threadsafe(live_table.reload_once(), loop),
            )
            print_json({"event": "ready", "base_url": f"{running.base_url}/v1", "pid": os.getpid()})
            await stop.wait()

    try:
        run_until_stopped(main)
    except ApiError as error:
        fail(f"{error.code}: {error.message}")


def supervise(count: int, work: Callable[[], None]) -> None:
    """Forks the processes, replaces those that die, and passes signals on.

    A process that ends with the status of a bad configuration is not replaced: neither would
    its successor start.
    """
    children: set[int] = set()
    stopping = False

    def pass_on(number: int, _: object) -> None:
        nonlocal stopping
        stopping = stopping or number != signal.SIGHUP
        for pid in list(children):
            os.kill(pid, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    children.update(_fork(work) for _ in range(count))
    restarts = 0
    while children:
        pid, status = os.wait()
        children.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if stopping:
            continue
        if code == EXIT_BAD_CONFIG or restarts >= _RESTARTS_MAX:
            pass_on(signal.SIGTERM, None)
            continue
        structlog.get_logger().error("worker_died", worker=pid, status=str(code))
        restarts += 1
        children.add(_fork(work))
    sys.exit(0 if restarts < _RESTARTS_MAX else 1)


def _fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    code = 1
    try:
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        os._exit(code)
