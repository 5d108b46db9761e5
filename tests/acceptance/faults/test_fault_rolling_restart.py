"""Two gateways are replaced, one after the other, while customers ask all the time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from threading import Event

from tests.support.deployment import Gateway
from tests.support.processes import until
from tests.support.scene import Customer, Scene


def test_a_rolling_restart_under_load(scene: Scene) -> None:
    first, second = scene.gateway, scene.start_gateway()
    ada, ben = scene.customer(), scene.customer()
    serving = [first, second]
    stop = Event()
    with ThreadPoolExecutor(2) as pool, ExitStack() as load:
        load.callback(stop.set)
        asking = [pool.submit(_asks, customer, serving, stop) for customer in (ada, ben)]
        for leaving in (first, second):
            until(_answered_more(asking, ada, ben))
            serving.remove(leaving)  # as a balancer does, a moment before or after
            assert leaving.stop() == 0
            serving.append(scene.start_gateway())
        until(_answered_more(asking, ada, ben))
    for one in asking:
        one.result()
    assert serving[0].stop() == 0  # as many as there were before
    scene.ends_well(ada, ben)


def _asks(customer: Customer, serving: list[Gateway], stop: Event) -> None:
    """Of the gateways in turns, without a pause; who is refused or cut off asks the next."""
    turn = 0
    while not stop.is_set():
        turn += 1
        now = tuple(serving)
        gateway = now[turn % len(now)]
        try:
            answer = customer.asks(gateway)
        except (OSError, HTTPException):
            assert gateway.has_ended or gateway not in serving
            continue
        assert answer.status in (200, 503), answer  # 503: ask again, which is not the last word


def _answered_more(
    asking: list[Future[None]], *customers: Customer, times: int = 10
) -> Callable[[], bool]:
    wanted = {id(c): len(c.answered) + times for c in customers}

    def have_more() -> bool:
        for one in asking:
            if one.done():  # it failed
                one.result()
        return all(len(c.answered) >= wanted[id(c)] for c in customers)

    return have_more
