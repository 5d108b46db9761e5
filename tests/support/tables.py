"""Routing tables for tests: small, on loopback, with prices that are easy to add up by hand."""

from textwrap import dedent

HEAD = """
version: 1
home_jurisdictions: [EEA, US, ADEQUATE]
parties:
  alpha:
    {name: "Alpha Inc.", seat: US, processes_in: [US], policy_url: "https://alpha.example",
     mechanism: SCC}
  beta:
    {name: "Beta SAS", seat: FR, processes_in: [FR], policy_url: "https://beta.example",
     mechanism: none}
upstreams:
"""


def upstream(name: str, url: str, party: str = "alpha", **extra: object) -> str:
    """`extra` are further fields of the upstream, written as YAML."""
    more = "".join(f", {key}: {value}" for key, value in extra.items())
    return (
        f"  {name}: {{party: {party}, as: provider, speaks: {{openai: '{url}/v1'}}, "
        f"keys: [{{env: TEST_KEY}}]{more}}}\n"
    )


def model(name: str, *upstreams: str, route: str = "", **extra: object) -> str:
    """1 USD per million input tokens, 0.10 cached, 2 USD output: 1000, 100 and 2000 nanos each."""
    fields: dict[str, object] = {
        "context_tokens": 10_000,
        "output_tokens_max": 1_000,
        "endpoints": "[chat, completions, embeddings]",
        "accepts": "[text, image, tools, json_schema, stop, n, logprobs]",
        "price": '{input: "1.00", cached_input: "0.10", output: "2.00"}',
        **extra,
    }
    lines = [f"  {name}:", "    maker: alpha"]
    lines += [f"    {key}: {value}" for key, value in fields.items()]
    lines.append("    routes:")
    lines += [f"      - {{upstream: {up}, model: up-{name}{route}}}" for up in upstreams]
    return "\n".join(lines) + "\n"


def table(upstreams: str, models: str) -> str:
    return dedent(HEAD).lstrip() + upstreams + "models:\n" + models
