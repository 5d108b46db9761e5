"""Every outcome of every function that a request goes through, on real servers."""

from dataclasses import replace

import pytest
import redis

from proxy.domain.account import Reset
from proxy.domain.outcome import Hold, Outcome
from tests.support.ledger_bench import (
    ACCOUNT,
    LEASE_MS,
    START_MS,
    USD,
    LedgerBench,
    api_key,
    charge_of,
    hold_of,
    request_id,
)

HOUR_MS = 3_600_000
MARK_MS = HOUR_MS + 20 * 60_000
A, B, C = request_id(1), request_id(2), request_id(3)


@pytest.fixture
def funded(bench: LedgerBench) -> LedgerBench:
    """One dollar, and an unlimited key."""
    assert bench.wallet(USD) is Outcome.OK
    assert bench.key(api_key()) is Outcome.OK
    return bench


# reserve


def test_reserve_takes_the_hold_from_wallet_and_key(funded: LedgerBench) -> None:
    seen = funded.reserve(api_key(), A, 300)
    assert seen.outcome is Outcome.OK
    assert (seen.wallet.balance_nanos, seen.wallet.held_nanos) == (USD, 300)
    assert seen.wallet.available_nanos == USD - 300
    assert seen.key.held_nanos == 300
    assert funded.balance() == (USD, 300)


def test_reserve_twice_takes_one_hold(funded: LedgerBench) -> None:
    funded.held(api_key(), A, 300)
    assert funded.reserve(api_key(), A, 300).outcome is Outcome.EXISTS
    assert funded.reserve(api_key(), A, 301).outcome is Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
    assert funded.balance() == (USD, 300)


def test_reserve_of_the_last_nano_and_not_of_one_more(funded: LedgerBench) -> None:
    assert funded.reserve(api_key(), A, USD + 1).outcome is Outcome.INSUFFICIENT_BALANCE
    assert funded.reserve(api_key(), B, USD).outcome is Outcome.OK
    assert funded.reserve(api_key(), C, 1).outcome is Outcome.INSUFFICIENT_BALANCE
    assert funded.balance() == (USD, USD)


def test_what_costs_nothing_needs_no_balance(bench: LedgerBench) -> None:
    key = api_key(limit=0)
    bench.wallet(-5)
    bench.key(key)
    assert bench.reserve(key, A, 0).outcome is Outcome.OK
    assert bench.reserve(key, B, 1).outcome is Outcome.KEY_LIMIT_EXCEEDED


def test_a_key_that_is_unknown_other_or_revoked_is_stale(bench: LedgerBench) -> None:
    bench.wallet(USD)
    assert bench.reserve(api_key(), A, 1).outcome is Outcome.STALE_KEY
    bench.key(api_key(epoch=2))
    assert bench.reserve(api_key(epoch=1), A, 1).outcome is Outcome.STALE_KEY
    assert bench.reserve(api_key(epoch=3), A, 1).outcome is Outcome.STALE_KEY
    bench.publish(api_key(epoch=4, revoked=True))
    assert bench.reserve(api_key(epoch=4), A, 1).outcome is Outcome.STALE_KEY
    assert bench.balance() == (USD, 0)


def test_a_key_spends_only_its_own_account(funded: LedgerBench) -> None:
    stranger = request_id(9)
    funded.wallet(USD, account_id=stranger)
    assert funded.reserve(api_key(account_id=stranger), A, 1).outcome is Outcome.STALE_KEY


def test_an_unknown_wallet_holds_nothing(bench: LedgerBench) -> None:
    bench.key(api_key())
    assert bench.reserve(api_key(), A, 1).outcome is Outcome.UNKNOWN_WALLET
    assert bench.snapshot() is None


def test_key_limit_counts_spend_and_holds(bench: LedgerBench) -> None:
    key = api_key(limit=100)
    bench.wallet(USD)
    bench.key(key)
    first = bench.held(key, A, 60)
    assert bench.reserve(key, B, 41).outcome is Outcome.KEY_LIMIT_EXCEEDED
    bench.settle(charge_of(first, 10))
    seen = bench.reserve(key, C, 90)
    assert seen.outcome is Outcome.OK
    assert (seen.key.limit_nanos, seen.key.spent_nanos, seen.key.held_nanos) == (100, 10, 90)


