"""What fails, as OpenAI's own Python SDK tells it to an application: by class, and tried again only
where that can help."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from tests.support.platform import TestKey
from tests.support.sdk_world import CHAT, EMBED, HELD, SdkWorld

HELLO: Any = [{"role": "user", "content": "Hello there"}]


def connect(world: SdkWorld, key: TestKey | str | None = None, **options: Any) -> OpenAI:
    return OpenAI(api_key=str(key or world.good), base_url=world.base_url, **options)


def ask(
    world: SdkWorld, key: TestKey | str | None = None, *, retries: int = 2, **fields: Any
) -> ChatCompletion:
    """Two retries are the SDK's default."""
    request: Any = {"model": CHAT, "messages": HELLO, **fields}
    with connect(world, key, max_retries=retries) as client:
        return client.chat.completions.create(**request)


def simulate(script: str) -> Any:
    return [{"role": "user", "content": f"Hello [simulate {script}]"}]


def assert_error(error: openai.APIStatusError, status: int, code: str) -> None:
    assert (error.status_code, error.code) == (status, code)
    assert error.request_id is not None
    assert error.request_id == error.response.headers["x-request-id"]
    assert error.message


def test_unknown_key(sdk_world: SdkWorld) -> None:
    key = sdk_world.unknown_key()
    with pytest.raises(openai.AuthenticationError) as failure:
        ask(sdk_world, key)
    assert_error(failure.value, 401, "invalid_api_key")
    assert sdk_world.retries(key) == ["0"]


def test_mistyped_key(sdk_world: SdkWorld) -> None:
    with pytest.raises(openai.AuthenticationError, match="mistyped") as failure:
        ask(sdk_world, sdk_world.mistyped_key())
    assert_error(failure.value, 401, "invalid_api_key")


def test_key_of_another_vendor(sdk_world: SdkWorld) -> None:
    with pytest.raises(openai.AuthenticationError, match="sk-al-") as failure:
        ask(sdk_world, "sk-proj-of-somebody-else")
    assert_error(failure.value, 401, "invalid_api_key")


def test_revoked_key(sdk_world: SdkWorld) -> None:
    """Used before, so that every cache knows it: refused from the next request on."""
    key = sdk_world.key()
    with connect(sdk_world, key) as client:
        client.chat.completions.create(model=CHAT, messages=HELLO)
        sdk_world.revoke(key)
        with pytest.raises(openai.AuthenticationError) as failure:
            client.chat.completions.create(model=CHAT, messages=HELLO)
    assert_error(failure.value, 401, "invalid_api_key")


@pytest.mark.parametrize("stream", [False, True])
def test_exhausted_balance_is_told_once(sdk_world: SdkWorld, *, stream: bool) -> None:
    """402, which the SDK gives no class of its own, and which it does not try again."""
    key = sdk_world.key(nanos=1000)
    with pytest.raises(openai.APIStatusError) as failure:
        ask(sdk_world, key, stream=stream)
    assert_error(failure.value, 402, "insufficient_balance")
    assert failure.value.type == "insufficient_quota"
    assert "0.000001 USD" in failure.value.message
    assert sdk_world.retries(key) == ["0"]
    assert sdk_world.charged_nanos(key, rows=0) == []


def test_exhausted_key_limit_is_told_once(sdk_world: SdkWorld) -> None:
    key = sdk_world.key(spend_nanos=1000)
    with pytest.raises(openai.APIStatusError) as failure:
        ask(sdk_world, key)
    assert_error(failure.value, 402, "key_limit_exceeded")
    assert sdk_world.retries(key) == ["0"]


def test_rate_limit(sdk_world: SdkWorld) -> None:
    key = sdk_world.key(requests_per_minute=1)
    ask(sdk_world, key, retries=0)
    with pytest.raises(openai.RateLimitError) as failure:
        ask(sdk_world, key, retries=0)
    assert_error(failure.value, 429, "rate_limited")
    headers = failure.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["x-should-retry"] == "true"
    assert sdk_world.retries(key) == ["0", "0"]


def test_refused_while_another_request_runs_then_served(sdk_world: SdkWorld) -> None:
    """A 429 with `retry-after`: the SDK waits for as long, and then it works."""
    key = sdk_world.key(concurrency=1)
    with connect(sdk_world, key) as client, ThreadPoolExecutor(1) as pool:
        running = client.chat.completions.create(model=HELD, messages=HELLO, stream=True)
        next(running)
        second = pool.submit(ask, sdk_world, key)
        sdk_world.wait_answered(key, 429)
        sdk_world.let_go()
        assert [chunk.choices[0].finish_reason for chunk in running] == ["stop"]
        assert second.result().choices[0].message.content
    assert sdk_world.retries(key) == ["0", "0", "1"]


