"""Redis' disk is full, the gateway's disk is full, or both are."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.dev.binaries import find_redis
from tests.support.own_stores import OwnPostgres
from tests.support.processes import HasPid, until
from tests.support.scene import DONE, Scene, run_scene
from tests.support.small_disk import SmallDisk, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@dataclass(frozen=True, slots=True)
class Disks:
    scene: Scene
    journal: SmallDisk
    aof: SmallDisk

    @contextmanager
    def full(self, *, journal: bool = False, aof: bool = False) -> Iterator[None]:
        wanted: list[tuple[SmallDisk, HasPid]] = []
        wanted += [(self.journal, self.scene.gateway)] * journal
        wanted += [(self.aof, self.scene.redis)] * aof
        for disk, owner in wanted:
            disk.fill(owner.pid)
        try:
            yield
        finally:
            for disk, owner in wanted:
                disk.free(owner.pid)


@pytest.fixture
def disks(own_postgres: OwnPostgres, template: str, short_dir: Path) -> Iterator[Disks]:
    directory = short_dir / "disks"
    journal, aof = SmallDisk(directory / "data"), SmallDisk(directory / "redis" / "data")
    script = directory / "redis-server"
    words = [*map(str, aof.launcher), str(find_redis(os.environ))]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o700)
    launchers = {"serve": journal.launcher}
    with run_scene(
        own_postgres, template, directory, redis_binary=script, launchers=launchers
    ) as scene:
        scene.start()
        yield Disks(scene, journal, aof)


def test_a_disk_is_full(disks: Disks) -> None:
    scene = disks.scene
    ada = scene.customer()

    answer = ada.begins()
    with disks.full(aof=True):
        until(ada.is_told_to_come_back)  # when the file's last block is full
        scene.provider_goes_on()
        assert answer.is_whole()  # its charge is on the gateway's disk
    assert ada.is_served_again()

    with disks.full(journal=True):
        for _ in range(20):
            assert ada.is_served()  # Redis has the charges
    scene.ends_well(ada)


def test_both_disks_are_full(disks: Disks) -> None:
    """A few charges find room in the last block of the journal, and the others have no place."""
    scene = disks.scene
    ada = scene.customer()
    begun = [ada.begins() for _ in range(12)]
    with disks.full(aof=True):
        until(ada.is_told_to_come_back)
        with disks.full(journal=True):
            scene.provider_goes_on()
            ends = {answer: answer.rest() for answer in begun}
    assert ada.is_served_again()

    cut = [answer for answer, end in ends.items() if not end.body.endswith(DONE)]
    assert cut
    for answer in cut:
        assert ends[answer].events()[-1]["error"]["code"] == "ledger_unavailable"
        row = until(lambda answer=answer: ada.charged_row(answer))
        ada.answered[answer.request_id] = row["charged_nanos"]  # what was delivered is paid for
    scene.ends_well(ada)
