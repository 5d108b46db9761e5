"""What the books must add up to, and how much debt they explain. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.chaos.records import Books, Loss, Received, Row, Verdict

# A request may outlive its client's interest: it drains, and its lease runs out.
LIFE_MS = 15_000
_RECOVERY_MS = 30_000  # no loss takes longer to be noticed and recovered


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
    explained: dict[str, Counter[str]] = {}
    for row in books.postgres.rows:
        reasons = explained.setdefault(row.account_id, Counter())
        if row.request_id in late:
            reasons["late"] += row.charged_nanos
        elif row.request_id in unheld:
            reasons["lost"] += row.charged_nanos
        else:
            reasons["above"] += max(0, row.charged_nanos - row.hold_nanos)
    for account_id, nanos in _forgotten(books):
        explained.setdefault(account_id, Counter())["lost"] += nanos
    return explained


def unexplained_debt(books: Books) -> Iterator[tuple[str, int, int]]:
    """Account, what of its debt nothing explains, and the debt."""
    explained = explained_debt(books)
    for account_id, balance in books.postgres.wallets.items():
        rest = -balance - sum(explained.get(account_id, Counter()).values())
        if balance < 0 and rest > 0:
            yield account_id, rest, -balance


def _forgotten(books: Books) -> Iterator[tuple[str, int]]:
    """A store that comes back older believes in balances from before the charges that it lost,
    until somebody notices. An empty one believes in none."""
    for loss in books.losses:
        if loss.kind != "redis_empty":
            for entry in loss.entries:
                yield entry.account_id, entry.charged_nanos


def _unheld(books: Books) -> frozenset[str]:
    """Requests whose hold went with its store, and was not taken again before others came in.

    A recovery waits for the gateways that live, so those alone explain nothing: their gateway was
    disturbed meanwhile. Where nobody had a reason to recover, what was lost comes back with the
    next renewal of its lease."""
    clients = {c.request_id: c for c in books.clients if c.request_id is not None}
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
    begin_ms, end_ms = loss.at_ms, loss.at_ms + _RECOVERY_MS
    lived = client.began_ms <= end_ms and begin_ms <= client.ended_ms + LIFE_MS
    return lived and _was_disturbed(books, client.gateway, begin_ms - LIFE_MS, end_ms)


def _is_recovered(books: Books, loss: Loss) -> bool:
    found = books.postgres.generations
    return all(found.get(shard, 0) > at for shard, at in loss.generations.items())


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
