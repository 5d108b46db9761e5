"""What Redis' clock shows, by its last answer: the deadlines of calls are in its time."""

from proxy.domain.clock import Clock
from proxy.ledger.faults import PASSED_DEADLINE, RefusedError


class ServerClock:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_ms: int | None = None
        self._at_ms = 0

    def observe(self, server_ms: int, sent_ms: int) -> None:
        """An answer that shows the server's time, to a call sent at `sent_ms` on the monotonic
        clock. Counted from the sending, so that a deadline is rather too late than too early."""
        self._seen_ms = server_ms
        self._at_ms = sent_ms

    def correct(self, refused: RefusedError) -> bool:
        """True where the call was refused for its deadline. It was answered in time, so it was our
        idea of the server's clock that was late, and the call may be made once more."""
        if refused.code != PASSED_DEADLINE:
            return False
        self.observe(int(refused.detail), self._clock.monotonic_ms())
        return True

    def in_ms(self, milliseconds: int) -> int:
        """The server's time in so many milliseconds."""
        if self._seen_ms is None:
            return self._clock.unix_ms() + milliseconds
        return self._seen_ms + self._clock.monotonic_ms() - self._at_ms + milliseconds
