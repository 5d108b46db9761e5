"""A link to a cluster whose nodes a test plays: who is greeted when, and who is asked for what."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import hiredis
import pytest

from proxy.ledger.address import parse_redis_url
from proxy.ledger.cluster import ClusterLink
from proxy.ledger.connection import Connection
from proxy.ledger.faults import AmbiguousError, NotSentError, RefusedError
from proxy.ledger.link import Link
from proxy.ledger.slots import SLOTS, slot_of

HOST = "127.0.0.1"
SILENT = b""
Answer = Callable[["Node", list[bytes]], bytes | None]


@dataclass(eq=False)
class Node:
    """Answers by `answer`, and where that has none: PONG to a greeting, the name to a read."""

    name: str
    cluster: "Cluster"
    port: int = 0
    connections: int = 0
    seen: list[list[bytes]] = field(default_factory=list)
    answer: Answer = lambda *_: None

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.cluster.handlers.add(task)
        self.connections += 1
        parser = hiredis.Reader()
        with suppress(OSError):
            while data := await reader.read(2**16):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    self.seen.append(command)
                    writer.write(self._reply(command))
            writer.close()
            await writer.wait_closed()

    def _reply(self, command: list[bytes]) -> bytes:
        given = self.answer(self, command)
        if given is not None:
            return given
        if command[:2] == [b"CLUSTER", b"INFO"]:
            return _bulk(f"cluster_state:{self.cluster.state}\r\n")
        if command[:2] == [b"CLUSTER", b"SLOTS"]:
            self.cluster.asked += 1
            return self.cluster.table()
        if command[0] == b"GREET":
            self.cluster.events.append(f"greet {self.name}")
            return b"+OK\r\n"
        owner = self.cluster.owner(command)
        if owner is not self:
            return f"-MOVED {slot_of(command[1])} {HOST}:{owner.port}\r\n".encode()
        return _bulk(self.name)


@dataclass
class Cluster:
    nodes: list[Node] = field(default_factory=list)
    low: int = 0  # the node that has the first half of the slots
    high: int = 1
    state: str = "ok"
    asked: int = 0
    events: list[str] = field(default_factory=list)
    handlers: set[asyncio.Task[None]] = field(default_factory=set)

    def owner(self, command: list[bytes]) -> Node:
        return self.nodes[self.low if slot_of(command[1]) < SLOTS // 2 else self.high]

    def table(self) -> bytes:
        half = SLOTS // 2
        rows = ((0, half - 1, self.nodes[self.low]), (half, SLOTS - 1, self.nodes[self.high]))
        return b"*2\r\n" + b"".join(
            f"*3\r\n:{first}\r\n:{last}\r\n*2\r\n${len(HOST)}\r\n{HOST}\r\n:{node.port}\r\n".encode()
            for first, last, node in rows
        )


def _bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


LOW, HIGH = "b", "a"  # a key of each half


def test_the_keys_are_of_the_halves() -> None:
    assert slot_of(LOW) < SLOTS // 2 <= slot_of(HIGH)


async def greet(connection: Connection) -> None:
    """As the one that looks for lost tails: a refusal says that there is nothing to look for."""
    for key in (LOW, HIGH):
        with suppress(RefusedError):
            await connection.call("GET", key)
    await connection.call("GREET")


@asynccontextmanager
async def played(count: int = 3) -> AsyncIterator[tuple[Cluster, ClusterLink]]:
    cluster = Cluster()
    async with AsyncExitStack() as stack:
        for number in range(count):
            node = Node("nmo"[number], cluster)
            server = await asyncio.start_server(node.accept, HOST, 0)
            await stack.enter_async_context(server)
            node.port = server.sockets[0].getsockname()[1]
            cluster.nodes.append(node)
        url = f"redis://{HOST}:{cluster.nodes[0].port}?cluster=true"
        link = Link(parse_redis_url(url), timeout_ms=1_000, calls_max=100)
        assert isinstance(link, ClusterLink)
        link.greetings.append(greet)
        try:
            yield cluster, link
        finally:
            await link.close()
            if cluster.handlers:
                await asyncio.wait(cluster.handlers)


async def test_a_call_goes_where_its_key_is() -> None:
    async with played() as (cluster, link):
        await link.start()
        assert await asyncio.gather(link.call("GET", LOW), link.call("GET", HIGH)) == [b"n", b"m"]
        assert cluster.nodes[2].connections == 0
        assert link.is_up


async def test_many_refused_calls_ask_for_the_table_once() -> None:
    async with played() as (cluster, link):
        await link.start()
        cluster.low = 2
        before = cluster.asked
        found = await asyncio.gather(*(link.call("GET", LOW) for _ in range(90)))
        assert found == [b"o"] * 90
        assert cluster.asked - before <= 3


async def test_a_node_that_takes_slots_over_is_greeted_on_the_connection_that_it_has() -> None:
    async with played() as (cluster, link):
        await link.start()
        before = cluster.nodes[1].connections
        cluster.events.clear()
        cluster.low = 1
        assert await link.call("GET", LOW) == b"m"
        assert "greet m" in cluster.events
        assert cluster.nodes[1].connections == before
        seen = cluster.nodes[1].seen
        assert seen.index([b"GREET"], 4) < len(seen) - 1  # before the call that was for LOW


async def test_who_is_no_master_is_hung_up_on_before_the_next_is_greeted() -> None:
    """An answer that came later would be of a write that the next one may not have."""
    async with played() as (cluster, link):
        await link.start()
        cluster.nodes[0].answer = lambda *_: SILENT
        late = link.call("GET", LOW)
        late.add_done_callback(lambda _: cluster.events.append("in doubt"))
        cluster.events.clear()
        cluster.low = 2
        link._pointer = (HOST, cluster.nodes[1].port)
        link._wake.set()
        with pytest.raises(AmbiguousError, match="closed here"):
            await late
        assert await _until_answered(link, LOW) == b"o"
        assert cluster.events == ["in doubt", "greet o"]


async def _until_answered(link: Link, key: str) -> Any:
    async with asyncio.timeout(5):
        while True:
            try:
                return await link.call("GET", key)
            except (NotSentError, RefusedError):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("refusal", [b"-CLUSTERDOWN Hash slot not served\r\n", b"-LOADING x\r\n"])
async def test_a_node_that_is_not_ready_is_not_taken_for_greeted(refusal: bytes) -> None:
    async with played() as (cluster, link):
        cluster.nodes[1].answer = lambda _, command: refusal if command[0] == b"GET" else None
        with pytest.raises(NotSentError, match="not ready"):
            await link.start()


@pytest.mark.parametrize("refusal", [b"-TRYAGAIN x\r\n", b"-ASK 1 127.0.0.1:1\r\n"])
async def test_a_slot_that_could_not_be_asked_for_is_not_served(refusal: bytes) -> None:
    async with played() as (cluster, link):
        await link.start()
        # The low half goes to the second node, which cannot say yet what became of LOW.
        cluster.nodes[1].answer = lambda _, c: refusal if c == [b"GET", LOW.encode()] else None
        cluster.low = 1
        with pytest.raises(RefusedError, match="MOVED"):  # by the node that had it
            await link.call("GET", LOW)
        assert link._table[slot_of(LOW)] is not link._table[slot_of(HIGH)]
        cluster.nodes[1].answer = lambda *_: None
        assert await _until_answered(link, LOW) == b"m"


async def test_a_node_that_says_the_cluster_is_down_is_not_believed() -> None:
    async with played() as (cluster, link):
        cluster.state = "fail"
        with pytest.raises(NotSentError, match="no node"):
            await link.start()


async def test_a_command_without_a_key_is_a_mistake() -> None:
    async with played() as (_, link):
        await link.start()
        with pytest.raises(ValueError, match="no key"):
            link.call("FCALL", "ledger_version", 0)
