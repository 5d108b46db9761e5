"""The four books, as lists of records. Amounts are integer nano-USD, times unix milliseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Served:
    """The provider's: a request that it served. A marker may come twice: a gateway may ask again
    where it knows that it was not heard."""

    marker: str
    prompt_tokens: int
    completion_tokens: int
    is_finished: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A client's: one try, and what came of it. `request_id` is None where no head arrived."""

    marker: str
    gateway: str
    began_ms: int
    ended_ms: int
    status: int
    request_id: str | None
    is_complete: bool
    stated_nanos: int | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """Redis': an entry of a charge stream, of which every generation has its own."""

    stream_id: str
    request_id: str
    account_id: str
    charged_nanos: int
    status: str
    marker: str | None
    shard: int = 0
    generation: int = 0

    @property
    def place(self) -> tuple[int, int, str]:
        return self.shard, self.generation, self.stream_id


@dataclass(frozen=True, slots=True)
class Wallet:
    balance_nanos: int
    held_nanos: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """Postgres': a row of usage. `marker` is None on rows that were written for a dead gateway."""

    request_id: str
    account_id: str
    key_id: str
    window_ms: int
    charged_nanos: int
    hold_nanos: int
    status: str
    source: str
    marker: str | None
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class RedisBook:
    """Wallets and holds are the newest generation's; entries those of every stream that is left."""

    wallets: Mapping[str, Wallet] = field(default_factory=dict)
    holds: Mapping[str, int] = field(default_factory=dict)  # request id -> nanos; 0 for a lease
    keys_held: Mapping[str, int] = field(default_factory=dict)  # key id -> held nanos or open count
    entries: Sequence[Entry] = ()
    generations: Mapping[int, int] = field(default_factory=dict)  # shard -> the newest


@dataclass(frozen=True, slots=True)
class PostgresBook:
    rows: Sequence[Row] = ()
    wallets: Mapping[str, int] = field(default_factory=dict)
    owed: Mapping[str, int] = field(default_factory=dict)  # by the double-entry books
    movements: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (account, reference)
    # Those of kind `late_debit`: what they take is in rows already, and Redis is told by them.
    late_debits: Mapping[tuple[str, str], int] = field(default_factory=dict)
    key_spend: Mapping[tuple[str, int], int] = field(default_factory=dict)  # (key, window)
    quarantined: int = 0
    generations: Mapping[int, int] = field(default_factory=dict)  # by shard


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What was done to whom: `target` is a process, or the two ends of a wire, `g0-redis`."""

    kind: str
    target: str
    begin_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What a store had when it was killed, and did not have when it came back: from an autopsy of
    its files. `holds` are all that it had: where it is recovered, each must be taken again.

    `requests` is what nobody has any more, because a gateway's journal was destroyed as well: the
    prediction of what may be lost for good.
    """

    kind: str
    at_ms: int
    entries: Sequence[Entry] = ()
    holds: Mapping[str, int] = field(default_factory=dict)  # request id -> nanos
    accounts: Mapping[str, str] = field(default_factory=dict)  # request id -> the hold's account
    generations: Mapping[int, int] = field(default_factory=dict)  # by shard, at the time
    kept: frozenset[str] = frozenset()  # requests that the store's new files have entries of
    requests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Position:
    """How far a shard is flushed, as it was seen."""

    generation: int
    stream_id: str
    shard: int = 0
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a shard was, by Postgres, when somebody looked."""

    at_ms: int
    shard: int
    generation: int
    state: str


@dataclass(frozen=True, slots=True)
class Credits:
    """What the harness gave: confirmed, and begun (an answer may have been lost)."""

    confirmed: Mapping[tuple[str, str], int] = field(default_factory=dict)
    begun: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One turn of the verification that ran beside the traffic."""

    at_ms: int
    verdict: str
    difference_nanos: int = 0
    faults: tuple[str, ...] = ()
    account_id: str = ""


@dataclass(frozen=True, slots=True)
class Books:
    provider: Sequence[Served] = ()
    clients: Sequence[Received] = ()
    redis: RedisBook = field(default_factory=RedisBook)
    postgres: PostgresBook = field(default_factory=PostgresBook)
    credits: Credits = field(default_factory=Credits)
    verdicts: Sequence[Verdict] = ()
    cursors: Sequence[Position] = ()  # as they were seen one after the other
    standings: Sequence[Standing] = ()  # likewise
    debts: Mapping[str, int] = field(default_factory=dict)  # by account: the most that was seen
    disturbances: Sequence[Disturbance] = ()
    seen: Sequence[Entry] = ()  # entries of streams, copied as they came: trimmed and lost ones too
    losses: Sequence[Loss] = ()

    def entries(self) -> Sequence[Entry]:
        """Every one that ever was in a stream and was seen by anybody, once each, in order."""
        found = {(entry.place, entry.request_id): entry for entry in self.seen}
        for loss in self.losses:
            found |= {(entry.place, entry.request_id): entry for entry in loss.entries}
        found |= {(entry.place, entry.request_id): entry for entry in self.redis.entries}
        return [found[place] for place in sorted(found)]
