"""The settings of durability, through the whole platform."""

import pytest

from proxy.domain.durability import JournalSync, LedgerDurability
from proxy.ledger.faults import LedgerSetupError
from tests.support.answers import USAGE, USAGE_NANOS, completion, platform_with
from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import Seen, Wire


async def script(_: Seen, wire: Wire) -> None:
    await wire.json(completion(usage=USAGE))


@pytest.mark.parametrize(
    "settings",
    [
        {"journal_sync": JournalSync.ALWAYS},
        {"ledger_durability": LedgerDurability.REPLICA},  # nobody is one: the journal is synced
    ],
)
async def test_a_safer_charge_is_made_like_any_other(
    start_platform: PlatformFactory, settings: dict[str, object]
) -> None:
    async with platform_with(start_platform, {"m": script}, **settings) as (platform, _):
        key = await platform.key()
        answer = await platform.chat(key, model="m")
        assert answer.status == 200
        await platform.charged(key, answer, USAGE_NANOS, status="ok", source="reported")


async def test_a_server_that_cannot_keep_the_promise_refuses_boot(
    start_platform: PlatformFactory,
) -> None:
    """The embedded one syncs every second, and its WAITAOF does not wait for that."""
    with pytest.raises(LedgerSetupError, match="set appendfsync always"):
        async with platform_with(
            start_platform, {"m": script}, ledger_durability=LedgerDurability.DISK
        ):
            pass
