"""What an upstream of OpenAI's dialect says, and a platform in front of one that says it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.support.platform import Platform, PlatformFactory
from tests.support.scripted_upstream import Script, ScriptedUpstream
from tests.support.tables import model, table, upstream

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
USAGE_NANOS = 7 * 1000 + 5 * 2000  # by the prices of `tests.support.tables.model`
TEXT = "four letters are a token "


def delta(text: str | None = None, finish: str | None = None, **extra: Any) -> dict[str, Any]:
    index = extra.pop("index", 0)
    choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up-m",
        "choices": [choice],
        **extra,
    }


def usage_chunk() -> dict[str, Any]:
    return {**delta(), "choices": [], "usage": USAGE}


def completion(**extra: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": TEXT}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "up-m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        **extra,
    }


@asynccontextmanager
async def platform_with(
    start_platform: PlatformFactory, scripts: dict[str, Script], **settings: Any
) -> AsyncIterator[tuple[Platform, dict[str, ScriptedUpstream]]]:
    """One upstream and one model of its name for each script."""
    async with AsyncExitStack() as stack:
        found: dict[str, ScriptedUpstream] = {}
        for name, script in scripts.items():
            scripted = ScriptedUpstream(script)
            found[name] = await stack.enter_async_context(scripted.running())
        text = table(
            "".join(upstream(name, up.url) for name, up in found.items()),
            "".join(model(name, name) for name in found),
        )
        yield await stack.enter_async_context(start_platform(text, **settings)), found
