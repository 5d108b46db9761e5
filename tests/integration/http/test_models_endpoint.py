"""What is on offer, in the fields of three dialects, each price exact."""

import dataclasses
from typing import Any

import pytest

from routing.load import parse_table
from routing.table import RoutingTable
from tests.support.data_plane import DataPlane
from tests.support.raw_http import RawAnswer, ask, request
from tests.support.tables import model, table, upstream


async def get(plane: DataPlane, target: str) -> RawAnswer:
    raw = request(target, f"authorization: Bearer {plane.token}", method="GET")
    return await ask(plane.port, raw)


async def only_item(plane: DataPlane, text: str) -> dict[str, Any]:
    plane.tables.append(parse_table(table(upstream("one", "http://127.0.0.1:9"), text)))
    (item,) = (await get(plane, "/v1/models")).json["data"]
    assert isinstance(item, dict)
    return item


async def test_a_key_is_needed(plane: DataPlane) -> None:
    assert (await ask(plane.port, request("/v1/models", method="GET"))).status == 401
    assert (await ask(plane.port, request("/v1/models/m", method="GET"))).status == 401


async def test_the_list_is_openais_and_anthropics(plane: DataPlane) -> None:
    listed = (await get(plane, "/v1/models")).json
    assert listed["object"] == "list"
    assert [item["id"] for item in listed["data"]] == ["acme/m", "plain"]
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "acme/m", "plain")
    item = listed["data"][0]
    assert (item["object"], item["created"], item["owned_by"]) == ("model", 0, "alpha")
    assert (item["type"], item["display_name"]) == ("model", "m")
    assert item["created_at"].startswith("1970-01-01")


async def test_an_item_has_openrouters_fields_and_ours(plane: DataPlane) -> None:
    item = (await get(plane, "/v1/models/acme/m")).json
    assert item["pricing"]["prompt"] == "0.000001"
    assert item["pricing"]["completion"] == "0.000002"
    assert item["pricing"]["input_cache_read"] == "0.0000001"
    assert item["context_length"] == item["top_provider"]["context_length"] == 10_000
    assert item["top_provider"]["max_completion_tokens"] == 1_000
    assert item["architecture"]["modality"] == "text+image->embeddings+text"
    assert item["architecture"]["input_modalities"] == ["text", "image"]
    assert {"tools", "tool_choice", "stop", "max_tokens"} <= set(item["supported_parameters"])
    assert item["endpoints"] == ["chat", "completions", "embeddings"]
    assert [route["provider"] for route in item["routes"]] == ["alpha", "beta"]
    assert item["routes"][1] == {
        "provider": "beta",
        "aggregator": None,
        "host": None,
        "jurisdictions": ["FR"],
        "available": True,
    }


@pytest.mark.parametrize("name", ["acme/m", "acme%2Fm", "acme%2fm", "m", "m?x=y"])
async def test_one_model_by_id_or_alias_with_its_slash_raw_or_escaped(
    plane: DataPlane, name: str
) -> None:
    for base in ("/v1", "/api/v1"):
        answer = await get(plane, f"{base}/models/{name}")
        assert (answer.status, answer.json["id"]) == (200, "acme/m")


@pytest.mark.parametrize("name", ["acme/n", "%00", "%ff", "../m", "x" * 5000])
async def test_an_unknown_model_is_not_found(plane: DataPlane, name: str) -> None:
    answer = await get(plane, f"/v1/models/{name}")
    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
    assert answer.json["error"]["param"] == "model"
    if name == "acme/n":
        assert "acme/m" in answer.json["error"]["message"]


async def test_prices_keep_every_digit(plane: DataPlane) -> None:
    price = (
        '{input: "0.003625", cached_input: "0", output: "12345.678901", fees: {request: "0.01"}, '
        'tiers: [{above_input_tokens: 8000, input: "3.00", cached_input: "0", output: "0.000001"}]}'
    )
    pricing = (await only_item(plane, model("m", "one", price=price)))["pricing"]
    assert pricing["prompt"] == "0.000000003625"
    assert pricing["completion"] == "0.012345678901"
    assert pricing["request"] == "0.01"
    (override,) = pricing["overrides"]
    assert (override["min_prompt_tokens"], override["prompt"]) == (8000, "0.000003")
    assert override["completion"] == "0.000000000001"


async def test_a_reloaded_table_is_seen_at_once(
    plane: DataPlane, routing_table: RoutingTable
) -> None:
    assert len((await get(plane, "/v1/models")).json["data"]) == 2
    assert (await only_item(plane, model("new", "one")))["id"] == "new"
    assert (await get(plane, "/v1/models/acme/m")).status == 404
    plane.tables.append(routing_table)
    assert len((await get(plane, "/v1/models")).json["data"]) == 2


async def test_availability_is_told_per_route(plane: DataPlane) -> None:
    table = plane.tables[-1]
    first, second = table.models["acme/m"].routes
    plane.unavailable.add(first.id)
    item = (await get(plane, "/v1/models/acme/m")).json
    assert [route["available"] for route in item["routes"]] == [False, True]
    assert item["available"] is True
    plane.unavailable.add(second.id)
    plane.tables.append(
        dataclasses.replace(table)
    )  # another table: looked at before the second ends
    item = (await get(plane, "/v1/models/acme/m")).json
    assert item["available"] is False
