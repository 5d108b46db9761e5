"""How a call to Redis can fail, by what its caller should do next."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proxy.domain.errors import LedgerUnavailableError

STALE_GENERATION: Final = "STALEGENERATION"
PASSED_DEADLINE: Final = "DEADLINE"
NO_SHARD: Final = "NOSHARD"
BAD_CALL: Final = "BADCALL"
STREAM_LOST: Final = "STREAMLOST"
STORE_BEHIND: Final = "STOREBEHIND"
READ_ONLY: Final = "READONLY"


class LedgerFault(Exception):  # noqa: N818 - the base of three errors, never raised itself
    """A call did not bring an outcome."""


class NotSentError(LedgerFault):
    """The call never left this process: nothing happened."""


class AmbiguousError(LedgerFault):
    """The call was sent and not answered: it may have been run, may yet run, or may never."""


class RefusedError(LedgerFault):
    """The ledger answered with an error: it did nothing. `code` is the error's first word."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code, _, self.detail = message.partition(" ")


class LedgerSetupError(Exception):
    """The store must not be used as it is set up: boot fails with these words."""


class StreamLostError(Exception):
    """The shard's stream does not reach back to what Postgres has: charges may be lost."""


class StoreBehindError(Exception):
    """Postgres has less than it said it had: it was restored from a backup."""


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Turns what a call can fail with into what a client is told."""
    try:
        yield
    except LedgerFault as fault:
        raise LedgerUnavailableError(
            "The ledger cannot be reached right now; nothing was charged.", retry_after_seconds=1
        ) from fault
