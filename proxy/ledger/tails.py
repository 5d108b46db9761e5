"""Has the store lost its last writes? On every connection each shard is asked for the highest
settlement number that it has of ours; one that is lower than it acknowledged has lost a tail."""

from typing import Final

from proxy.domain.clock import Clock
from proxy.ledger import calls
from proxy.ledger.connection import Connection
from proxy.ledger.faults import AmbiguousError, NotSentError, RefusedError
from proxy.ledger.generations import Generations
from proxy.ledger.server_clock import ServerClock

TAIL_LOST: Final = "TAILLOST"


class Tails:
    """`acknowledged` is the pump's: (shard, generation) → the highest number it got an answer
    for."""

    def __init__(
        self,
        generations: Generations,
        server_clock: ServerClock,
        clock: Clock,
        *,
        incarnation: str,
        acknowledged: dict[tuple[int, int], int],
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
        for number, shard in self._generations.all().items():
            sent_ms = self._clock.monotonic_ms()
            try:
                server_ms, highest = await connection.call(
                    *calls.heartbeat(number, shard.generation, self._incarnation)
                )
            except RefusedError:  # not open, or of another generation: calls will say so
                continue
            except AmbiguousError as error:
                raise NotSentError(f"no answer to a greeting: {error}") from error
            self._server_clock.observe(server_ms, sent_ms)
            if highest < self._acknowledged.get((number, shard.generation), 0):
                self._lost[number] = shard.generation
                for call in self._generations.on_doubt:
                    call()
