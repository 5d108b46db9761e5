"""What works, as OpenAI's own Python SDK gives it to an application that sets nothing but the base
URL and the key."""

import asyncio
import itertools
import math
import uuid
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.support.sdk_world import CHAT, EMBED, INPUT_NANOS, OUTPUT_NANOS, SdkWorld

HELLO: Any = [{"role": "user", "content": "Hello there"}]
ASK_WEATHER: Any = [{"role": "user", "content": "Use the tool: what is the weather in Lisbon?"}]
PNG = "data:image/png;base64,iVBORw0KGgo="


class Forecast(BaseModel):
    city: str
    days: list[int]
    dry: bool


class GetWeather(BaseModel):
    """Parameters of a tool."""

    city: str
    days: int


WEATHER_TOOL: Any = openai.pydantic_function_tool(GetWeather, name="get_weather")


@pytest.fixture(scope="module")
def client(sdk_world: SdkWorld) -> Iterator[OpenAI]:
    with OpenAI(api_key=str(sdk_world.good), base_url=sdk_world.base_url) as client:
        yield client


def stream_of(client: OpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    request = {"model": CHAT, "messages": HELLO, **fields}
    return list(client.chat.completions.create(**request, stream=True))


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def assert_cost(usage: Any) -> None:
    output = getattr(usage, "completion_tokens", 0)
    nanos = usage.prompt_tokens * INPUT_NANOS + output * OUTPUT_NANOS
    assert nanos > 0
    assert usage.cost_nanos == nanos
    assert usage.cost == pytest.approx(nanos / 10**9, rel=1e-12)


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO)
    assert answer.object == "chat.completion"
    [choice] = answer.choices
    assert choice.message.content is not None
    assert choice.message.content.startswith("Hello! ")
    assert choice.finish_reason == "stop"
    assert uuid.UUID(answer._request_id or "").version == 7
    assert_cost(answer.usage)


def test_chat_streamed_without_usage(client: OpenAI) -> None:
    """`choices[0]` is safe on every chunk: who did not ask for usage sees none."""
    whole = client.chat.completions.create(model=CHAT, messages=HELLO)
    chunks = stream_of(client)
    assert all(chunk.choices[0].delta is not None for chunk in chunks)
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_chat_streamed_with_usage(client: OpenAI) -> None:
    *chunks, last = stream_of(client, stream_options={"include_usage": True})
    assert last.choices == []
    assert_cost(last.usage)
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


def test_every_answer_is_charged_what_it_said(sdk_world: SdkWorld) -> None:
    key = sdk_world.key()
    with OpenAI(api_key=str(key), base_url=sdk_world.base_url) as client:
        whole = client.chat.completions.create(model=CHAT, messages=HELLO)
        *_, last = stream_of(client, stream_options={"include_usage": True})
        stream_of(client)
        vectors = client.embeddings.create(model=EMBED, input="some words")
    told: list[Any] = [vectors.usage, last.usage, last.usage, whole.usage]
    assert sdk_world.charged_nanos(key, rows=4) == [usage.cost_nanos for usage in told]


def test_stream_left_in_the_middle(sdk_world: SdkWorld) -> None:
    """An application that breaks out of its loop pays for what the provider then reports."""
    key = sdk_world.key()
    with OpenAI(api_key=str(key), base_url=sdk_world.base_url) as client:
        whole = client.chat.completions.create(model=CHAT, messages=HELLO)
        request: Any = {"model": CHAT, "messages": HELLO, "stream": True}
        with client.chat.completions.create(**request) as stream:
            next(stream)
    assert whole.usage is not None
    cost: Any = whole.usage
    assert sdk_world.charged_nanos(key, rows=2) == [cost.cost_nanos] * 2


def test_stream_helper(client: OpenAI) -> None:
    with client.chat.completions.stream(model=CHAT, messages=HELLO) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "".join(deltas)
    assert len(deltas) > 10