def test_concurrency_is_freed_by_every_end(bench: LedgerBench) -> None:
    key = api_key(concurrency=1)
    bench.wallet(USD)
    bench.key(key)
    hold = bench.held(key, A, 1)
    assert bench.reserve(key, B, 1).outcome is Outcome.CONCURRENCY_LIMITED
    bench.settle(charge_of(hold, 1))
    bench.held(key, B, 1)
    bench.give_back(key, B)
    _let_expire(bench, bench.held(key, C, 1))
    assert bench.reserve(key, request_id(4), 1).outcome is Outcome.OK


def test_requests_per_minute_begin_anew_with_the_minute(bench: LedgerBench) -> None:
    key = api_key(rpm=2)
    bench.wallet(USD)
    bench.key(key)
    bench.sleep(10_000)
    assert bench.reserve(key, A, 1).key.requests_remaining == 1
    assert bench.reserve(key, B, 1).key.requests_remaining == 0
    seen = bench.reserve(key, C, 1)
    assert (seen.outcome, seen.retry_after_ms) == (Outcome.RATE_LIMITED, 50_000)
    bench.sleep(50_000)
    assert bench.reserve(key, C, 1).outcome is Outcome.OK


def test_tokens_per_minute_are_corrected_by_what_was_used(bench: LedgerBench) -> None:
    key = api_key(tpm=1_000)
    bench.wallet(USD)
    bench.key(key)
    hold = bench.held(key, A, 1, tokens=900)
    assert bench.reserve(key, B, 1, tokens=101).outcome is Outcome.RATE_LIMITED
    bench.settle(charge_of(hold, 1, tokens=100))
    assert bench.state(key).key.tokens_remaining == 900
    assert bench.reserve(key, B, 1, tokens=900).outcome is Outcome.OK


def test_tokens_of_another_minute_are_not_corrected(bench: LedgerBench) -> None:
    key = api_key(tpm=1_000)
    bench.wallet(USD)
    bench.key(key)
    hold = bench.held(key, A, 1, tokens=900)
    bench.sleep(60_000)
    bench.held(key, B, 1, tokens=500)
    bench.settle(charge_of(hold, 1, tokens=0))
    assert bench.state(key).key.tokens_remaining == 500


def test_a_refusal_writes_nothing(bench: LedgerBench) -> None:
    key = api_key(limit=10, rpm=5, concurrency=5)
    bench.wallet(USD)
    bench.key(key)
    before = {name: bench.client.hgetall(name) for name in bench.client.keys("*:[kw]:*")}
    assert bench.reserve(key, A, 11).outcome is Outcome.KEY_LIMIT_EXCEEDED
    assert {name: bench.client.hgetall(name) for name in bench.client.keys("*:[kw]:*")} == before


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"within_ms": -1}, "DEADLINE"),
        ({"unflushed_max": 0}, "BACKLOG"),
        ({"amount": -1}, "BADCALL"),
        ({"amount": 2**53}, "BADCALL"),
    ],
)
def test_a_call_that_must_not_be_judged_changes_nothing(
    funded: LedgerBench, given: dict[str, int], code: str
) -> None:
    funded.settle(charge_of(funded.held(api_key(), A, 1), 1))  # one charge that is not flushed
    with pytest.raises(redis.ResponseError, match=code):
        funded.reserve(api_key(), B, **{"amount": 1, **given})
    assert funded.balance() == (USD - 1, 0)


@pytest.mark.parametrize("skew_ms", [-11 * 60_000, 11 * 60_000])
def test_an_id_from_a_clock_that_is_far_off_is_refused(funded: LedgerBench, skew_ms: int) -> None:
    with pytest.raises(redis.ResponseError, match="SKEW"):
        funded.reserve(api_key(), request_id(1, funded.now_ms + skew_ms), 1)


