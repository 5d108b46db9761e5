"""The end of a hold. It happens once, in one synchronous call, so no cancellation can lose it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from proxy.dialect.estimate import Estimator
from proxy.domain.charge import Charge
from proxy.domain.clock import Clock
from proxy.domain.outcome import Hold
from proxy.domain.ports import Ledger
from proxy.domain.usage import Usage, UsageSource
from proxy.gateway.journey import Journey
from routing.money import WALLET_NANOS_MAX

Observe = Callable[[Charge, Usage], None]  # and the statement that the charge was made of


class Settlement:
    """Closes one hold with one charge, whichever way the request ends."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        hold: Hold,
        journey: Journey,
        estimator: Estimator,
        clock: Clock,
        observe: Observe,
    ) -> None:
        self._ledger = ledger
        self.hold = hold
        self._journey = journey
        self._estimator = estimator
        self._clock = clock
        self._observe = observe
        self._written: asyncio.Future[None] | None = None
        self.charge: Charge | None = None

    def close(self, status: str) -> None:
        """Records the charge. Later calls change nothing: the first ending is what counts."""
        if self._written is not None:
            return
        now_ms = self._clock.monotonic_ms()
        usage = self._journey.usage(status, self._estimator)
        charge = self._journey.charge(self.hold, status, usage, now_ms)
        candidate = self._journey.candidate
        if candidate is not None and charge.charged_nanos > WALLET_NANOS_MAX:
            # Nobody could have bought it: a statement that is not true, and that no ledger takes.
            usage = replace(self._journey.estimated(candidate, self._estimator), clamped=True)
            charge = self._journey.charge(self.hold, status, usage, now_ms)
        self.charge = charge
        self._written = self._ledger.record(self.hold, charge)
        self._learn(usage)
        self._observe(charge, usage)

    async def written(self) -> Charge:
        """The charge, once it is in the journal: from then on the final byte may leave."""
        assert self._written is not None
        assert self.charge is not None
        await asyncio.shield(self._written)
        return self.charge

    def _learn(self, usage: Usage) -> None:
        if usage.source is UsageSource.REPORTED and self._journey.candidate is not None:
            self._estimator.learn(
                self._journey.candidate.route.id,  # no host's way of counting is another's
                quantities=usage.quantities,
                prompt_bytes=self._journey.call.prompt_bytes,
                text_bytes=self._journey.text_bytes,
            )