def test_stream_helper_parses_a_schema(client: OpenAI) -> None:
    request: Any = {"model": CHAT, "messages": HELLO, "response_format": Forecast}
    with client.chat.completions.stream(**request) as stream:
        done = [event for event in stream if event.type == "content.done"]
    assert isinstance(done[0].parsed, Forecast)
    assert done[0].parsed.city == "Lisbon"


def test_tools(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=ASK_WEATHER, tools=[WEATHER_TOOL])
    [choice] = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    assert GetWeather.model_validate_json(call.function.arguments).city == "Lisbon"
    told = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    again: Any = [*ASK_WEATHER, choice.message, told]
    answer = client.chat.completions.create(model=CHAT, messages=again, tools=[WEATHER_TOOL])
    assert (answer.choices[0].message.content or "").startswith("The tool answered: sunny.")


def test_tool_calls_streamed_in_pieces(client: OpenAI) -> None:
    chunks = stream_of(client, messages=ASK_WEATHER, tools=[WEATHER_TOOL], tool_choice="required")
    pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    first, *rest = pieces
    assert first.function is not None
    assert (first.function.name, first.index) == ("get_weather", 0)
    assert (first.id or "").startswith("call_")
    assert len(rest) > 3
    assert all(piece.id is None for piece in rest)
    text = "".join(piece.function.arguments or "" for piece in pieces if piece.function)
    assert GetWeather.model_validate_json(text).city == "Lisbon"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_stream_helper_accumulates_tool_calls(client: OpenAI) -> None:
    request: Any = {"model": CHAT, "messages": ASK_WEATHER, "tools": [WEATHER_TOOL]}
    with client.chat.completions.stream(**request) as stream:
        final = stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, GetWeather)


def test_json_schema(client: OpenAI) -> None:
    schema = {"name": "forecast", "schema": Forecast.model_json_schema()}
    answer = client.chat.completions.create(
        model=CHAT,
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": schema},  # type: ignore[arg-type]
    )
    Forecast.model_validate_json(answer.choices[0].message.content or "", strict=True)


def test_parse(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model=CHAT, messages=HELLO, response_format=Forecast)
    assert isinstance(answer.choices[0].message.parsed, Forecast)
    assert_cost(answer.usage)


def test_parse_of_an_answer_cut_short(client: OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model=CHAT, messages=HELLO, response_format=Forecast, max_tokens=2
        )


def test_images_reach_the_provider_as_they_were_given(client: OpenAI, sdk_world: SdkWorld) -> None:
    """An address is passed on, not fetched."""
    mark = f"https://images.example/{uuid.uuid4()}.png"
    content: Any = [
        {"type": "text", "text": "What are these?"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": mark, "detail": "low"}},
    ]
    answer = client.chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": content}]
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 2 * 255
    [served] = sdk_world.upstream_saw(mark)
    assert served.body["messages"][0]["content"] == content


def test_choices(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts = [choice.message.content or "" for choice in answer.choices]
    assert len(set(texts)) == 3
    assert_cost(answer.usage)
    streamed = ["", "", ""]
    for chunk in stream_of(client, n=3):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_logprobs(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, logprobs=True, max_tokens=4)
    assert answer.choices[0].logprobs is not None
    expected = answer.choices[0].logprobs.content
    assert expected is not None
    assert len(expected) == 4
    assert all(token.logprob < 0 for token in expected)
    chunks = stream_of(client, logprobs=True, max_tokens=4)
    found = (chunk.choices[0].logprobs for chunk in chunks)
    streamed = itertools.chain.from_iterable(one.content or [] for one in found if one)
    assert list(streamed) == expected


def test_stop(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, stop=["standing"])
    assert answer.choices[0].message.content == "Hello! This is the simulated provider, "
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens(client: OpenAI, name: str) -> None:
    limit: Any = {name: 5}
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, **limit)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert stream_of(client, **limit)[-1].choices[0].finish_reason == "length"


def test_completions(client: OpenAI) -> None:
    request: Any = {"model": CHAT, "prompt": "Once upon a time", "max_tokens": 8, "n": 2}
    whole = client.completions.create(**request)
    assert whole.object == "text_completion"
    assert [choice.finish_reason for choice in whole.choices] == ["length", "length"]
    assert_cost(whole.usage)
    texts = ["", ""]
    for chunk in client.completions.create(**request, stream=True):
        assert "usage" not in chunk.model_fields_set
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]


