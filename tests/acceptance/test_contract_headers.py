"""What every response says beside its body, whichever way the request ends."""

import re
from typing import Any
from uuid import UUID

import orjson

from tests.support.answers import USAGE, completion, delta, platform_with
from tests.support.platform import Answer, Platform, PlatformFactory, TestKey
from tests.support.scripted_upstream import Script, Seen, Wire

# What upstreams really send, of which nothing may pass.
THEIRS = {
    "server": "cloudflare",
    "set-cookie": "__cf_bm=secret; path=/",
    "openai-organization": "org-secret",
    "openai-project": "proj_secret",
    "openai-version": "2020-10-01",
    "openai-processing-ms": "12",
    "anthropic-organization-id": "secret",
    "anthropic-ratelimit-requests-limit": "1",
    "x-request-id": "req_secret",
    "request-id": "req_secret",
    "x-ratelimit-limit-requests": "9999",
    "x-ratelimit-remaining-tokens": "1",
    "x-ratelimit-reset-requests": "secret",
    "x-should-retry": "true",
    "retry-after": "99",
    "retry-after-ms": "1",
    "x-generation-id": "gen-secret",
    "x-groq-region": "secret",
    "x-inference-provider": "secret",
    "cf-ray": "secret",
    "via": "1.1 secret",
    "x-apilink-provider": "nobody",
    "x-apilink-cost-nanos": "7",
    "x-client-request-id": "0190f0a0-0000-7000-8000-00000000000a",
    "access-control-allow-origin": "https://secret.example",
    "location": "https://secret.example",
    "content-language": "secret",
    "strict-transport-security": "max-age=1",
}
# The only headers that ever leave.
OURS = re.compile(
    r"date|content-type|content-length|transfer-encoding|connection|cache-control|allow"
    r"|x-accel-buffering|x-request-id|request-id|x-client-request-id|x-should-retry|retry-after"
    r"|x-apilink-(model|provider|aggregator|jurisdictions|attempts|routing-revision|cost-nanos"
    r"|dropped|next-cursor)"
    r"|x-ratelimit-(limit|remaining|reset)-(requests|tokens)|access-control-[a-z-]+"
)
ROUTE = {
    "x-apilink-model": "m",
    "x-apilink-provider": "alpha",
    "x-apilink-jurisdictions": "US",
    "x-apilink-attempts": "1",
}


def assert_ours(answer: Answer) -> UUID:
    assert all(OURS.fullmatch(name) for name in answer.headers), answer.headers
    assert "secret" not in str(answer.headers)
    request_id = UUID(answer.headers["x-request-id"])
    assert request_id.version == 7
    return request_id


def assert_route(answer: Answer) -> None:
    assert {name: answer.headers.get(name) for name in ROUTE} == ROUTE
    assert answer.headers["x-apilink-routing-revision"]
    assert "x-apilink-aggregator" not in answer.headers


def script_for(status: int, kind: str) -> Script:
    async def script(_: Seen, wire: Wire) -> None:
        theirs = {name.replace("-", "_"): value for name, value in THEIRS.items()}
        if kind == "stream":
            await wire.head(status, content_type="text/event-stream", **theirs)
            await wire.event(delta("hi", "stop"))
            await wire.end()
        else:
            body = b"" if kind == "empty" else b'{"error":{"message":"no"}}'
            await wire.answer(status, body, **theirs)

    return script


async def whole(_: Seen, wire: Wire) -> None:
    theirs = {name.replace("-", "_"): value for name, value in THEIRS.items()}
    await wire.answer(200, orjson.dumps(completion(usage=USAGE)), **theirs)


async def test_no_header_of_an_upstream_passes(start_platform: PlatformFactory) -> None:
    statuses = (300, 301, 307, 400, 401, 402, 403, 404, 409, 413, 422, 429, 451, 500, 503, 529)
    scripts = {f"s{status}": script_for(status, "json") for status in statuses}
    scripts |= {"e302": script_for(302, "empty"), "streams": script_for(200, "stream")}
    scripts |= {"m": whole}
    async with platform_with(start_platform, scripts) as (platform, _):
        key = await platform.key()
        for name in scripts:
            answer = await platform.chat(key, model=name, stream=name == "streams")
            assert_ours(answer)
            assert answer.headers["x-apilink-model"] == name
            assert answer.headers["x-apilink-provider"] == "alpha"
            waits = answer.headers.get("retry-after")
            assert (name, waits) == (name, None) or 1 <= int(waits or 0) <= 60
            assert (waits is None) == (answer.status not in (429, 503))


