"""How much text a model generated, in UTF-8 bytes: what an estimate starts from."""

from collections.abc import Mapping
from typing import Any, Final

_PARTS_DEPTH_MAX: Final = 4


def byte_count(value: object, depth: int = 0) -> int:
    """Of a string, or of the text in a list of content parts (Mistral's thinking is nested)."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if isinstance(value, list) and depth < _PARTS_DEPTH_MAX:
        return sum(_part_bytes(part, depth + 1) for part in value)
    return 0


def generated_bytes(message: Mapping[str, Any]) -> int:
    """A message's, or a delta's: content, reasoning, refusal, tool calls, spoken words.

    Reasoning under two names is the same text twice (OpenRouter and others repeat it).
    """
    total = byte_count(message.get("content"))
    if total and len(message) == 1:
        return total
    total += byte_count(message.get("reasoning_content") or message.get("reasoning"))
    total += byte_count(message.get("refusal"))
    total += _call_bytes(message.get("function_call"))
    tool_calls = message.get("tool_calls")
    if isinstance(tool_calls, list):
        total += sum(_call_bytes(c.get("function")) for c in tool_calls if isinstance(c, dict))
    audio = message.get("audio")
    return total + byte_count(audio.get("transcript")) if isinstance(audio, dict) else total


def choice_bytes(choice: Mapping[str, Any]) -> int:
    """Of one choice, streamed or not, of a chat or of a completion."""
    for name in ("delta", "message"):
        message = choice.get(name)
        if isinstance(message, dict):
            return generated_bytes(message)
    return byte_count(choice.get("text"))


def _part_bytes(part: object, depth: int) -> int:
    if not isinstance(part, dict):
        return byte_count(part, depth)
    return byte_count(part.get("text"), depth) + byte_count(part.get("thinking"), depth)


def _call_bytes(function: object) -> int:
    if not isinstance(function, dict):
        return 0
    return byte_count(function.get("name")) + byte_count(function.get("arguments"))