def test_completions_streamed_with_usage(client: OpenAI) -> None:
    *chunks, last = client.completions.create(
        model=CHAT,
        prompt="Once upon a time",
        max_tokens=8,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert last.choices == []
    assert_cost(last.usage)
    assert all(chunk.usage is None for chunk in chunks)


def test_embeddings(client: OpenAI, sdk_world: SdkWorld) -> None:
    """The SDK asks for base64 unless told otherwise, and gives out floats."""
    texts = [f"first {uuid.uuid4()}", "second"]
    usual = client.embeddings.create(model=EMBED, input=texts, dimensions=64)
    plain = client.embeddings.create(
        model=EMBED, input=texts, dimensions=64, encoding_format="float"
    )
    formats = [served.body["encoding_format"] for served in sdk_world.upstream_saw(texts[0])]
    assert formats == ["base64", "float"]
    for one, other in zip(usual.data, plain.data, strict=True):
        assert len(one.embedding) == 64
        assert math.hypot(*one.embedding) == pytest.approx(1)
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)
    assert_cost(usual.usage)


def test_models(client: OpenAI) -> None:
    ids = [found.id for found in client.models.list()]
    assert {CHAT, EMBED} <= set(ids)
    found: Any = client.models.retrieve(CHAT)
    assert (found.id, found.object, found.owned_by) == (CHAT, "model", "alpha")
    assert found.pricing["prompt"] == "0.000001"
    assert found.routes[0]["jurisdictions"] == ["US"]


def test_headers(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=HELLO)
    answer: Any = raw.parse()
    assert raw.headers["x-request-id"] == raw.request_id == answer._request_id
    assert raw.headers["x-apilink-model"] == CHAT
    assert raw.headers["x-apilink-provider"] == "alpha"
    assert raw.headers["x-apilink-jurisdictions"] == "US"
    assert raw.headers["x-apilink-attempts"] == "1"
    assert raw.headers["x-apilink-cost-nanos"] == str(answer.usage.cost_nanos)
    assert raw.headers["x-apilink-routing-revision"]
    for absent in ("x-apilink-aggregator", "openai-organization", "set-cookie"):
        assert absent not in raw.headers


def test_headers_of_a_stream(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=HELLO, stream=True)
    assert uuid.UUID(raw.headers["x-request-id"]).version == 7
    assert raw.headers["x-apilink-provider"] == "alpha"
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert text_of(list(raw.parse())).startswith("Hello! ")


async def test_async_client(sdk_world: SdkWorld) -> None:
    async with AsyncOpenAI(api_key=str(sdk_world.good), base_url=sdk_world.base_url) as client:

        async def streamed(number: int) -> tuple[str, str]:
            messages: Any = [{"role": "user", "content": f"Hello number {number}"}]
            whole = await client.chat.completions.create(model=CHAT, messages=messages)
            stream = await client.chat.completions.create(
                model=CHAT, messages=messages, stream=True
            )
            return whole.choices[0].message.content or "", text_of([one async for one in stream])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(streamed(number)) for number in range(8)]
        results = [task.result() for task in tasks]
        assert all(whole == text for whole, text in results)
        assert len({text for _, text in results}) == 8
        vector = await client.embeddings.create(model=EMBED, input="words", dimensions=8)
        assert len(vector.data[0].embedding) == 8
        assert CHAT in [found.id async for found in client.models.list()]


async def test_async_stream_helper(sdk_world: SdkWorld) -> None:
    async with (
        AsyncOpenAI(api_key=str(sdk_world.good), base_url=sdk_world.base_url) as client,
        client.chat.completions.stream(model=CHAT, messages=HELLO) as stream,
    ):
        final = await stream.get_final_completion()
    assert (final.choices[0].message.content or "").startswith("Hello! ")
