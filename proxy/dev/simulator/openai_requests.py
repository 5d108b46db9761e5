"""The OpenAI dialect as the simulator reads it, refusing in the provider's own words."""

from collections.abc import Mapping
from typing import Any

from proxy.dev.simulator.answer import Asked, RefusedError, texts_of


def parse_chat(body: Mapping[str, Any]) -> Asked:
    """Raises RefusedError with the provider's own words."""
    messages = body.get("messages")
    if messages is None:
        raise RefusedError(
            "Missing required parameter: 'messages'.", "messages", "missing_required_parameter"
        )
    if not isinstance(messages, list) or not messages:
        raise RefusedError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an"
            " empty array instead.",
            "messages",
            "empty_array",
        )
    tools = [tool.get("function", {}) for tool in body.get("tools") or ()]
    return Asked(
        model=str(body.get("model", "")),
        messages=tuple(messages),
        choices=optional_count(body, "n") or 1,
        tokens_max=optional_count(body, "max_completion_tokens")
        or optional_count(body, "max_tokens"),
        stops=_stops(body.get("stop")),
        tools=tuple(tools) if body.get("tool_choice") != "none" else (),
        tool_wanted=_tool_wanted(body.get("tool_choice")),
        schema=_schema(body.get("response_format")),
        seed=body.get("seed"),
    )


def parse_completion(body: Mapping[str, Any]) -> Asked:
    """Raises RefusedError."""
    prompts = texts_of(body.get("prompt", "<|endoftext|>"), "prompt")
    return Asked(
        model=str(body.get("model", "")),
        messages=({"role": "user", "content": "\n".join(prompts)},),
        choices=(optional_count(body, "n") or 1) * len(prompts),
        tokens_max=optional_count(body, "max_tokens") or 16,
        stops=_stops(body.get("stop")),
        seed=body.get("seed"),
        reasons=False,
    )


def optional_count(body: Mapping[str, Any], param: str) -> int | None:
    """A whole number from one, or None where it is not given. Raises RefusedError."""
    value = body.get(param)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise RefusedError(
            f"Invalid type for '{param}': expected an integer.", param, "invalid_type"
        )
    if value < 1:
        raise RefusedError(
            f"Invalid '{param}': integer below minimum value. Expected a value >= 1, but got"
            f" {value} instead.",
            param,
            "integer_below_min_value",
        )
    return value


def _stops(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _tool_wanted(choice: object) -> str | None:
    """A name, "" for whichever comes first, None where the model may decide."""
    if isinstance(choice, dict):
        return str(choice.get("function", {}).get("name", ""))
    return "" if choice == "required" else None


def _schema(response_format: object) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_schema":
        schema = response_format.get("json_schema", {}).get("schema", {})
        return schema if isinstance(schema, dict) else {}
    if response_format.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return None
