"""The one line a request leaves, as whoever collects it from stderr gets it."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.domain.call import Call
from proxy.observe.log import _dumps
from routing.table import Dialect, Endpoint

# In a process of its own: a configured log stays configured.
_LOG_ONE = """
from uuid import UUID
from proxy.domain.charge import Charge
from proxy.domain.usage import UsageSource
from proxy.observe.log import configure_logging, log_charge
from routing.money import Nanos
from routing.price import Quantities
import structlog

class DatabaseUUID(UUID):
    '''What a driver gives for one.'''

configure_logging("info")
log_charge(
    Charge(
        request_id=UUID(int=1), account_id=DatabaseUUID(int=2), key_id="k", shard=0,
        charged_nanos=Nanos(5), hold_nanos=Nanos(9), window_ms=0, status="ok",
        usage_source=UsageSource.REPORTED, model="m", endpoint="chat", stream=False,
        quantities=Quantities(input=3, cached_input=4, output=1, reasoning=2),
        client_address="192.0.2.7",
    )
)
structlog.get_logger().info("other", count=1, prompt="secret")
"""


def _lines() -> list[Mapping[str, Any]]:
    ran = subprocess.run([sys.executable, "-c", _LOG_ONE], capture_output=True, check=True)
    assert not ran.stdout
    return [orjson.loads(line) for line in ran.stderr.splitlines()]


def test_a_charge_is_a_line_and_what_is_not_listed_is_dropped() -> None:
    charge, other = _lines()
    assert charge["event"] == "request"
    assert charge["request_id"] == "00000000-0000-0000-0000-000000000001"
    assert charge["account_id"] == "00000000-0000-0000-0000-000000000002"
    assert (charge["input_tokens"], charge["output_tokens"]) == (7, 3)
    assert (charge["status"], charge["usage_source"], charge["level"]) == ("ok", "reported", "info")
    assert charge["timestamp"].endswith("Z")
    assert (other["count"], other["dropped_fields"]) == (1, 1)
    assert "prompt" not in other


def test_an_object_under_a_listed_name_is_its_class_and_not_its_fields() -> None:
    """orjson would write a dataclass out, field by field."""
    call = Call(Endpoint.CHAT, Dialect.OPENAI, "m", {"messages": ["canary"]}, 1)
    for value in (call, ValueError("canary"), b"canary", {"x": call}, [call]):
        assert b"canary" not in _dumps({"event": "x", "reason_code": value})
