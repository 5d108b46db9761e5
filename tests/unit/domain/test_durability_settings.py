"""How safe a charge must be is chosen by word; any other word is a mistake that names them all."""

import pytest

from proxy.domain.durability import JournalSync, LedgerDurability
from proxy.domain.settings import SettingsError, parse_settings

REQUIRED = {
    "APILINK_DATABASE_URL": "postgresql:///x",
    "APILINK_REDIS_URL": "redis://127.0.0.1",
    "APILINK_SECRET_KEY": "0" * 32,
}


def test_by_default_nothing_waits_for_a_disk() -> None:
    settings = parse_settings(REQUIRED)
    assert settings.journal_sync is JournalSync.AWAY
    assert settings.ledger_durability is LedgerDurability.MEMORY


@pytest.mark.parametrize("durability", LedgerDurability)
@pytest.mark.parametrize("sync", JournalSync)
def test_each_word_is_read(durability: LedgerDurability, sync: JournalSync) -> None:
    given = {"APILINK_LEDGER_DURABILITY": durability.value, "APILINK_JOURNAL_SYNC": sync.value}
    settings = parse_settings(REQUIRED | given)
    assert (settings.ledger_durability, settings.journal_sync) == (durability, sync)


def test_another_word_is_a_mistake() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(
            REQUIRED | {"APILINK_LEDGER_DURABILITY": "Disk", "APILINK_JOURNAL_SYNC": "never"}
        )
    assert caught.value.mistakes == (
        "APILINK_JOURNAL_SYNC: must be away or always (it is 'never')",
        "APILINK_LEDGER_DURABILITY: must be memory, disk or replica (it is 'Disk')",
    )
