"""Written schedules: each opens the gap into which one deliberate bug must fall."""

from collections.abc import Callable, Mapping

from tests.chaos.faults import Fault


def calm() -> list[Fault]:
    return []


def workers_killed() -> list[Fault]:
    """One after the other, so that the flusher's lease goes back and forth."""
    return [Fault(1_500 + 1_700 * n, "worker_kill", f"w{n % 2}", 200) for n in range(5)]


def workers_paused() -> list[Fault]:
    """Each for longer than a flusher's lease."""
    return [Fault(1_000 + 2_000 * n, "worker_pause", f"w{n % 2}", 1_500) for n in range(5)]


def answers_late() -> list[Fault]:
    """Redis has run what it was told, and who asked does not learn it in time."""
    return [Fault(1_000 + 1_800 * n, "wire_one_way", f"g{n % 2}-redis", 1_200) for n in range(4)]


def gateways_killed() -> list[Fault]:
    return [Fault(1_500 + 2_500 * n, "gateway_kill", f"g{n % 2}", 100) for n in range(4)]


def cut_off_and_killed() -> list[Fault]:
    """Charges are in the journal alone when their gateway dies."""
    faults = []
    for n in range(3):
        at_ms = 1_500 + 3_500 * n
        faults.append(Fault(at_ms, "wire_black_hole", f"g{n % 2}-redis", 2_500))
        faults.append(Fault(at_ms + 1_800, "gateway_kill", f"g{n % 2}", 100))
    return faults


def nowhere_to_write() -> list[Fault]:
    """Neither the journal nor Redis takes a charge, and the gateways live on."""
    return [Fault(1_500 + 4_500 * n, "nowhere_to_write", f"g{n % 2}", 2_000) for n in range(2)]


DIRECTED: Mapping[str, Callable[[], list[Fault]]] = {
    schedule.__name__: schedule
    for schedule in (
        calm,
        workers_killed,
        workers_paused,
        answers_late,
        gateways_killed,
        cut_off_and_killed,
        nowhere_to_write,
    )
}
