"""What the scheduled verification tells: a difference once, and never that all is well unasked."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from proxy.billing.verify import Verification
from proxy.jobs.verifying import Verifying
from tests.support.data_plane import HandMovedClock

OK = Verification(wallets=2)
DIFFERENT = Verification(difference_nanos=1, book_difference_nanos=2, faults=["x"])
AWAY = Verification(away="the ledger: it does not answer")


def answering(*found: Verification) -> Callable[[], Awaitable[Verification]]:
    rest = list(found)

    async def answer() -> Verification:
        return rest.pop(0)

    return answer


async def nothing_is_suspect(shard: int) -> None:
    raise AssertionError(f"shard {shard}")


def difference(verifying: Verifying) -> float:
    return verifying.read(lambda found: found.total_difference_nanos)


async def test_before_the_first_nothing_is_known() -> None:
    verifying = Verifying(answering(), nothing_is_suspect, HandMovedClock())
    assert math.isnan(difference(verifying))
    assert verifying.verdicts() == {"ok": 0, "different": 0, "unknown": 1}
    assert verifying.known_seconds() is None


async def test_a_store_that_is_away_is_unknown_and_not_zero() -> None:
    clock = HandMovedClock()
    verifying = Verifying(answering(OK, AWAY), nothing_is_suspect, clock)
    await verifying.verify_once()
    assert difference(verifying) == 0
    known = verifying.known_seconds()
    assert known == clock.now_ms / 1000
    clock.now_ms += 60_000
    await verifying.verify_once()
    assert math.isnan(difference(verifying))
    assert verifying.verdicts() == {"ok": 0, "different": 0, "unknown": 1}
    assert verifying.known_seconds() == known


async def test_a_difference_is_told_once_and_its_end_too() -> None:
    verifying = Verifying(
        answering(OK, DIFFERENT, AWAY, DIFFERENT, OK, OK), nothing_is_suspect, HandMovedClock()
    )
    with capture_logs() as lines:
        for _ in range(6):
            await verifying.verify_once()
    assert [(line["event"], line.get("difference_nanos")) for line in lines] == [
        ("ledger_differs", 3),
        ("ledger_agrees", None),
    ]


async def test_a_difference_stays_one_where_a_store_left_in_between() -> None:
    half = Verification(difference_nanos=5, away="Postgres: it does not answer")
    verifying = Verifying(answering(half), nothing_is_suspect, HandMovedClock())
    await verifying.verify_once()
    assert difference(verifying) == 5
    assert verifying.verdicts()["different"] == 1


async def test_one_that_takes_too_long_is_unknown() -> None:
    turns = iter([answering(OK), asyncio.Event().wait])

    async def verify() -> Verification:
        found = await next(turns)()
        assert isinstance(found, Verification)
        return found

    verifying = Verifying(verify, nothing_is_suspect, HandMovedClock())
    await verifying.verify_once()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await verifying.verify_once()
    assert math.isnan(difference(verifying))


async def test_a_postgres_that_knows_less_than_the_ledger_makes_its_shard_suspect() -> None:
    suspect: list[int] = []

    async def note(shard: int) -> None:
        suspect.append(shard)

    ahead = Verification(difference_nanos=5, ahead_shards={3})
    await Verifying(answering(ahead), note, HandMovedClock()).verify_once()
    assert suspect == [3]
