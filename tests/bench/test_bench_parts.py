"""The bench measures what it says: CPU of other processes, whole streams, honest medians."""

import os
import subprocess
import sys
from pathlib import Path

import orjson

from tests.bench.cpu import cpu_us, descendants, name_of
from tests.bench.load import STREAMS, run_streams
from tests.bench.peer import Peer, free_port, process, wait_for_port
from tests.bench.report import Sample, summary, table
from tests.bench.shapes import answer_body, request_body, stream_events

_BURN = """
import subprocess, sys, time
if sys.argv[1] == "parent":
    subprocess.run([sys.executable, "-c", open("burn.py").read(), "child"], check=True)
else:
    while time.process_time() < 0.3:
        pass
    print("burned", flush=True)
    sys.stdin.read()
"""


def test_cpu_of_a_process_includes_what_its_children_burn(tmp_path: Path) -> None:
    (tmp_path / "burn.py").write_text(_BURN)
    with subprocess.Popen(
        [sys.executable, "burn.py", "parent"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"burned\n"
        tree = descendants(started.pid)
        assert len(tree) == 2
        assert sum(cpu_us(pid) for pid in tree) >= 300_000 - 20_000  # ticks are 10 ms
        assert name_of(started.pid).startswith("python")


def test_a_process_that_has_gone_counts_nothing() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert cpu_us(ended.pid) == 0
    assert cpu_us(os.getpid()) > 0


def test_shapes_are_what_the_dialect_has() -> None:
    events = stream_events(10)
    assert len(events) == 10
    for event in events[:-1]:
        assert orjson.loads(event.removeprefix(b"data: "))["choices"]
    assert events[-1].endswith(b"data: [DONE]\n\n")
    assert orjson.loads(answer_body())["usage"]["completion_tokens"] == 12
    assert b'"stream":true' in request_body("m", stream=True)
    assert b"stream" not in request_body("m", stream=False)


async def test_streams_are_read_whole_and_a_short_one_is_noticed(tmp_path: Path) -> None:
    port = free_port()
    program = [sys.executable, "-m", "tests.bench.origin", str(port), "5"]
    with process(program, cwd=tmp_path) as started:
        wait_for_port(port, started)
        peer = Peer("origin", port, lambda: [started.pid])
        whole = await run_streams(peer, chunks=5)
        assert (whole.count, whole.bad) == (STREAMS * 5, 0)
        assert (await run_streams(peer, chunks=6)).bad == STREAMS


def sample(peer: str, cpu: float) -> Sample:
    return Sample(peer, "requests", cpu, {"redis": cpu / 2}, 1000, 2.0, 100, 200)


def test_rows_are_medians_and_ratios() -> None:
    costs = [("gateway", 90.0), ("nginx", 20.0), ("gateway", 110.0), ("gateway", 500.0)]
    rows = summary([sample(peer, cpu) for peer, cpu in costs])
    assert [(row["peer"], row["cpu_us"], row["cpu_us_max"]) for row in rows] == [
        ("gateway", 110.0, 500.0),
        ("nginx", 20.0, 20.0),
    ]
    assert rows[0]["aside_us"] == {"redis": 55.0}
    assert rows[0]["per_second"] == 500
    assert "5.5 x nginx" in table(rows)
