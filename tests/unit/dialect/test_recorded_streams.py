"""Every recorded stream, relayed: the client gets the upstream's bytes, but for usage."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialect.openai_stream import DONE, OpenAIStream
from proxy.dialect.quirks import QUIRK_OF
from routing.money import NANOS_PER_USD
from tests.support.recordings import Recording, price_of

UPSTREAM_COST = {"cost", "cost_details", "cost_in_usd_ticks", "estimated_cost", "is_byok"}


def relay(recording: Recording, *chunks: bytes, wants_usage: bool) -> tuple[bytes, OpenAIStream]:
    call = recording.call(wants_usage=wants_usage)
    exchange = OpenAIStream(call, QUIRK_OF[recording.quirk], price_of)
    parts = [exchange.feed(chunk) for chunk in chunks]
    return b"".join([*parts, exchange.end(), exchange.closing()]), exchange


def events_of(body: bytes) -> list[bytes]:
    """Nearly all recordings separate events with two LFs; the splitter's own test has the rest."""
    return [event + b"\n\n" for event in body.replace(b"\r\n", b"\n").split(b"\n\n") if event]


def data_of(event: bytes) -> Any:
    data = event.partition(b"data:")[2].strip()
    return json.loads(data) if data.startswith(b"{") else None


def states_usage(chunk: Any) -> bool:
    return isinstance(chunk, dict) and bool(
        chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
    )


def has_usage_key(chunk: Any) -> bool:
    return isinstance(chunk, dict) and ("usage" in chunk or "usage" in (chunk.get("x_groq") or {}))


def without_usage(chunk: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in chunk.items() if name != "usage"}
    if "x_groq" in kept:
        kept["x_groq"] = {n: v for n, v in kept["x_groq"].items() if n != "usage"}
    return kept


def test_a_client_that_asked_gets_every_byte_and_its_cost(streams: list[Recording]) -> None:
    priced = 0
    for recording in streams:
        out, exchange = relay(recording, recording.body, wants_usage=True)
        given = [e for e in events_of(recording.body) if not e.startswith(b":")]
        if b"data: [DONE]\n\n" not in given and not exchange.has_error:
            given.append(DONE)
        got = events_of(out)
        assert len(got) == len(given), recording.name
        for before, after in zip(given, got, strict=True):
            if not states_usage(data_of(before)):
                assert after == before, recording.name
                continue
            priced += 1
            assert exchange.usage is not None
            nanos = price_of(exchange.usage)
            was, now = data_of(before), data_of(after)
            for place in (now, now.get("x_groq") or {}):
                usage = place.get("usage")
                if usage:
                    assert usage.pop("cost_nanos") == nanos
                    assert round(usage.pop("cost") * NANOS_PER_USD) == nanos
            if "usage" in was:
                was["usage"] = {n: v for n, v in was["usage"].items() if n not in UPSTREAM_COST}
            assert now == was, recording.name
    assert priced > 40


def test_beside_the_cost_not_one_byte_of_a_usage_event_moves(streams: list[Recording]) -> None:
    compared = 0
    for recording in streams:
        if any(f'"{name}"'.encode() in recording.body for name in UPSTREAM_COST):
            continue  # an aggregator's own price is taken out: that object is written anew
        out, exchange = relay(recording, recording.body, wants_usage=True)
        if exchange.usage is None:
            continue
        nanos = price_of(exchange.usage)
        usd = f"{nanos // NANOS_PER_USD}.{nanos % NANOS_PER_USD:09d}".rstrip("0")
        cost = f',"cost":{usd},"cost_nanos":{nanos}'.encode()
        assert cost in out, recording.name
        body = recording.body if b"[DONE]" in recording.body else recording.body + DONE
        assert out.replace(cost, b"") == body, recording.name
        compared += 1
    assert compared > 20


