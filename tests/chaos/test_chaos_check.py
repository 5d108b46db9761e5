"""The check itself: books that agree pass, and each planted discrepancy is found and named."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.check import check
from tests.chaos.counts import counts_of
from tests.chaos.money import explained_debt
from tests.chaos.records import (
    Books,
    Credits,
    Disturbance,
    Entry,
    Loss,
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


def test_books_that_agree() -> None:
    assert check(good()) == []


def test_one_lost() -> None:
    assert kinds(books_of(row("a"))) == {("not_charged", "b")}


def test_one_orphaned_though_its_client_has_everything() -> None:
    books = disturbed(books_of(row("a"), row("b", 0, "orphaned")), ("gateway_kill", "g0"))
    assert kinds(books) == {("not_charged", "b")}


def test_one_doubled_under_another_id() -> None:
    books = books_of(row("a"), row("b"), row("b", request_id="id-c"))
    assert ("charged_twice", "b") in kinds(books)


def test_one_doubled_in_the_stream_and_the_wallet() -> None:
    books = good()
    books = in_redis(books, entries=[*books.redis.entries, entry("b", number=1)])
    books = in_redis(books, wallets={ACCOUNT: Wallet(CREDIT - 3 * NANOS)})
    assert kinds(books) == {("charged_twice", "id-b"), ("wallet_differs", ACCOUNT)}


def test_one_nano_off_in_a_charge() -> None:
    assert kinds(books_of(row("a"), row("b", NANOS + 1))) == {("wrong_amount", "b")}


def test_one_nano_off_in_what_the_client_was_told() -> None:
    books = good()
    told = replace(received("b"), stated_nanos=NANOS - 1)
    assert kinds(replace(books, clients=[received("a"), told])) == {("wrong_amount", "b")}


def test_one_nano_off_between_stream_and_row() -> None:
    books = good()
    books = in_redis(books, entries=[entry("a"), entry("b", NANOS + 1)])
    assert kinds(books) == {("wrong_amount", "id-b")}


@pytest.mark.parametrize(
    "plant",
    [
        lambda books: in_redis(books, wallets={ACCOUNT: Wallet(CREDIT - 2 * NANOS - 1)}),
        lambda books: in_postgres(books, wallets={ACCOUNT: CREDIT - 2 * NANOS + 1}),
        lambda books: in_postgres(books, owed={ACCOUNT: CREDIT - 2 * NANOS + 1}),
        lambda books: in_postgres(books, owed={}),
    ],
    ids=["Redis' wallet", "Postgres' wallet", "the books", "no books"],
)
def test_one_nano_off_in_a_wallet(plant: Callable[[Books], Books]) -> None:
    assert kinds(plant(good())) == {("wallet_differs", ACCOUNT)}


def test_one_nano_off_in_a_keys_window() -> None:
    books = in_postgres(good(), key_spend={(KEY, 0): 2 * NANOS - 1})
    assert kinds(books) == {("key_spend_differs", KEY)}


def test_a_phantom_that_no_client_asked_for() -> None:
    books = books_of(row("a"), row("b"), row("c"))
    assert kinds(books) == {("phantom", "id-c")}


def test_a_phantom_that_no_provider_saw() -> None:
    books = replace(broken(good(), "b"), provider=[served("a")])
    assert kinds(books) == {("phantom", "id-b")}
    assert kinds(disturbed(books, ("wire_black_hole", "g0-provider"))) == set()


def test_a_half_open_connection_waits_in_the_pool_for_its_request() -> None:
    books = replace(broken(good(), "b"), provider=[served("a")])
    late = [replace(c, began_ms=40_000, ended_ms=45_000) for c in books.clients]
    books = replace(books, clients=late)
    assert kinds(disturbed(books, ("wire_half_open", "g0-provider"))) == set()
    assert kinds(disturbed(books, ("wire_cut", "g0-provider"))) == {("phantom", "id-b")}


def test_orphans_of_nobody() -> None:
    books = books_of(row("a"), row("b"), row("c", 0, "orphaned", marker=None))
    assert kinds(books) == {("phantom", "orphans")}
    headless = replace(received("d", complete=False), request_id=None, status=0)
    assert kinds(replace(books, clients=[*books.clients, headless])) == set()


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"holds": {"id-b": 1}}, "id-b"),
        ({"wallets": {ACCOUNT: Wallet(CREDIT - 2 * NANOS, 1)}}, ACCOUNT),
        ({"keys_held": {KEY: 1}}, KEY),
    ],
)
def test_one_hold_left(changes: dict[str, Any], subject: str) -> None:
    assert kinds(in_redis(good(), **changes)) == {("hold_left", subject)}


def test_one_entry_never_flushed() -> None:
    books = good()
    books = in_redis(books, entries=[*books.redis.entries, entry("c")])
    assert kinds(books) == {("not_flushed", "id-c")}


def test_finished_by_the_provider_and_charged_to_nobody() -> None:
    books = broken(books_of(row("a"), row("b", 0, "upstream_error")), "b")
    assert kinds(books) == {("not_charged", "b")}
    assert kinds(disturbed(books, ("wire_cut", "g0-provider"))) == set()
    assert kinds(disturbed(books, ("wire_cut", "g1-provider"))) == {("not_charged", "b")}


def test_finished_by_the_provider_and_orphaned() -> None:
    books = broken(books_of(row("a"), row("b", 0, "orphaned")), "b")
    assert kinds(books) == {("not_charged", "b"), ("hold_expired", "id-b")}
    assert kinds(disturbed(books, ("gateway_kill", "g0"))) == set()
    # A gateway that only stood still must charge when it goes on.
    assert kinds(disturbed(books, ("gateway_pause", "g0"))) == {("not_charged", "b")}


def test_a_hold_that_expired_while_its_gateway_lived() -> None:
    books = good()
    books = in_redis(books, entries=[entry("b", 0, "orphaned", 9), *books.redis.entries])
    assert kinds(books) == {("hold_expired", "id-b")}
    assert kinds(disturbed(books, ("wire_delay", "g0-redis"))) == set()


def test_debt_needs_an_explanation() -> None:
    books = books_of(row("a"), row("b"))
    books = in_postgres(books, movements={(ACCOUNT, "first"): NANOS})
    books = replace(books, credits=Credits(confirmed={(ACCOUNT, "first"): NANOS}))
    wallet = {ACCOUNT: -NANOS}
    books = in_postgres(books, wallets=wallet, owed=wallet)
    books = in_redis(books, wallets={ACCOUNT: Wallet(-NANOS)})
    assert kinds(books) == {("debt_unexplained", ACCOUNT)}
    # Charges above their holds explain it, to the nano.
    short = [row("a", hold_nanos=0), row("b", hold_nanos=NANOS)]
    assert kinds(in_postgres(books, rows=short)) == set()
    almost = [row("a", hold_nanos=1), row("b", hold_nanos=NANOS)]
    assert kinds(in_postgres(books, rows=almost)) == {("debt_unexplained", ACCOUNT)}


def test_a_late_settlement_explains_its_whole_charge() -> None:
    books = good()
    books = in_redis(books, entries=[entry("b", 0, "orphaned", 9), *books.redis.entries])
    assert explained_debt(books)[ACCOUNT] == {"late": NANOS, "above": 0}


def test_a_credit_that_was_confirmed_and_is_not_there() -> None:
    given = {(ACCOUNT, "first"): CREDIT, (ACCOUNT, "more"): 5}
    books = replace(good(), credits=Credits(confirmed=given))
    assert kinds(books) == {("credit_differs", ACCOUNT)}


def test_a_movement_that_nobody_made() -> None:
    assert kinds(replace(good(), credits=Credits())) == {("phantom", ACCOUNT)}
    begun = Credits(begun=frozenset({(ACCOUNT, "first")}))
    assert kinds(replace(good(), credits=begun)) == set()


def test_a_false_alarm() -> None:
    books = replace(good(), verdicts=[Verdict(7, "different", 1)])
    assert kinds(books) == {("verify_alarm", "7")}


def test_an_alarm_between_a_loss_and_its_recovery_is_true() -> None:
    alarm = Verdict(1_700, "different", NANOS)
    books = replace(lost(good(), "b"), verdicts=[alarm])
    assert kinds(books) == set()
    assert counts_of(books)["verdicts_of_a_loss"] == 1
    assert kinds(replace(books, cursors=[Position(2, "0-0", at_ms=1_600)])) == {
        ("verify_alarm", "1700")
    }
    before = replace(alarm, at_ms=1_400)
    assert kinds(replace(books, verdicts=[before])) == {("verify_alarm", "1400")}


def test_a_cursor_that_went_back() -> None:
    books = replace(good(), cursors=[Position(1, "10-0"), Position(1, "9-0")])
    assert kinds(books) == {("cursor_went_back", "9-0")}


def test_a_new_generation_has_a_stream_of_its_own() -> None:
    books = replace(good(), cursors=[Position(1, "10-0"), Position(2, "0-0"), Position(2, "3-0")])
    assert kinds(books) == set()
    books = replace(good(), cursors=[Position(2, "0-0"), Position(1, "10-0")])
    assert kinds(books) == {("cursor_went_back", "10-0")}
    books = replace(good(), cursors=[Position(1, "10-0", shard=0), Position(1, "9-0", shard=1)])
    assert kinds(books) == set()


# A store that lost something


def lost(books: Books, *markers: str, holds: tuple[str, ...] = (), **changes: Any) -> Books:
    """A replica without these entries took over."""
    entries = [e for e in books.redis.entries if e.marker in markers]
    kept = [e for e in books.redis.entries if e.marker not in markers]
    held = {f"id-{marker}": NANOS for marker in holds}
    loss = Loss("replica_promoted", 1_500, entries, held, generations={0: 1}, **changes)
    return in_redis(replace(books, losses=[loss]), entries=kept)


def indebted(books: Books, held_nanos: int = NANOS) -> Books:
    """Its account was credited with one charge less than it has."""
    rows = [replace(row, hold_nanos=held_nanos) for row in books.postgres.rows]
    wallet = {ACCOUNT: -NANOS}
    movements = {(ACCOUNT, "first"): NANOS}
    books = in_postgres(books, rows=rows, wallets=wallet, owed=wallet, movements=movements)
    books = in_redis(books, wallets={ACCOUNT: Wallet(-NANOS)})
    return replace(books, credits=Credits(confirmed=movements))


def recovered(books: Books) -> Books:
    return in_postgres(books, generations={0: 2})


def test_a_lost_entry_must_come_back_from_a_journal() -> None:
    assert kinds(lost(good(), "b")) == set()
    books = books_of(row("a"))
    books = in_redis(books, entries=[*books.redis.entries, entry("b")])
    assert kinds(lost(books, "b")) == {("not_flushed", "id-b"), ("not_charged", "b")}


def test_a_lost_entry_of_an_orphan_is_nobodys() -> None:
    books = broken(books_of(row("a")), "b")
    books = in_redis(books, entries=[*books.redis.entries, entry("b", 0, "orphaned")])
    books = disturbed(books, ("gateway_kill", "g0"))
    assert kinds(books) == {("not_flushed", "id-b")}
    assert kinds(lost(books, "b")) == set()


def test_what_was_settled_again_after_its_entry_was_lost_is_charged_once() -> None:
    books = lost(good(), "b")
    again = replace(entry("b"), stream_id="2-0")
    assert kinds(in_redis(books, entries=[*books.redis.entries, again])) == set()
    both = [*books.redis.entries, again, replace(again, stream_id="3-0")]
    assert kinds(in_redis(books, entries=both)) == {("charged_twice", "id-b")}


def test_an_entry_that_was_trimmed_still_counts() -> None:
    books = good()
    copied = [*books.redis.entries, replace(entry("b"), stream_id="0-7")]
    assert kinds(replace(books, seen=copied)) == {("charged_twice", "id-b")}
    copied = [entry("c")]
    assert kinds(replace(books, seen=copied)) == {("not_flushed", "id-c")}


def test_a_late_debit_is_no_second_charge() -> None:
    books = in_postgres(lost(good(), "b"), late_debits={(ACCOUNT, "late:7"): -NANOS})
    assert kinds(books) == set()
    assert kinds(replace(books, losses=[])) == {("late_debit", ACCOUNT)}


def test_charges_that_a_store_forgot_explain_as_much_debt() -> None:
    books = recovered(indebted(good()))
    assert kinds(books) == {("debt_unexplained", ACCOUNT)}
    assert kinds(lost(books, "b")) == set()
    cheaper = lost(books, "b")
    (loss,) = cheaper.losses
    almost = replace(loss, entries=[replace(e, charged_nanos=NANOS - 1) for e in loss.entries])
    assert ("debt_unexplained", ACCOUNT) in kinds(replace(cheaper, losses=[almost]))


def test_a_lost_hold_explains_debt_only_where_nobody_could_take_it_again() -> None:
    books = lost(recovered(indebted(good())), holds=("b",))
    assert kinds(books) == {("debt_unexplained", ACCOUNT)}
    assert kinds(disturbed(books, ("gateway_pause", "g0"))) == set()
    assert kinds(disturbed(books, ("gateway_pause", "g1"))) == {("debt_unexplained", ACCOUNT)}
    # Without a recovery nobody asked for it until its next renewal.
    assert kinds(in_postgres(books, generations={0: 1})) == set()


def test_only_what_was_predicted_may_be_lost_for_good() -> None:
    books = lost(books_of(row("a")), requests=frozenset({"id-b"}))
    assert kinds(books) == set()
    assert counts_of(books)["lost_as_predicted"] == 1
    assert counts_of(books)["complete_and_not_charged"] == 0
    other = lost(books_of(row("a")), requests=frozenset({"id-c"}))
    assert kinds(other) == {("not_charged", "b")}


def test_the_counts_of_books_that_agree_are_zero() -> None:
    counts = counts_of(good())
    named = ("tries", "complete", "verdicts_ok", "verdicts_unknown")
    assert {name: counts[name] for name in named} == dict(zip(named, (2, 2, 1, 1), strict=True))
    assert not any(count for name, count in counts.items() if name not in named)


def test_each_count_tells_its_own_fault() -> None:
    doubled = counts_of(books_of(row("a"), row("b"), row("b", request_id="id-c")))
    assert doubled["charged_twice_in_usage"] == 1
    assert counts_of(books_of(row("a")))["complete_and_not_charged"] == 1
    short = in_redis(good(), wallets={ACCOUNT: Wallet(CREDIT - 3 * NANOS)}, holds={"id-b": 5})
    counts = counts_of(short)
    assert (counts["charged_twice_in_wallet"], counts["difference_nanos"]) == (1, NANOS)
    assert (counts["charged_twice_in_books"], counts["holds_left"]) == (0, 1)
    assert counts_of(indebted(good()))["unexplained_debt_nanos"] == NANOS


def test_quarantine_is_told() -> None:
    assert kinds(in_postgres(good(), quarantined=1)) == {("quarantined", "stream")}


def test_a_run_without_an_answer_proves_nothing() -> None:
    books = broken(broken(good(), "a"), "b")
    assert kinds(books) == {("nobody_served", "clients")}


def test_a_mistake_of_ours_is_no_outage() -> None:
    failed = replace(received("b", complete=False), status=500, code="internal_error")
    books = replace(good(), clients=[received("a"), failed])
    assert kinds(books) == {("internal_error", "b")}
