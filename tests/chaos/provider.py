"""The provider's process: the simulated provider, and a book of what it served.

python -m tests.chaos.provider BOOK

Each line of the book is a request that ended: the marker in its prompt, the usage it stated, and
whether it was sent to its end.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Any, TextIO

from proxy.dev.simulator import Served, Simulator

MARKER = re.compile(r"marker ([0-9a-f-]{36})")
_WRITE_SECONDS = 0.2


class Book:
    """Takes what has ended off the simulator's list, so that it stays short."""

    def __init__(self, simulator: Simulator, file: TextIO) -> None:
        self._open: deque[Served] = deque()
        simulator.served = self._open
        self._file = file

    def write_once(self) -> None:
        for _ in range(len(self._open)):
            served = self._open.popleft()
            if served.outcome == "open":
                self._open.append(served)
            elif (line := _line_of(served)) is not None:
                self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _line_of(served: Served) -> dict[str, Any] | None:
    messages = served.body.get("messages") or [{}]
    found = MARKER.search(str(messages[-1].get("content")))
    if found is None:
        return None
    return {
        "marker": found[1],
        "prompt_tokens": served.prompt_tokens,
        "completion_tokens": served.completion_tokens,
        "is_finished": served.outcome == "complete",
        "outcome": served.outcome,
    }


async def main(path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    simulator = Simulator(keep_requests=True)
    with path.open("a") as file:
        book = Book(simulator, file)
        async with simulator.running() as url:
            print(json.dumps({"event": "ready", "url": url, "pid": os.getpid()}), flush=True)  # noqa: T201 - its output
            while not stop.is_set():
                book.write_once()
                try:
                    await asyncio.wait_for(stop.wait(), _WRITE_SECONDS)
                except TimeoutError:
                    continue
        book.write_once()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
