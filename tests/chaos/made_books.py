"""Books that agree, made by hand, and ways to change them."""

from dataclasses import replace
from typing import Any

from tests.chaos.check import check
from tests.chaos.records import (
    Books,
    Credits,
    Disturbance,
    Entry,
    Position,
    PostgresBook,
    Received,
    RedisBook,
    Row,
    Served,
    Verdict,
    Wallet,
)

ACCOUNT, KEY = "account", "key"
CREDIT = 1_000_000
# 10 tokens in, 20 out.
NANOS = 10 * 1_000 + 20 * 2_000


def served(marker: str, *, finished: bool = True) -> Served:
    return Served(marker, 10, 20, finished)


def received(marker: str, *, complete: bool = True) -> Received:
    return Received(
        marker,
        gateway="g0",
        began_ms=1_000,
        ended_ms=2_000,
        status=200,
        request_id=f"id-{marker}",
        is_complete=complete,
        stated_nanos=NANOS if complete else None,
    )


def row(name: str, nanos: int = NANOS, status: str = "ok", **changes: Any) -> Row:
    source = "none" if status == "orphaned" else "reported"
    made = Row(f"id-{name}", ACCOUNT, KEY, 0, nanos, 90_000, status, source, name)
    return replace(made, **changes)


def entry(marker: str, nanos: int = NANOS, status: str = "ok", number: int = 0) -> Entry:
    return Entry(f"1-{number}", f"id-{marker}", ACCOUNT, nanos, status, marker)


def books_of(*rows: Row, **changes: Any) -> Books:
    """Two complete requests and whatever rows there are; all sums follow from the rows."""
    spent = sum(row.charged_nanos for row in rows)
    entries = [entry(row.request_id[3:], row.charged_nanos, row.status) for row in rows]
    balance = CREDIT - spent
    redis = RedisBook(wallets={ACCOUNT: Wallet(balance)}, keys_held={KEY: 0}, entries=entries)
    postgres = PostgresBook(
        rows=rows,
        wallets={ACCOUNT: balance},
        owed={ACCOUNT: balance},
        movements={(ACCOUNT, "first"): CREDIT},
        key_spend={(KEY, 0): spent},
    )
    made = Books(
        provider=[served("a"), served("b")],
        clients=[received("a"), received("b")],
        redis=redis,
        postgres=postgres,
        credits=Credits(confirmed={(ACCOUNT, "first"): CREDIT}),
        verdicts=[Verdict(1, "ok"), Verdict(2, "unknown")],
        cursors=[Position(1, at) for at in ("1-0", "1-5", "1-5", "2-0")],
    )
    return replace(made, **changes)


def good() -> Books:
    return books_of(row("a"), row("b"))


def kinds(books: Books) -> set[tuple[str, str]]:
    return {(violation.kind, violation.subject) for violation in check(books)}


def in_redis(books: Books, **changes: Any) -> Books:
    return replace(books, redis=replace(books.redis, **changes))


def in_postgres(books: Books, **changes: Any) -> Books:
    return replace(books, postgres=replace(books.postgres, **changes))


def disturbed(books: Books, *kinds_and_targets: tuple[str, str]) -> Books:
    found = [Disturbance(kind, target, 1_500, 1_600) for kind, target in kinds_and_targets]
    return replace(books, disturbances=found)


def broken(books: Books, marker: str) -> Books:
    """Its client did not get to the end."""
    clients = [c for c in books.clients if c.marker != marker]
    return replace(books, clients=[*clients, received(marker, complete=False)])
