"""Tokens counted by us, where an upstream states none. Needs no vocabulary."""

from proxy.domain.call import Call
from routing.price import Quantities


class Estimator:
    """Learns bytes per token from what upstreams report, per model."""

    def learn(self, model: str, prompt_bytes: int, text_bytes: int, stated: Quantities) -> None:
        raise NotImplementedError

    def estimate(self, model: str, prompt_bytes: int, text_bytes: int) -> Quantities:
        raise NotImplementedError


def prompt_bytes(call: Call) -> int:
    """UTF-8 bytes of what the model reads, as `Estimator` counts them."""
    raise NotImplementedError
