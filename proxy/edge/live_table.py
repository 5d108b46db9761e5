"""The routing table in force: replaced whole when its file changes, or not at all."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from routing.errors import ConfigError
from routing.load import load_table
from routing.table import RoutingTable, Upstream

Transform = Callable[[RoutingTable], RoutingTable]


class LiveTable:
    """Calling it gives the table now in force."""

    def __init__(
        self, path: Path, table: RoutingTable, *, transform: Transform = lambda table: table
    ) -> None:
        self._path = path
        self._transform = transform
        self._table = transform(table)
        self._seen = _stamp(path)
        self._loading = asyncio.Lock()  # or what was read first could come last

    def __call__(self) -> RoutingTable:
        return self._table

    def find_upstream(self, upstream_id: str) -> Upstream | None:
        return self._table.upstreams.get(upstream_id)

    async def reload_if_changed_once(self) -> bool:
        """True where a changed file took effect."""
        if await asyncio.to_thread(_stamp, self._path) == self._seen:
            return False
        return await self.reload_once()

    async def reload_once(self) -> bool:
        """A file with any mistake changes nothing: the running table stays, and the log says where
        the first one is; `apilink check` tells them all."""
        async with self._loading:
            return await self._reload()

    async def _reload(self) -> bool:
        log = structlog.get_logger()
        self._seen = await asyncio.to_thread(_stamp, self._path)
        try:
            table = self._transform(await asyncio.to_thread(load_table, self._path))
        except (ConfigError, OSError) as error:
            problems = error.problems if isinstance(error, ConfigError) else ()
            first = {"line": problems[0].line, "where": problems[0].path} if problems else {}
            count = len(problems) or 1
            log.warning("routing_reload_refused", count=count, path=str(self._path), **first)
            return False
        is_new = table.revision != self._table.revision
        log.info("routing_reloaded" if is_new else "routing_unchanged", revision=table.revision)
        self._table = table
        return True


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
