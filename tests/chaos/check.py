"""The conservation check: four books that must tell the same story. Pure.

Each rule yields violations with a name of its own, so that a report says what went wrong and not
only that something did. What a fault excuses is decided here and nowhere else.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.upstream.transport import KEEPALIVE_SECONDS
from tests.chaos.money import LIFE_MS, alarms, balances, unexplained_debt
from tests.chaos.records import Books, Disturbance, Position, Received, Row, Served

INPUT_NANOS, OUTPUT_NANOS = 1_000, 2_000  # per token, by the harness's routing table
_DEATHS = frozenset({"gateway_kill", "journal_lost"})  # a rolling restart loses nothing
_ORPHANING = frozenset(
    {
        *_DEATHS,
        "gateway_pause",
        "redis_kill",
        "redis_pause",
        "redis_empty",
        "redis_older",
        "replica_promoted",
        "aof_full",
        "wire_reset",
        "wire_black_hole",
        "wire_one_way",
        "wire_delay",
        "wire_half_open",
        "wire_cut",
        "wire_stall",  # on all wires at once, since the machine did not let the harness run
        "clock_step",
        "redis_clock_step",
        "master_killed",
        "master_failover",
        "laggard_took_over",
        "slots_moved",
        "journal_lost",
        "journal_full",
        "nowhere_to_write",
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    kind: str
    subject: str  # a request's marker or id, an account, a key
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.detail}"


def price_of(served: Served) -> int:
    return served.prompt_tokens * INPUT_NANOS + served.completion_tokens * OUTPUT_NANOS


class Checker:
    def __init__(self, books: Books) -> None:
        self._books = books
        self._served: dict[str, list[Served]] = defaultdict(list)
        for served in books.provider:
            self._served[served.marker].append(served)
        self._clients = {client.marker: client for client in books.clients}
        self._by_id = {c.request_id: c for c in books.clients if c.request_id is not None}
        self._rows: dict[str, list[Row]] = defaultdict(list)
        for row in books.postgres.rows:
            if (marker := self._marker_of(row)) is not None:
                self._rows[marker].append(row)
        self._lost = {entry.place for loss in books.losses for entry in loss.entries}
        self._predicted = {request for loss in books.losses for request in loss.requests}

    def violations(self) -> list[Violation]:
        rules = (
            self._complete_requests(),
            self._answers(),
            self._charged_once(),
            self._finished_requests(),
            self._phantoms(),
            self._nameless_orphans(),
            self._orphans_are_excused(),
            self._stream(),
            self._wallets(),
            self._credits(),
            self._key_spend(),
            self._debt(),
            self._holds(),
            self._verdicts(),
            self._cursors(),
        )
        return sorted(violation for rule in rules for violation in rule)

    def _marker_of(self, row: Row) -> str | None:
        if row.marker is not None:
            return row.marker
        client = self._by_id.get(row.request_id)
        return None if client is None else client.marker

    # Requests

    def _complete_requests(self) -> Iterator[Violation]:
        """(a) Who got everything pays once, for the usage that the provider stated."""
        for client in self._books.clients:
            if not client.is_complete or client.request_id in self._predicted:
                continue
            rows = [row for row in self._rows[client.marker] if row.status != "orphaned"]
            if not rows:
                states = [row.status for row in self._rows[client.marker]]
                yield Violation("not_charged", client.marker, f"complete; rows: {states}")
                continue
            prices = {price_of(served) for served in self._served[client.marker]}
            charged = rows[0].charged_nanos
            if charged not in prices:
                yield Violation(
                    "wrong_amount",
                    client.marker,
                    f"charged {charged}; the provider served for {sorted(prices)}",
                )
            if client.stated_nanos is not None and client.stated_nanos != charged:
                yield Violation(
                    "wrong_amount",
                    client.marker,
                    f"charged {charged}; the client was told {client.stated_nanos}",
                )

    def _answers(self) -> Iterator[Violation]:
        """A store that is away has words of its own: a mistake of ours is none of them. And a run
        in which nobody got an answer proves nothing."""
        if self._books.clients and not any(client.is_complete for client in self._books.clients):
            yield Violation("nobody_served", "clients", f"{len(self._books.clients)} tries")
        for client in self._books.clients:
            if client.code == "internal_error":
                yield Violation("internal_error", client.marker, f"status {client.status}")
            if client.status == 0 and not self._was_cut_off(client):
                detail = f"{client.gateway} lived, and did not answer: {client.code}"
                yield Violation("unanswered", client.marker, detail)

    def _was_cut_off(self, client: Received) -> bool:
        """Not by a restart that was announced: a gateway answers what it has begun."""
        name = client.gateway
        wires = (f"clients-{name}", f"{name}-provider")
        is_cut = any(self._was(client, _WIRES, wire) for wire in wires)
        return is_cut or self._was(client, _DEATHS, name)

    def _charged_once(self) -> Iterator[Violation]:
        """(b) One row for a request, and one request for a try of a client."""
        for marker, rows in self._rows.items():
            if len(rows) > 1:
                amounts = [row.charged_nanos for row in rows]
                yield Violation("charged_twice", marker, f"rows of {amounts}")
        counts = Counter(row.request_id for row in self._books.postgres.rows)
        for request_id, count in counts.items():
            if count > 1:
                yield Violation("charged_twice", request_id, f"{count} rows of one id")

    def _finished_requests(self) -> Iterator[Violation]:
        """(c) What the provider sent to its end is charged, unless its gateway was killed, or
        the wire between the two was broken, and no client had the last byte."""
        for marker, attempts in self._served.items():
            client = self._clients.get(marker)
            if client is None or client.is_complete or not any(s.is_finished for s in attempts):
                continue
            if client.request_id in self._predicted:
                continue
            rows = self._rows[marker]
            if any(row.charged_nanos for row in rows):
                continue
            statuses = [row.status for row in rows]
            if rows and rows[0].status != "orphaned":
                if not self._was(client, _WIRES, f"{client.gateway}-provider"):
                    yield Violation("not_charged", marker, f"the provider finished; {statuses}")
            elif not self._was(client, _DEATHS, client.gateway):
                yield Violation("not_charged", marker, f"no gateway died; rows: {statuses}")

    def _phantoms(self) -> Iterator[Violation]:
        """A charge needs a client that asked and a provider that was asked."""
        for row in self._books.postgres.rows:
            marker = self._marker_of(row)
            if marker is None:
                if row.status != "orphaned":
                    yield Violation("phantom", row.request_id, f"{row.charged_nanos} for nobody")
                continue
            client = self._clients.get(marker)
            if client is None:
                yield Violation("phantom", row.request_id, f"no client asked for {marker}")
            elif not (marker in self._served or self._was_swallowed(client, row)):
                detail = f"{row.charged_nanos} for what no provider saw"
                yield Violation("phantom", row.request_id, detail)

    def _was_swallowed(self, client: Received, row: Row) -> bool:
        """A prompt that was written upstream is paid for, since a provider that was told may work
        on it: also where a broken wire kept it. Then nothing came back, nothing is stated, and the
        prompt is all that is charged."""
        if not row.charged_nanos:
            return True
        is_prompt_alone = row.source == "estimated" and row.output_tokens == 0
        return is_prompt_alone and self._was(client, _WIRES, f"{client.gateway}-provider")

    def _nameless_orphans(self) -> Iterator[Violation]:
        """An orphan of which no client knows the id belongs to one that got no head."""
        nameless = sum(self._marker_of(row) is None for row in self._books.postgres.rows)
        headless = sum(client.request_id is None for client in self._books.clients)
        if nameless > headless:
            detail = f"{nameless} rows, {headless} tries without an answer"
            yield Violation("phantom", "orphans", detail)

    def _orphans_are_excused(self) -> Iterator[Violation]:
        """A hold expires only where its gateway had no way to renew it."""
        for entry in self._books.entries():
            client = self._by_id.get(entry.request_id)
            if entry.status != "orphaned" or client is None:
                continue
            names = (client.gateway, f"{client.gateway}-redis", "redis")
            if not any(self._was(client, _ORPHANING, name) for name in names):
                detail = f"expired while {client.gateway} lived and reached Redis"
                yield Violation("hold_expired", entry.request_id, detail)

    def _was(self, client: Received, kinds: Iterable[str], target: str) -> bool:
        """Whether one of these befell the target in the request's possible life."""
        return any(
            d.kind in kinds
            and d.target in (target, "all")
            and d.begin_ms <= client.ended_ms + LIFE_MS
            and client.began_ms <= d.end_ms + _lingers_ms(d) + LIFE_MS
            for d in self._books.disturbances
        )

    # Money

    def _stream(self) -> Iterator[Violation]:
        """What Redis charged is what Postgres has, entry by entry; each id is charged once.

        An entry that was lost with its store is as good: its gateway has it in a journal. But an
        orphan's is nobody's, and the settlement may have been made again.
        """
        rows = {row.request_id: row for row in self._books.postgres.rows}
        charged: dict[str, int] = {}
        for entry in self._books.entries():
            is_lost = entry.place in self._lost
            is_excused = is_lost and entry.status == "orphaned"
            is_excused = is_excused or entry.request_id in self._predicted
            if entry.request_id not in rows and not is_excused:
                yield Violation("not_flushed", entry.request_id, f"entry {entry.stream_id}")
            if entry.status == "orphaned" or is_lost:
                continue
            if entry.request_id in charged:
                detail = f"two entries of the stream, {entry.charged_nanos} nanos again"
                yield Violation("charged_twice", entry.request_id, detail)
            charged[entry.request_id] = entry.charged_nanos
        for request_id, nanos in charged.items():
            row = rows.get(request_id)
            if row is not None and row.charged_nanos != nanos:
                detail = f"Redis took {nanos}, the row says {row.charged_nanos}"
                yield Violation("wrong_amount", request_id, detail)

    def _wallets(self) -> Iterator[Violation]:
        """Credits less charges, three times: Postgres' wallet, its books, Redis' wallet."""
        for found in balances(self._books):
            if off := found.difference_nanos:
                detail = f"{found.holder} has {found.nanos}, credits less charges are"
                detail = f"{detail} {found.expected_nanos} ({off})"
                yield Violation("wallet_differs", found.account_id, detail)
        postgres = self._books.postgres
        if postgres.quarantined:
            yield Violation("quarantined", "stream", f"{postgres.quarantined} entries set aside")
        for account_id, reference in postgres.late_debits:
            if not self._books.losses:
                detail = f"{reference}, though no store lost anything"
                yield Violation("late_debit", account_id, detail)

    def _credits(self) -> Iterator[Violation]:
        """Each credit that was confirmed is there once and as it was; none that nobody began."""
        movements, given = self._books.postgres.movements, self._books.credits
        for place, nanos in given.confirmed.items():
            if movements.get(place) != nanos:
                detail = f"{place[1]}: {nanos} confirmed, {movements.get(place)} in the books"
                yield Violation("credit_differs", place[0], detail)
        for place in movements.keys() - given.confirmed.keys() - given.begun:
            yield Violation("phantom", place[0], f"a movement {place[1]} that nobody made")

    def _key_spend(self) -> Iterator[Violation]:
        spent: Counter[tuple[str, int]] = Counter()
        for row in self._books.postgres.rows:
            spent[row.key_id, row.window_ms] += row.charged_nanos
        stored = self._books.postgres.key_spend
        for place in sorted({*spent, *stored}):
            if spent[place] != stored.get(place, 0):
                detail = f"rows add up to {spent[place]}, the key's window has {stored.get(place)}"
                yield Violation("key_spend_differs", place[0], detail)

    def _debt(self) -> Iterator[Violation]:
        """(d) Debt ≤ Σ (charge - hold) above holds + late settlements + what a lost store held."""
        for account_id, rest, debt in unexplained_debt(self._books):
            yield Violation("debt_unexplained", account_id, f"{rest} of {debt} nanos")

    def _holds(self) -> Iterator[Violation]:
        """(e)"""
        redis = self._books.redis
        for request_id in redis.holds:
            yield Violation("hold_left", request_id, "a hold or a lease after quiescence")
        for account_id, wallet in redis.wallets.items():
            if wallet.held_nanos:
                yield Violation("hold_left", account_id, f"{wallet.held_nanos} nanos held")
        for key_id, held in redis.keys_held.items():
            if held:
                yield Violation("hold_left", key_id, f"the key holds {held}")

    def _verdicts(self) -> Iterator[Violation]:
        """(f) Verification beside the traffic says ok or unknown, unless something is lost."""
        for verdict in alarms(self._books):
            detail = f"{verdict.difference_nanos} nanos; {'; '.join(verdict.faults)}"
            yield Violation("verify_alarm", str(verdict.at_ms), detail)

    def _cursors(self) -> Iterator[Violation]:
        """What is flushed stays flushed: the fence keeps an older flusher out."""
        reached: dict[int, Position] = {}
        for now in self._books.cursors:
            before = reached.setdefault(now.shard, now)
            if _order(now) < _order(before):
                yield Violation("cursor_went_back", now.stream_id, f"after {before.stream_id}")
            reached[now.shard] = now


def _order(at: Position) -> tuple[int, int, int]:
    milliseconds, _, number = at.stream_id.partition("-")
    return at.generation, int(milliseconds), int(number)


def _lingers_ms(disturbance: Disturbance) -> int:
    """A connection whose far side is gone without a word waits in the gateway's pool, and swallows
    whatever request is sent on it."""
    is_pooled = disturbance.kind == "wire_half_open" and disturbance.target.endswith("-provider")
    return KEEPALIVE_SECONDS * 1000 if is_pooled else 0


_WIRES = frozenset(name for name in _ORPHANING if name.startswith("wire_"))


def check(books: Books) -> list[Violation]:
    return Checker(books).violations()


def disturbed(disturbances: Sequence[Disturbance]) -> Mapping[str, int]:
    return Counter(d.kind for d in disturbances)
