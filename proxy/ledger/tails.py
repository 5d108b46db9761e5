"""Has the store lost its last writes? On every connection each shard is asked for the highest
settlement number that it has of ours, and of those whose journals we settle; one that is lower than
it acknowledged has lost a tail."""

from typing import Final

from proxy.domain.clock import Clock
from proxy.domain.ports import Shard
from proxy.ledger import calls
from proxy.ledger.connection import Connection
from proxy.ledger.faults import AmbiguousError, NotSentError, RefusedError
from proxy.ledger.generations import Generations
from proxy.ledger.pump import Acknowledged
from proxy.ledger.server_clock import ServerClock

TAIL_LOST: Final = "TAILLOST"


class Tails:
    """`acknowledged` is the pump's: what it got an answer for."""

    def __init__(
        self,
        generations: Generations,
        server_clock: ServerClock,
        clock: Clock,
        *,
        incarnation: str,
        acknowledged: Acknowledged,
    ) -> None:
        self._generations = generations
        self._server_clock = server_clock
        self._clock = clock
        self._incarnation = incarnation
        self._acknowledged = acknowledged
        self._lost: dict[int, int] = {}  # shard → the generation that lost something

    @property
    def lost(self) -> frozenset[int]:
        """Shards that must be recovered: an alarm."""
        return frozenset(
            shard
            for shard, generation in self._lost.items()
            if generation == self._generations.find(shard)
        )

    def check(self, shard: int) -> None:
        """Raises RefusedError while the shard waits for its recovery."""
        if self._lost and shard in self.lost:
            raise RefusedError(f"{TAIL_LOST} shard {shard}")

    async def greet(self, connection: Connection) -> None:
        for shard in self._generations.all().values():
            known = dict(self._acknowledged.get((shard.number, shard.generation), {}))
            for incarnation in known.keys() | {self._incarnation}:
                highest = await self._ask(connection, shard, incarnation)
                if highest is None:
                    break
                if highest < known.get(incarnation, 0):
                    self._lost[shard.number] = shard.generation
                    for call in self._generations.on_doubt:
                        call()

    async def _ask(self, connection: Connection, shard: Shard, incarnation: str) -> int | None:
        """None where the shard is not open, or of another generation: calls will say so."""
        sent_ms = self._clock.monotonic_ms()
        command = calls.heartbeat(shard.number, shard.generation, incarnation)
        try:
            server_ms, highest = await connection.call(*command)
        except RefusedError:
            return None
        except AmbiguousError as error:
            raise NotSentError(f"no answer to a greeting: {error}") from error
        self._server_clock.observe(server_ms, sent_ms)
        return int(highest)
