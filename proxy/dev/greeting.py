"""What `apilink dev` tells a person at a terminal."""

from collections.abc import Iterable
from pathlib import Path

from routing.table import Endpoint, RoutingTable, Upstream


def greeting(
    *,
    base_url: str,
    demo_key: str,
    model: str | None,
    directory: Path,
    simulated: Iterable[str],
    real: Iterable[str],
    phases: str,
) -> str:
    """Commands that can be pasted, what is simulated and what is not, and where the data lives."""
    lines = ["", f"ApiLink serves at {base_url} ({phases})", ""]
    if model is not None:
        lines += _curl(base_url, demo_key, model)
    if stand_ins := ", ".join(simulated):
        lines += [
            f"Simulated, because their key is not set: {stand_ins}",
            "To reach one of them, set its key and start again.",
            "",
        ]
    if paid := ", ".join(real):
        lines += [f"Reached with the keys of this environment, for real money: {paid}", ""]
    lines += [
        "The demo key began with 5.00 USD of play money.",
        f"Other commands speak to this one with --data-dir {directory}",
        "Ctrl-C stops everything; the next start finds it as it was.",
        "",
    ]
    return "\n".join(lines)


def _curl(base_url: str, demo_key: str, model: str) -> list[str]:
    return [
        f"  curl -N {base_url}/chat/completions \\",
        f"    -H 'Authorization: Bearer {demo_key}' \\",
        "    -H 'Content-Type: application/json' \\",
        f'    -d \'{{"model": "{model}", "stream": true,',
        '         "messages": [{"role": "user", "content": "Say hello."}]}\'',
        "",
    ]


def first_chat_model(table: RoutingTable, upstreams_ready: Iterable[Upstream]) -> str | None:
    """The first model of the table that can be chatted with now; None where there is none."""
    ready = {upstream.id for upstream in upstreams_ready}
    for model in table.models.values():
        if Endpoint.CHAT in model.endpoints and any(
            route.enabled and route.upstream.id in ready for route in model.routes
        ):
            return model.id
    return None


def missing_keys(table: RoutingTable, upstream_ids: Iterable[str]) -> list[str]:
    """`openai (OPENAI_API_KEY)` for each, by the table as the file states it."""
    found = []
    for upstream_id in sorted(upstream_ids):
        names = " or ".join(key.env for key in table.upstreams[upstream_id].keys)
        found.append(f"{upstream_id} ({names})" if names else upstream_id)
    return found
