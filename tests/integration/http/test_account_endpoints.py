"""What a key may know of itself and its account: live balances, and every charge to the nano."""

import csv
import dataclasses
import io

import pytest

from proxy.domain.account import KeyLimits, Reset
from proxy.domain.charge import Charge
from proxy.domain.clock import at_ms
from proxy.domain.ids import mint_uuid7
from proxy.domain.outcome import KeyState, WalletState
from proxy.domain.usage import UsageSource
from routing.money import Nanos
from routing.price import Quantities
from tests.support.data_plane import (
    ACCOUNT,
    OTHER_ACCOUNT,
    DataPlane,
    HandMovedClock,
    make_key,
)
from tests.support.raw_http import RawAnswer, ask, request

USD = 10**9


async def get(plane: DataPlane, target: str) -> RawAnswer:
    raw = request(target, f"authorization: Bearer {plane.token}", method="GET")
    return await ask(plane.port, raw)


def charge(clock: HandMovedClock, **fields: object) -> Charge:
    clock.now_ms += 1000
    made = Charge(
        request_id=mint_uuid7(clock),
        account_id=ACCOUNT,
        key_id="key",
        shard=0,
        charged_nanos=Nanos(1_234_567),
        hold_nanos=Nanos(2_000_000),
        window_ms=0,
        status="ok",
        usage_source=UsageSource.REPORTED,
        model="acme/m",
        endpoint="chat",
        stream=True,
        quantities=Quantities(input=7, cached_input=3, output=5),
        provider="alpha",
        jurisdictions=("FR", "US"),
        upstream="one",
        upstream_nanos=Nanos(999),
        client_address="192.0.2.1",
        first_byte_ms=12,
        duration_ms=34,
    )
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


@pytest.fixture
def charges(plane: DataPlane) -> list[Charge]:
    """Five, a second apart, and one of another account between them."""
    clock = HandMovedClock()
    made = [charge(clock) for _ in range(3)]
    made.append(charge(clock, account_id=OTHER_ACCOUNT))
    made += [charge(clock) for _ in range(2)]
    plane.usage.charges = made
    return [one for one in made if one.account_id == ACCOUNT]


@pytest.mark.parametrize("target", ["/v1/key", "/v1/credits", "/v1/usage", "/v1/generation?id=x"])
async def test_a_key_is_needed(plane: DataPlane, target: str) -> None:
    answer = await ask(plane.port, request(target, method="GET"))
    assert answer.status == 401


async def test_a_key_knows_its_limits_and_what_is_left(plane: DataPlane) -> None:
    limits = KeyLimits(spend_nanos=Nanos(5 * USD), reset=Reset.DAILY, requests_per_minute=60)
    plane.keys.keys[plane.token.key_id] = make_key(plane.token, limits=limits)
    plane.ledger.key = KeyState(
        limit_nanos=Nanos(5 * USD), spent_nanos=Nanos(1_000_000_001), held_nanos=Nanos(USD)
    )
    plane.ledger.wallet = WalletState(Nanos(9 * USD), Nanos(2 * USD), 4)
    answer = await get(plane, "/v1/key")
    data = answer.json["data"]
    assert (data["limit_nanos"], data["limit_remaining_nanos"]) == (5 * USD, 2_999_999_999)
    # The numbers' own digits: a float would have lost none of these, but would with more of them.
    assert b'"limit_remaining":2.999999999,' in answer.body
    assert b'"usage":1.000000001,' in answer.body
    assert (data["limit_reset"], data["requests_per_minute"]) == ("daily", 60)
    assert (data["balance_nanos"], data["held_nanos"]) == (9 * USD, 2 * USD)
    assert str(plane.token) not in answer.body.decode()
    assert answer.headers["cache-control"] == "no-store"


async def test_a_key_without_a_limit(plane: DataPlane) -> None:
    data = (await get(plane, "/v1/key")).json["data"]
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (None, None, None)


async def test_credits_and_their_use_add_up_to_the_live_balance(plane: DataPlane) -> None:
    plane.usage.credited[ACCOUNT] = 10 * USD
    plane.ledger.wallet = WalletState(Nanos(7_765_432_109), Nanos(5), 1)
    answer = await get(plane, "/api/v1/credits")
    assert b'"total_usage":2.234567891,' in answer.body
    data = answer.json["data"]
    assert (data["total_credits"], data["total_credits_nanos"]) == (10, 10 * USD)
    assert data["total_credits_nanos"] - data["total_usage_nanos"] == data["balance_nanos"]


