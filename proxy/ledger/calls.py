"""The library's functions as commands: which keys each touches, which arguments it takes.

Pure. Every command carries its shard's generation as the first argument.
"""

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from proxy.domain.account import ApiKey
from proxy.domain.charge import Charge
from proxy.domain.outcome import Hold
from proxy.domain.ports import Cursor
from proxy.ledger.connection import Argument, Command
from routing.money import Nanos


class Phase(StrEnum):
    """Of a generation in Redis."""

    CLOSED = "closed"  # it keeps older ones out, and answers nothing
    OPEN = "open"  # wallets are loaded, holds taken again, charges settled
    ADMITTING = "admitting"  # requests are reserved for


class ShardKeys:
    """Names of a shard's keys in one generation: one hash tag, so that a cluster keeps them
    together."""

    __slots__ = ("_prefix", "charges", "done", "ended", "leases", "numbers", "shard")

    def __init__(self, shard: int, generation: int) -> None:
        self._prefix = prefix = f"al:{{s{shard}}}:{generation}:"
        self.shard = shard_key(shard)
        self.done = f"{prefix}done"
        self.ended = f"{prefix}ended"
        self.leases = f"{prefix}leases"
        self.numbers = f"{prefix}n"
        self.charges = f"{prefix}charges"

    def wallet(self, account_id: UUID) -> str:
        return f"{self._prefix}w:{account_id}"

    def key(self, key_id: str) -> str:
        return f"{self._prefix}k:{key_id}"

    def hold(self, request_id: UUID | str) -> str:
        return f"{self._prefix}h:{request_id}"


def shard_key(shard: int) -> str:
    """The one name that is the same in all generations."""
    return f"al:{{s{shard}}}:shard"


def _fcall(name: str, keys: tuple[str, ...], *arguments: Argument) -> Command:
    return ("FCALL", name, len(keys), *keys, *arguments)


def version() -> Command:
    return _fcall("ledger_version", ())


# Shards


def move_shard(shard: int, generation: int, phase: Phase, lease_ms: int) -> Command:
    return _fcall("ledger_move_shard", (shard_key(shard),), generation, phase.value, lease_ms)


def shard_state(shard: int, cursor: Cursor) -> Command:
    keys = ShardKeys(shard, cursor.generation)
    return _fcall("ledger_shard_state", (keys.shard, keys.charges), cursor.stream_id)


def sweep(shard: int, generation: int, cursor: bytes | int, count: int) -> Command:
    return _fcall("ledger_sweep", (shard_key(shard),), generation, cursor, count)


def heartbeat(shard: int, generation: int, incarnation: str) -> Command:
    keys = ShardKeys(shard, generation)
    return _fcall("ledger_heartbeat", (keys.shard, keys.numbers), generation, incarnation)


def tail(shard: int, generation: int) -> Command:
    keys = ShardKeys(shard, generation)
    return _fcall("ledger_tail", (keys.shard, keys.charges), generation)


def forget(shard: int, generation: int, incarnation: str) -> Command:
    keys = ShardKeys(shard, generation)
    return _fcall("ledger_forget", (keys.shard, keys.numbers), generation, incarnation)


# What comes from Postgres


def load_wallet(
    shard: int,
    generation: int,
    account_id: UUID,
    balance_nanos: int,
    sequence: int,
    *,
    deadline_ms: int,
) -> Command:
    keys = ShardKeys(shard, generation)
    names = (keys.shard, keys.wallet(account_id))
    return _fcall("ledger_load_wallet", names, generation, balance_nanos, sequence, deadline_ms)


def apply(
    shard: int, generation: int, account_id: UUID, sequence: int, amount_nanos: int
) -> Command:
    keys = ShardKeys(shard, generation)
    names = (keys.shard, keys.wallet(account_id))
    return _fcall("ledger_apply", names, generation, sequence, amount_nanos)


