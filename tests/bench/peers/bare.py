"""The bare aiohttp pass-through as a peer."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peer import Peer, free_port, process, tree_of, wait_for_port


@contextmanager
def open_bare(origin_port: int, directory: Path) -> Iterator[Peer]:
    home = directory / "bare"
    home.mkdir()
    port = free_port()
    program = [sys.executable, "-m", "tests.bench.peers.bare_proxy", str(port), str(origin_port)]
    with process(program, cwd=home) as started:
        wait_for_port(port, started)
        yield Peer("aiohttp", port, tree_of(started))
