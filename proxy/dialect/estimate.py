"""Tokens counted by us, where an upstream states none. Needs no vocabulary.

How many bytes a token has is learned per model from what upstreams report for other requests;
before that, the script decides. All integers: thousandths of a byte per token.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from routing.price import Quantities

MODELS_MAX: Final = 1_024
_MILLIBYTES: Final = 1_000
_LEAST: Final = 1 * _MILLIBYTES  # no tokenizer has less than a byte per token
_MOST: Final = 8 * _MILLIBYTES  # a greater one is padding or a statement that is not of this text
_SHARE: Final = 16  # a new observation moves the average by a sixteenth
_TOKENS_LEAST: Final = 32  # fewer say more about the template than about the text


class Script(IntEnum):
    """Usual thousandths of a byte per token."""

    LATIN = 4_000
    CJK = 3_000


@dataclass(slots=True)
class _Learned:
    prompt: int | None = None
    text: int | None = None


class Estimator:
    """Learns bytes per token from what upstreams report, for a bounded number of models."""

    def __init__(self, models_max: int = MODELS_MAX) -> None:
        self._models_max = models_max
        self._learned: OrderedDict[str, _Learned] = OrderedDict()

    def learn(
        self, model: str, *, quantities: Quantities, prompt_bytes: int, text_bytes: int
    ) -> None:
        """`quantities` are the upstream's own. Hidden reasoning has tokens and no text: an answer
        with reasoning teaches nothing about output."""
        known = self._touch(model)
        known.prompt = _moved(known.prompt, prompt_bytes, quantities.input_tokens)
        if not quantities.reasoning:
            known.text = _moved(known.text, text_bytes, quantities.output_tokens)

    def estimate(
        self,
        model: str,
        *,
        prompt_bytes: int,
        text_bytes: int,
        script: Script = Script.LATIN,
    ) -> Quantities:
        """Fresh input and output, rounded up; output is at least one token where there is text."""
        known = self._learned.get(model) or _Learned()
        return Quantities(
            input=_tokens(prompt_bytes, known.prompt or script),
            output=_tokens(text_bytes, known.text or script),
        )

    def _touch(self, model: str) -> _Learned:
        known = self._learned.setdefault(model, _Learned())
        self._learned.move_to_end(model)
        if len(self._learned) > self._models_max:
            self._learned.popitem(last=False)
        return known


def script_of(text: str) -> Script:
    """By how many of its characters lie at or above the CJK blocks (U+2E80)."""
    wide = sum(char >= "\u2e80" for char in text)
    return Script.CJK if wide * 4 > len(text) else Script.LATIN


def _moved(average: int | None, size_bytes: int, tokens: int) -> int | None:
    if tokens < _TOKENS_LEAST or size_bytes <= 0:
        return average
    seen = min(max(size_bytes * _MILLIBYTES // tokens, _LEAST), _MOST)
    return seen if average is None else average + (seen - average) // _SHARE


def _tokens(size_bytes: int, millibytes: int) -> int:
    return -(-size_bytes * _MILLIBYTES // millibytes)
