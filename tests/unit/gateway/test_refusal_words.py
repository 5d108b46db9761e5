"""What a refused request is told: each names the next step, and none a step that leads nowhere."""

import pytest

from proxy.domain.errors import ApiError, InvalidRequestError, NoRouteAvailableError
from proxy.domain.outcome import KeyState, Outcome, Reserved, WalletState
from proxy.gateway.refusals import reservation_refusal, routing_refusal
from routing import errors as routing_errors
from routing.money import Nanos


def reserved(outcome: Outcome, *, balance: int = 0, **key: int) -> Reserved:
    state = KeyState(**key)  # type: ignore[arg-type] - Nanos are ints
    return Reserved(outcome, None, WalletState(Nanos(balance), Nanos(0), 1), state, 20_000)


def told(outcome: Outcome, *, affordable: int | None = None, **state: int) -> ApiError:
    return reservation_refusal(
        reserved(outcome, **state), hold_nanos=3 * 10**9, affordable_tokens=affordable
    )


def test_a_wish_no_route_meets_is_the_requests_own_fault() -> None:
    reasons = ("maker/big: not among the request's `only`",)
    wished = routing_refusal(routing_errors.UnwantedError("big", reasons))
    assert isinstance(wished, InvalidRequestError)  # no SDK tries it again
    assert wished.param == "provider"
    assert "not among the request's `only`" in wished.message
    assert "now" not in wished.message
    away = routing_refusal(routing_errors.NoRouteError("big", ("maker/big: not available now",)))
    assert isinstance(away, NoRouteAvailableError)


@pytest.mark.parametrize(
    ("endpoints", "says"),
    [
        (("embeddings",), "Send it to /v1/embeddings."),
        (("chat", "responses"), "Send it to /v1/chat/completions."),
        (("chat", "completions"), "Send it to /v1/chat/completions or /v1/completions."),
        (("responses",), "No endpoint here serves it yet."),
    ],
)
def test_a_wrong_endpoint_names_only_paths_that_exist(
    endpoints: tuple[str, ...], says: str
) -> None:
    error = routing_refusal(routing_errors.UnsupportedEndpointError("big", endpoints))
    assert error.message.endswith(says)


def test_an_unknown_model_is_told_where_the_list_is() -> None:
    alone = routing_refusal(routing_errors.UnknownModelError("zzz", ()))
    assert alone.message.endswith("GET /v1/models lists all.")
    near = routing_refusal(routing_errors.UnknownModelError("bigg", ("big",)))
    assert "Did you mean big?" in near.message


def test_a_forbidden_place_is_named_and_so_is_the_way_out() -> None:
    known = routing_refusal(routing_errors.JurisdictionError("big", "Far Pte.", "SG", ("small",)))
    assert "reaches Far Pte. in SG" in known.message
    assert "would pass: small" in known.message
    unknown = routing_refusal(routing_errors.JurisdictionError("big", "Far Pte.", "unknown", ()))
    assert "Far Pte., which does not say where it processes" in unknown.message
    assert "in unknown" not in unknown.message
    assert unknown.message.endswith("Allow more, or use another model.")


def test_a_keys_limit_is_not_cured_by_topping_up() -> None:
    error = told(Outcome.KEY_LIMIT_EXCEEDED, affordable=267, balance=10**10, limit_nanos=10**6)
    assert "op up" not in error.message
    assert "max_tokens = 267" in error.message
    assert "a higher limit" in error.message
    assert "shorter" in told(Outcome.KEY_LIMIT_EXCEEDED, limit_nanos=10**6).message
    spent = told(Outcome.KEY_LIMIT_EXCEEDED, limit_nanos=10**6, spent_nanos=10**6)
    assert "shorter" not in spent.message
    assert "a higher limit" in spent.message


def test_an_empty_balance_is_cured_by_topping_up_alone() -> None:
    empty = told(Outcome.INSUFFICIENT_BALANCE)
    assert empty.message.endswith("Top up.")
    some = told(Outcome.INSUFFICIENT_BALANCE, affordable=12, balance=10**6)
    assert some.message.endswith("Top up, or ask for at most max_tokens = 12.")
    little = told(Outcome.INSUFFICIENT_BALANCE, balance=1)
    assert little.message.endswith("Top up, or send a shorter prompt.")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"requests_limit": 60, "requests_remaining": 0}, "Try again in 20 seconds."),
        ({"tokens_limit": 500, "tokens_remaining": 40}, "Try again in 20 seconds"),
        ({"tokens_limit": 500, "tokens_remaining": 500}, "This request alone needs more"),
    ],
)
def test_a_rate_limit_says_when_or_what_to_change(state: dict[str, int], says: str) -> None:
    error = told(Outcome.RATE_LIMITED, **state)
    assert says in error.message
    assert error.retry_after_seconds == 20
