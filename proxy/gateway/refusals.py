"""Why a request is refused before any upstream saw it, in words that say what to do next."""

from proxy.domain.errors import (
    ApiError,
    ConcurrencyLimitedError,
    InsufficientBalanceError,
    InternalError,
    InvalidApiKeyError,
    InvalidRequestError,
    JurisdictionNotAllowedError,
    KeyLimitExceededError,
    LedgerUnavailableError,
    ModelNotAllowedError,
    ModelNotFoundError,
    NoRouteAvailableError,
    RateLimitedError,
    UnsupportedEndpointError,
    UnsupportedParameterError,
)
from proxy.domain.outcome import Outcome, Reserved
from routing import errors as routing_errors
from routing.money import format_usd


def routing_refusal(error: routing_errors.RoutingError) -> ApiError:
    match error:
        case routing_errors.UnknownModelError():
            return ModelNotFoundError(
                f"There is no model {error.model!r}.{_near(error.nearest)}", param="model"
            )
        case routing_errors.ModelNotAllowedError():
            return ModelNotAllowedError(f"This key may not use {error.model}.", param="model")
        case routing_errors.UnsupportedEndpointError():
            others = ", ".join(error.endpoints)
            return UnsupportedEndpointError(
                f"{error.model} is not served by this endpoint, but by: {others}.", param="model"
            )
        case routing_errors.JurisdictionError():
            others = ", ".join(error.alternatives)
            instead = f" Models that would pass: {others}." if others else ""
            return JurisdictionNotAllowedError(
                f"Every route of {error.model} reaches {error.party} in {error.country}, which "
                f"the jurisdictions of this account, key or request do not allow.{instead}",
                param="jurisdictions",
            )
        case routing_errors.UnsupportedParameterError():
            names = ", ".join(error.parameters)
            return UnsupportedParameterError(
                f"No route of {error.model} can carry {names}.", param=error.parameters[0]
            )
        case routing_errors.NoRouteError():
            why = "; ".join(error.reasons)
            return NoRouteAvailableError(
                f"No route can serve {error.model} now: {why}.", retry_after_seconds=30
            )
        case routing_errors.UnknownJurisdictionError():
            return InvalidRequestError(
                f"{error.name!r} names no country or group.{_near(error.nearest)}",
                param="jurisdictions",
            )
        case _:
            raise error


def reservation_refusal(
    reserved: Reserved, *, hold_nanos: int, affordable_tokens: int | None
) -> ApiError:
    """The error for every outcome of a reservation but `ok`."""
    available = reserved.wallet.available_nanos
    asked = f"this request needs a hold of {format_usd(hold_nanos)} USD"
    match reserved.outcome:
        case Outcome.INSUFFICIENT_BALANCE:
            return InsufficientBalanceError(
                f"The balance is {format_usd(reserved.wallet.balance_nanos)} USD, of which "
                f"{format_usd(reserved.wallet.held_nanos)} is held by requests in flight; {asked} "
                f"and {format_usd(available)} is free. {_affordable(affordable_tokens)}"
            )
        case Outcome.KEY_LIMIT_EXCEEDED:
            key = reserved.key
            return KeyLimitExceededError(
                f"This key's limit is {format_usd(key.limit_nanos or 0)} USD, of which "
                f"{format_usd(key.spent_nanos)} is spent and {format_usd(key.held_nanos)} held; "
                f"{asked}. {_affordable(affordable_tokens)}"
            )
        case Outcome.RATE_LIMITED:
            return RateLimitedError(
                _rate_limit(reserved), retry_after_seconds=_seconds_up(reserved.retry_after_ms)
            )
        case Outcome.CONCURRENCY_LIMITED:
            return ConcurrencyLimitedError(
                "This key has as many requests in flight as it may have.", retry_after_seconds=1
            )
        case other:
            return _unserved(other)


def _unserved(outcome: Outcome) -> ApiError:
    """The ledger could not judge the request at all."""
    match outcome:
        case Outcome.STALE_KEY:
            return InvalidApiKeyError("This API key is not valid.")
        case Outcome.UNKNOWN_WALLET:
            return LedgerUnavailableError(
                "The account's balance is not loaded yet.", retry_after_seconds=1
            )
        case _:
            return InternalError(f"The ledger answered {outcome} to a new request.")


def _near(names: tuple[str, ...]) -> str:
    return f" Did you mean {' or '.join(names)}?" if names else ""


def _affordable(tokens: int | None) -> str:
    if not tokens:
        return "Top up, or send a shorter prompt."
    return f"Top up, or ask for at most max_tokens = {tokens}."


def _rate_limit(reserved: Reserved) -> str:
    key = reserved.key
    if key.requests_limit is not None and not key.requests_remaining:
        return f"This key may make {key.requests_limit} requests per minute."
    return f"This key may use {key.tokens_limit} tokens per minute."


def _seconds_up(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))
