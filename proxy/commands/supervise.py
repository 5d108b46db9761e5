"""Several processes that do the same: forked, replaced when they die, told what we are told."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

import structlog

from proxy.commands.context import EXIT_BAD_CONFIG
from proxy.domain.clock import Clock
from proxy.edge.respond import log_mistake

Ready = Callable[[], None]
Work = Callable[[int, Ready], None]

_STOP: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = {*_STOP, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1}
_DELAY_SECONDS: Final = (0, 1, 2, 4, 8, 16, 30)  # before the next process, by deaths in a row
_STEADY_MS: Final = 60_000  # who lived as long did not die of its start
_PR_SET_PDEATHSIG: Final = 1


class Supervisor:
    """Signals are taken one after the other, never in the middle of something.

    The first process starts alone: where it cannot, the others would say the same once more. Later
    on nothing ends us but a signal: a store that is away while one process is replaced must not
    take those along that serve without it.
    """

    def __init__(self, count: int, work: Work, *, clock: Clock) -> None:
        """`work` is given its place from 0 on, which its successor inherits, and what to call once
        it serves."""
        self._count = count
        self._work = work
        self._clock = clock
        self._born_ms: dict[int, int] = {}  # of each living process
        self._places: dict[int, int] = {}  # the same
        self._has_started = False
        self._is_stopping = False
        self._deaths = 0
        self._status = 0

    def run(self) -> int:
        """Until we are stopped and all have ended. Returns the exit status."""
        for number in _WATCHED:  # a blocked signal without a handler may be dropped
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._fork()
        while self._born_ms or not self._is_stopping:
            self._take(signal.Signals(signal.sigwait(_WATCHED)))
        return self._status

    def _take(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGUSR1:
                self._has_started = True
                self._fill_up()
            case signal.SIGALRM:
                self._fill_up()
            case signal.SIGHUP:
                self._pass_on(number)
            case _:
                self._stop(number)

    def _stop(self, number: signal.Signals) -> None:
        self._is_stopping = True
        self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        for pid in self._born_ms:  # all of them unreaped: no pid can be another's by now
            os.kill(pid, number)

    def _reap(self) -> None:
        """One SIGCHLD may stand for several deaths."""
        while self._born_ms:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._buried(pid, os.waitstatus_to_exitcode(status))

    def _buried(self, pid: int, code: int) -> None:
        lived_ms = self._clock.monotonic_ms() - self._born_ms.pop(pid)
        del self._places[pid]
        if self._is_stopping:
            return
        if not self._has_started and code == EXIT_BAD_CONFIG:
            self._status = code
            self._is_stopping = True
            return
        structlog.get_logger().error("worker_died", worker=pid, status=code)
        self._deaths = 0 if lived_ms >= _STEADY_MS else self._deaths
        delay = _DELAY_SECONDS[min(self._deaths, len(_DELAY_SECONDS) - 1)]
        self._deaths += 1
        if delay:
            signal.alarm(delay)
        else:
            self._fill_up()

    def _fill_up(self) -> None:
        while not self._is_stopping and len(self._born_ms) < self._wanted:
            self._fork()

    @property
    def _wanted(self) -> int:
        return self._count if self._has_started else 1

    def _fork(self) -> None:
        parent = os.getpid()
        place = min(set(range(self._count)) - set(self._places.values()))
        pid = os.fork()
        if pid:
            self._born_ms[pid] = self._clock.monotonic_ms()
            self._places[pid] = place
            return
        code = 1
        try:
            _become_child(parent)
            self._work(place, lambda: os.kill(parent, signal.SIGUSR1))
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Exception as error:  # noqa: BLE001 - this is where the process ends
            log_mistake(error, None)
        finally:
            os._exit(code)


def _become_child(parent: int) -> None:
    """In a process group of its own: a terminal's Ctrl-C comes from the supervisor, once."""
    os.setpgrp()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    for number in _WATCHED - {signal.SIGHUP}:  # whose handler, until the work has its own, is none
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
