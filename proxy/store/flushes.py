"""Charges into Postgres: a fence, and one transaction for rows, money, books and cursor."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from proxy.domain.charge import Charge, Status
from proxy.domain.ports import Cursor, FencedError, Shard, ShardState
from proxy.store import books
from proxy.store.database import Database, Executor, Record
from proxy.store.queries import Queries
from proxy.store.shards import cursor_of_row, shard_of_row
from proxy.store.usage_row import row_of

_REASON_CHARS_MAX: Final = 500
_AMOUNT: Final = re.compile(r"-?[0-9]{1,30}")
_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
# Postgres refuses a row for what is in it: a NUL, a number out of bounds, a month without a
# partition. The same row would be refused again.
_POISON: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

Entry = tuple[str, Charge]  # a stream id and what it carries


class PostgresFlushes:
    """`proxy.domain.ports.Flushes`."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def acquire(self, shard: int, owner: str, lease_seconds: int) -> Cursor | None:
        found = await self.acquire_any(shard, owner, lease_seconds)
        if found is None or found[0].state is ShardState.DRAINING:
            return None
        return found[1]

    async def acquire_any(
        self, shard: int, owner: str, lease_seconds: int
    ) -> tuple[Shard, Cursor] | None:
        row = await self._database.fetchrow(
            self._queries.acquire_shard, shard, owner, lease_seconds
        )
        return None if row is None else (shard_of_row(row), cursor_of_row(row))

    async def give_up(self, shard: int, owner: str) -> None:
        await self._database.execute(self._queries.yield_shard, shard, owner)

    async def write(self, shard: int, owner: str, cursor: Cursor, charges: Sequence[Entry]) -> int:
        """As the port says. An entry that Postgres refuses for its content is quarantined in the
        same transaction, and the others go on."""

        async def step(executor: Executor) -> int:
            row = await self._begin(executor, shard)
            _check_lease(row, owner, cursor.generation)
            if cursor_of_row(row) != cursor:
                raise FencedError(f"shard {shard} is flushed up to {cursor_of_row(row)}")
            new = await self._insert(executor, _Batch(shard, cursor.generation, charges))
            await executor.execute(
                self._queries.move_cursor, shard, cursor.generation, charges[-1][0]
            )
            return new

        return await self._database.transact(step) if charges else 0

    async def drain(self, shard: int, owner: str, generation: int, charges: Sequence[Entry]) -> int:
        async def step(executor: Executor) -> int:
            row = await self._begin(executor, shard)
            _check_lease(row, owner, generation)
            if row["state"] != ShardState.DRAINING:
                raise FencedError(f"shard {shard} is {row['state']}")
            return await self._insert_over(
                executor, _Batch(shard, row["cursor_generation"], charges)
            )

        return await self._database.transact(step) if charges else 0

    async def post(self, shard: int, charges: Sequence[tuple[int, Charge]]) -> int:
        """As the port says. What Postgres refuses here stays out of every wallet: it is set aside
        with its amount only while the shard is drained, where loads leave it out."""

        async def step(executor: Executor) -> int:
            row = await self._begin(executor, shard)
            _check_over(row, shard, charges)
            is_late = row["state"] != ShardState.DRAINING
            entries = [(_journal_id(charge), charge) for _, charge in charges]
            return await self._insert_over(
                executor, _Batch(shard, row["cursor_generation"], entries, is_late=is_late)
            )

        return await self._database.transact(step) if charges else 0

    async def forgo(self, shard: int, settlements: Sequence[tuple[str, int]]) -> None:
        if settlements:
            await self._database.execute(
                self._queries.add_committed,
                shard,
                [incarnation for incarnation, _ in settlements],
                [number for _, number in settlements],
            )

    async def _begin(self, executor: Executor, shard: int) -> Record:
        """Locks the shard's row: nothing ends its generation before the commit."""
        await executor.fetchrow(self._queries.begin_flush)
        row = await executor.fetchrow(self._queries.lock_shard, shard)
        if row is None:
            raise FencedError(f"no shard {shard}")
        return row

    async def _insert_over(self, executor: Executor, batch: "_Batch") -> int:
        """Of a generation that is over, from its stream or from journals, and often from both: what
        is set aside out of one is not taken from its account again out of the other."""
        accounts = sorted({charge.account_id for _, charge in batch.entries})
        rows = await executor.fetch(self._queries.list_set_aside, batch.shard, accounts)
        parts = (_read_part(row["raw"]) for row in rows)
        set_aside = {(part.incarnation, part.number) for part in parts if part.number}
        left = [e for e in batch.entries if (e[1].incarnation, e[1].number) not in set_aside]
        return await self._insert(executor, replace(batch, entries=left)) if left else 0

    async def _insert(self, executor: Executor, batch: "_Batch") -> int:
        """Rows, then money for the rows that were new, and for nothing else."""
        candidates = await self._with_wallets(executor, batch)
        batch_id = await executor.fetchval(self._queries.next_batch_id)
        charges = await self._insert_rows(executor, batch, candidates, batch_id)
        if charges:
            await self._take_money(executor, charges)
            await books.post(
                executor,
                self._queries,
                batch_id=batch_id,
                chain=batch.shard,
                kind="flush",
                entries=books.charge_entries(charges),
                usage_rows=len(charges),
            )
            if batch.is_late:
                by_account = books.charged_by_account(charges)
                await executor.execute(
                    self._queries.insert_late_debits,
                    list(by_account),
                    list(by_account.values()),
                    batch_id,
                )
        await self._count_settlements(executor, batch)
        return len(charges)

    async def _with_wallets(self, executor: Executor, batch: "_Batch") -> list[Entry]:
        """Locks the wallets; entries of accounts that have none are set aside."""
        entries = one_per_request(batch.entries)
        wanted = sorted({charge.account_id for _, charge in entries})
        rows = await executor.fetch(self._queries.lock_wallets, wanted)
        known = {row["account_id"] for row in rows}
        for entry in entries:
            if entry[1].account_id not in known:
                await self._set_aside(executor, batch, entry, "no such account")
        return [entry for entry in entries if entry[1].account_id in known]

    async def _insert_rows(
        self, executor: Executor, batch: "_Batch", entries: Sequence[Entry], batch_id: int
    ) -> list[Charge]:
        """Those that were new, or replaced an orphan. All in one statement; only where Postgres
        refuses it, one by one, to find the entry at fault."""
        try:
            return await self._insert_together(executor, entries, batch_id)
        except _POISON:
            new = []
            for entry in entries:
                try:
                    new += await self._insert_together(executor, [entry], batch_id)
                except _POISON as error:
                    await self._set_aside(executor, batch, entry, str(error))
            return new

    async def _insert_together(
        self, executor: Executor, entries: Sequence[Entry], batch_id: int
    ) -> list[Charge]:
        rows = [row_of(charge, batch_id) for _, charge in entries]
        async with executor.transaction():  # a savepoint
            inserted = await executor.fetch(self._queries.insert_usage, _json(rows))
        new = {row["request_id"] for row in inserted}
        return [charge for _, charge in entries if charge.request_id in new]

    async def _take_money(self, executor: Executor, charges: Sequence[Charge]) -> None:
        by_account = books.charged_by_account(charges)
        spent: dict[tuple[str, int], int] = {}
        for charge in charges:
            if charge.charged_nanos:
                window = (charge.key_id, charge.window_ms)
                spent[window] = spent.get(window, 0) + charge.charged_nanos
        await executor.execute(
            self._queries.debit_wallets, list(by_account), list(by_account.values())
        )
        await executor.execute(
            self._queries.add_key_spend,
            [key_id for key_id, _ in spent],
            [window_ms for _, window_ms in spent],
            list(spent.values()),
        )

    async def _count_settlements(self, executor: Executor, batch: "_Batch") -> None:
        """Of every entry, new or not, quarantined or not: each is in Postgres now."""
        charges = [charge for _, charge in batch.entries]
        numbered = {(c.incarnation, c.number) for c in charges if c.incarnation and c.number > 0}
        await executor.execute(
            self._queries.add_committed,
            batch.shard,
            [incarnation for incarnation, _ in numbered],
            [number for _, number in numbered],
        )

    async def quarantine(self, shard: int, cursor: Cursor, raw: bytes, reason: str) -> None:
        part = _read_part(raw)
        row = (shard, cursor.stream_id, raw, _printable(reason), part.account_id, part.nanos)

        async def step(executor: Executor) -> None:
            if part.number and await self._is_posted(executor, shard, part):
                return  # a journal had it whole, and was first
            await executor.execute(self._queries.insert_quarantine, *row, cursor.generation)
            if part.number:
                # It is in Postgres now: a gap would keep its gateway's journal from being pruned.
                await executor.execute(
                    self._queries.add_committed, shard, [part.incarnation], [part.number]
                )

        await self._database.transact(step)

    async def _is_posted(self, executor: Executor, shard: int, part: "_Part") -> bool:
        place = [part.incarnation], [part.number]
        row = await executor.fetchrow(self._queries.find_posted, shard, *place)
        return row is not None and bool(row["numbers"])

    async def _set_aside(
        self, executor: Executor, batch: "_Batch", entry: Entry, reason: str
    ) -> None:
        """A late one is no term of verification: no wallet was loaded without its amount."""
        entry_id, charge = entry
        await executor.execute(
            self._queries.insert_quarantine,
            batch.shard,
            entry_id,
            charge.to_bytes(),
            _printable(reason),
            charge.account_id,
            None if batch.is_late else str(charge.charged_nanos),
            batch.generation,
        )

    async def find_posted(
        self, shard: int, settlements: Sequence[tuple[str, int]]
    ) -> tuple[Cursor, frozenset[tuple[str, int]]]:
        """Raises LookupError where there is no such shard."""
        row = await self._database.fetchrow(
            self._queries.find_posted,
            shard,
            [incarnation for incarnation, _ in settlements],
            [number for _, number in settlements],
        )
        if row is None:
            raise LookupError(f"no shard {shard}")
        found = zip(row["incarnations"], row["numbers"], strict=True)
        return cursor_of_row(row), frozenset(found)

    async def committed(self, incarnations: Iterable[str]) -> Mapping[tuple[str, int], int]:
        rows = await self._database.fetch(self._queries.list_committed, sorted(set(incarnations)))
        return {(row["incarnation"], row["shard"]): row["committed"] for row in rows}


