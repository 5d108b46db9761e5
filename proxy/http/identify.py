"""Whose request this is, where nothing is reserved that would tell of a revocation."""

from multidict import MultiMapping

from proxy.domain.account import ApiKey
from proxy.domain.errors import InvalidApiKeyError
from proxy.domain.outcome import KeyState, Outcome, WalletState
from proxy.domain.ports import Ledger
from proxy.edge.authenticate import Authenticator


class Identify:
    """The key as the ledger knows it: a revocation holds here from the next request on."""

    def __init__(self, authenticator: Authenticator, ledger: Ledger) -> None:
        self._authenticator = authenticator
        self._ledger = ledger

    async def __call__(self, headers: MultiMapping[str]) -> tuple[ApiKey, KeyState, WalletState]:
        """Raises InvalidApiKeyError, and what says that a store is away."""
        key = await self._authenticator.authenticate(headers)
        outcome, state, wallet = await self._ledger.key_state(key)
        if outcome is not Outcome.OK:
            self._authenticator.forget(key.key_id)
            key = await self._authenticator.authenticate(headers)
            outcome, state, wallet = await self._ledger.key_state(key)
        if outcome is not Outcome.OK:
            raise InvalidApiKeyError.of_unknown()
        return key, state, wallet
