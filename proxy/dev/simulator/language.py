"""What the simulator says and how it counts: pure, and the same for the same seed and prompt.

A token is a run of up to six letters or three digits with the space before it, or one other
character. Joining the tokens of a text gives the text back, so every count can be recomputed.
"""

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

_TOKEN: Final = re.compile(r" ?[^\W\d_]{1,6}| ?\d{1,3}|\s|.", re.DOTALL)
_DEPTH_MAX: Final = 5  # a schema that contains itself several times grows by a power of it
_WORDS: Final = (
    "amber basin cedar delta ember fjord grove harbor island juniper kelp lagoon meadow north"
    " orchard prairie quarry river summit tundra upland valley willow yarrow zephyr"
).split()
_VERBS: Final = "carries follows holds joins keeps leaves meets opens passes reaches".split()
IMAGE_TOKENS: Final = 255
_MESSAGE_TOKENS: Final = 4  # its role and its ends
_REPLY_TOKENS: Final = 3  # the answer's role


def tokenize(text: str) -> list[str]:
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    return sum(1 for _ in _TOKEN.finditer(text))


def dice_for(*parts: object) -> random.Random:
    """The same numbers for the same parts."""
    return random.Random("\x1f".join(map(str, parts)))  # noqa: S311 - invented text, no secrets


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a chat message, whose content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(
        part["text"] for part in parts if isinstance(part, dict) and _is_text(part.get("text"))
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def count_prompt(messages: Sequence[Mapping[str, Any]], tools: object = None) -> int:
    """Every message with its overhead, every image alike, and the tools as their JSON."""
    count = _REPLY_TOKENS
    for message in messages:
        count += _MESSAGE_TOKENS + count_tokens(message_text(message))
        content = message.get("content")
        if isinstance(content, list):
            count += IMAGE_TOKENS * sum("image" in str(part.get("type")) for part in content)
        if message.get("tool_calls"):
            count += count_tokens(orjson.dumps(message["tool_calls"]).decode())
    return count + (count_tokens(orjson.dumps(tools).decode()) if tools else 0)


def prose(dice: random.Random, *, opening: str = "", tokens: int) -> list[str]:
    """The opening and as many sentences as make exactly so many tokens."""
    pieces = tokenize(opening)
    while len(pieces) < tokens:
        subject, thing = dice.sample(_WORDS, 2)
        sentence = f"The {subject} {dice.choice(_VERBS)} the {thing}."
        pieces += tokenize(f" {sentence}" if pieces else sentence)
    return pieces[:tokens]


def cut_at_stop(pieces: Sequence[str], stops: Iterable[str]) -> list[str]:
    """The pieces before the first stop sequence, which is not part of the answer."""
    text = "".join(pieces)
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return list(pieces)
    return tokenize(text[: min(found)])


def value_for(schema: Mapping[str, Any], dice: random.Random, *, name: str = "value") -> Any:
    """A value that satisfies a simple JSON schema: types, enums, ranges, references, unions."""
    return _value(schema, dice, name, schema, 0)


def _value(
    schema: Mapping[str, Any], dice: random.Random, name: str, root: Mapping[str, Any], depth: int
) -> Any:
    if "$ref" in schema:
        schema = _referenced(root, schema["$ref"])
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return dice.choice(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            # Deep in a recursive schema the last branch, by custom the empty one, ends it.
            branch = schema[union][0 if depth < _DEPTH_MAX else -1]
            return _value(branch, dice, name, root, depth + 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "object":
        return _object(schema, dice, root, depth)
    if kind == "array":
        return _array(schema, dice, name, root, depth)
    return _scalar(kind, schema, dice, name)


def _referenced(root: Mapping[str, Any], pointer: str) -> Mapping[str, Any]:
    target: Any = root
    for part in pointer.removeprefix("#").strip("/").split("/"):
        target = target.get(part, {}) if part else target
    return target if isinstance(target, dict) else {}


def _object(
    schema: Mapping[str, Any], dice: random.Random, root: Mapping[str, Any], depth: int
) -> dict[str, Any]:
    properties = schema.get("properties", {})
    wanted = properties if depth < _DEPTH_MAX else schema.get("required", ())
    return {
        name: _value(properties[name], dice, name, root, depth + 1)
        for name in wanted
        if name in properties
    }


def _array(
    schema: Mapping[str, Any], dice: random.Random, name: str, root: Mapping[str, Any], depth: int
) -> list[Any]:
    least = schema.get("minItems", 0)
    count = max(least, 0 if depth >= _DEPTH_MAX else min(2, schema.get("maxItems", 2)))
    return [_value(schema.get("items", {}), dice, name, root, depth + 1) for _ in range(count)]


def _scalar(kind: str, schema: Mapping[str, Any], dice: random.Random, name: str) -> Any:
    if kind in ("integer", "number"):
        low = math.ceil(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        return dice.randint(low, max(low, int(schema.get("maximum", low + 40))))
    if kind == "boolean":
        return dice.random() < 0.5  # noqa: PLR2004 - a coin
    if kind == "null":
        return None
    return _string(schema, dice, name)


_FORMATS: Final = {
    "date": "2026-11-22",
    "date-time": "2026-11-22T12:00:00Z",
    "time": "12:00:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "019aa9f2-7d3c-7a41-9c55-2f6f0b1f7a10",
}
_PLACES: Final = ("location", "city", "place", "town")


def _string(schema: Mapping[str, Any], dice: random.Random, name: str) -> str:
    text = _FORMATS.get(schema.get("format", ""))
    if text is None:
        text = "Lisbon" if name in _PLACES else dice.choice(_WORDS)
    least: int = schema.get("minLength", 0)
    most: int = schema.get("maxLength", max(least, len(text)))
    return (text * (least // len(text) + 1) if len(text) < least else text)[:most]
