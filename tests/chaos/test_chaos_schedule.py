from tests.chaos.__main__ import targets_of
from tests.chaos.faults import DEFAULT, FAULTS, ON_CLUSTER, Role, draw_schedule
from tests.chaos.world import Shape

TARGETS = targets_of(Shape())


def test_the_seed_decides_the_schedule() -> None:
    first = draw_schedule(7, 300, DEFAULT, TARGETS)
    assert first == draw_schedule(7, 300, tuple(reversed(DEFAULT)), TARGETS)
    assert first != draw_schedule(8, 300, DEFAULT, TARGETS)


def test_every_class_gets_its_turn() -> None:
    schedule = draw_schedule(1, 600, DEFAULT, TARGETS)
    assert {fault.kind for fault in schedule} == set(DEFAULT)
    assert {f.target for f in schedule if FAULTS[f.kind].role is Role.WIRE} == set(
        TARGETS[Role.WIRE]
    )


def test_a_target_has_one_fault_at_a_time() -> None:
    schedule = draw_schedule(3, 600, DEFAULT, TARGETS)
    until: dict[str, int] = {}
    for fault in schedule:
        targets = [fault.target]
        if fault.target == "all":
            targets = TARGETS[Role.GATEWAY]
        elif fault.kind in (
            "journal_full",
            "nowhere_to_write",
        ):  # it takes its way to Redis
            targets += ["redis", f"{fault.target}-redis"]
        for target in targets:
            assert fault.at_ms >= until.get(target, 0), fault
            until[target] = fault.at_ms + fault.lasts_ms


def test_what_is_off_says_why() -> None:
    off = {name for name, kind in FAULTS.items() if kind.off}
    assert off.isdisjoint(DEFAULT)
    assert off | set(DEFAULT) == set(FAULTS)
    on_cluster = {name for name, kind in FAULTS.items() if kind.role is Role.CLUSTER}
    assert off == on_cluster | {"journal_lost"}


def test_a_cluster_has_faults_of_its_own() -> None:
    targets = targets_of(Shape(is_cluster=True))
    schedule = draw_schedule(1, 600, ON_CLUSTER, targets)
    assert {fault.kind for fault in schedule} == set(ON_CLUSTER)
    assert {"master_killed", "laggard_took_over", "slots_moved"} <= set(ON_CLUSTER)
    assert not any(fault.target.endswith("-redis") for fault in schedule)


def test_without_faults_nothing_is_scheduled() -> None:
    assert draw_schedule(1, 60, [], TARGETS) == []
