"""Written schedules: each opens the gap into which one deliberate bug must fall."""

from collections.abc import Callable, Mapping

from tests.chaos.faults import Fault


def calm() -> list[Fault]:
    return []


def workers_killed() -> list[Fault]:
    """One after the other, so that the flusher's lease goes back and forth."""
    return [Fault(1_500 + 1_700 * n, "worker_kill", f"w{n % 2}", 200) for n in range(5)]


def workers_killed_in_a_gap() -> list[Fault]:
    """Both, so that whoever flushes is one of them, at the moment that the bug tells."""
    return [Fault(1_000, "worker_kill", f"w{n}", 200, after="gap") for n in range(2)]


def workers_paused() -> list[Fault]:
    """Each for longer than a flusher's lease."""
    return [Fault(1_000 + 2_000 * n, "worker_pause", f"w{n % 2}", 1_500) for n in range(5)]


def answers_late() -> list[Fault]:
    """Redis has run what it was told, and who asked does not learn it in time."""
    return [Fault(1_000 + 1_800 * n, "wire_one_way", f"g{n % 2}-redis", 1_200) for n in range(4)]


def gateways_killed() -> list[Fault]:
    return [Fault(1_500 + 2_500 * n, "gateway_kill", f"g{n % 2}", 100) for n in range(4)]


def cut_off_and_killed() -> list[Fault]:
    """Charges are in the journal alone when their gateway dies: those that end after it has given
    up the connection, and before it is killed. On a slow machine that may be none: so, often."""
    faults = []
    for n in range(6):
        at_ms = 1_500 + 3_500 * n
        faults.append(Fault(at_ms, "wire_black_hole", f"g{n % 2}-redis", 2_500))
        faults.append(Fault(at_ms + 1_800, "gateway_kill", f"g{n % 2}", 100))
    return faults


def nowhere_to_write() -> list[Fault]:
    """Neither the journal nor Redis takes a charge, and the gateways live on."""
    return [Fault(1_500 + 4_500 * n, "nowhere_to_write", f"g{n % 2}", 2_000) for n in range(2)]


def redis_emptied() -> list[Fault]:
    """While Redis cannot be reached charges wait in a gateway's journal; then all is gone."""
    return [
        Fault(2_000, "wire_black_hole", "g0-redis", 2_500),
        Fault(4_000, "redis_empty", "redis", 200),
    ]


def tail_lost() -> list[Fault]:
    """A replica takes over that has nothing of the last seconds."""
    return [Fault(1_500, "replica_promoted", "redis", 2_000)]


def journal_and_tail_lost() -> list[Fault]:
    """A gateway's disk, and what the replica did not have: the one thing that may lose charges."""
    return [Fault(1_500, "journal_lost", "redis", 2_500)]


def masters_lost() -> list[Fault]:
    """Of a cluster: slots move, a replica that lagged takes over, and one that did not."""
    return [
        Fault(1_500, "slots_moved", "redis", 0),
        Fault(6_000, "laggard_took_over", "redis", 1_000),
        Fault(8_000, "gateway_kill", "g0", 200),
        Fault(16_000, "master_killed", "redis", 0),
    ]


DIRECTED: Mapping[str, Callable[[], list[Fault]]] = {
    schedule.__name__: schedule
    for schedule in (
        calm,
        workers_killed,
        workers_killed_in_a_gap,
        workers_paused,
        answers_late,
        gateways_killed,
        cut_off_and_killed,
        nowhere_to_write,
        redis_emptied,
        tail_lost,
        journal_and_tail_lost,
        masters_lost,
    )
}
