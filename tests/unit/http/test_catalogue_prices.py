from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.catalogue import format_attos


@pytest.mark.parametrize(
    ("attos", "expected"),
    [
        (0, "0"),
        (1, "0.000000000000000001"),
        (3_625_000_000, "0.000000003625"),
        (10**18, "1"),
        (10**16, "0.01"),
        (123 * 10**18 + 5 * 10**17, "123.5"),
    ],
)
def test_attos_as_dollars(attos: int, expected: str) -> None:
    assert format_attos(attos) == expected


@given(st.integers(0, 10**27))
def test_no_digit_is_lost_or_superfluous(attos: int) -> None:
    text = format_attos(attos)
    assert int(Decimal(text).scaleb(18)) == attos
    assert "." not in text or not text.endswith("0")