@dataclass(frozen=True, slots=True)
class _Batch:
    """Charges of one shard and of one generation's stream. `is_late`: wallets are loaded already,
    and get their debits by sequence."""

    shard: int
    generation: int
    entries: Sequence[Entry]
    is_late: bool = False


def _check_lease(row: Record, owner: str, generation: int) -> None:
    if row["flusher_owner"] != owner:
        raise FencedError(f"the shard is flushed by {row['flusher_owner']}")
    if row["generation"] != generation:
        raise FencedError(f"the shard is at generation {row['generation']}")


def _check_over(row: Record, shard: int, charges: Iterable[tuple[int, Charge]]) -> None:
    for generation, charge in charges:
        if charge.shard != shard or generation >= row["generation"]:
            raise FencedError(f"generation {generation} of shard {charge.shard} is not over")


def _journal_id(charge: Charge) -> str:
    return f"journal:{charge.incarnation}:{charge.number}"


def one_per_request(entries: Sequence[Entry]) -> list[Entry]:
    """In the order of ids. A late charge wins over the orphan that it replaces; of two charges
    the first counts, as it would in two batches."""
    chosen: dict[UUID, Entry] = {}
    for entry in entries:
        known = chosen.get(entry[1].request_id)
        if known is None or known[1].status == Status.ORPHANED != entry[1].status:
            chosen[entry[1].request_id] = entry
    return sorted(chosen.values(), key=lambda entry: entry[1].request_id)


