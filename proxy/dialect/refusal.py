"""Errors in upstreams' words: whose they are, and what of them may reach a client."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import orjson

from proxy.dialect.quirks import OUR_CODES, OUR_MESSAGES, QUIRK_OF, Quirk

_ABOUT_CONTENT: Final = (400, 413, 422)
_ABOUT_US: Final = frozenset({"401", "402", "403"})
_MESSAGE_CHARS_MAX: Final = 2_000
_VENDOR_FAILED: Final = "The provider failed to answer."

# Prefixes of keys and of account ids that vendors repeat in their errors, bearer values and JWTs.
# A word begins behind an escaped line end too: "\nsk-…" in JSON.
_SECRET: Final = re.compile(
    rb"(?i:bearer)\s+[\w.~+/=*-]{12,}"
    rb"|(?:\b|(?<=\\[nrt]))(?:sk|rk|pk|gsk|csk|fw|hf|xai|tgp|pplx|org|proj)[-_][\w.*-]{6,}"
    rb"|\bAIza[\w*-]{8,}"
    rb"|\beyJ[\w-]{8,}\.[\w.-]+"
)


class Refusal(Enum):
    """What a complete error response leads to."""

    TRY_NEXT = auto()  # it is about this route or our account there
    PASS_TO_CLIENT = auto()  # it is about the content of the request


@dataclass(frozen=True, slots=True)
class InBandError:
    """An error inside a 200. `passes`: the client may see it as it came."""

    message: str
    passes: bool


def scrub(text: bytes) -> bytes:
    """An upstream's error without anything that looks like a credential or an account's id."""
    return _SECRET.sub(b"[removed]", text)


def upstream_refusal(status: int, body: bytes, quirks: str) -> Refusal:
    if status not in _ABOUT_CONTENT:
        return Refusal.TRY_NEXT
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal.PASS_TO_CLIENT
    if isinstance(answer, Mapping) and _is_ours(answer, QUIRK_OF[quirks]):
        return Refusal.TRY_NEXT
    return Refusal.PASS_TO_CLIENT


def find_error(
    answer: Mapping[str, Any], quirk: Quirk, event: bytes | None = None
) -> InBandError | None:
    """An error inside a success: OpenAI's shape, MiniMax's `base_resp`, or a bare code and message
    (SiliconFlow, DashScope, Mistral) where an answer would have choices or data."""
    if answer.get("error"):
        ours = _is_ours(answer, quirk)
        return InBandError(_VENDOR_FAILED, passes=not ours)
    bare = _bare_error(answer)
    if bare is None and event == b"error":
        bare = answer
    if bare is None:
        return None
    if _is_ours(bare, quirk):
        return InBandError(_VENDOR_FAILED, passes=False)
    return InBandError(_message_of(bare), passes=False)


def _bare_error(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    base = answer.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code"):
        return base
    if answer.get("choices") or answer.get("data"):
        return None
    is_error = answer.get("object") == "error" or bool(answer.get("code"))
    return answer if is_error and isinstance(answer.get("message"), str) else None


def _message_of(error: Mapping[str, Any]) -> str:
    text = error.get("message") or error.get("status_msg")
    if not isinstance(text, str):
        return _VENDOR_FAILED
    return scrub(text[:_MESSAGE_CHARS_MAX].encode()).decode()


def _is_ours(answer: Mapping[str, Any], quirk: Quirk) -> bool:
    found = set(_codes(answer))
    return bool(found & OUR_CODES or found & quirk.our_codes or found & _ABOUT_US) or any(
        part in message for message in _messages(answer) for part in OUR_MESSAGES
    )


def _codes(answer: Mapping[str, Any]) -> Iterator[str]:
    for level in _levels(answer):
        for name in ("code", "type", "status", "status_code", "reason"):
            value = level.get(name)
            if isinstance(value, (str, int)):
                yield str(value).lower()


def _messages(answer: Mapping[str, Any]) -> Iterator[str]:
    for level in _levels(answer):
        message = level.get("message")
        if isinstance(message, str):
            yield message[:_MESSAGE_CHARS_MAX].lower()


def _levels(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The answer, the error in it, and the details in that."""
    yield answer
    error = answer.get("error")
    if isinstance(error, Mapping):
        yield error
        details = error.get("details")
        if isinstance(details, list):
            yield from (detail for detail in details if isinstance(detail, Mapping))