def test_unknown_model(sdk_world: SdkWorld) -> None:
    with pytest.raises(openai.NotFoundError, match=CHAT) as failure:
        ask(sdk_world, model=f"{CHAT}x")
    assert_error(failure.value, 404, "model_not_found")
    assert failure.value.param == "model"
    with (
        connect(sdk_world) as client,
        pytest.raises(openai.NotFoundError, match=CHAT) as failure,
    ):
        client.models.retrieve(f"{CHAT}x")
    assert_error(failure.value, 404, "model_not_found")


def test_model_of_another_endpoint(sdk_world: SdkWorld) -> None:
    with pytest.raises(openai.NotFoundError, match="embeddings") as failure:
        ask(sdk_world, model=EMBED)
    assert_error(failure.value, 404, "unsupported_endpoint")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"stop": 7}, "stop"),
        ({"n": 0}, "n"),
        ({"extra_body": {"provider": {"sort": "colour"}}}, "provider.sort"),
    ],
)
def test_wrong_field(sdk_world: SdkWorld, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as failure:
        ask(sdk_world, **fields)
    assert_error(failure.value, 400, "invalid_request")
    assert failure.value.param == param


def test_refusal_by_the_provider_keeps_its_words(sdk_world: SdkWorld) -> None:
    """What the provider says of the request's content passes as it came."""
    key = sdk_world.key()
    with pytest.raises(openai.BadRequestError, match="Invalid value in the request") as failure:
        ask(sdk_world, key, messages=simulate("status=400"))
    assert_error(failure.value, 400, "invalid_value")
    assert sdk_world.retries(key) == ["0"]


@pytest.mark.parametrize(
    "restriction",
    [
        {"extra_headers": {"X-ApiLink-Jurisdictions": "FR"}},
        {"extra_body": {"jurisdictions": {"deny": ["US"]}}},
    ],
)
def test_denied_jurisdiction(sdk_world: SdkWorld, restriction: dict[str, Any]) -> None:
    with pytest.raises(openai.PermissionDeniedError, match=r"reaches Alpha Inc\. in US") as failure:
        ask(sdk_world, **restriction)
    assert_error(failure.value, 403, "jurisdiction_not_allowed")


def test_failing_upstream_is_tried_as_often_as_the_sdk_says(sdk_world: SdkWorld) -> None:
    key = sdk_world.key()
    with pytest.raises(openai.InternalServerError) as failure:
        ask(sdk_world, key, model="alpha/failing", messages=simulate("status=500"))
    assert_error(failure.value, 502, "upstream_error")
    assert sdk_world.retries(key) == ["0", "1", "2"]
    assert len(sdk_world.upstream_saw("simulate status=500")) == 3
    assert sdk_world.charged_nanos(key, rows=3) == [0, 0, 0]


@pytest.mark.parametrize("status", [429, 503])
def test_busy_upstream_is_tried_again_and_serves(sdk_world: SdkWorld, status: int) -> None:
    key = sdk_world.key()
    script = simulate(f"status={status}; retry-after=1; times=1")
    answer = ask(sdk_world, key, model="alpha/busy", messages=script)
    assert answer.choices[0].message.content
    assert sdk_world.retries(key) == ["0", "1"]
    assert min(sdk_world.charged_nanos(key, rows=2)) == 0


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("error-after=3", "had an error while processing"),
        ("cut-after=3", "."),
    ],
)
def test_stream_that_fails_in_the_middle(sdk_world: SdkWorld, script: str, message: str) -> None:
    """What came before has been seen; then an error, and never a silent end."""
    key = sdk_world.key()
    seen: list[str] = []
    with connect(sdk_world, key) as client:
        stream = client.chat.completions.create(
            model="alpha/cutting", messages=simulate(script), stream=True
        )
        with pytest.raises(openai.APIError, match=message) as failure:
            seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(seen).startswith("Hello")
    assert failure.value.type == "server_error"
    [charged] = sdk_world.charged_nanos(key, rows=1)
    assert charged > 0


async def test_async_client_fails_the_same_way(sdk_world: SdkWorld) -> None:
    async with AsyncOpenAI(api_key=str(sdk_world.good), base_url=sdk_world.base_url) as client:
        with pytest.raises(openai.NotFoundError) as failure:
            await client.chat.completions.create(model="nobody/nothing", messages=HELLO)
        assert_error(failure.value, 404, "model_not_found")
        stream = await client.chat.completions.create(
            model="alpha/cutting", messages=simulate("cut-after=3"), stream=True
        )
        with pytest.raises(openai.APIError) as cut:
            _ = [chunk async for chunk in stream]
        assert cut.value.code == "upstream_error"
