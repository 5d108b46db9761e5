"""The same small exchange for every peer: one request, one answer, one stream of chunks."""

import orjson

CHUNK_SECONDS = 0.02
PATH = "/v1/chat/completions"
_ID = "chatcmpl-9f3c2a7be1d04c58"
_USAGE = {"prompt_tokens": 21, "completion_tokens": 12, "total_tokens": 33}
_TEXT = "The capital of France is Paris, on the Seine."


def request_body(model: str, *, stream: bool) -> bytes:
    question = {"role": "user", "content": "What is the capital of France, and on which river?"}
    body = {"model": model, "messages": [question], "max_tokens": 256}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(body)


def answer_body() -> bytes:
    message = {"role": "assistant", "content": _TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return orjson.dumps(
        {
            "id": _ID,
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": "bench-2026-08",
            "choices": [choice],
            "usage": _USAGE,
            "service_tier": "default",
        }
    )


def stream_events(chunks: int) -> list[bytes]:
    """`chunks` events, each one segment on the wire; the last carries usage and `[DONE]`."""
    events = [_event({"content": " Paris"}) for _ in range(chunks - 2)]
    usage = {"id": _ID, "object": "chat.completion.chunk", "created": 1_790_000_000}
    usage |= {"model": "bench-2026-08", "choices": [], "usage": _USAGE}
    last = b"data: " + orjson.dumps(usage) + b"\n\ndata: [DONE]\n\n"
    return [*events, _event({}, finish_reason="stop"), last]


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = {"id": _ID, "object": "chat.completion.chunk", "created": 1_790_000_000}
    chunk |= {"model": "bench-2026-08", "choices": [choice]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
