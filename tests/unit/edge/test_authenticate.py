import asyncio

import pytest
from multidict import CIMultiDict

from proxy.domain.errors import (
    InvalidApiKeyError,
    InvalidRequestError,
    OverloadedError,
    StoreUnavailableError,
)
from proxy.domain.ids import KeyToken, mint_key_token
from proxy.edge.authenticate import Authenticator
from tests.support.data_plane import HandMovedClock, KeysInMemory, PlainHasher, make_key

TTL_SECONDS = 60


def bearer(token: KeyToken | str) -> CIMultiDict[str]:
    return CIMultiDict({"Authorization": f"Bearer {token}"})


class Bench:
    def __init__(self, **bounds: int) -> None:
        self.clock = HandMovedClock()
        self.keys = KeysInMemory()
        self.authenticator = Authenticator(
            self.keys, PlainHasher(), self.clock, ttl_seconds=TTL_SECONDS, **bounds
        )

    async def passes(self, token: KeyToken | str) -> bool:
        try:
            await self.authenticator.authenticate(bearer(token))
        except InvalidApiKeyError:
            return False
        return True


async def test_a_key_is_looked_up_once_for_its_time() -> None:
    bench = Bench()
    token = bench.keys.add()
    for _ in range(3):
        assert await bench.passes(token)
    assert len(bench.keys.lookups) == 1
    bench.clock.now_ms += TTL_SECONDS * 1000
    assert await bench.passes(token)
    assert len(bench.keys.lookups) == 2


async def test_every_wrong_key_is_refused_in_the_same_words() -> None:
    bench = Bench()
    good = bench.keys.add()
    wrong = [
        mint_key_token(),
        KeyToken(good.key_id, mint_key_token().secret),
        bench.keys.add(revoked=True),
        bench.keys.add(expires_at_ms=bench.clock.now_ms),
    ]
    words = set()
    for token in wrong:
        with pytest.raises(InvalidApiKeyError) as refused:
            await bench.authenticator.authenticate(bearer(token))
        words.add(refused.value.message)
    assert len(words) == 1
    assert await bench.passes(good)


async def test_a_key_expires_while_it_is_cached() -> None:
    bench = Bench()
    token = bench.keys.add(expires_at_ms=bench.clock.now_ms + 1)
    assert await bench.passes(token)
    bench.clock.now_ms += 1
    assert not await bench.passes(token)


async def test_the_scheme_is_written_in_any_case() -> None:
    bench = Bench()
    token = bench.keys.add()
    for scheme in ("bearer", "BEARER", "Bearer  "):
        headers = CIMultiDict({"authorization": f"{scheme} {token} "})
        assert (await bench.authenticator.authenticate(headers)).key_id == token.key_id


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic dTpw", "sk-al-x", "Bearer sk-al-é" + "é" * 49]
)
async def test_what_is_no_key_is_refused_without_a_lookup(value: str) -> None:
    bench = Bench()
    with pytest.raises(InvalidApiKeyError):
        await bench.authenticator.authenticate(CIMultiDict({"authorization": value}))
    assert bench.keys.lookups == []


async def test_a_key_given_twice_is_refused_even_if_it_is_the_same() -> None:
    bench = Bench()
    token = bench.keys.add()
    headers = bearer(token)
    headers.add("authorization", f"Bearer {token}")
    with pytest.raises(InvalidRequestError):
        await bench.authenticator.authenticate(headers)


async def test_unknown_ids_are_remembered_apart_and_briefly() -> None:
    bench = Bench(entries_max=2)
    good = bench.keys.add()
    assert await bench.passes(good)
    unknown = mint_key_token()
    for token in (unknown, unknown, *(mint_key_token() for _ in range(5))):
        assert not await bench.passes(token)
    assert bench.keys.lookups.count(unknown.key_id) == 1
    # The flood has pushed out the first of its own, never a key that exists.
    assert await bench.passes(good)
    assert bench.keys.lookups.count(good.key_id) == 1
    assert not await bench.passes(unknown)
    assert bench.keys.lookups.count(unknown.key_id) == 2
    bench.clock.now_ms += 10_000
    assert not await bench.passes(unknown)
    assert bench.keys.lookups.count(unknown.key_id) == 3


async def test_the_cache_is_bounded() -> None:
    bench = Bench(entries_max=2)
    tokens = [bench.keys.add() for _ in range(3)]
    for token in (*tokens, tokens[0]):
        assert await bench.passes(token)
    assert bench.keys.lookups.count(tokens[0].key_id) == 2


async def test_many_who_ask_at_once_share_a_lookup_and_one_may_leave() -> None:
    bench = Bench()
    bench.keys.gate = asyncio.Event()
    token = bench.keys.add()
    waiting = [asyncio.ensure_future(bench.passes(token)) for _ in range(5)]  # noqa: TID251 - ends here
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    bench.keys.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [True] * 4
    assert len(bench.keys.lookups) == 1


async def test_a_store_that_is_away_is_said_to_be_and_not_remembered() -> None:
    bench = Bench()
    token = bench.keys.add()
    bench.keys.is_away = True
    with pytest.raises(StoreUnavailableError):
        await bench.authenticator.authenticate(bearer(token))
    bench.keys.is_away = False
    assert await bench.passes(token)


async def test_a_known_key_outlives_the_store_for_its_time() -> None:
    bench = Bench()
    token = bench.keys.add()
    assert await bench.passes(token)
    bench.keys.is_away = True
    assert await bench.passes(token)


async def test_lookups_are_bounded() -> None:
    bench = Bench(lookups_max=2)
    bench.keys.gate = asyncio.Event()
    tokens = [bench.keys.add() for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(bench.passes(token)) for token in tokens[:2]]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await bench.authenticator.authenticate(bearer(tokens[2]))
        bench.keys.gate.set()
    assert [task.result() for task in waiting] == [True, True]
    assert await bench.passes(tokens[2])


async def test_forgetting_ends_a_cached_key() -> None:
    bench = Bench()
    token = bench.keys.add()
    assert await bench.passes(token)
    bench.keys.keys[token.key_id] = make_key(token, revoked=True, epoch=2)
    assert await bench.passes(token)
    bench.authenticator.forget(token.key_id)
    assert not await bench.passes(token)


async def test_forgetting_outruns_a_lookup_that_read_the_old_key() -> None:
    bench = Bench()
    bench.keys.gate = asyncio.Event()
    token = bench.keys.add()
    async with asyncio.TaskGroup() as group:
        early = group.create_task(bench.passes(token))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it has read the key and waits to hand it over
        bench.keys.keys[token.key_id] = make_key(token, revoked=True, epoch=2)
        bench.authenticator.forget(token.key_id)
        bench.keys.gate.set()
    assert early.result()  # it asked before
    assert not await bench.passes(token)
