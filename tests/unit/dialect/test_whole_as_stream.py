"""One piece made a stream of: what OpenAI's SDK gathers from it is what was in the piece."""

import orjson

from proxy.dialect.whole_as_stream import as_events


def events_of(raw: bytes) -> list[dict]:
    *events, done = raw.removesuffix(b"\n\n").split(b"\n\n")
    assert done == b"data: [DONE]"
    return [orjson.loads(event.removeprefix(b"data: ")) for event in events]


def test_tool_calls_get_the_numbers_that_streams_have() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call, call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    (chunk,) = events_of(as_events(orjson.dumps(body), wants_usage=True))
    delta = chunk["choices"][0]["delta"]
    assert [made["index"] for made in delta["tool_calls"]] == [0, 1]
    assert "message" not in chunk["choices"][0]


def test_completions_keep_their_text_and_numbers_that_json_does_not_know_are_null() -> None:
    body = b'{"object":"text_completion","choices":[{"index":0,"text":"hi","logprobs":NaN}]}'
    (chunk,) = events_of(as_events(body, wants_usage=False))
    assert chunk == {
        "object": "text_completion",
        "choices": [{"index": 0, "text": "hi", "logprobs": None}],
    }


def test_what_has_no_choices_passes() -> None:
    for body in ({"choices": None}, {"choices": [None, 3]}, {}):
        assert events_of(as_events(orjson.dumps(body), wants_usage=True)) == [body]
