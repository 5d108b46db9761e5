"""From a request to an answer that no dialect has shaped yet."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.dev.simulator.language import (
    count_prompt,
    count_tokens,
    cut_at_stop,
    dice_for,
    message_text,
    prose,
    tokenize,
    value_for,
)
from proxy.dev.simulator.script import Script

_TOKENS_DEFAULT: Final = 60
_REASONING_DEFAULT: Final = 24
_CHOICES_MAX: Final = 128
_REASONING_NAMES: Final = ("o1", "o3", "o4", "gpt-5", "deepseek-reasoner", "deepseek-r1")
_TOOL_WORDS: Final = ("tool", "function", "call")


class RefusedError(Exception):
    """The request is wrong in a way that the real provider answers with 400."""

    def __init__(self, message: str, param: str | None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: tuple[str, ...]  # the pieces of its JSON text


@dataclass(frozen=True, slots=True)
class Choice:
    """`pieces` and `reasoning` are one token each."""

    pieces: tuple[str, ...]
    reasoning: tuple[str, ...] = ()
    tool: ToolCall | None = None
    finish: str = "stop"

    @property
    def tokens(self) -> int:
        tool = 0 if self.tool is None else count_tokens(self.tool.name) + len(self.tool.arguments)
        return len(self.pieces) + len(self.reasoning) + tool


@dataclass(frozen=True, slots=True)
class Generation:
    id: str
    model: str
    created: int  # seconds since the epoch
    choices: tuple[Choice, ...]
    prompt_tokens: int
    cached_tokens: int = 0

    @property
    def completion_tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int:
        return sum(len(choice.reasoning) for choice in self.choices)


@dataclass(frozen=True, slots=True)
class Asked:
    """A generating request, whichever dialect it came in. Chat has messages, completion a text."""

    model: str
    messages: tuple[Mapping[str, Any], ...]
    choices: int = 1
    tokens_max: int | None = None
    stops: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_wanted: str | None = None  # a name, or "" for the first
    schema: Mapping[str, Any] | None = None
    seed: object = None
    reasons: bool | None = None

    @property
    def text(self) -> str:
        return "\n".join(message_text(message) for message in self.messages)

    @property
    def last_user_text(self) -> str:
        users = [m for m in self.messages if m.get("role") == "user"]
        return message_text(users[-1]) if users else self.text


def generate(asked: Asked, script: Script, *, seed: int, answer_id: str, now: int) -> Generation:
    """Raises RefusedError."""
    if not 1 <= asked.choices <= _CHOICES_MAX:
        raise RefusedError(f"Invalid 'n': must be from 1 to {_CHOICES_MAX}.", "n")
    choices = tuple(
        _choice(asked, script, dice_for(seed, asked.model, asked.text, asked.seed, index))
        for index in range(asked.choices)
    )
    prompt_tokens = count_prompt(asked.messages, list(asked.tools) or None)
    return Generation(answer_id, asked.model, now, choices, prompt_tokens, script.cached)


def _choice(asked: Asked, script: Script, dice: random.Random) -> Choice:
    left = asked.tokens_max
    reasoning = _reasoning(asked, script, dice)[:left]
    left = None if left is None else left - len(reasoning)
    if left == 0:
        return Choice((), tuple(reasoning), finish=script.finish or "length")
    tool = _tool_to_call(asked)
    if tool is not None:
        call = _call(tool, dice)
        return Choice((), tuple(reasoning), call, finish=script.finish or "tool_calls")
    pieces = cut_at_stop(_text(asked, script, dice), asked.stops)
    finish = "length" if left is not None and len(pieces) > left else "stop"
    return Choice(tuple(pieces[:left]), tuple(reasoning), finish=script.finish or finish)


def _reasoning(asked: Asked, script: Script, dice: random.Random) -> list[str]:
    count = script.reasoning
    if count is None:
        reasons = asked.model.startswith(_REASONING_NAMES) or "thinking" in asked.model
        reasons = reasons if asked.reasons is None else asked.reasons
        count = _REASONING_DEFAULT if reasons else 0
    return prose(dice, opening="First, what is asked?", tokens=count) if count else []


def _text(asked: Asked, script: Script, dice: random.Random) -> list[str]:
    if script.echo:
        pieces = tokenize(asked.last_user_text)
        return pieces if script.tokens is None else pieces[: script.tokens]
    if asked.schema is not None:
        return tokenize(orjson.dumps(value_for(asked.schema, dice)).decode())
    count = script.tokens
    if count is None:
        count = _TOKENS_DEFAULT + dice.randint(0, _TOKENS_DEFAULT)
    return prose(dice, opening=_opening(asked), tokens=count)


def _opening(asked: Asked) -> str:
    last = asked.messages[-1] if asked.messages else {}
    if last.get("role") == "tool":
        return f"The tool answered: {message_text(last)[:200]}."
    return f"Hello! This is the simulated provider, standing in for {asked.model}."


def _tool_to_call(asked: Asked) -> Mapping[str, Any] | None:
    """The first tool, where one is demanded or the user's words ask for it."""
    if not asked.tools:
        return None
    if asked.tool_wanted is not None:
        named = [tool for tool in asked.tools if tool.get("name") == asked.tool_wanted]
        return (named or asked.tools)[0]
    if asked.messages and asked.messages[-1].get("role") == "tool":
        return None
    text = asked.last_user_text.lower()
    first = asked.tools[0]
    words = (*_TOOL_WORDS, *str(first.get("name", "")).lower().replace("-", "_").split("_"))
    return first if any(len(word) > 3 and word in text for word in words) else None  # noqa: PLR2004 - "get" is no sign


def _call(tool: Mapping[str, Any], dice: random.Random) -> ToolCall:
    schema = tool.get("parameters")
    arguments = value_for(schema, dice) if isinstance(schema, dict) else {}
    text = orjson.dumps(arguments if isinstance(arguments, dict) else {}).decode()
    name = str(tool.get("name", "tool"))
    return ToolCall(f"call_{dice.getrandbits(96):024x}", name, tuple(tokenize(text)))


def texts_of(value: object, param: str) -> Sequence[str]:
    """`input` or `prompt`: a text, texts, or tokens (a number each). Raises RefusedError."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return value
        if all(isinstance(item, int) for item in value):
            return [" x" * len(value)]
        if all(isinstance(item, list) for item in value):
            return [" x" * len(item) for item in value]
    raise RefusedError(
        f"Missing required parameter: '{param}'.", param, "missing_required_parameter"
    )
