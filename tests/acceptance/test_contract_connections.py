"""What clients do with their connections, against the whole platform."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from tests.support.answers import (
    TEXT,
    USAGE,
    USAGE_NANOS,
    completion,
    delta,
    platform_with,
    usage_chunk,
)
from tests.support.platform import Platform, PlatformFactory, TestKey, chat_body
from tests.support.raw_http import RawConnection, request
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire

CHAT = "/v1/chat/completions"


async def answer(seen: Seen, wire: Wire) -> None:
    if not seen.json().get("stream"):
        await wire.json(completion(usage=USAGE))
        return
    await wire.sse()
    for chunk in (delta(TEXT), delta(finish="stop"), usage_chunk()):
        await wire.event(chunk)
    await wire.chunk(b"data: [DONE]\n\n")
    await wire.end()


@asynccontextmanager
async def connected(platform: Platform) -> AsyncIterator[RawConnection]:
    port = int(platform.running.base_url.rpartition(":")[2])
    async with await RawConnection.open(port) as connection:
        yield connection


def chat(key: TestKey, *headers: str, **fields: object) -> bytes:
    body = orjson.dumps(chat_body("m") | fields)
    return request(CHAT, f"authorization: Bearer {key}", *headers, body=body)


async def test_pipelined_requests_are_answered_in_turn_and_each_is_charged(
    start_platform: PlatformFactory,
) -> None:
    async with platform_with(start_platform, {"m": answer}) as (platform, _):
        key = await platform.key()
        async with connected(platform) as connection:
            connection.write(
                chat(key, stream=True)
                + chat(key)
                + request("/v1/nowhere", method="GET")
                + chat(key, "connection: close")
            )
            found = [await connection.answer() for _ in range(4)]
            assert [each.status for each in found] == [200, 200, 404, 200]
            assert found[0].body.endswith(b"data: [DONE]\n\n")
            assert [each.is_last for each in found] == [False, False, False, True]
            assert await connection.closed() == b""
        state = await platform.quiet(key, rows=3)
        assert state.balance_nanos == key.credited_nanos - 3 * USAGE_NANOS
        await platform.assert_clean()


async def test_a_client_s_id_is_a_label_and_never_a_key(start_platform: PlatformFactory) -> None:
    """The same id a hundred times is a hundred charges."""
    label = "0190f0a0-0000-7000-8000-00000000000b"
    async with platform_with(start_platform, {"m": answer}) as (platform, ups):
        key, other = await platform.key(), await platform.key()
        for owner in (key, key, other, key):
            got = await platform.post(
                owner, "/chat/completions", chat_body("m"), **{"x-request-id": label}
            )
            assert got.status == 200
            assert got.headers["x-client-request-id"] == label
            assert got.headers["x-request-id"] != label
        state = await platform.quiet(key, rows=3)
        assert state.balance_nanos == key.credited_nanos - 3 * USAGE_NANOS
        rows = await platform.rows(key)
        assert {row.client_request_id for row in rows} == {label}
        assert len({row.request_id for row in rows}) == 3
        for form in ("not a uuid", label.replace("-", ""), f"{{{label}}}", label + "0"):
            got = await platform.post(
                key, "/chat/completions", chat_body("m"), **{"x-request-id": form}
            )
            assert (got.status, got.headers.get("x-client-request-id")) == (200, None)
        # Upstream it is never told, in no form.
        assert all(label not in str(seen.headers) for seen in ups["m"].seen)


async def test_nothing_of_a_client_s_headers_goes_upstream(start_platform: PlatformFactory) -> None:
    theirs = {
        "cookie": "canary",
        "x-canary": "canary",
        "user-agent": "canary",
        "referer": "canary",
        "origin": "https://canary.example",
        "x-forwarded-for": "192.0.2.77",
        "forwarded": "for=192.0.2.77",
        "x-real-ip": "192.0.2.77",
        "x-api-key": "",
        "openai-organization": "canary",
        "openai-project": "canary",
        "http-referer": "canary",
        "x-title": "canary",
        "x-stainless-lang": "canary",
        "idempotency-key": "canary",
        "traceparent": "00-canary",
        "accept": "text/canary",
        "anthropic-beta": "canary",
    }
    async with platform_with(start_platform, {"m": answer}) as (platform, ups):
        key = await platform.key()
        theirs["x-api-key"] = str(key)
        assert (
            await platform.post(key, "/chat/completions", chat_body("m"), **theirs)
        ).status == 200
        (seen,) = ups["m"].seen
        assert "canary" not in str(seen.headers)
        assert "192.0.2.77" not in str(seen.headers)
        assert str(key) not in str(seen.headers)
        assert seen.headers["authorization"] == "Bearer sk-upstream"
        assert set(seen.headers) == {
            "host",
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "user-agent",
        }
        assert seen.headers["accept-encoding"] == "identity"


async def test_an_offer_to_upgrade_is_passed_over(start_platform: PlatformFactory) -> None:
    """`curl --http2` makes it with every first request in plain text."""
    async with platform_with(start_platform, {"m": answer}) as (platform, _):
        key = await platform.key()
        for offer in ("h2c", "websocket", "TLS/1.0"):
            async with connected(platform) as connection:
                connection.write(
                    chat(key, "connection: Upgrade, HTTP2-Settings", f"upgrade: {offer}")
                )
                assert (await connection.answer()).status == 200
                connection.write(chat(key))
                assert (await connection.answer()).status == 200


async def test_half_a_close_is_a_departure(start_platform: PlatformFactory) -> None:
    """A close looks the same until something is written: whoever wants the answer keeps both
    directions open, as every HTTP client does. The upstream goes on, so its answer is charged."""
    asked, told = asyncio.Event(), asyncio.Event()

    async def script(_: Seen, wire: Wire) -> None:
        asked.set()
        await told.wait()
        await wire.json(completion(usage=USAGE))

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        key = await platform.key()
        async with connected(platform) as connection:
            connection.write(chat(key))
            await asked.wait()
            connection.writer.write_eof()
            assert await connection.closed() == b""
            told.set()
        await platform.charged(key, None, USAGE_NANOS, status="client_closed", source="reported")


async def test_a_pooled_connection_serves_the_next_request_whatever_the_last_one_did(
    start_platform: PlatformFactory,
) -> None:
    """Errors, refusals and streams leave both connections in order: client's and upstream's."""

    async def moody(seen: Seen, wire: Wire) -> None:
        status = seen.json().get("status", 200)
        if status == 200:
            await answer(seen, wire)
        else:
            await wire.json({"error": {"message": "no"}}, status)

    async with platform_with(start_platform, {"m": moody}) as (platform, ups):
        key = await platform.key()
        upstream: ScriptedUpstream = ups["m"]
        async with connected(platform) as connection:
            for fields, status in (
                ({}, 200),
                ({"status": 400}, 400),
                ({"stream": True}, 200),
                ({"status": 500}, 502),
                ({"max_tokens": -1}, 400),
                ({"status": 422, "stream": True}, 422),
                ({"model": "none"}, 404),
                ({}, 200),
            ):
                connection.write(chat(key, **fields))
                got = await connection.answer()
                assert (fields, got.status, got.is_last) == (fields, status, False)
        assert upstream.connections == 1
