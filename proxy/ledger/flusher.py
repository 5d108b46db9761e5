"""Moves a shard's charges from the stream into Postgres."""


class Flusher:
    """One shard's. Made by `WorkerLedger.flusher`."""

    async def flush_once(self) -> int:
        """How many entries were moved; 0 where there are none or another flusher has the lease.

        Raises FencedError, StoreUnavailableError, LedgerUnavailableError or StreamLostError.
        """
        raise NotImplementedError