# extend


def test_extend_carries_the_absolute_total(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 100)
    assert funded.extend(hold, 250) is Outcome.OK
    assert funded.extend(hold, 250) is Outcome.EXISTS
    assert funded.extend(hold, 100) is Outcome.EXISTS
    assert funded.balance() == (USD, 250)
    assert funded.state(api_key()).key.held_nanos == 250
    assert funded.extend(hold, USD + 1) is Outcome.INSUFFICIENT_BALANCE
    funded.settle(charge_of(hold, 200))
    assert funded.balance() == (USD - 200, 0)


def test_extend_stops_at_the_key_limit(bench: LedgerBench) -> None:
    key = api_key(limit=100)
    bench.wallet(USD)
    bench.key(key)
    hold = bench.held(key, A, 60)
    assert bench.extend(hold, 101) is Outcome.KEY_LIMIT_EXCEEDED
    assert bench.extend(hold, 100) is Outcome.OK


def test_extend_without_a_hold(funded: LedgerBench) -> None:
    assert funded.extend(hold_of(api_key(), A, 1), 2) is Outcome.NOT_FOUND
    funded.settle(charge_of(funded.held(api_key(), A, 1), 1))
    assert funded.extend(hold_of(api_key(), A, 1), 2) is Outcome.ALREADY_SETTLED
    funded.give_back(api_key(), B)
    assert funded.extend(hold_of(api_key(), B, 1), 2) is Outcome.ALREADY_RELEASED


# settle and release


def test_settle_moves_the_money_once_and_writes_it_to_the_stream(funded: LedgerBench) -> None:
    charge = charge_of(funded.held(api_key(), A, 300), 120)
    assert funded.settle(charge) is Outcome.OK
    assert funded.settle(charge) is Outcome.ALREADY_SETTLED
    assert funded.settle(replace(charge, charged_nanos=121)) is Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
    assert funded.balance() == (USD - 120, 0)
    assert funded.state(api_key()).key.spent_nanos == 120
    (entry,) = funded.stream()
    assert entry == {
        b"a": str(ACCOUNT).encode(), b"k": b"key", b"c": b"120", b"w": b"0", b"i": b"gateway",
        b"n": b"1", b"s": b"1", b"d": charge.to_bytes(),
    }  # fmt: skip


def test_settle_above_the_hold_is_charged_in_full(funded: LedgerBench) -> None:
    funded.settle(charge_of(funded.held(api_key(), A, USD), USD + 7))
    assert funded.balance() == (-7, 0)
    assert funded.reserve(api_key(), B, 1).outcome is Outcome.INSUFFICIENT_BALANCE


def test_settle_of_nothing(funded: LedgerBench) -> None:
    assert funded.settle(charge_of(funded.held(api_key(), A, 5), 0)) is Outcome.OK
    assert funded.balance() == (USD, 0)
    assert len(funded.stream()) == 1


def test_settle_without_a_hold_charges_from_its_own_data(funded: LedgerBench) -> None:
    charge = charge_of(hold_of(api_key(), A, 300), 120)
    assert funded.settle(charge) is Outcome.SETTLED_LATE
    assert funded.settle(charge) is Outcome.ALREADY_SETTLED
    assert funded.balance() == (USD - 120, 0)
    assert funded.state(api_key()).key.spent_nanos == 120


