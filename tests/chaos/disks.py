"""Small disks that can be full: file systems in memory, in a mount namespace of our own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_MARK = "CHAOS_OWN_MOUNTS"
_SIZE_MB = 512
_TRIES_MAX = 100


def enter_namespace(argv: Sequence[str]) -> str:
    """Becomes the same program in a mount namespace; says why not where that cannot be."""
    if os.environ.get(_MARK):
        return ""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None or not _may(unshare):
        return "a small disk needs a mount namespace, which is root's alone here"
    os.environ[_MARK] = "1"
    os.execv(unshare, [unshare, "--mount", sys.executable, "-m", "tests.chaos", *argv])
    raise AssertionError("execv does not return")


def _may(unshare: str) -> bool:
    argv = [unshare, "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def can_be_full() -> bool:
    return _MARK in os.environ


@contextmanager
def mounted(directory: Path) -> Iterator[None]:
    """Nothing where there is no namespace: then the directory is as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    if not can_be_full():
        yield
        return
    _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m,mode=0700", "none", str(directory))
    try:
        yield
    finally:
        _run("umount", "-l", str(directory))


def fill(directory: Path) -> None:
    """Not one block more than what is there. What is written between the look and the step makes
    the size too small, which the kernel refuses: then it is looked at again."""
    for _ in range(_TRIES_MAX):
        found = os.statvfs(directory)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        size = max(used, found.f_frsize)
        argv = ("mount", "-o", f"remount,size={size}", str(directory))
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return
    raise OSError(f"{directory}: does not stop growing")


def free(directory: Path) -> None:
    _run("mount", "-o", f"remount,size={_SIZE_MB}m", str(directory))


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)
