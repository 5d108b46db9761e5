"""The check where a store lost something, and the counts that a run is judged by."""

from dataclasses import replace
from typing import Any

from tests.chaos.counts import counts_of
from tests.chaos.made_books import (
    ACCOUNT,
    CREDIT,
    NANOS,
    books_of,
    broken,
    disturbed,
    entry,
    good,
    in_postgres,
    in_redis,
    kinds,
    row,
)
from tests.chaos.records import Books, Credits, Loss, Standing, Verdict, Wallet

# A store that lost something


def lost(books: Books, *markers: str, holds: tuple[str, ...] = (), **changes: Any) -> Books:
    """A replica without these entries took over."""
    entries = [e for e in books.redis.entries if e.marker in markers]
    kept = [e for e in books.redis.entries if e.marker not in markers]
    held = {f"id-{marker}": NANOS for marker in holds}
    loss = Loss("replica_promoted", 1_500, entries, held, generations={0: 1})
    loss = replace(loss, **changes)
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


def ended(books: Books, at_ms: int, opened_ms: int) -> Books:
    """When the generation that lost something was over, and when the next one was open."""
    standings = [Standing(at_ms, 0, 2, "draining"), Standing(opened_ms, 0, 2, "open")]
    return replace(books, standings=[Standing(0, 0, 1, "open"), *standings])


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


def test_what_a_store_forgot_explains_only_what_it_admitted_before_its_generation_ended() -> None:
    books = lost(recovered(indebted(good())), "b", holds=("a",))
    assert kinds(ended(books, 1_600, 1_700)) == set()
    late = [replace(client, began_ms=1_650) for client in books.clients]
    assert kinds(ended(replace(books, clients=late), 1_700, 1_800)) == set()
    unexplained = {("debt_unexplained", ACCOUNT)}
    assert kinds(ended(replace(books, clients=late), 1_600, 1_700)) == unexplained
    emptied = [replace(loss, kind="redis_empty") for loss in books.losses]
    assert kinds(ended(replace(books, losses=emptied), 1_600, 1_700)) == unexplained


def test_a_debt_that_was_paid_meanwhile_was_one() -> None:
    books = replace(good(), debts={ACCOUNT: 5})
    assert kinds(books) == {("debt_unexplained", ACCOUNT)}


def test_a_lost_hold_explains_debt_only_where_nobody_could_take_it_again() -> None:
    books = lost(recovered(indebted(good())), holds=("b",), at_ms=8_000)
    books = ended(books, 8_100, 8_200)
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


def test_no_loss_excuses_an_alarm() -> None:
    books = replace(lost(good(), "b"), verdicts=[Verdict(1_700, "different", NANOS)])
    assert kinds(books) == {("verify_alarm", "1700")}
