"""The breaker, as a table of what happens when and what it then allows."""

import pytest

from proxy.upstream.breaker import FAILURES_MAX, OPEN_MS_MAX, OPEN_MS_MIN, TRIAL_MS, Breaker

BAD, GOOD = False, True
OPENED = [(0, BAD)] * FAILURES_MAX


def played(*events: tuple[int, bool], jitter: float = 0.0) -> Breaker:
    breaker = Breaker()
    for now_ms, healthy in events:
        breaker.record(now_ms, healthy=healthy, jitter=jitter)
    return breaker


@pytest.mark.parametrize(
    ("events", "now_ms", "allowed"),
    [
        pytest.param([], 0, True, id="new"),
        pytest.param([(0, BAD)] * (FAILURES_MAX - 1), 0, True, id="one failure short"),
        pytest.param(OPENED, 0, False, id="enough failures"),
        pytest.param(
            [(0, BAD)] * (FAILURES_MAX - 1) + [(0, GOOD), (0, BAD)], 0, True, id="not consecutive"
        ),
        pytest.param(OPENED, OPEN_MS_MIN // 2 - 1, False, id="still open"),
        pytest.param(OPENED, OPEN_MS_MIN // 2, True, id="half open"),
        pytest.param([*OPENED, (10, BAD)], OPEN_MS_MIN // 2, True, id="late failures do not add"),
        pytest.param([*OPENED, (10, GOOD)], 11, False, id="a late success does not close"),
        pytest.param([*OPENED, (600, GOOD)], 600, True, id="a good trial closes"),
        pytest.param([*OPENED, (600, GOOD), (601, BAD)], 601, True, id="and forgets"),
        pytest.param([*OPENED, (600, BAD)], 600 + OPEN_MS_MIN - 1, False, id="a bad one: longer"),
        pytest.param([*OPENED, (600, BAD)], 600 + OPEN_MS_MIN, True, id="but not for ever"),
    ],
)
def test_allows(events: list[tuple[int, bool]], now_ms: int, allowed: bool) -> None:  # noqa: FBT001 - a column of the table
    assert played(*events).allows(now_ms) is allowed


def test_half_open_lets_one_through_until_it_reports_or_lapses() -> None:
    breaker = played(*OPENED)
    assert breaker.enter(600)
    assert not breaker.enter(600)
    assert not breaker.allows(600 + TRIAL_MS - 1)
    assert breaker.enter(600 + TRIAL_MS)
    breaker.record(600 + TRIAL_MS, healthy=True, jitter=0.0)
    assert breaker.enter(600 + TRIAL_MS)
    assert breaker.enter(600 + TRIAL_MS)


def test_the_opening_grows_to_its_bound_and_starts_small_again() -> None:
    breaker = Breaker()
    now_ms, spans = 0, []
    for _ in range(FAILURES_MAX):
        breaker.record(now_ms, healthy=False, jitter=0.0)
    for _ in range(40):
        opened_ms = now_ms
        while not breaker.allows(now_ms):
            now_ms += 100
        spans.append(now_ms - opened_ms)
        breaker.record(now_ms, healthy=False, jitter=0.0)
    assert spans[:4] == [500, 1000, 2000, 4000]
    assert spans == sorted(spans)
    assert spans[-1] == OPEN_MS_MAX // 2
    now_ms += OPEN_MS_MAX
    breaker.record(now_ms, healthy=True, jitter=0.0)
    for _ in range(FAILURES_MAX):
        breaker.record(now_ms, healthy=False, jitter=0.0)
    assert breaker.allows(now_ms + OPEN_MS_MIN)


@pytest.mark.parametrize(("jitter", "open_ms"), [(0.0, 500), (0.5, 750), (0.999, 999)])
def test_jitter_spreads_the_return_over_the_upper_half(jitter: float, open_ms: int) -> None:
    breaker = played(*OPENED, jitter=jitter)
    assert not breaker.allows(open_ms - 1)
    assert breaker.allows(open_ms)
