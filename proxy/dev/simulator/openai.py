"""The OpenAI dialect as the simulator writes it: answers, events, errors.

Written after recorded traffic: the order of fields, the nulls, the padding, and where each
provider that speaks this dialect puts its usage (`FLAVOURS`).
"""

import base64
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.dev.simulator.answer import Choice, Generation, RefusedError, texts_of
from proxy.dev.simulator.language import count_tokens, dice_for
from proxy.dev.simulator.openai_requests import optional_count
from proxy.dev.simulator.script import Script, UsageAt

DONE: Final = b"[DONE]"
_FINGERPRINT: Final = "fp_5150a7ed11"
_PADDING: Final = "simulatedpadding"
_DIMENSIONS_MAX: Final = 4096
_INPUTS_MAX: Final = 2048


@dataclass(frozen=True, slots=True)
class Flavour:
    """What tells one provider's OpenAI dialect from another's, by the routing table's quirks."""

    usage: UsageAt = UsageAt.ASKED
    padding: bool = False  # `obfuscation` on every event
    shows_reasoning: bool = False  # as `reasoning_content`; else it is only counted
    comments: bool = False


FLAVOURS: Final[Mapping[str, Flavour]] = {
    "openai": Flavour(padding=True),
    "deepseek": Flavour(usage=UsageAt.FINISH, shows_reasoning=True, comments=True),
    "glm": Flavour(usage=UsageAt.FINISH, shows_reasoning=True),
    "mistral": Flavour(usage=UsageAt.FINISH),
    "openrouter": Flavour(usage=UsageAt.FINISH, comments=True),
    "groq": Flavour(usage=UsageAt.TWICE),
    "siliconflow": Flavour(usage=UsageAt.EVERY, shows_reasoning=True),
    "dashscope": Flavour(shows_reasoning=True),
    "kimi": Flavour(shows_reasoning=True),
    "minimax": Flavour(),
    "hunyuan": Flavour(usage=UsageAt.EVERY),
    "together": Flavour(),
    "gemini_compat": Flavour(),
    "cohere_compat": Flavour(),
    "simulator": Flavour(padding=True),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event's data, and how many generated tokens it carries: the pace's unit."""

    data: bytes
    tokens: int = 0


# ── answers ──


def usage_of(generation: Generation) -> dict[str, Any]:
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": generation.completion_tokens,
        "total_tokens": generation.prompt_tokens + generation.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": generation.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": generation.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat_answer(generation: Generation, flavour: Flavour, *, logprobs: bool) -> dict[str, Any]:
    return {
        "id": generation.id,
        "object": "chat.completion",
        "created": generation.created,
        "model": generation.model,
        "choices": [
            {
                "index": index,
                "message": _message(choice, flavour),
                "logprobs": _logprobs(choice.pieces) if logprobs else None,
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(generation.choices)
        ],
        "usage": usage_of(generation),
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def _message(choice: Choice, flavour: Flavour) -> dict[str, Any]:
    text = None if choice.tool is not None else "".join(choice.pieces)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if choice.reasoning and flavour.shows_reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.tool is not None:
        function = {"name": choice.tool.name, "arguments": "".join(choice.tool.arguments)}
        message["tool_calls"] = [
            {"id": choice.tool.id, "type": "function", "function": function},
        ]
    return message | {"refusal": None, "annotations": []}


def _logprobs(pieces: Sequence[str]) -> dict[str, Any]:
    tokens = [
        {"token": p, "logprob": -0.125, "bytes": list(p.encode()), "top_logprobs": []}
        for p in pieces
    ]
    return {"content": tokens, "refusal": None}


def completion_answer(generation: Generation) -> dict[str, Any]:
    return {
        "id": generation.id,
        "object": "text_completion",
        "created": generation.created,
        "model": generation.model,
        "choices": [
            {
                "text": "".join(choice.pieces),
                "index": index,
                "logprobs": None,
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(generation.choices)
        ],
        "usage": _plain_usage(generation),
    }


def _plain_usage(generation: Generation) -> dict[str, int]:
    usage = usage_of(generation)
    return {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


# ── streams ──


def chat_events(
    generation: Generation, flavour: Flavour, usage_at: UsageAt, *, asked: bool, logprobs: bool
) -> Iterator[Event]:
    """In the order of a real stream: role, text of all choices in turn, finish, usage."""
    shape = _ChatShape(generation, flavour, usage_at, asked=asked)
    for index, choice in enumerate(generation.choices):
        yield shape.event(index, {"role": "assistant", "content": "", "refusal": None})
        if flavour.shows_reasoning:
            for piece in choice.reasoning:
                yield shape.event(index, {"reasoning_content": piece}, tokens=1)
        elif choice.reasoning:
            shape.count(len(choice.reasoning))
        yield from _tool_events(shape, index, choice)
    for index, piece in _in_turn(generation.choices):
        found = _logprobs([piece]) if logprobs else None
        yield shape.event(index, {"content": piece}, tokens=1, logprobs=found)
    last = len(generation.choices) - 1
    for index, choice in enumerate(generation.choices):
        yield shape.event(index, {}, finish=choice.finish, is_last=index == last)
    if asked and usage_at in (UsageAt.ASKED, UsageAt.TWICE):
        yield shape.usage_event()


def _tool_events(shape: "_ChatShape", index: int, choice: Choice) -> Iterator[Event]:
    if choice.tool is None:
        return
    call = {"index": 0, "id": choice.tool.id, "type": "function"}
    call |= {"function": {"name": choice.tool.name, "arguments": ""}}
    yield shape.event(index, {"tool_calls": [call]}, tokens=count_tokens(choice.tool.name))
    for piece in choice.tool.arguments:
        function = {"index": 0, "function": {"arguments": piece}}
        yield shape.event(index, {"tool_calls": [function]}, tokens=1)


def _in_turn(choices: Sequence[Choice]) -> Iterator[tuple[int, str]]:
    for position in range(max(len(choice.pieces) for choice in choices)):
        for index, choice in enumerate(choices):
            if position < len(choice.pieces):
                yield index, choice.pieces[position]


class _ChatShape:
    """What is the same in every event of a stream, and the running count."""

    def __init__(
        self, generation: Generation, flavour: Flavour, usage_at: UsageAt, *, asked: bool
    ) -> None:
        self._generation = generation
        self._flavour = flavour
        self._usage_at = usage_at
        self._says_null = asked and usage_at is UsageAt.ASKED
        self._sent = 0
        self._head = {
            "id": generation.id,
            "object": "chat.completion.chunk",
            "created": generation.created,
            "model": generation.model,
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
        }

    def count(self, tokens: int) -> None:
        self._sent += tokens

    def event(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        tokens: int = 0,
        finish: str | None = None,
        logprobs: dict[str, Any] | None = None,
        is_last: bool = False,
    ) -> Event:
        self._sent += tokens
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        chunk = self._head | {"choices": [choice]}
        if self._says_null:
            chunk["usage"] = None
        if self._usage_at is UsageAt.EVERY:
            chunk["usage"] = self._running_usage()
        if is_last and self._usage_at in (UsageAt.FINISH, UsageAt.TWICE):
            chunk["usage"] = usage_of(self._generation)
            if self._usage_at is UsageAt.TWICE:
                chunk["x_groq"] = {"id": self._generation.id, "usage": chunk["usage"]}
        return self._event(chunk, tokens)

    def usage_event(self) -> Event:
        return self._event(self._head | {"choices": [], "usage": usage_of(self._generation)}, 0)

    def _running_usage(self) -> dict[str, Any]:
        prompt = self._generation.prompt_tokens
        return usage_of(self._generation) | {
            "completion_tokens": self._sent,
            "total_tokens": prompt + self._sent,
        }

    def _event(self, chunk: dict[str, Any], tokens: int) -> Event:
        if self._flavour.padding:
            chunk["obfuscation"] = _PADDING[: 1 + self._sent * 7 % len(_PADDING)]
        return Event(orjson.dumps(chunk), tokens)


def completion_events(generation: Generation, usage_at: UsageAt, *, asked: bool) -> Iterator[Event]:
    head = {
        "id": generation.id,
        "object": "text_completion",
        "created": generation.created,
        "model": generation.model,
    }
    null = {"usage": None} if asked and usage_at is UsageAt.ASKED else {}
    for index, piece in _in_turn(generation.choices):
        choice = {"text": piece, "index": index, "logprobs": None, "finish_reason": None}
        yield Event(orjson.dumps(head | {"choices": [choice]} | null), 1)
    last = len(generation.choices) - 1
    for index, choice_made in enumerate(generation.choices):
        choice = {"text": "", "index": index, "logprobs": None}
        chunk = head | {"choices": [choice | {"finish_reason": choice_made.finish}]} | null
        if index == last and usage_at in (UsageAt.FINISH, UsageAt.TWICE, UsageAt.EVERY):
            chunk["usage"] = _plain_usage(generation)
        yield Event(orjson.dumps(chunk))
    if asked and usage_at in (UsageAt.ASKED, UsageAt.TWICE):
        yield Event(orjson.dumps(head | {"usage": _plain_usage(generation), "choices": []}))


# ── embeddings, models, errors ──


def embeddings_answer(body: Mapping[str, Any], model: str, seed: int) -> tuple[dict[str, Any], int]:
    """The answer and its input tokens. Vectors have length one. Raises RefusedError."""
    inputs = texts_of(body.get("input"), "input")
    if len(inputs) > _INPUTS_MAX:
        raise RefusedError(f"Invalid 'input': more than {_INPUTS_MAX} items.", "input")
    size = optional_count(body, "dimensions") or (3072 if "large" in model else 1536)
    if size > _DIMENSIONS_MAX:
        raise RefusedError(f"Invalid 'dimensions': more than {_DIMENSIONS_MAX}.", "dimensions")
    as_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, size, seed, as_base64)}
        for index, text in enumerate(inputs)
    ]
    tokens = sum(count_tokens(text) for text in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}, tokens


def _vector(text: str, size: int, seed: int, as_base64: bool) -> Any:  # noqa: FBT001 - the wire's choice
    dice = dice_for(seed, text)
    values = [dice.gauss(0, 1) for _ in range(size)]
    length = math.sqrt(sum(value * value for value in values))
    values = [value / length for value in values]
    if as_base64:
        return base64.b64encode(struct.pack(f"<{size}f", *values)).decode()
    return values


def model_answer(model: str, created: int) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": created, "owned_by": "simulator"}


_ERRORS: Final[Mapping[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", "invalid_value", "Invalid value in the request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-***."),
    402: ("insufficient_quota", "insufficient_quota", "Insufficient Balance"),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for {model} on requests per min (RPM): Limit 3, Used 3, Requested 1.",
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    503: ("server_error", None, "That model is currently overloaded with other requests."),
}


def error_body(
    status: int,
    model: str,
    *,
    message: str | None = None,
    param: str | None = None,
    code: str | None = None,
) -> dict[str, Any]:
    """A provider's error of this status; of an unknown one by its class."""
    kind, usual_code, usual_message = _ERRORS.get(
        status,
        _ERRORS[400 if status < 500 else 500],  # noqa: PLR2004 - HTTP's classes
    )
    text = usual_message.format(model=model) if message is None else message
    chosen = usual_code if message is None else code
    return {"error": {"message": text, "type": kind, "param": param, "code": chosen}}


def default_usage(script: Script, flavour: Flavour) -> UsageAt:
    return script.usage or flavour.usage
