"""Every recorded exchange of the OpenAI dialect, played by an upstream to the whole platform.

What reaches the client is what was recorded, but for events that carry usage and for what the
gateway consumes on purpose (comments of upstreams, the `[DONE]` that every stream ends with).
"""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.platform import Answer, Platform, PlatformFactory, TestKey
from tests.support.recordings import reaches_beyond
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream

PATHS = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}
QUIRKS = {
    "openai": "openai",
    "azure-openai": "openai",
    "deepseek": "deepseek",
    "glm": "glm",
    "google": "gemini_compat",
    "llama-hosts": "groq",
    "mistral": "mistral",
    "openrouter": "openrouter",
    "qwen": "dashscope",
    "anthropic": "openai",
}
WIDE = {
    "context_tokens": 10_000_000,
    "output_tokens_max": 100_000,
    "accepts": "[text, image, document, audio, tools, json_schema, stop, n, logprobs]",
    "price": '{input: "1.00", cached_input: "0.10", output: "2.00", audio_input: "4.00",'
    ' audio_output: "8.00"}',
}
# A part of the recording's name → what the customer pays, added up by hand from the recording:
# 1000 nanos a fresh input token, 100 a cached one, 2000 an output token, thinking included.
CHARGED = {
    "openai/chat-completions__n__200__crewAI": 178_200,  # 35 + 1152 cached, 14 out
    "openai/chat-completions__s__200__crewAI": 226_400,  # 120 + 1024 cached, 2 out
    "deepseek/chat-completions__n__200__rig__blocking_reasoner": 383_400,  # 121 + 384, 112
    "deepseek/chat-completions__n__200__rig__sequential": 413_400,  # 155 + 1024, 78
    "ruby_llm__chat_tool_choice_and_calls_control_deepseek": 228_600,  # 87 + 256, 58
    "lmnr-python__test_chat": 2_293_000,  # 15, 51 and 1088 of thinking
    "ai__alibaba_reasoning_chunks": 2_734_000,  # 24, 271 and 1084 of thinking
    "test_openai_moderation_stream": 35_000,  # 13, 11; the usage chunk is not the last
    "test_compatible_api_with_tool_calls_without_id": 183_000,  # 35, 12 and 62 in the total alone
    "sequential_complex_tool_calls_streaming": 785_000,  # 765, 10; stated twice
    "test_groq_provider_1": 108_000,  # 26, 41
    "llama-hosts/chat-completions__s__200__rig__streaming_probe": 214_200,  # 3 + 1792, 16
}
CHUNK = 700  # bytes: cuts through events and characters


def recordings(shared_dir: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted((shared_dir / "corpus").glob("*/*.json")):
        recording = json.loads(path.read_text())
        if recording["endpoint"] in PATHS:
            found.append((f"{path.parent.name}/{path.name}", recording))
    return found


async def test_recorded_exchanges(start_platform: PlatformFactory, shared_dir: Path) -> None:
    found = recordings(shared_dir)
    assert len(found) >= 100

    async def script(seen: Seen, wire: Wire) -> None:
        _, recording = found[int(seen.path.split("/")[1])]
        body = recording["response_body_text"].encode()
        kind = "text/event-stream" if recording["streaming"] else "application/json"
        await wire.head(recording["response_status"], content_type=kind)
        for start in range(0, len(body), CHUNK):
            await wire.chunk(body[start : start + CHUNK])
        await wire.end()

    async with ScriptedUpstream(script).running() as up:
        # An upstream each, so that none is left alone because another refused our key.
        ups, models = "", ""
        for number, (name, _) in enumerate(found):
            quirks = QUIRKS[name.partition("/")[0]]
            ups += upstream(f"up-{number}", f"{up.url}/{number}", quirks=quirks)
            models += model(f"m-{number}", f"up-{number}", **WIDE)
        async with start_platform(table(ups, models)) as platform:
            key = await platform.key(nanos=10**15)
            tried = 0
            ids: dict[str, str] = {}
            for number, (name, recording) in enumerate(found):
                answer = await _check(platform, key, number, name, recording)
                tried += "x-apilink-attempts" in answer.headers
                ids[name] = answer.headers["x-request-id"]
            assert tried >= len(found) - 2  # a recorded refusal of a body that we refuse as well
            await platform.quiet(key, rows=tried)
            rows = {str(row.request_id): row.charged_nanos for row in await platform.rows(key)}
            for part, nanos in CHARGED.items():
                (name,) = [name for name in ids if part in name]
                assert rows[ids[name]] == nanos, name
            await platform.assert_clean()


async def _check(
    platform: Platform, key: TestKey, number: int, name: str, recording: dict[str, Any]
) -> Answer:
    body = _request(recording) | {"model": f"m-{number}"}
    answer = await platform.post(key, PATHS[recording["endpoint"]], body)
    status = recording["response_status"]
    if status >= 400:
        assert answer.status >= 400, name
        return answer
    assert answer.status == status, (name, answer)
    recorded = recording["response_body_text"].encode()
    if not recording["streaming"]:
        assert _without_usage(orjson.loads(recorded)) == _without_usage(answer.json()), name
        return answer
    wanted = [_without_usage(event) for event in _events(recorded)]
    got = [_without_usage(event) for event in _events(answer.body)]
    bare = [event for event in wanted if not _is_only_usage(event)]
    assert [event for event in got if not _is_only_usage(event)] == bare, name
    if "error" not in (got[-1] if got else {}):
        assert answer.body.rstrip().endswith(b"data: [DONE]"), name
    return answer


def _request(recording: dict[str, Any]) -> dict[str, Any]:
    """As recorded; where the recorder kept no body, one that asks for the same kind of answer."""
    recorded = recording["request_body"]
    if isinstance(recorded, str):
        recorded = json.loads(recorded)
    defaults: dict[str, Any] = {
        "chat.completions": {"messages": [{"role": "user", "content": "hi"}]},
        "completions": {"prompt": "hi"},
        "embeddings": {"input": "hi"},
    }[recording["endpoint"]]
    body = {**defaults, **(recorded or {})}
    for routing in ("models", "provider"):  # names of OpenRouter's catalogue, not of this table
        body.pop(routing, None)
    if reaches_beyond(body):
        for fetching in ("tools", "web_search_options"):
            body.pop(fetching, None)
    if recording["streaming"]:
        body["stream"] = True
    return body


def _events(body: bytes) -> list[Any]:
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    return [orjson.loads(item) for item in data if item != b"[DONE]"]


def _without_usage(value: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in value.items() if k not in ("usage", "x_groq")}
    if "choices" in kept:
        kept["choices"] = [
            {k: v for k, v in choice.items() if k != "usage"} for choice in kept["choices"]
        ]
    return kept


def _is_only_usage(event: dict[str, Any]) -> bool:
    return event.get("choices") == [] and "error" not in event


@pytest.fixture(autouse=True)
def _long(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.timeout(300))
