"""`apilink ledger rebuild`, beside a stream that runs on."""

import subprocess
import sys

from tests.support.deployment import CHAT, HELD, HELD_NANOS, ROOT, Deployment
from tests.support.processes import until


def test_a_shard_is_built_again_while_a_stream_runs(deployment: Deployment) -> None:
    gateway = deployment.start_all()
    key = deployment.key()
    assert gateway.door().chat(key, CHAT).status == 200
    stream = gateway.door().stream(key, HELD)
    stream.event()
    rebuilt = deployment.apilink("ledger", "rebuild", 0, "--json")
    assert (rebuilt["is_open"], rebuilt["states"][-1]) == (True, "open")
    assert rebuilt["generation"] == rebuilt["generation_before"] + 1
    deployment.let_go()
    assert stream.rest().body.endswith(b"data: [DONE]\n\n")
    assert gateway.door().chat(key, CHAT).status == 200
    rows = until(lambda: (found := deployment.rows(key)) and len(found) == 3 and found)
    assert HELD_NANOS in [row["charged_nanos"] for row in rows]
    deployment.assert_books_agree()


def test_books_that_are_wrong_are_not_built_from(deployment: Deployment) -> None:
    deployment.start_all()
    deployment.key()
    deployment.query("UPDATE wallets SET balance_nanos = balance_nanos + 1 RETURNING account_id")
    refused = subprocess.run(
        [sys.executable, "-m", "proxy", "ledger", "rebuild", "0"],
        cwd=ROOT,
        env=deployment.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "differ, the first by -1 nanos" in refused.stderr