async def test_one_request_is_found_by_its_id(plane: DataPlane, charges: list[Charge]) -> None:
    answer = await get(plane, f"/v1/generation?id={charges[0].request_id}")
    data = answer.json["data"]
    assert b'"total_cost":0.001234567,' in answer.body
    assert (data["cost_nanos"], data["usage_source"]) == (1_234_567, "reported")
    assert (data["tokens_prompt"], data["tokens_completion"]) == (10, 5)
    assert (data["native_tokens_cached"], data["provider_name"]) == (3, "alpha")
    assert data["quantities"] == {"input": 7, "cached_input": 3, "output": 5}
    assert {"upstream_nanos", "client_address", "account_id", "upstream"}.isdisjoint(data)


async def test_another_accounts_request_is_not_there(
    plane: DataPlane, charges: list[Charge]
) -> None:
    (other,) = [one for one in plane.usage.charges if one.account_id != ACCOUNT]
    unknown = mint_uuid7(HandMovedClock())
    bodies = []
    for request_id in (other.request_id, unknown):
        answer = await get(plane, f"/v1/generation?id={request_id}")
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")
        bodies.append(answer.body)
    assert bodies[0] == bodies[1]


async def test_usage_is_paged_newest_first(plane: DataPlane, charges: list[Charge]) -> None:
    seen: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        page = (await get(plane, f"/v1/usage?limit=2{cursor}")).json
        assert len(page["data"]) == expected
        seen += [row["request_id"] for row in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == [str(one.request_id) for one in reversed(charges)]


async def test_usage_between_two_moments(plane: DataPlane, charges: list[Charge]) -> None:
    start = at_ms(HandMovedClock().now_ms)
    day = start.date().isoformat()
    assert len((await get(plane, f"/v1/usage?from={day}")).json["data"]) == 5
    assert (await get(plane, f"/v1/usage?to={day}")).json["data"] == []
    second = at_ms(HandMovedClock().now_ms + 2000).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len((await get(plane, f"/v1/usage?from={second}")).json["data"]) == 4
    assert len((await get(plane, f"/v1/usage?to={second}")).json["data"]) == 1


async def test_usage_as_csv_has_every_column(plane: DataPlane, charges: list[Charge]) -> None:
    answer = await get(plane, "/v1/usage?format=csv&limit=2")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert {row["stream"] for row in rows} <= {"true", "false"}  # as in JSON
    assert [row["request_id"] for row in rows] == [str(c.request_id) for c in charges[:2:-1]]
    assert (rows[0]["cost_nanos"], rows[0]["jurisdictions"]) == ("1234567", "FR US")
    assert (rows[0]["cached_input"], rows[0]["reasoning"]) == ("3", "0")
    assert answer.headers["x-apilink-next-cursor"] == str(charges[3].request_id)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("format=xml", "format"),
        ("from=yesterday", "from"),
        ("from=9999-12-31T23:59:59-23:59", None),
        ("from=2026-13-01", "from"),
        ("to=0001-01-01T00:00:00%2B23:59", None),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
    ],
)
async def test_a_query_that_is_wrong_names_its_parameter(
    plane: DataPlane, query: str, param: str | None
) -> None:
    answer = await get(plane, f"/v1/usage?{query}")
    assert answer.status == (200 if param is None else 400)
    if param is not None:
        assert answer.json["error"]["param"] == param


@pytest.mark.parametrize("query", ["", "?id=", "?id=nonsense", "?id=a&id=b"])
async def test_a_request_is_asked_for_by_one_id(plane: DataPlane, query: str) -> None:
    answer = await get(plane, f"/v1/generation{query}")
    assert (answer.status, answer.json["error"]["param"]) == (400, "id")


async def test_a_revoked_key_sees_nothing_from_the_next_request_on(plane: DataPlane) -> None:
    assert (await get(plane, "/v1/credits")).status == 200
    plane.ledger.epochs[plane.token.key_id] = 2
    plane.keys.keys[plane.token.key_id] = make_key(plane.token, epoch=2, revoked=True)
    for target in ("/v1/key", "/v1/credits", "/v1/usage"):
        assert (await get(plane, target)).status == 401


async def test_a_changed_key_is_read_again(plane: DataPlane) -> None:
    assert (await get(plane, "/v1/key")).status == 200
    plane.ledger.epochs[plane.token.key_id] = 2
    plane.keys.keys[plane.token.key_id] = make_key(plane.token, epoch=2, name="renamed")
    assert (await get(plane, "/v1/key")).json["data"]["name"] == "renamed"
