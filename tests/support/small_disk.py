"""A disk that can be full: a file system in memory which one program alone sees.

It is mounted in a mount namespace that begins and ends with the program, so nothing is left behind.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SIZE_MB = 256
_MOUNTING = f'mount -t tmpfs -o size={_SIZE_MB}m,mode=0700 none "$0" && exec "$@"'
_TRIES_MAX = 100


def why_not() -> str:
    """Empty where there can be one."""
    argv = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if os.geteuid() == 0 and shutil.which("nsenter") and shutil.which("unshare"):
        found = subprocess.run(argv, capture_output=True, check=False)
        if found.returncode == 0:
            return ""
    return "a small disk needs a mount namespace: root, unshare and nsenter"


class SmallDisk:
    """At `directory`, for the program that `launcher` starts and becomes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def launcher(self) -> Sequence[object]:
        return ("unshare", "--mount", "sh", "-c", _MOUNTING, self._directory)

    def fill(self, pid: int) -> None:
        """Not one block more than what is there; what is being written makes that too small, and
        then it is looked at again."""
        for _ in range(_TRIES_MAX):
            found = os.statvfs(f"/proc/{pid}/root{self._directory}")
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            if self._resize(pid, str(used)):
                return
        raise OSError(f"{self._directory}: does not stop growing")

    def free(self, pid: int) -> None:
        assert self._resize(pid, f"{_SIZE_MB}m")

    def _resize(self, pid: int, size: str) -> bool:
        argv = ["nsenter", f"--target={pid}", "--mount"]
        argv += ["mount", "-o", f"remount,size={size}", str(self._directory)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
