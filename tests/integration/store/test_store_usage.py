import dataclasses
from uuid import UUID

from proxy.domain.charge import Charge
from proxy.store.books import MovementKind
from proxy.store.movements import Movement
from proxy.store.pool import Store
from proxy.store.usage import AccountTotals
from routing.money import Nanos
from tests.support.charges import make_charge
from tests.support.store_fixtures import MakeAccount

NOW_MS = 1_763_800_000_000


def _at(ms: int, charge: Charge) -> Charge:
    low = charge.request_id.int & (1 << 80) - 1
    return dataclasses.replace(charge, request_id=UUID(int=ms << 80 | low))


async def _flushed(store: Store, charges: list[Charge]) -> None:
    await store.partitions.ensure_once(now_ms=NOW_MS)
    cursor = await store.flushes.acquire(0, "flusher", 60)
    assert cursor is not None
    entries = [(f"{n}-0", charge) for n, charge in enumerate(charges, 1)]
    assert await store.flushes.write(0, "flusher", cursor, entries) == len(charges)


async def test_pages_go_from_the_newest_to_the_oldest_of_one_account(
    store: Store, make_account: MakeAccount
) -> None:
    ada, ben = await make_account(), await make_account()
    of_ada = [_at(NOW_MS + n, make_charge(ada)) for n in range(7)]
    await _flushed(store, [*of_ada, _at(NOW_MS + 3, make_charge(ben))])
    newest_first = of_ada[::-1]
    seen: list[Charge] = []
    before = None
    while page := await store.usage.list_usage(ada, before=before, limit=3):
        assert len(page) <= 3
        seen += page
        before = page[-1].request_id
    assert seen == newest_first


async def test_bounds_are_from_the_first_millisecond_to_before_the_last(
    store: Store, make_account: MakeAccount
) -> None:
    ada = await make_account()
    charges = [_at(NOW_MS + n, make_charge(ada, key_id=f"k{n % 2}")) for n in range(5)]
    await _flushed(store, charges)
    within = await store.usage.list_usage(ada, from_ms=NOW_MS + 1, to_ms=NOW_MS + 4)
    assert within == [charges[3], charges[2], charges[1]]
    of_key = await store.usage.list_usage(ada, key_id="k1")
    assert of_key == [charges[3], charges[1]]
    assert await store.usage.list_usage(ada, from_ms=NOW_MS + 9) == []


async def test_another_account_s_request_is_not_found(
    store: Store, make_account: MakeAccount
) -> None:
    ada, ben = await make_account(), await make_account()
    charge = make_charge(ada)
    await _flushed(store, [charge])
    assert await store.usage.find_generation(ada, charge.request_id) == charge
    assert await store.usage.find_generation(ben, charge.request_id) is None


async def test_totals_are_what_came_in_what_was_charged_and_what_is_left(
    store: Store, make_account: MakeAccount
) -> None:
    ada = await make_account()
    for reference, nanos in (("a", 5_000), ("b", -500)):
        kind = MovementKind.TOP_UP if nanos > 0 else MovementKind.ADJUSTMENT
        await store.movements.post(Movement(ada, kind, Nanos(nanos), reference, "test", ""))
    await _flushed(store, [make_charge(ada, 1_200)])
    assert await store.usage.totals(ada) == AccountTotals(
        credited_nanos=Nanos(4_500), charged_nanos=Nanos(1_200), balance_nanos=Nanos(3_300)
    )
    assert await store.usage.credited_nanos(ada) == 4_500
    assert await store.usage.totals(UUID(int=1)) is None
