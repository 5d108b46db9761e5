"""What a run is judged by, as numbers; and the four books side by side. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.money import (
    alarms,
    balances,
    debts,
    expired,
    explained_debt,
    total,
    unexplained_debt,
)
from tests.chaos.records import Books


def counts_of(books: Books) -> dict[str, int]:
    """Each must be zero, but for those of which the name says how much was done."""
    rows: dict[str, list[int]] = {}
    by_id = {c.request_id: c.marker for c in books.clients if c.request_id is not None}
    for row in books.postgres.rows:
        marker = row.marker or by_id.get(row.request_id) or row.request_id
        if row.status != "orphaned":
            rows.setdefault(marker, []).append(row.charged_nanos)
    complete = [client for client in books.clients if client.is_complete]
    differences = list(balances(books))
    predicted = {request for loss in books.losses for request in loss.requests}
    uncharged = [c for c in complete if c.marker not in rows]
    return {
        "tries": len(books.clients),
        "complete": len(complete),
        "complete_and_not_charged": sum(c.request_id not in predicted for c in uncharged),
        "lost_as_predicted": sum(c.request_id in predicted for c in uncharged),
        "charged_twice_in_usage": sum(len(found) > 1 for found in rows.values()),
        "charged_twice_in_books": _overcharged(books, "the books"),
        "charged_twice_in_wallet": _overcharged(books, "Redis' wallet", "Postgres' wallet"),
        "unexplained_debt_nanos": sum(rest for _, rest, _ in unexplained_debt(books)),
        "holds_left": len(books.redis.holds),
        "difference_nanos": sum(abs(found.difference_nanos) for found in differences),
        **{f"verdicts_{name}": n for name, n in verdicts_of(books).items()},
    }


def _overcharged(books: Books, *holders: str) -> int:
    """Accounts from which more was taken than their rows add up to."""
    found = balances(books)
    return len({b.account_id for b in found if b.holder in holders and b.difference_nanos < 0})


def verdicts_of(books: Books) -> Mapping[str, int]:
    found = Counter(verdict.verdict for verdict in books.verdicts)
    return {
        "ok": found["ok"],
        "unknown": found["unknown"],
        "different": len(alarms(books)),
    }


def table_of(books: Books) -> list[tuple[str, str]]:
    """The books side by side, for the report."""
    clients, rows, postgres = books.clients, books.postgres.rows, books.postgres
    entries = books.entries()
    owed, explained = debts(books), explained_debt(books)
    debt = total(explained.get(account_id, Counter()) for account_id in owed)
    return [
        ("clients: tries", f"{len(clients)} ({_pairs(_answers(books))})"),
        ("clients: complete", f"{sum(c.is_complete for c in clients)}"),
        ("provider: finished", f"{sum(served.is_finished for served in books.provider)}"),
        ("Redis: entries, charged", _sum(e.charged_nanos for e in books.redis.entries)),
        ("Redis: entries ever, charged", _sum(e.charged_nanos for e in entries)),
        ("Redis: lost entries, charged", _sum(_lost(books))),
        ("Redis: lost holds", _sum(n for loss in books.losses for n in loss.holds.values())),
        ("Postgres: rows, charged", _sum(row.charged_nanos for row in rows)),
        ("Postgres: rows by status", _pairs(Counter(row.status for row in rows))),
        ("Postgres: prompts nobody saw", _sum(_unseen(books))),
        ("credits, nanos", _sum(postgres.movements.values())),
        ("late debits, nanos", _sum(postgres.late_debits.values())),
        ("wallets: Redis, nanos", _sum(w.balance_nanos for w in books.redis.wallets.values())),
        ("wallets: Postgres, nanos", _sum(postgres.wallets.values())),
        ("wallets: the books, nanos", _sum(postgres.owed.values())),
        ("generations", _pairs({f"of shard {n}": g for n, g in postgres.generations.items()})),
        ("late settlements", f"{_late(books)}"),
        ("debts, the most of each", _sum(owed.values())),
        ("debts: by the formula up to", f"{debt['above'] + debt['late']}"),
        ("debts: by lost stores up to", f"{debt['lost']}"),
        ("holds left", f"{len(books.redis.holds)}"),
        ("verifications", _pairs(verdicts_of(books))),
    ]


def _answers(books: Books) -> Counter[str]:
    return Counter(str(client.status or "no answer") for client in books.clients)


def _lost(books: Books) -> list[int]:
    return [entry.charged_nanos for loss in books.losses for entry in loss.entries]


def _unseen(books: Books) -> list[int]:
    """Of requests that were written upstream, and swallowed by a broken wire."""
    seen = {served.marker for served in books.provider}
    rows = books.postgres.rows
    return [r.charged_nanos for r in rows if r.charged_nanos and r.marker and r.marker not in seen]


def _late(books: Books) -> int:
    late = expired(books)
    return sum(row.request_id in late and row.status != "orphaned" for row in books.postgres.rows)


def _sum(amounts: Iterable[int]) -> str:
    found: Sequence[int] = list(amounts)
    return f"{len(found)}, {sum(found)}"


def _pairs(counter: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"
