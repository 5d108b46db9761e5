"""The recorded exchanges in OpenAI's dialect, as this package is given them."""

import json
from pathlib import Path

import pytest

from tests.support.recordings import ENDPOINTS, QUIRK_OF_HOST, QUIRK_OF_UPSTREAM, Recording


@pytest.fixture(scope="session")
def recordings(shared_dir: Path) -> list[Recording]:
    found = []
    for path in sorted((shared_dir / "corpus").glob("*/*.json")):
        record = json.loads(path.read_bytes())
        endpoint = ENDPOINTS.get(record["endpoint"])
        if endpoint is None:
            continue
        upstream = record["upstream"]
        quirk = QUIRK_OF_HOST.get(
            record["upstream_host"], QUIRK_OF_UPSTREAM.get(upstream, upstream)
        )
        request = record["request_body"]
        found.append(
            Recording(
                name=f"{upstream}/{path.stem}",
                endpoint=endpoint,
                quirk=quirk,
                status=record["response_status"],
                streaming=record["streaming"],
                request=request if isinstance(request, dict) else None,
                body=record["response_body_text"].encode(),
            )
        )
    assert len(found) > 100
    return found


@pytest.fixture(scope="session")
def streams(recordings: list[Recording]) -> list[Recording]:
    return [r for r in recordings if r.streaming and r.status == 200]


@pytest.fixture(scope="session")
def answers(recordings: list[Recording]) -> list[Recording]:
    return [r for r in recordings if not r.streaming and r.status == 200]