def publish_key(generation: int, key: ApiKey) -> Command:
    keys = ShardKeys(key.shard, generation)
    names = (keys.shard, keys.key(key.key_id))
    return _fcall("ledger_publish_key", names, generation, *_limits(key))


def load_key(generation: int, key: ApiKey, spend: Mapping[int, Nanos]) -> Command:
    """`spend` by the start of its reset window; the function takes the current one."""
    keys = ShardKeys(key.shard, generation)
    names = (keys.shard, keys.key(key.key_id))
    pairs = [number for pair in spend.items() for number in pair]
    return _fcall("ledger_load_key", names, generation, *_limits(key), *pairs)


def _limits(key: ApiKey) -> tuple[Argument, ...]:
    limits = key.limits
    return (
        key.epoch,
        int(key.revoked),
        str(key.account_id),
        _or_none(limits.spend_nanos),
        limits.reset.value,
        _or_none(limits.requests_per_minute),
        _or_none(limits.tokens_per_minute),
        _or_none(limits.concurrency),
    )


def _or_none(limit: int | None) -> Argument:
    return "" if limit is None else limit


# Requests


def reserve(
    generation: int,
    key: ApiKey,
    request_id: UUID,
    amount_nanos: int,
    tokens: int,
    *,
    deadline_ms: int,
    lease_ms: int,
    unflushed_max: int,
) -> Command:
    keys = ShardKeys(key.shard, generation)
    return _fcall(
        "ledger_reserve",
        (
            keys.shard,
            keys.wallet(key.account_id),
            keys.key(key.key_id),
            keys.hold(request_id),
            keys.leases,
            keys.done,
        ),
        generation,
        str(request_id),
        str(key.account_id),
        key.key_id,
        key.epoch,
        amount_nanos,
        tokens,
        deadline_ms,
        lease_ms,
        unflushed_max,
    )


def extend(generation: int, hold: Hold, total_nanos: int) -> Command:
    keys = ShardKeys(hold.shard, generation)
    names = (
        keys.shard,
        keys.wallet(hold.account_id),
        keys.key(hold.key_id),
        keys.hold(hold.request_id),
        keys.done,
    )
    return _fcall("ledger_extend", names, generation, str(hold.request_id), total_nanos)


def renew(generation: int, hold: Hold, *, deadline_ms: int, lease_ms: int) -> Command:
    keys = ShardKeys(hold.shard, generation)
    return _fcall(
        "ledger_renew",
        (
            keys.shard,
            keys.wallet(hold.account_id),
            keys.key(hold.key_id),
            keys.hold(hold.request_id),
            keys.leases,
            keys.done,
        ),
        generation,
        str(hold.request_id),
        str(hold.account_id),
        hold.key_id,
        hold.amount_nanos,
        hold.window_ms,
        deadline_ms,
        lease_ms,
    )


def _closing_keys(
    generation: int, shard: int, account_id: UUID, key_id: str, request_id: UUID
) -> tuple[str, ...]:
    keys = ShardKeys(shard, generation)
    return (
        keys.shard,
        keys.wallet(account_id),
        keys.key(key_id),
        keys.hold(request_id),
        keys.leases,
        keys.done,
        keys.ended,
        keys.numbers,
        keys.charges,
    )


def settle(generation: int, charge: Charge, data: bytes, *, known_ms: int = 0) -> Command:
    """`known_ms`: Postgres has no such settlement from before that moment."""
    counts = charge.quantities
    return _fcall(
        "ledger_settle",
        _closing_keys(
            generation, charge.shard, charge.account_id, charge.key_id, charge.request_id
        ),
        generation,
        str(charge.request_id),
        str(charge.account_id),
        charge.key_id,
        charge.charged_nanos,
        charge.window_ms,
        counts.input_tokens + counts.output_tokens,
        charge.incarnation,
        charge.number,
        data,
        known_ms,
    )


def looked_up(settle_command: Command, known_ms: int) -> Command:
    """The same settlement after Postgres was asked."""
    return (*settle_command[:-1], known_ms)


