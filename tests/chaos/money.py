"""What the books must add up to, and how much debt they explain. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.chaos.records import Books, Loss, Received, Row, Verdict

# A request may outlive its client's interest: it drains, and its lease runs out.
LIFE_MS = 15_000
_WAITS_MS = 5_000  # a request waits for its key and for a connection before it is admitted
_NEVER_MS = 2**62
_ANY, _OPEN = ("draining", "reasserting", "open"), ("open",)


def expected_balances(books: Books) -> Counter[str]:
    """Credits less charges. A late debit is how Redis learns of a charge that is a row already, so
    it is no term of its own."""
    expected: Counter[str] = Counter()
    for (account_id, _), nanos in books.postgres.movements.items():
        expected[account_id] += nanos
    for row in books.postgres.rows:
        expected[row.account_id] -= row.charged_nanos
    return expected


@dataclass(frozen=True, slots=True)
class Balance:
    account_id: str
    holder: str  # whose number it is
    nanos: int
    expected_nanos: int

    @property
    def difference_nanos(self) -> int:
        return self.nanos - self.expected_nanos


def balances(books: Books) -> Iterator[Balance]:
    """Each account's, three times: Postgres' wallet, its books, and Redis where it has a wallet."""
    postgres, redis = books.postgres, books.redis
    expected = expected_balances(books)
    for account_id in sorted({*expected, *postgres.wallets, *redis.wallets, *postgres.owed}):
        wanted = expected[account_id]
        yield Balance(account_id, "Postgres' wallet", postgres.wallets.get(account_id, 0), wanted)
        yield Balance(account_id, "the books", postgres.owed.get(account_id, 0), wanted)
        if account_id in redis.wallets:
            found = redis.wallets[account_id].balance_nanos
            yield Balance(account_id, "Redis' wallet", found, wanted)


def expired(books: Books) -> frozenset[str]:
    return frozenset(e.request_id for e in books.entries() if e.status == "orphaned")


def explained_debt(books: Books) -> Mapping[str, Counter[str]]:
    """By account, by reason: `above`, what charges took above their holds; `late`, charges that
    came after an expiry; `lost`, what a store's loss made possible."""
    late, unheld = expired(books), _unheld(books)
    explained: dict[str, Counter[str]] = defaultdict(Counter)
    for row in books.postgres.rows:
        reasons = explained[row.account_id]
        if row.request_id in late:
            reasons["late"] += row.charged_nanos
        elif row.request_id in unheld:
            reasons["lost"] += row.charged_nanos
        else:
            reasons["above"] += max(0, row.charged_nanos - row.hold_nanos)
    for loss in books.losses:
        for account_id, nanos in _overdrawn(books, loss).items():
            explained[account_id]["lost"] += nanos
    return explained


def debts(books: Books) -> Mapping[str, int]:
    """By account: the most that it ever was seen to owe."""
    most = Counter(books.debts)
    for account_id, balance in books.postgres.wallets.items():
        most[account_id] = max(-balance, most[account_id])
    return +most


def unexplained_debt(books: Books) -> Iterator[tuple[str, int, int]]:
    """Account, what of its debt nothing explains, and the debt."""
    explained = explained_debt(books)
    for account_id, debt in debts(books).items():
        rest = debt - sum(explained.get(account_id, Counter()).values())
        if rest > 0:
            yield account_id, rest, debt


def _overdrawn(books: Books, loss: Loss) -> Counter[str]:
    """By account: what was admitted on money that was spent or held already.

    A store that comes back older believes in balances from before the charges that it lost, and
    knows nothing of the holds, until its generation ends: what it admits meanwhile is as much at
    most as it forgot. An empty one admits nothing.
    """
    if loss.kind == "redis_empty":
        return Counter()
    clients = _clients_of(books)
    begin_ms, end_ms = loss.at_ms - _WAITS_MS, _turn_ms(books, loss, _ANY)
    admitted: Counter[str] = Counter()
    forgotten: Counter[str] = Counter()
    for entry in loss.entries:
        forgotten[entry.account_id] += entry.charged_nanos
    for row in books.postgres.rows:
        client = clients.get(row.request_id)
        if client is None or begin_ms <= client.began_ms <= end_ms:
            admitted[row.account_id] += row.charged_nanos
        if row.request_id in loss.holds:
            forgotten[row.account_id] += row.charged_nanos
    return admitted & forgotten  # the lesser of the two


def _unheld(books: Books) -> frozenset[str]:
    """Requests whose hold went with its store, and was not taken again before others came in.

    A recovery waits for the gateways that live, so those alone explain nothing: their gateway was
    disturbed meanwhile. Where nobody had a reason to recover, what was lost comes back with the
    next renewal of its lease."""
    clients = _clients_of(books)
    return frozenset(
        row.request_id
        for loss in books.losses
        for row in books.postgres.rows
        if _is_unheld(books, loss, row, clients.get(row.request_id))
    )


def _is_unheld(books: Books, loss: Loss, row: Row, client: Received | None) -> bool:
    had_hold = row.request_id in loss.holds
    if client is None or not _is_recovered(books, loss):
        return had_hold
    begin_ms, end_ms = loss.at_ms, _turn_ms(books, loss, _OPEN)
    lived = client.began_ms <= end_ms and begin_ms <= client.ended_ms + LIFE_MS
    return lived and _was_disturbed(books, client.gateway, begin_ms - LIFE_MS, end_ms)


def _clients_of(books: Books) -> Mapping[str, Received]:
    """By the id of their request: they know it, or its row knows them."""
    markers = {client.marker: client for client in books.clients}
    found = {c.request_id: c for c in books.clients if c.request_id is not None}
    for row in books.postgres.rows:
        if row.marker in markers:
            found[row.request_id] = markers[row.marker]
    return found


def _is_recovered(books: Books, loss: Loss) -> bool:
    found = books.postgres.generations
    return all(found.get(shard, 0) > at for shard, at in loss.generations.items())


def _turn_ms(books: Books, loss: Loss, states: Collection[str]) -> int:
    """When every shard of it was seen in a later generation, and in one of these states."""
    return max(
        (_seen_ms(books, loss, shard, states) for shard in loss.generations), default=_NEVER_MS
    )


def _seen_ms(books: Books, loss: Loss, shard: int, states: Collection[str]) -> int:
    at = loss.generations[shard]
    moments = (
        seen.at_ms
        for seen in books.standings
        if seen.shard == shard and seen.generation > at and seen.state in states
    )
    return min(moments, default=_NEVER_MS)


def _was_disturbed(books: Books, gateway: str, begin_ms: int, end_ms: int) -> bool:
    targets = {gateway, f"{gateway}-redis", f"{gateway}-postgres", "postgres", "all"}
    return any(
        d.target in targets and d.begin_ms <= end_ms and begin_ms <= d.end_ms
        for d in books.disturbances
    )


def alarms(books: Books) -> list[Verdict]:
    """Verdicts that something differs: none is true. A store that has lost something reads
    `unknown` until it is recovered."""
    return [v for v in books.verdicts if v.verdict not in ("ok", "unknown")]


def total(reasons: Iterable[Counter[str]]) -> Counter[str]:
    added: Counter[str] = Counter()
    for reason in reasons:
        added += reason
    return added
