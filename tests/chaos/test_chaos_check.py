"""The check itself: books that agree pass, and each planted discrepancy is found and named."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.check import check
from tests.chaos.made_books import (
    ACCOUNT,
    CREDIT,
    KEY,
    NANOS,
    books_of,
    broken,
    disturbed,
    entry,
    good,
    in_postgres,
    in_redis,
    kinds,
    received,
    row,
    served,
)
from tests.chaos.money import explained_debt
from tests.chaos.records import (
    Books,
    Credits,
    Position,
    Verdict,
    Wallet,
)


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


def unserved() -> Books:
    """The provider knows nothing of one that is charged."""
    books = books_of(row("a"), row("b", source="estimated"))
    return replace(broken(books, "b"), provider=[served("a")])


def test_a_phantom_that_no_provider_saw() -> None:
    books = unserved()
    assert kinds(books) == {("phantom", "id-b")}
    assert kinds(disturbed(books, ("wire_black_hole", "g0-provider"))) == set()
    # What came back through a broken wire came from somebody.
    books = disturbed(books, ("wire_black_hole", "g0-provider"))
    for changes in ({"source": "reported"}, {"output_tokens": 1}):
        rows = [replace(row, **changes) for row in books.postgres.rows]
        assert kinds(in_postgres(books, rows=rows)) == {("phantom", "id-b")}


def test_a_half_open_connection_waits_in_the_pool_for_its_request() -> None:
    books = unserved()
    late = [replace(c, began_ms=40_000, ended_ms=45_000) for c in books.clients]
    books = replace(books, clients=late)
    assert kinds(disturbed(books, ("wire_half_open", "g0-provider"))) == set()
    assert kinds(disturbed(books, ("wire_cut", "g0-provider"))) == {("phantom", "id-b")}


def test_orphans_of_nobody() -> None:
    books = books_of(row("a"), row("b"), row("c", 0, "orphaned", marker=None))
    assert kinds(books) == {("phantom", "orphans")}
    headless = replace(received("d", complete=False), request_id=None, status=0)
    books = replace(books, clients=[*books.clients, headless])
    assert kinds(disturbed(books, ("gateway_kill", "g0"))) == set()


def test_a_try_without_an_answer_needs_a_reason() -> None:
    unanswered = replace(received("d", complete=False), request_id=None, status=0)
    books = replace(good(), clients=[*good().clients, unanswered])
    assert kinds(books) == {("unanswered", "d")}
    assert kinds(disturbed(books, ("rolling_restart", "all"))) == {("unanswered", "d")}
    assert kinds(disturbed(books, ("gateway_kill", "g1"))) == {("unanswered", "d")}
    for cause in (("gateway_kill", "g0"), ("wire_reset", "clients-g0")):
        assert kinds(disturbed(books, cause)) == set()


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


def test_quarantine_is_told() -> None:
    assert kinds(in_postgres(good(), quarantined=1)) == {("quarantined", "stream")}


def test_a_run_without_an_answer_proves_nothing() -> None:
    books = broken(broken(good(), "a"), "b")
    assert kinds(books) == {("nobody_served", "clients")}


def test_a_mistake_of_ours_is_no_outage() -> None:
    failed = replace(received("b", complete=False), status=500, code="internal_error")
    books = replace(good(), clients=[received("a"), failed])
    assert kinds(books) == {("internal_error", "b")}
