"""How safe a charge must be before its answer may end: what an operator chooses."""

from enum import StrEnum


class JournalSync(StrEnum):
    """When the local journal is forced to the disk before the final byte leaves."""

    AWAY = "away"  # only while Redis is away
    ALWAYS = "always"


class LedgerDurability(StrEnum):
    """What Redis must say of a settlement before the final byte leaves."""

    MEMORY = "memory"  # nothing: the journal has it
    DISK = "disk"  # synced to Redis' append-only file
    REPLICA = "replica"  # received by one replica
