"""The simulator's words and counts."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dev.simulator.language import (
    count_tokens,
    cut_at_stop,
    dice_for,
    prose,
    tokenize,
    value_for,
)


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    tokens = tokenize(text)
    assert "".join(tokens) == text
    assert count_tokens(text) == len(tokens)
    assert all(tokens)


@given(st.integers(0, 500), st.text(max_size=40))
def test_prose_has_exactly_so_many_tokens_when_counted_again(count: int, opening: str) -> None:
    pieces = prose(dice_for(1), opening=opening, tokens=count)
    assert len(pieces) == count


def test_prose_counts_the_same_as_text() -> None:
    for count in range(1, 200):
        assert count_tokens("".join(prose(dice_for(count), tokens=count))) == count


@pytest.mark.parametrize(
    ("stops", "left"),
    [(["c"], "ab "), (["x"], "ab cd"), (["d", "b"], "a"), (["ab"], ""), ([""], "ab cd")],
)
def test_a_stop_sequence_ends_the_text_before_it(stops: list[str], left: str) -> None:
    assert "".join(cut_at_stop(tokenize("ab cd"), stops)) == left


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "maxLength": 2},
        {"type": ["string", "null"]},
        {"enum": [1, "two", None]},
        {"const": {"a": 1}},
        {"type": "integer", "exclusiveMinimum": 5, "maximum": 6},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 4, "maxItems": 4},
        {"type": "array", "items": {"type": "null"}, "maxItems": 1},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "string", "format": "uuid"},
        {"properties": {"a": {"type": "number"}}, "required": ["a"]},
        {},
    ],
)
def test_a_value_fits_its_schema(schema: dict[str, object]) -> None:
    for seed in range(20):
        jsonschema.validate(value_for(schema, dice_for(seed)), schema)


def test_a_schema_that_contains_itself_ends() -> None:
    schema = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}, "list": {"type": "array", "items": {"$ref": "#"}}},
    }
    jsonschema.validate(value_for(schema, dice_for(0)), schema)