def release(generation: int, charge: Charge, data: bytes) -> Command:
    return _fcall(
        "ledger_release",
        _closing_keys(
            generation, charge.shard, charge.account_id, charge.key_id, charge.request_id
        ),
        generation,
        str(charge.request_id),
        str(charge.account_id),
        charge.key_id,
        charge.window_ms,
        charge.incarnation,
        charge.number,
        data,
    )


def data_of(command: Command) -> bytes:
    """The whole charge that a settle or a release carries."""
    data = command[-2 if command[1] == "ledger_settle" else -1]
    assert isinstance(data, bytes)
    return data


def give_back(generation: int, key: ApiKey, request_id: UUID) -> Command:
    """A release without a row: for a reservation of which nobody knows whether it was made."""
    return _fcall(
        "ledger_release",
        _closing_keys(generation, key.shard, key.account_id, key.key_id, request_id),
        generation,
        str(request_id),
        str(key.account_id),
        key.key_id,
        0,
        "",
        0,
        b"",
    )


def key_state(generation: int, key: ApiKey) -> Command:
    keys = ShardKeys(key.shard, generation)
    names = (keys.shard, keys.wallet(key.account_id), keys.key(key.key_id))
    return _fcall("ledger_key_state", names, generation, key.epoch)


# Leases that ended


def due(shard: int, generation: int, count_max: int) -> Command:
    keys = ShardKeys(shard, generation)
    names = (keys.shard, keys.leases, keys.done, keys.ended)
    return _fcall("ledger_due", names, generation, count_max)


def hold_fields(shard: int, generation: int, request_id: str) -> Command:
    """A plain read: `expire` looks again."""
    return (
        "HMGET",
        ShardKeys(shard, generation).hold(request_id),
        "account",
        "key",
        "amount",
        "window",
    )


def expire(generation: int, charge: Charge, data: bytes) -> Command:
    keys = _closing_keys(
        generation, charge.shard, charge.account_id, charge.key_id, charge.request_id
    )
    return _fcall(
        "ledger_expire",
        (*keys[:7], keys[8]),
        generation,
        str(charge.request_id),
        str(charge.account_id),
        charge.key_id,
        charge.hold_nanos,
        charge.window_ms,
        data,
    )


# Reading


def snapshot(shard: int, generation: int, account_id: UUID) -> Command:
    keys = ShardKeys(shard, generation)
    names = (keys.shard, keys.wallet(account_id), keys.charges)
    return _fcall("ledger_snapshot", names, generation)


def read_charges(shard: int, cursor: Cursor, after_id: str, count: int) -> Command:
    keys = ShardKeys(shard, cursor.generation)
    names = (keys.shard, keys.charges)
    return _fcall(
        "ledger_read_charges", names, cursor.generation, cursor.stream_id, after_id, count
    )


def flushed(shard: int, cursor: Cursor, *, retain_ms: int, retain_entries: int) -> Command:
    keys = ShardKeys(shard, cursor.generation)
    names = (keys.shard, keys.charges)
    return _fcall(
        "ledger_flushed", names, cursor.generation, cursor.stream_id, retain_ms, retain_entries
    )


def charged(shard: int, account_id: UUID, after: Cursor, until_id: str, count: int) -> Command:
    names = (ShardKeys(shard, after.generation).charges,)
    return _fcall("ledger_charged", names, str(account_id), after.stream_id, until_id, count)


def stream_after(shard: int, cursor: Cursor, count: int) -> Command:
    """A plain read, whatever became of the generation."""
    name = ShardKeys(shard, cursor.generation).charges
    return ("XRANGE", name, f"({cursor.stream_id}", "+", "COUNT", count)


def wallet_fields(shard: int, generation: int, account_id: UUID) -> Command:
    """A plain read, whatever became of the generation."""
    return ("HMGET", ShardKeys(shard, generation).wallet(account_id), "balance", "sequence")
