"""Editing one member: compared with a parser, over any JSON and any layout."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialect.json_edit import appended, find_member, removed, replaced
from proxy.dialect.usage_edit import with_cost
from routing.money import Nanos

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just('"usage":{'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["usage", "a", 'x"usage', "b\\"]), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["usage", "a", "b", 'q"', "us"]), VALUES, max_size=5)
LAYOUTS = st.sampled_from([{"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}])


@settings(max_examples=600)
@given(OBJECTS, LAYOUTS)
def test_found_removed_and_replaced_as_a_parser_would(
    whole: dict[str, Any], layout: dict[str, Any]
) -> None:
    raw = json.dumps(whole, **layout).encode()
    member = find_member(raw, b"usage")
    assert (member is not None) is ("usage" in whole)
    if member is None:
        return
    assert json.loads(raw[member.value : member.end]) == whole["usage"]
    rest = {name: value for name, value in whole.items() if name != "usage"}
    assert json.loads(removed(raw, member)) == rest
    assert json.loads(replaced(raw, member, b'{"new":1}')) == whole | {"usage": {"new": 1}}


@pytest.mark.parametrize(
    ("raw", "out"),
    [
        (b"{}", b'{"c":1}'),
        (b"{ }", b'{"c":1 }'),
        (b'{"a":1}', b'{"a":1,"c":1}'),
        (b'{\n  "a": {}\n}', b'{\n  "a": {},"c":1\n}'),
    ],
)
def test_appended_after_the_last_member(raw: bytes, out: bytes) -> None:
    assert appended(raw, b'"c":1') == out


def test_of_two_members_the_last_counts_as_it_does_for_a_parser() -> None:
    raw = b'{"usage":1,"usage":2}'
    member = find_member(raw, b"usage")
    assert member is not None
    assert raw[member.value : member.end] == b"2"


@given(OBJECTS, st.sampled_from([{}, {"usage": {"total_tokens": 3, "cost": 7}}]), LAYOUTS)
def test_a_price_is_added_where_a_parser_finds_the_usage(
    others: dict[str, Any], stated: dict[str, Any], layout: dict[str, Any]
) -> None:
    whole = stated | others
    raw = json.dumps(whole, **layout).encode()
    out = json.loads(with_cost(raw, whole, Nanos(5)))
    if isinstance(whole.get("usage"), dict):
        whole["usage"] = whole["usage"] | {"cost": 5e-9, "cost_nanos": 5}
    assert out == whole


@pytest.mark.parametrize(
    "rest",
    [
        b',"x":{"usage":{"a":1}}',  # an equal one, deeper and later
        b',"x":[{"usage":{"a":1}}]',
        b',"x":"\\"usage\\":{\\"a\\":1}"',
        b',"x":"usage"',
        b',"logprobs":[NaN]',
    ],
)
def test_a_later_mention_of_usage_is_not_taken_for_it(rest: bytes) -> None:
    raw = b'{"id":1, "usage": {"a":1}%b}' % rest
    priced = b'{"id":1, "usage": {"a":1,"cost":0.000000005,"cost_nanos":5}%b}' % rest
    assert with_cost(raw, json.loads(raw), Nanos(5)) == priced


def test_many_members_of_one_name_are_read_in_one_pass() -> None:
    """Reading again, for each of them, what stands before it takes time by its square."""
    raw = b"{" + b'"usage": 1 ,' * 200_000 + b'"usage": 2 }'
    seconds = time.process_time()
    member = find_member(raw, b"usage")
    assert member is not None
    assert raw[member.key : member.end] == b'"usage": 2'
    assert time.process_time() - seconds < 3
