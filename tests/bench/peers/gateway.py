"""This gateway with everything on: a key, a hold, a settlement, the journal and the usage row,
against the Redis and the Postgres that `apilink dev` brings.
"""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.cpu import descendants, name_of
from tests.bench.peer import START_SECONDS, NotAvailableError, Peer, process

_STORES = {
    "redis": ("redis", "valkey"),
    "postgres": ("postgres",),
}
_ROUTING = """
version: 1
home_jurisdictions: [EEA, US, ADEQUATE]
parties:
  bench:
    name: "Bench"
    seat: US
    processes_in: [US]
    policy_url: http://127.0.0.1/
    mechanism: SCC
upstreams:
  bench:
    party: bench
    as: provider
    speaks: {{openai: "http://127.0.0.1:{origin}/v1"}}
    keys: [{{env: BENCH_API_KEY}}]
models:
  bench:
    maker: bench
    context_tokens: 128000
    output_tokens_max: 4096
    endpoints: [chat]
    accepts: [text, tools]
    price: {{input: "0.10", cached_input: "0.05", output: "0.20"}}
    routes:
      - {{upstream: bench, model: bench-2026-08, provider: bench}}
"""


@contextmanager
def open_gateway(origin_port: int, directory: Path) -> Iterator[Peer]:
    home = directory / "gateway"
    home.mkdir()
    routing = home / "routing.yaml"
    routing.write_text(_ROUTING.format(origin=origin_port))
    data_dir = home / "data"
    apilink = [sys.executable, "-m", "proxy"]
    command = [*apilink, "dev", "--data-dir", str(data_dir), "--listen", "127.0.0.1:0"]
    command += ["--routing", str(routing), "--no-simulator"]
    with process(command, cwd=home, environ={"BENCH_API_KEY": "bench-key"}) as started:
        base_url = _wait_until_ready(started, home)
        key = _make_key(apilink, data_dir)
        yield Peer(
            "gateway",
            int(base_url.removesuffix("/v1").rpartition(":")[2]),
            lambda: _without_stores(started.pid),
            {"authorization": f"Bearer {key}"},
            aside={store: partial(_named, started.pid, names) for store, names in _STORES.items()},
        )


def _wait_until_ready(started: "subprocess.Popen[str]", home: Path) -> str:
    assert started.stdout is not None
    readable, _, _ = select.select([started.stdout], [], [], START_SECONDS)
    line = started.stdout.readline() if readable else ""
    if not line:
        log = "".join(path.read_text()[-2000:] for path in home.glob("*.log")).strip()
        raise NotAvailableError(f"`apilink dev` did not become ready: {log}")
    return str(json.loads(line)["base_url"])


def _make_key(apilink: Sequence[str], data_dir: Path) -> str:
    """A key of an account that can pay for all of it."""

    def ask(*words: str) -> dict[str, str]:
        command = [*apilink, *words, "--data-dir", str(data_dir), "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise NotAvailableError(f"`apilink {' '.join(words)}`: {ran.stderr.strip()[-2000:]}")
        found: dict[str, str] = json.loads(ran.stdout)
        return found

    account = ask("accounts", "create", "--email", "bench@example.com")["account_id"]
    ask("credit", "--account", account, "--usd", "100000.00", "--reference", "bench")
    return ask("keys", "create", "--account", account)["key"]


def _named(pid: int, names: tuple[str, ...]) -> list[int]:
    return [found for found in descendants(pid) if name_of(found).startswith(names)]


def _without_stores(pid: int) -> list[int]:
    names = tuple(name for names in _STORES.values() for name in names)
    return [found for found in descendants(pid) if not name_of(found).startswith(names)]