def _json(rows: list[dict[str, object]]) -> str:
    return orjson.dumps(rows).decode()


def _printable(reason: str) -> str:
    return reason.replace("\0", "␀")[:_REASON_CHARS_MAX]


@dataclass(frozen=True, slots=True)
class _Part:
    """Whose a poisoned entry is, how much, and which settlement, as far as it can be read."""

    account_id: UUID | None
    nanos: str | None
    incarnation: str
    number: int


def _read_part(raw: bytes) -> _Part:
    """Of a charge in JSON, or of the ledger's own fields, `a=ACCOUNT`, `c=NANOS`, `i=INCARNATION`
    and `n=NUMBER`, a line each."""
    try:
        charge = orjson.loads(raw)
        account, nanos = str(charge["account_id"]), str(charge["charged_nanos"])
        incarnation, number = str(charge.get("incarnation")), str(charge.get("number"))
    except (ValueError, KeyError, TypeError):
        fields = dict(line.partition(b"=")[::2] for line in reversed(raw.split(b"\n")))
        account, nanos, incarnation, number = (
            fields.get(name, b"").decode(errors="replace") for name in (b"a", b"c", b"i", b"n")
        )
    is_numbered = _NAME.fullmatch(incarnation) and _NUMBER.fullmatch(number)
    try:
        account_id = UUID(account)
    except ValueError:
        account_id = None
    is_amount = account_id is not None and _AMOUNT.fullmatch(nanos)
    return _Part(
        account_id,
        nanos if is_amount else None,
        incarnation if is_numbered else "",
        int(number) if is_numbered else 0,
    )
