"""JSON as a client may send it: what one reader takes and another refuses is refused here.

Two keys of one name smuggle a second request past whoever reads the first; numbers beyond 64 bits,
NaN, lone surrogates and very deep nesting cannot be sent on as they came.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

import orjson

from proxy.domain.errors import InvalidRequestError

BODY_PARAM: Final = "body"
VALUES_MAX: Final = 1_000_000  # of a large body, its keys among them
_LARGE_BYTES: Final = 2**20
# Every match succeeds, at the body's end if nowhere sooner: a search never starts over.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\(?:.|\Z))*+(?:"|\Z)', re.DOTALL)
_INTEGER_CHARS_MAX: Final = 20  # a sign and 19 digits, or 20 digits
_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**64 - 1  # what orjson writes
_NAME_CHARS_MAX: Final = 64


def parse_object(raw: bytes) -> dict[str, Any]:
    """Raises InvalidRequestError, which names the key at fault where there is one."""
    if len(raw) > _LARGE_BYTES:
        _check_values(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"The body is not UTF-8 at byte {error.start}.") from None
    try:
        body = _decode(text)
        orjson.dumps(body)  # what cannot be written cannot be forwarded: found now, not later
    except json.JSONDecodeError as error:
        raise _invalid(
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise _invalid("The body is nested too deeply.") from None
    except orjson.JSONEncodeError as error:
        reason = "nested too deeply" if "ecursion" in str(error) else "not valid Unicode"
        raise _invalid(f"The body is {reason}.") from None
    if not isinstance(body, dict):
        raise _invalid("The body is not a JSON object.")
    return body


def _check_values(raw: bytes) -> None:
    """A body's bytes are bounded, but three of them make an empty list of twenty times that."""
    if _separators(raw, 0, len(raw)) + raw.count(b'"') // 2 <= VALUES_MAX:
        return  # even if every comma and bracket were no part of a text
    values = at = 0
    for string in _STRING.finditer(raw):
        values += 1 + _separators(raw, at, string.start())
        if values > VALUES_MAX:
            break
        at = string.end()
    if values + _separators(raw, at, len(raw)) > VALUES_MAX:
        raise _invalid(f"The body has more than {VALUES_MAX} keys and values.")


def _separators(raw: bytes, start: int, end: int) -> int:
    return raw.count(b",", start, end) + raw.count(b"[", start, end) + raw.count(b"{", start, end)


def _decode(text: str) -> Any:
    return _DECODER.decode(text)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                short = name[:_NAME_CHARS_MAX].encode("utf-8", "replace").decode()
                raise InvalidRequestError(f"The key {short!r} is there twice.", param=short)
            seen.add(name)
    return found


def _integer(text: str) -> int:
    if len(text) > _INTEGER_CHARS_MAX or not _INTEGER_MIN <= (value := int(text)) <= _INTEGER_MAX:
        raise _invalid("The body has an integer of more than 64 bits.")
    return value


def _decimal(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _invalid("The body has a number that is out of range.")
    return value


def _constant(text: str) -> NoReturn:
    raise _invalid(f"The body is not JSON: {text} is not a JSON number.")


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, param=BODY_PARAM)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
)