def test_a_client_that_did_not_ask_sees_no_usage(streams: list[Recording]) -> None:
    dropped = 0
    for recording in streams:
        out, exchange = relay(recording, recording.body, wants_usage=False)
        expected: list[Any] = []
        for event in events_of(recording.body):
            chunk = data_of(event)
            if event.startswith(b":"):
                continue
            if not has_usage_key(chunk):
                expected.append(event)
            elif chunk.get("choices") or not states_usage(chunk):
                expected.append(without_usage(chunk))
            else:
                dropped += 1
        if b"data: [DONE]\n\n" not in expected and not exchange.has_error:
            expected.append(DONE)
        got = events_of(out)
        assert len(got) == len(expected), recording.name
        for before, after in zip(expected, got, strict=True):
            assert (after if isinstance(before, bytes) else data_of(after)) == before, (
                recording.name
            )
    assert dropped > 10


def test_null_usage_leaves_without_moving_another_byte(streams: list[Recording]) -> None:
    seen = 0
    for recording in streams:
        out, _ = relay(recording, recording.body, wants_usage=False)
        for before in events_of(recording.body):
            if before.count(b'"usage"') == 1 and b',"usage":null' in before:
                assert before.replace(b',"usage":null', b"") in out, recording.name
                seen += 1
    assert seen > 100


def test_meter_and_ending_are_the_same_whether_asked_or_not(streams: list[Recording]) -> None:
    silent = []
    for recording in streams:
        _, exchange = relay(recording, recording.body, wants_usage=True)
        _, other = relay(recording, recording.body, wants_usage=False)
        assert exchange.usage == other.usage, recording.name
        assert exchange.text_bytes == other.text_bytes, recording.name
        assert exchange.is_done == (b"[DONE]" in recording.body), recording.name
        if not exchange.text_bytes:
            silent.append(recording.name.split("__")[-1])
    assert silent == ["streaming_ministral_3b_tiny_tool"]  # it was allowed one token


def test_only_the_recorded_failures_are_failures(streams: list[Recording]) -> None:
    failed = {
        r.name.split("__")[-1] for r in streams if relay(r, r.body, wants_usage=True)[1].has_error
    }
    assert failed == {
        "test_openrouter_stream_error",
        "test_tool_use_failed_error_streaming_with_text",
    }


def test_a_finished_answer_is_complete_even_without_its_terminal_event(
    streams: list[Recording],
) -> None:
    for recording in streams:
        body = recording.body.partition(b"data: [DONE]")[0]
        out, exchange = relay(recording, body, wants_usage=False)
        cut_by_error = recording.name.endswith("error_streaming_with_text")
        assert exchange.is_complete is not cut_by_error, recording.name
        assert out.endswith(DONE) is not exchange.has_error, recording.name


def test_a_stream_that_is_cut_anywhere_before_its_finish_is_not_complete(
    streams: list[Recording],
) -> None:
    for recording in streams:
        head = recording.body[: recording.body.index(b"\n\n", 40) + 12]
        if b'"finish_reason":"' in head:
            continue
        exchange = OpenAIStream(recording.call(), QUIRK_OF[recording.quirk], price_of)
        exchange.feed(head)
        assert exchange.end() == b"", recording.name
        assert not exchange.is_complete, recording.name


@settings(max_examples=400)
@given(data=st.data())
def test_no_split_into_segments_changes_anything(
    streams: list[Recording], data: st.DataObject
) -> None:
    recording = streams[data.draw(st.integers(0, len(streams) - 1))]
    body = recording.body[:20_000] if len(recording.body) > 40_000 else recording.body
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    wants_usage = data.draw(st.booleans())
    chunks = [body[a:b] for a, b in pairwise(sorted({0, len(body), *cuts}))]
    out, exchange = relay(recording, *chunks, wants_usage=wants_usage)
    whole, other = relay(recording, body, wants_usage=wants_usage)
    assert out == whole
    assert exchange.usage == other.usage
    assert exchange.text_bytes == other.text_bytes
    assert exchange.is_complete == other.is_complete


def test_byte_by_byte_at_most_one_event_is_held_back(streams: list[Recording]) -> None:
    recording = next(r for r in streams if r.name.endswith("fantasy__simple_streaming_0_2"))
    exchange = OpenAIStream(recording.call(wants_usage=True), QUIRK_OF["groq"], price_of)
    for event in events_of(recording.body):
        parts = [exchange.feed(event[i : i + 1]) for i in range(len(event))]
        assert parts[:-1] == [b""] * (len(parts) - 1)
        assert bool(parts[-1]) is not event.startswith(b"data: [DONE]")
