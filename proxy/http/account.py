"""What a key may know of itself and its account: balance, limits, and what was charged."""

from http import HTTPStatus
from typing import Any, Final

import orjson

from proxy.domain.account import ApiKey
from proxy.domain.clock import at_ms
from proxy.domain.errors import InvalidRequestError, NotFoundError
from proxy.domain.ids import KEY_PREFIX
from proxy.domain.outcome import KeyState, WalletState
from proxy.http.arrival import Arrival
from proxy.http.identify import Identify
from proxy.http.ports import UsageReader
from proxy.http.usage_query import only, parse_id, parse_usage_query
from proxy.http.usage_rows import generation, usage_csv, usage_row, usd_number
from routing.money import Nanos

_FRESH: Final = {"cache-control": "no-store"}


class Account:
    def __init__(self, identify: Identify, usage: UsageReader) -> None:
        self._identify = identify
        self._usage = usage

    async def key(self, arrival: Arrival) -> None:
        key, state, wallet = await self._identify(arrival.request.headers)
        await _respond(arrival, {"data": _key_fields(key, state, wallet)})

    async def credits(self, arrival: Arrival) -> None:
        """What was used is what was credited and is not there any more: live, to the nano."""
        key, _, wallet = await self._identify(arrival.request.headers)
        credited = await self._usage.credited_nanos(key.account_id)
        used = credited - wallet.balance_nanos
        fields = {
            "total_credits": usd_number(credited),
            "total_usage": usd_number(used),
            "total_credits_nanos": credited,
            "total_usage_nanos": used,
            **_wallet_fields(wallet),
        }
        await _respond(arrival, {"data": fields})

    async def generation(self, arrival: Arrival) -> None:
        key, _, _ = await self._identify(arrival.request.headers)
        text = only(arrival.request.query, "id")
        if text is None:
            raise InvalidRequestError("`id` must be given: a request's x-request-id.", param="id")
        request_id = parse_id("id", text)
        charge = await self._usage.find_generation(key.account_id, request_id)
        if charge is None or charge.account_id != key.account_id:
            raise NotFoundError(
                "This account has no request with this id, or it ended a moment ago and is not "
                "listed yet.",
                param="id",
            )
        await _respond(arrival, {"data": generation(charge)})

    async def usage(self, arrival: Arrival) -> None:
        key, _, _ = await self._identify(arrival.request.headers)
        query = parse_usage_query(arrival.request.query)
        found = await self._usage.list_usage(
            key.account_id,
            from_ms=query.from_ms,
            to_ms=query.to_ms,
            before=query.before,
            limit=query.limit + 1,  # one more says whether there is a next page
        )
        rows = found[: query.limit]
        cursor = str(rows[-1].request_id) if len(found) > query.limit else None
        if not query.is_csv:
            rendered = [usage_row(charge) for charge in rows]
            await _respond(arrival, {"data": rendered, "next_cursor": cursor})
            return
        headers = {**_FRESH, "content-type": "text/csv; charset=utf-8; header=present"}
        if cursor is not None:
            headers["x-apilink-next-cursor"] = cursor
        await arrival.client.respond(HTTPStatus.OK, headers, usage_csv(rows))


async def _respond(arrival: Arrival, body: dict[str, Any]) -> None:
    await arrival.client.respond(HTTPStatus.OK, _FRESH, orjson.dumps(body))


def _key_fields(key: ApiKey, state: KeyState, wallet: WalletState) -> dict[str, Any]:
    """OpenRouter's fields, then the same amounts in nanos. `usage` is of the running window."""
    limit = state.limit_nanos
    left = None if limit is None else Nanos(max(limit - state.spent_nanos - state.held_nanos, 0))
    limits = key.limits
    return {
        "label": f"{KEY_PREFIX}{key.key_id[:4]}…",
        "name": key.name,
        "key_id": key.key_id,
        "limit": None if limit is None else usd_number(limit),
        "limit_remaining": None if left is None else usd_number(left),
        "limit_reset": None if limit is None else str(limits.reset),
        "usage": usd_number(state.spent_nanos),
        "is_free_tier": False,
        "is_management_key": False,
        "is_provisioning_key": False,
        "expires_at": _moment(key.expires_at_ms),
        "limit_nanos": limit,
        "limit_remaining_nanos": left,
        "usage_nanos": state.spent_nanos,
        "key_held_nanos": state.held_nanos,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "concurrency": limits.concurrency,
        **_wallet_fields(wallet),
    }


def _wallet_fields(wallet: WalletState) -> dict[str, Any]:
    return {
        "balance_nanos": wallet.balance_nanos,
        "held_nanos": wallet.held_nanos,
        "available_nanos": wallet.available_nanos,
    }


def _moment(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else at_ms(unix_ms).isoformat().replace("+00:00", "Z")
