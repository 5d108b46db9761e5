"""Copies every entry of every charge stream as it comes, past the wires: what is trimmed, swept
with its generation or lost with its store still explains what became of a request."""

import asyncio
import json
from dataclasses import asdict
from typing import TextIO

from redis.asyncio import RedisCluster
from redis.exceptions import RedisError

from tests.chaos.keys import Client, Key, connected, find_keys
from tests.chaos.records import Entry
from tests.chaos.redis_book import read_stream

_SECONDS = 0.2


class Copier:
    def __init__(self, redis_url: str, book: TextIO) -> None:
        self._url = redis_url
        self._book = book
        self._copied: set[tuple[tuple[int, int, str], str]] = set()
        self._after: dict[str, str] = {}
        self._run_id: object = None

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with connected(self._url) as client:
                    while not stop.is_set():
                        await self.copy_once(client)
                        await asyncio.sleep(_SECONDS)
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(_SECONDS)

    async def copy_once(self, client: Client) -> None:
        """A store that was started again may have come back with less, and then have other entries
        before those that were seen last: it is read from the start."""
        run_id = await _run_id(client)
        if run_id != self._run_id:
            self._after.clear()
            self._run_id = run_id
        for key in await find_keys(client, "charges"):
            await self._copy(client, key)

    async def _copy(self, client: Client, key: Key) -> None:
        for entry in await read_stream(client, key, self._after.get(key.raw, "-")):
            self._note(entry)
            self._after[key.raw] = f"({entry.stream_id}"

    def _note(self, entry: Entry) -> None:
        place = (entry.place, entry.request_id)
        if place not in self._copied:
            self._copied.add(place)
            self._book.write(json.dumps(asdict(entry)) + "\n")


async def _run_id(client: Client) -> object:
    """Of the server, or of each master of the cluster."""
    if not isinstance(client, RedisCluster):
        return (await client.info("server"))["run_id"]
    found = await client.info("server", target_nodes=RedisCluster.PRIMARIES)
    return sorted((name, told["run_id"]) for name, told in found.items())
