"""The file's JSON Schema, made from the tables that the loader reads with, for editors.

It finds what can be judged key by key; names, prices that miss and dates are the loader's work.
`python -m routing.schema > config/routing.schema.json` renews the stored copy.
"""

import json
import sys
from typing import Any

from routing.format import FILE


def make_schema() -> dict[str, Any]:
    defs: dict[str, Any] = {}
    top = FILE.schema(defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ApiLink routing table",
        **top,
        "$defs": dict(sorted(defs.items())),
    }


def render_schema() -> str:
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_schema())
