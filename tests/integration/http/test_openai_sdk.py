"""OpenAI's own client against the data plane: it must find everything where it looks."""

from collections.abc import AsyncIterator

import openai
import pytest

from proxy.domain.errors import InsufficientBalanceError, RateLimitedError
from proxy.domain.ports import Client
from tests.support.data_plane import DataPlane, Served

CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
)


@pytest.fixture
async def sdk(plane: DataPlane) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{plane.base_url}/v1", api_key=str(plane.token), max_retries=1
    ) as client:
        yield client


async def ask(sdk: openai.AsyncOpenAI) -> None:
    await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


async def test_models_are_listed_and_found(sdk: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in sdk.models.list()] == ["acme/m", "plain"]
    assert (await sdk.models.retrieve("acme/m")).owned_by == "alpha"
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("acme/n")


async def test_a_stream_is_read_to_its_end(plane: DataPlane, sdk: openai.AsyncOpenAI) -> None:
    async def stream(served: Served, client: Client) -> None:
        assert served.call.stream
        await client.start(200, {})
        for event in (CHUNK, b": a comment\n\n", CHUNK, b"data: [DONE]\n\n"):
            await client.send(event)
        await client.finish()

    plane.gateway.script = stream
    answer = await sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert [chunk.choices[0].delta.content async for chunk in answer] == ["hi", "hi"]


async def test_a_wrong_key_is_its_authentication_error(plane: DataPlane) -> None:
    url = f"{plane.base_url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            await ask(sdk)
    assert refused.value.code == "invalid_api_key"
    assert refused.value.request_id


@pytest.mark.parametrize(
    ("error", "kind", "attempts"),
    [
        (InsufficientBalanceError("Top up."), openai.APIStatusError, 1),
        (RateLimitedError("Slow down.", retry_after_seconds=1), openai.RateLimitError, 2),
    ],
)
async def test_it_repeats_what_may_be_repeated_and_nothing_else(
    plane: DataPlane,
    sdk: openai.AsyncOpenAI,
    error: Exception,
    kind: type[openai.APIStatusError],
    attempts: int,
) -> None:
    async def refuse(served: Served, client: Client) -> None:
        del served, client
        raise error

    plane.gateway.script = refuse
    with pytest.raises(kind):
        await ask(sdk)
    assert len(plane.gateway.served) == attempts
