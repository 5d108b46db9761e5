"""OpenAI's own Node SDK against the gateway. One process runs all checks of `sdk_node` at once and
prints a line for each; a check that printed none has failed."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.platform import TestKey
from tests.support.sdk_world import CHAT, EMBED, INPUT_NANOS, OUTPUT_NANOS, SdkWorld

DIRECTORY = Path(__file__).with_name("sdk_node")
RUN_SECONDS_MAX = 60
CHECKS = (
    "chat",
    "chat_stream_without_usage",
    "chat_stream_with_usage",
    "chat_stream_aborted",
    "chat_stream_helper",
    "tools",
    "tools_streamed",
    "tools_run_to_the_end",
    "json_schema",
    "json_schema_parsed",
    "images",
    "choices",
    "logprobs",
    "stop",
    "max_tokens",
    "completions",
    "embeddings",
    "models",
    "headers",
    "key_unknown",
    "key_mistyped",
    "key_revoked",
    "balance_exhausted",
    "rate_limited",
    "model_unknown",
    "parameter_wrong",
    "jurisdiction_denied",
    "upstream_fails",
    "upstream_busy_then_serves",
    "stream_with_an_error_in_it",
    "stream_cut",
)


@pytest.fixture(scope="module")
def keys(sdk_world: SdkWorld) -> dict[str, TestKey | str]:
    revoked = sdk_world.key()
    sdk_world.revoke(revoked)
    return {
        "good": sdk_world.good,
        "unknown": sdk_world.unknown_key(),
        "mistyped": sdk_world.mistyped_key(),
        "revoked": revoked,
        "poor": sdk_world.key(nanos=1000),
        "limited": sdk_world.key(requests_per_minute=1),
        "failing": sdk_world.key(),
        "patient": sdk_world.key(),
    }


@pytest.fixture(scope="module")
def failures(sdk_world: SdkWorld, keys: dict[str, TestKey | str]) -> Mapping[str, str | None]:
    """What went wrong with each check; None where nothing did."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed (apt-get install nodejs npm)")
    if not (DIRECTORY / "node_modules" / "openai").is_dir():
        pytest.skip(f"the SDK is not installed (npm ci --prefix {DIRECTORY})")
    world = {
        "base_url": sdk_world.base_url,
        "keys": {name: str(key) for name, key in keys.items()},
        "chat": CHAT,
        "embed": EMBED,
        "failing": "alpha/failing",
        "busy": "alpha/busy",
        "cutting": "alpha/cutting",
        "input_nanos": INPUT_NANOS,
        "output_nanos": OUTPUT_NANOS,
    }
    ran = subprocess.run(
        [node, DIRECTORY / "run.mjs", json.dumps(world)],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {line["check"]: line["failure"] for line in lines}


@pytest.mark.parametrize("check", CHECKS)
def test_node(failures: Mapping[str, str | None], check: str) -> None:
    assert check in failures, "the check did not run"
    assert failures[check] is None, failures[check]


def test_every_check_is_known(failures: Mapping[str, str | None]) -> None:
    assert set(failures) == set(CHECKS)


@pytest.mark.usefixtures("failures")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unknown", ["0"]),
        ("poor", ["0"]),
        ("failing", ["0", "1", "2"]),
        ("patient", ["0", "1"]),
    ],
)
def test_node_tries_again_only_where_that_can_help(
    sdk_world: SdkWorld, keys: dict[str, TestKey | str], name: str, expected: list[str]
) -> None:
    assert sdk_world.retries(keys[name]) == expected


@pytest.mark.usefixtures("failures")
def test_images_reach_the_provider_as_node_gave_them(sdk_world: SdkWorld) -> None:
    [served] = sdk_world.upstream_saw("https://images.example/node.png")
    kinds = [part["type"] for part in served.body["messages"][0]["content"]]
    assert kinds == ["text", "image_url", "image_url"]


@pytest.mark.usefixtures("failures")
def test_embeddings_travelled_as_base64(sdk_world: SdkWorld) -> None:
    bodies = [served.body for served in sdk_world.upstream_saw("'input': ['one', 'two']")]
    assert {body["encoding_format"] for body in bodies} == {"base64", "float"}


@pytest.mark.usefixtures("failures")
def test_node_pays_for_what_succeeded(sdk_world: SdkWorld, keys: dict[str, TestKey | str]) -> None:
    failing, patient = keys["failing"], keys["patient"]
    assert isinstance(failing, TestKey)
    assert isinstance(patient, TestKey)
    assert sdk_world.charged_nanos(failing, rows=3) == [0, 0, 0]
    first, second = sorted(sdk_world.charged_nanos(patient, rows=2))
    assert first == 0 < second
