"""What a gateway needs of the world. The composition root gives it the real things."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.charge import Charge
from proxy.domain.outcome import Hold, KeyState, Outcome, Reserved, Unflushed, WalletState
from routing.money import Nanos
from routing.table import Dialect, Endpoint, Route


class Ledger(Protocol):
    """The money of requests, in Redis. Raises LedgerUnavailableError where it does not answer."""

    async def reserve(
        self, key: ApiKey, request_id: UUID, amount_nanos: Nanos, tokens: int
    ) -> Reserved:
        """Takes the hold, or says why not. `tokens` count against the key's tokens per minute.

        Loads an unknown wallet or a stale key once before it answers `unknown_wallet` or
        `stale_key`. Cancelled or ambiguous, it gives back whatever it may have taken.
        """

    async def extend(self, hold: Hold, total_nanos: Nanos) -> Outcome:
        """Raises the hold to an absolute total."""

    def record(self, hold: Hold, charge: Charge) -> "asyncio.Future[None]":
        """Ends the hold with this charge: journals it, then settles (or, where the charge's source
        is none, releases) beside, and repeats until the ledger has answered.

        Synchronous, so no cancellation can come between; the future is done once the charge is
        in the journal, which is the moment after which the final byte may leave.
        """

    async def key_state(self, key: ApiKey) -> tuple[Outcome, KeyState, WalletState]:
        """`ok` or `stale_key`, and what is left: for endpoints that reserve nothing."""


class Directory(Protocol):
    """Keys and wallets by id, from Postgres. Raises StoreUnavailableError."""

    async def find_key(self, key_id: str) -> ApiKey | None: ...

    async def load_wallets(self, account_ids: Sequence[UUID]) -> Mapping[UUID, WalletState]: ...

    async def load_key_spend(self, key_id: str) -> Mapping[int, Nanos]:
        """Flushed spend by reset window (its start in ms), for a key the ledger does not know: of
        every window that can be current under any reset."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a shard's charges are in Postgres."""

    generation: int
    stream_id: str


class Flushes(Protocol):
    """The flusher's side of Postgres: a fence, and one transaction for rows and cursor."""

    async def acquire(self, shard: int, owner: str, lease_seconds: int) -> Cursor | None:
        """None while another flusher holds the shard's lease."""

    async def write(
        self, shard: int, owner: str, cursor: Cursor, charges: Sequence[tuple[str, Charge]]
    ) -> int:
        """One transaction: rows, wallets, key spend, books, consents and the cursor, moved from
        `cursor` to the last id of `charges`. Returns how many rows were new.

        Raises FencedError where the lease or the generation is no longer ours.
        """

    async def quarantine(self, shard: int, entry_id: str, raw: bytes, reason: str) -> None:
        """Sets a poison entry aside, whole, with an alarm."""

    async def find_posted(
        self, shard: int, settlements: Sequence[tuple[str, int]]
    ) -> tuple[str, frozenset[tuple[str, int]]]:
        """The shard's cursor, and which of these (incarnation, number) are in Postgres; both of one
        moment."""

    async def committed(self, incarnations: Iterable[str]) -> Mapping[tuple[str, int], int]:
        """(incarnation, shard) → the highest number up to which every charge is in Postgres."""


class FencedError(Exception):
    """The flusher's lease went to another, or the shard's generation moved."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One attempt, as bytes. `headers` come beside the credential and the framing."""

    endpoint: Endpoint
    dialect: Dialect
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    stream: bool
    on_written: Callable[[], None] = lambda: None  # called as the first byte is handed over


class Reply(Protocol):
    """An upstream's answer, its head read. Header names are lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """The next bytes as they came, b"" at the proper end of the body.

        Raises UpstreamCutError or UpstreamIdleError.
        """

    @property
    def is_at_end(self) -> bool:
        """True once the framing says that no more bytes come (the last read may say so)."""


class Upstreams(Protocol):
    """Connections to providers."""

    def is_available(self, route: Route) -> bool:
        """False without a credential in the environment, or while the breaker is open."""

    def has_credential(self, upstream_id: str) -> bool: ...

    def open(self, route: Route, request: UpstreamRequest) -> AbstractAsyncContextManager[Reply]:
        """Connects, writes and waits for the response's head.

        Raises NotConnectedError, FirstByteTimeoutError or NoAnswerError. Leaving the scope before
        the body's end closes the connection.
        """

    def report(self, route: Route, *, healthy: bool) -> None:
        """What an attempt showed of the upstream, for its breaker."""


class Client(Protocol):
    """The client's side of one request. Raises ClientGoneError where it has left."""

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The whole answer at once."""

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of a streamed answer."""

    async def send(self, data: bytes) -> None:
        """Awaits while the client is slow: this await is the backpressure."""

    async def finish(self) -> None:
        """The end of a streamed answer."""

    @property
    def has_started(self) -> bool: ...


class Shards(Protocol):
    """The generation of every shard, in Postgres: what fences a store that lost its memory."""

    async def generations(self) -> Mapping[int, int]: ...

    async def bump(self, shard: int) -> int:
        """Raises the generation, `FOR UPDATE`, and returns it: whoever held the old one is out."""


class Wallets(Protocol):
    """What reaches the ledger from Postgres, and what verification reads of it."""

    async def apply(
        self, account_id: UUID, shard: int, sequence: int, amount_nanos: Nanos
    ) -> Outcome:
        """One sequenced movement (negative debits): `ok`, `exists` where it was applied before,
        `not_found` where an earlier one is missing, `unknown_wallet` where nothing is loaded (a
        later load brings it)."""

    async def publish_key(self, key: ApiKey) -> None:
        """The key's epoch and limits; an older epoch than the ledger's changes nothing."""

    async def snapshot(self, account_id: UUID, shard: int) -> WalletState | None:
        """Balance, holds, sequence and the shard's last stream id, seen at one moment."""

    async def charged_between(
        self, account_id: UUID, shard: int, after_id: str, until_id: str
    ) -> Nanos:
        """The sum of an account's stream entries in (after_id, until_id]."""

    async def unflushed(self, shard: int, cursor_id: str) -> Unflushed:
        """What the shard's stream has past a cursor."""
