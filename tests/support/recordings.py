"""Recorded exchanges in OpenAI's dialect, and which row of quirks their upstreams have."""

from dataclasses import dataclass
from typing import Any

from proxy.domain.call import Call
from proxy.domain.usage import Usage
from routing.money import Nanos
from routing.table import Dialect, Endpoint

ENDPOINTS = {
    "chat.completions": Endpoint.CHAT,
    "completions": Endpoint.COMPLETIONS,
    "embeddings": Endpoint.EMBEDDINGS,
}
QUIRK_OF_UPSTREAM = {
    "azure-openai": "openai",
    "google": "gemini_compat",
    "llama-hosts": "groq",
    "qwen": "dashscope",
}
QUIRK_OF_HOST = {
    "router.huggingface.co": "openai",
    "api.cerebras.ai": "openai",
    "api.together.xyz": "together",
}


@dataclass(frozen=True)
class Recording:
    name: str
    endpoint: Endpoint
    quirk: str
    status: int
    streaming: bool
    request: dict[str, Any] | None
    body: bytes

    def call(self, *, wants_usage: bool = False) -> Call:
        return Call(
            endpoint=self.endpoint,
            dialect=Dialect.OPENAI,
            model="m",
            body=dict(self.request or {}),
            prompt_tokens_bound=1,
            stream=self.streaming,
            wants_usage=wants_usage,
        )


def price_of(usage: Usage) -> Nanos:
    """Any function of the counts: 0.3 USD a million in, 1.2 out, 0.03 from the cache."""
    counts = usage.quantities
    return Nanos(
        300 * counts.input_tokens - 270 * counts.cached_input + 1200 * counts.output_tokens
    )


def reaches_beyond(request: dict[str, Any]) -> bool:
    """Asks its upstream to search, or for tools of its own: here that is refused."""
    tools = request.get("tools") or []
    return "web_search_options" in request or any(t.get("type") != "function" for t in tools)