async def test_an_answer_says_which_way_it_went(start_platform: PlatformFactory) -> None:
    async with platform_with(start_platform, {"m": whole}) as (platform, _):
        key = await platform.key(requests_per_minute=10)
        answer = await platform.chat(key, model="m")
        assert_ours(answer)
        assert_route(answer)
        assert answer.headers["x-apilink-cost-nanos"] == str(answer.json()["usage"]["cost_nanos"])
        assert answer.headers["x-ratelimit-limit-requests"] == "10"
        assert answer.headers["x-ratelimit-remaining-requests"] == "9"


async def test_errors_too_say_which_way_they_went_and_what_they_cost(
    start_platform: PlatformFactory,
) -> None:
    scripts = {"m": script_for(400, "json")}
    async with platform_with(start_platform, scripts) as (platform, _):
        answer = await platform.chat(await platform.key(), model="m")
        assert answer.status == 400
        assert_route(answer)
        assert answer.headers["x-apilink-cost-nanos"] == "0"
        assert answer.headers["x-should-retry"] == "false"


async def test_a_failed_upstream_is_told_with_its_route(start_platform: PlatformFactory) -> None:
    async with platform_with(start_platform, {"m": script_for(500, "json")}) as (platform, _):
        answer = await platform.chat(await platform.key(), model="m")
        assert answer.status == 502
        assert_route(answer)
        assert answer.headers["x-apilink-cost-nanos"] == "0"


async def test_a_refusal_before_any_route_names_the_model_it_is_about(
    start_platform: PlatformFactory,
) -> None:
    async with platform_with(start_platform, {"m": whole}) as (platform, _):
        poor, rich = await platform.key(nanos=0), await platform.key()
        narrow = await platform.key(allow=("FR",))
        cases = [
            (402, "insufficient_balance", await platform.chat(poor, model="m")),
            (403, "jurisdiction_not_allowed", await platform.chat(narrow, model="m")),
            (400, "invalid_request", await _asking(platform, rich, {"deny": ["XX"]})),
            (403, "jurisdiction_not_allowed", await _asking(platform, rich, {"deny": ["US"]})),
            (
                400,
                "unsupported_parameter",
                await platform.chat(rich, model="m", modalities=["audio"]),
            ),
        ]
        for status, code, answer in cases:
            assert (answer.status, answer.json()["error"]["code"]) == (status, code)
            assert_ours(answer)
            assert (code, answer.headers.get("x-apilink-model")) == (code, "m")
            assert answer.headers["x-should-retry"] == "false"
            assert "x-apilink-provider" not in answer.headers


async def _asking(platform: Platform, key: TestKey, jurisdictions: dict[str, Any]) -> Answer:
    return await platform.chat(key, model="m", jurisdictions=jurisdictions)


async def test_every_other_answer_has_its_id_and_no_more_than_ours(
    start_platform: PlatformFactory,
) -> None:
    async with platform_with(start_platform, {"m": whole}) as (platform, _):
        key = await platform.key()
        client_id = "0190F0A0-0000-7000-8000-00000000000B"
        seen: set[UUID] = set()
        for method, path, status in (
            ("GET", "/v1/models", 200),
            ("HEAD", "/v1/models", 200),
            ("GET", "/v1/models/m", 200),
            ("GET", "/v1/models/nothing", 404),
            ("GET", "/v1/key", 200),
            ("GET", "/v1/credits", 200),
            ("GET", "/v1/usage", 200),
            ("GET", "/v1/usage?format=csv", 200),
            ("GET", "/v1/generation", 400),
            ("GET", f"/v1/generation?id={client_id}", 404),
            ("GET", "/v1/nowhere", 404),
            ("POST", "/v1/files", 404),
            ("GET", "/v1/chat/completions", 405),
            ("DELETE", "/v1/models/m", 405),
            ("OPTIONS", "/v1/models", 204),
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 200),
            ("HEAD", "/", 200),
            ("GET", "/api/v1/models/m", 200),
        ):
            async with platform.http.request(
                method,
                platform.running.base_url + path,
                headers={**key.headers, "x-request-id": client_id, "origin": "https://a.example"},
            ) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                answer = Answer(response.status, headers, await response.read())
            assert (path, answer.status) == (path, status)
            seen.add(assert_ours(answer))
            assert headers["x-client-request-id"] == client_id
            assert headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in headers
            assert "x-apilink-provider" not in headers
            if status >= 400:
                assert headers["x-should-retry"] == "false"
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert len(seen) == 19