def test_settle_after_expiry_charges_in_full(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    _let_expire(funded, hold)
    assert funded.balance() == (USD, 0)
    assert funded.settle(charge_of(hold, 120)) is Outcome.SETTLED_LATE
    assert funded.balance() == (USD - 120, 0)
    assert [entry[b"c"] for entry in funded.stream()] == [b"0", b"120"]


def test_settle_after_a_release_charges_nothing(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    funded.give_back(api_key(), A)
    assert funded.settle(charge_of(hold, 120)) is Outcome.ALREADY_RELEASED
    assert funded.balance() == (USD, 0)
    assert funded.stream() == []


def test_settle_needs_the_wallet_to_be_loaded_first(bench: LedgerBench) -> None:
    charge = charge_of(hold_of(api_key(), A, 300), 120)
    assert bench.settle(charge) is Outcome.UNKNOWN_WALLET
    assert bench.stream() == []
    bench.wallet(USD)
    assert bench.settle(charge) is Outcome.SETTLED_LATE
    assert bench.balance() == (USD - 120, 0)


def test_settle_of_a_forgotten_id_is_left_to_the_journal(funded: LedgerBench) -> None:
    charge = charge_of(hold_of(api_key(), A, 300), 120)
    funded.sleep(HOUR_MS + 1)
    assert funded.settle(charge) is Outcome.NOT_FOUND
    future = charge_of(hold_of(api_key(), request_id(5, funded.now_ms + HOUR_MS), 1), 1)
    assert funded.settle(future) is Outcome.NOT_FOUND
    assert funded.balance() == (USD, 0)


def test_a_hold_is_settled_however_old_it_is(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    for _ in range(300):
        funded.sleep(LEASE_MS // 3)
        funded.renew(hold)
    assert funded.now_ms - START_MS > HOUR_MS
    assert funded.settle(charge_of(hold, 120)) is Outcome.OK


def test_an_end_is_remembered_longer_than_its_id_is_young(funded: LedgerBench) -> None:
    """Repeated at any later time, a settlement charges nothing more."""
    early = funded.now_ms + 9 * 60_000  # a gateway whose clock is ahead
    hold = funded.held(api_key(), request_id(1, early), 10)
    charge = charge_of(hold, 10)
    funded.settle(charge)
    for n in range(30):
        funded.sleep(5 * 60_000)
        other = funded.held(api_key(), request_id(100 + n, funded.now_ms), 0)
        funded.settle(charge_of(other, 0))
        assert funded.settle(charge) in (Outcome.ALREADY_SETTLED, Outcome.NOT_FOUND)
    assert funded.settle(charge) is Outcome.NOT_FOUND
    assert funded.balance() == (USD - 10, 0)


def test_a_clock_that_was_ahead_for_a_moment_forgets_nothing_too_early(funded: LedgerBench) -> None:
    charge = charge_of(funded.held(api_key(), A, 10), 10)
    funded.settle(charge)
    then = funded.now_ms
    funded.at(then + 8 * HOUR_MS)
    for n in range(5):
        other = charge_of(hold_of(api_key(), request_id(50 + n, funded.now_ms), 0), 0)
        funded.settle(other)
    funded.at(then)
    assert funded.settle(charge) in (Outcome.ALREADY_SETTLED, Outcome.NOT_FOUND)
    assert funded.balance() == (USD - 10, 0)


def test_a_forgotten_id_that_was_looked_up_is_charged_once(funded: LedgerBench) -> None:
    """What Postgres did not have, as of a moment since which every mark is here, was never made."""
    charge = charge_of(hold_of(api_key(), A, 300), 120)
    funded.sleep(HOUR_MS + 1)
    first_mark_ms = funded.now_ms - MARK_MS + 1  # one of a millisecond earlier may be gone
    assert funded.settle(charge, known_ms=first_mark_ms - 1) is Outcome.NOT_FOUND
    assert funded.settle(charge, known_ms=first_mark_ms) is Outcome.SETTLED_LATE
    assert funded.settle(charge, known_ms=first_mark_ms) is Outcome.ALREADY_SETTLED
    assert funded.balance() == (USD - 120, 0)
    for _ in range(4):  # the mark goes; so has what the look-up said
        funded.sleep(MARK_MS // 4 + 1)
        funded.due()
    assert funded.settle(charge, known_ms=first_mark_ms) is Outcome.NOT_FOUND
    assert funded.balance() == (USD - 120, 0)


@pytest.mark.parametrize("late", ["reserve", "renew"])
def test_no_late_call_takes_a_hold_for_what_was_settled_and_forgotten(
    funded: LedgerBench, late: str
) -> None:
    """The clock was ahead for a while, and marks went; then it was set right, so that a call which
    had been sent before is in time for its deadline again."""
    hold = funded.held(api_key(), A, 10)
    funded.settle(charge_of(hold, 10))
    then = funded.now_ms
    funded.at(then + 8 * HOUR_MS)
    funded.due()
    assert funded.client.hlen(funded.keys.done) == 0
    funded.at(then)
    if late == "renew":
        assert funded.renew(hold) is Outcome.NOT_FOUND
    else:
        with pytest.raises(redis.ResponseError, match="SKEW"):
            funded.reserve(api_key(), A, 10)
    assert funded.settle(charge_of(hold, 10)) is Outcome.NOT_FOUND
    assert funded.balance() == (USD - 10, 0)
    funded.held(api_key(), request_id(7, then + 1), 10)  # younger ones are served


def test_a_new_generation_takes_a_hold_again_that_is_older_than_every_mark(
    funded: LedgerBench,
) -> None:
    """What the old one forgot is in Postgres, and its calls are refused by their generation."""
    hold = funded.held(api_key(), A, 300)
    funded.settle(charge_of(funded.held(api_key(), request_id(2, funded.now_ms), 10), 10))
    funded.at(funded.now_ms + 8 * HOUR_MS)
    funded.due()
    funded.generation = 2
    assert funded.open_shard() is Outcome.OK
    funded.wallet(USD - 10)
    assert funded.renew(hold) is Outcome.STALE_KEY
    funded.key(api_key())
    assert funded.renew(hold) is Outcome.OK
    assert funded.balance() == (USD - 10, 300)
    assert funded.settle(charge_of(hold, 120)) is Outcome.OK
    assert funded.balance() == (USD - 130, 0)


def test_a_release_gives_back_and_writes_its_row(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    charge = charge_of(hold, 0)
    assert funded.release(charge) is Outcome.OK
    assert funded.release(charge) is Outcome.ALREADY_RELEASED
    assert funded.balance() == (USD, 0)
    assert [entry[b"d"] for entry in funded.stream()] == [charge.to_bytes()]


def test_a_release_stops_the_reservation_that_arrives_later(funded: LedgerBench) -> None:
    assert funded.give_back(api_key(), A) is Outcome.NOT_FOUND
    assert funded.reserve(api_key(), A, 300).outcome is Outcome.ALREADY_RELEASED
    assert funded.balance() == (USD, 0)
    assert funded.stream() == []


def test_a_release_after_the_settlement_changes_nothing(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    funded.settle(charge_of(hold, 120))
    assert funded.give_back(api_key(), A) is Outcome.ALREADY_SETTLED
    assert funded.reserve(api_key(), A, 300).outcome is Outcome.ALREADY_SETTLED
    assert funded.balance() == (USD - 120, 0)


def test_a_settlement_of_another_key_is_no_settlement(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    with pytest.raises(redis.ResponseError, match="BADCALL"):
        funded.settle(replace(charge_of(hold, 120), key_id="other"))
    assert funded.balance() == (USD, 300)


def test_settlement_numbers_are_kept_at_their_highest(funded: LedgerBench) -> None:
    for number, id_ in ((2, A), (1, B), (5, C)):
        funded.settle(charge_of(funded.held(api_key(), id_, 1), 1, number=number))
    assert funded.client.hgetall(funded.keys.numbers) == {b"gateway": b"5"}


# renew and expire


def test_nothing_expires_before_its_lease(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    funded.sleep(LEASE_MS // 2)
    assert funded.due() == []
    assert funded.renew(hold) is Outcome.OK
    funded.sleep(LEASE_MS // 2)
    assert funded.due() == []
    assert funded.expire(hold) is Outcome.EXISTS
    funded.sleep(LEASE_MS // 2)
    assert funded.due() == [str(A)]
    assert funded.expire(hold) is Outcome.OK
    assert funded.expire(hold) is Outcome.NOT_FOUND
    assert funded.due() == []
    assert funded.balance() == (USD, 0)


@pytest.mark.parametrize("jump_ms", [LEASE_MS // 2 + 1, 24 * HOUR_MS])
def test_a_gap_postpones_every_expiry_by_one_lease(funded: LedgerBench, jump_ms: int) -> None:
    hold = funded.held(api_key(), A, 300)
    funded.sleep(LEASE_MS // 2)
    funded.due()
    funded.sleep(jump_ms)
    assert funded.due() == []
    assert funded.expire(hold) is Outcome.EXISTS
    funded.sleep(LEASE_MS // 2)
    assert funded.due() == []
    funded.sleep(LEASE_MS // 2)
    assert funded.due() == [str(A)]


def test_time_never_goes_back(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    funded.at(START_MS - 24 * HOUR_MS)
    assert funded.renew(hold) is Outcome.OK
    lease = funded.client.zscore(funded.keys.leases, str(A))
    assert lease == START_MS + 2 * LEASE_MS


def test_renew_takes_a_lost_hold_again(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    _let_expire(funded, hold)
    assert funded.renew(hold) is Outcome.OK
    assert funded.balance() == (USD, 300)
    assert funded.settle(charge_of(hold, 120)) is Outcome.OK
    assert funded.balance() == (USD - 120, 0)
    assert funded.state(api_key()).key.held_nanos == 0


def test_renew_of_what_has_ended(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    funded.settle(charge_of(hold, 120))
    assert funded.renew(hold) is Outcome.ALREADY_SETTLED
    funded.give_back(api_key(), B)
    assert funded.renew(hold_of(api_key(), B, 1)) is Outcome.ALREADY_RELEASED
    with pytest.raises(redis.ResponseError, match="DEADLINE"):
        funded.renew(hold_of(api_key(), C, 1), within_ms=-1)
    assert funded.balance() == (USD - 120, 0)


def test_a_hold_that_was_taken_again_stands_as_if_it_had_never_expired(
    funded: LedgerBench,
) -> None:
    hold = funded.held(api_key(), A, 300)
    _let_expire(funded, hold)
    funded.renew(hold)
    assert funded.reserve(api_key(), A, 300).outcome is Outcome.EXISTS
    assert funded.extend(hold, 400) is Outcome.OK
    assert funded.balance() == (USD, 400)


def test_a_hold_taken_again_in_a_later_window_counts_in_none(bench: LedgerBench) -> None:
    key = api_key(limit=100, reset=Reset.DAILY)
    bench.wallet(USD)
    bench.key(key)
    bench.at(START_MS + 24 * HOUR_MS - 120_000)
    hold = bench.held(key, request_id(1, bench.now_ms), 60)
    _let_expire(bench, hold)
    bench.sleep(60_000)
    today = bench.held(key, request_id(2, bench.now_ms), 100)
    assert bench.renew(hold) is Outcome.OK
    assert bench.state(key).key.held_nanos == 100
    assert bench.settle(charge_of(hold, 60)) is Outcome.OK
    assert bench.settle(charge_of(today, 90)) is Outcome.OK
    assert (bench.state(key).key.held_nanos, bench.state(key).key.spent_nanos) == (0, 90)


def test_a_hold_that_grew_since_it_was_listed_does_not_expire(funded: LedgerBench) -> None:
    listed = funded.held(api_key(), A, 300)
    for _ in range(4):
        funded.sleep(LEASE_MS // 3)
        funded.due()
    assert funded.extend(listed, 400) is Outcome.OK
    assert funded.expire(listed) is Outcome.EXISTS
    assert funded.balance() == (USD, 400)


def test_an_expired_request_is_not_reserved_again(funded: LedgerBench) -> None:
    hold = funded.held(api_key(), A, 300)
    _let_expire(funded, hold)
    assert funded.reserve(api_key(), A, 300).outcome is Outcome.ALREADY_RELEASED
    assert funded.balance() == (USD, 0)


# reset windows


def test_a_hold_settles_into_the_window_in_which_it_was_taken(bench: LedgerBench) -> None:
    key = api_key(limit=100, reset=Reset.DAILY)
    bench.wallet(USD)
    bench.key(key)
    bench.at(START_MS + 24 * HOUR_MS - 1_000)
    yesterday = bench.held(key, request_id(1, bench.now_ms), 100)
    assert yesterday.window_ms == START_MS
    bench.sleep(2_000)
    today = bench.held(key, request_id(2, bench.now_ms), 100)
    assert today.window_ms == START_MS + 24 * HOUR_MS
    bench.settle(charge_of(yesterday, 90))
    assert bench.state(key).key.spent_nanos == 0
    assert bench.state(key).key.held_nanos == 100
    bench.settle(charge_of(today, 80))
    assert bench.state(key).key.spent_nanos == 80


def test_a_window_does_not_open_twice_when_the_clock_goes_back(bench: LedgerBench) -> None:
    key = api_key(limit=100, reset=Reset.DAILY)
    bench.wallet(USD)
    bench.key(key)
    bench.at(START_MS + 24 * HOUR_MS)
    bench.settle(charge_of(bench.held(key, request_id(1, bench.now_ms), 100), 100))
    bench.at(START_MS + 23 * HOUR_MS + 55 * 60_000)
    seen = bench.reserve(key, request_id(2, bench.now_ms), 1)
    assert seen.outcome is Outcome.KEY_LIMIT_EXCEEDED


def test_a_store_whose_clock_is_behind_does_not_open_an_old_window(bench: LedgerBench) -> None:
    """A shard's time goes forward only, through all of its generations."""
    key = api_key(limit=100, reset=Reset.DAILY)
    bench.wallet(USD)
    bench.key(key)
    bench.at(START_MS + 24 * HOUR_MS)
    bench.settle(charge_of(bench.held(key, request_id(1, bench.now_ms), 100), 100))
    bench.generation = 2
    bench.at(START_MS + 23 * HOUR_MS)
    bench.open_shard()
    bench.wallet(USD)
    bench.key(key, {START_MS - START_MS % (24 * HOUR_MS) + 24 * HOUR_MS: 100})
    seen = bench.reserve(key, request_id(2, bench.now_ms), 1)
    assert seen.outcome is Outcome.KEY_LIMIT_EXCEEDED


def test_a_changed_rhythm_never_makes_a_hold_count_twice(bench: LedgerBench) -> None:
    """From none to daily and back, the first window has the same start as the third."""
    bench.wallet(USD)
    bench.key(api_key(limit=100))
    hold = bench.held(api_key(), A, 60)
    bench.publish(api_key(epoch=2, limit=100, reset=Reset.DAILY))
    bench.publish(api_key(epoch=3, limit=100))
    assert bench.settle(charge_of(hold, 60)) is Outcome.OK
    state = bench.state(api_key(epoch=3)).key
    assert (state.spent_nanos, state.held_nanos) == (60, 0)


# exactness


@pytest.mark.parametrize("nanos", [2**47 + 1, 140_737_488_355_329, 10**15 - 1, 10**15])
def test_a_million_dollars_is_exact_to_the_nano(bench: LedgerBench, nanos: int) -> None:
    key = api_key(limit=2 * 10**15)
    bench.wallet(0, sequence=0)
    assert bench.apply(1, nanos) is Outcome.OK
    bench.key(key)
    hold = bench.held(key, A, nanos - 1)
    assert bench.balance() == (nanos, nanos - 1)
    assert bench.reserve(key, B, 2).outcome is Outcome.INSUFFICIENT_BALANCE
    assert bench.extend(hold, nanos) is Outcome.OK
    bench.settle(charge_of(hold, nanos - 3))
    assert bench.balance() == (3, 0)
    assert bench.state(key).key.spent_nanos == nanos - 3
    assert bench.apply(2, -nanos) is Outcome.OK
    assert bench.balance() == (3 - nanos, 0)
    assert bench.client.hget(bench.keys.key("key"), "spent") == b"%d" % (nanos - 3)


def _let_expire(bench: LedgerBench, hold: Hold) -> None:
    for _ in range(4):
        bench.sleep(LEASE_MS // 3)
        bench.due()
    assert bench.expire(hold) is Outcome.OK
