"""Months of the books: closed once, in order, and read from their close on.

A month is what was posted in it, by UTC. A charge that is flushed after midnight belongs to the new
month, whenever its request began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from proxy.store.database import Database, Executor, Record
from proxy.store.queries import Queries
from routing.money import Nanos

_MONTHS: Final = 12


class CloseRefusedError(Exception):
    """The month stays open. Says what has to happen first."""


@dataclass(frozen=True, slots=True)
class Close:
    """`moved_nanos`: credits less refunds and the like. `prepaid_nanos`: all customers' balances at
    the month's end, debts subtracted. `is_new`: closed by this call."""

    month: date
    accounts: int
    batches: int
    usage_rows: int
    moved_nanos: int
    charged_nanos: int
    prepaid_nanos: int
    actor: str
    closed_at: datetime
    is_new: bool


@dataclass(frozen=True, slots=True)
class CodeBalance:
    """One account of the chart: debits less credits at the beginning, and what was posted since."""

    code: str
    kind: str
    opening_nanos: int
    debited_nanos: int
    credited_nanos: int

    @property
    def closing_nanos(self) -> int:
        return self.opening_nanos + self.debited_nanos - self.credited_nanos


class Closes:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def find(self, month: date) -> Close | None:
        """`month` is its first day, here and below."""
        row = await self._database.fetchrow(self._queries.find_close, month)
        return None if row is None else _close(row, is_new=False)

    async def close(self, month: date, actor: str) -> Close:
        """One transaction; repeated, it changes nothing. Raises CloseRefusedError."""
        await self._database.transact(self._wait_for_posting)
        is_new = await self._database.transact(lambda executor: self._close(executor, month, actor))
        row = await self._database.fetchrow(self._queries.find_close, month)
        assert row is not None, "just written"
        return _close(row, is_new=is_new)

    async def _wait_for_posting(self, executor: Executor) -> None:
        """A batch that has its time and is not committed yet: in a transaction of its own, because
        what follows takes long, and flushes must not wait for it."""
        await executor.fetch(self._queries.lock_chains)

    async def _close(self, executor: Executor, month: date, actor: str) -> bool:
        queries = self._queries
        await executor.fetchrow(queries.begin_close)
        if await executor.fetchrow(queries.find_close, month) is not None:
            return False
        _check(month, await executor.fetchrow(queries.load_close_state, month))
        trial = await self._trial_balance(executor, *bounds_of(month))
        await executor.execute(queries.insert_close, month, actor)
        await executor.execute(queries.insert_closed_accounts, month)
        await executor.execute(
            queries.insert_closed_codes,
            month,
            [line.code for line in trial],
            [str(line.opening_nanos) for line in trial],
            [str(line.debited_nanos) for line in trial],
            [str(line.credited_nanos) for line in trial],
        )
        await executor.execute(queries.insert_closed_chains, month)
        differing = await executor.fetchval(queries.count_close_differences, month)
        if differing:
            raise CloseRefusedError(
                f"the usage rows of {differing} accounts do not add up to what the books charged "
                "them: `apilink ledger verify` says more"
            )
        return True

    async def trial_balance(self, month: date | None) -> Sequence[CodeBalance]:
        """Of a month, closed or not; or, as openings, of everything until now."""
        begin, end = (None, None) if month is None else bounds_of(month)
        return await self._database.transact(
            lambda executor: self._trial_balance(executor, begin, end)
        )

    async def _trial_balance(
        self, executor: Executor, begin: datetime | None, end: datetime | None
    ) -> list[CodeBalance]:
        rows = await executor.fetch(self._queries.load_trial_balance, begin, end)
        return [
            CodeBalance(
                row["code"],
                row["kind"],
                int(row["opening_nanos"]),
                int(row["debited_nanos"]),
                int(row["credited_nanos"]),
            )
            for row in rows
        ]

    async def balance_at(self, account_id: UUID, at: datetime) -> Nanos | None:
        """What had been posted before that moment; None where there is no such account."""
        found = await self._database.fetchval(self._queries.load_balance_at, account_id, at)
        return None if found is None else Nanos(int(found))


def bounds_of(month: date) -> tuple[datetime, datetime]:
    """Its first moment, and the next month's."""
    return _midnight(month), _midnight(next_month(month))


def next_month(month: date) -> date:
    return date(month.year + month.month // _MONTHS, month.month % _MONTHS + 1, 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _check(month: date, state: Record) -> None:
    """Raises CloseRefusedError."""
    last: date | None = state["last_month"]
    if state["is_running"]:
        raise CloseRefusedError(f"{month:%Y-%m} is not over yet (in UTC)")
    if last is not None and next_month(last) != month:
        raise CloseRefusedError(f"the next month to close is {next_month(last):%Y-%m}")
    if last is None and state["has_before"]:
        raise CloseRefusedError("there are books from before it: close the first month first")
    if state["quarantined"]:
        raise CloseRefusedError(
            f"{state['quarantined']} entries from before its end are in quarantine"
        )


def _close(row: Record, *, is_new: bool) -> Close:
    return Close(
        month=row["month"],
        accounts=row["accounts"],
        batches=row["batches"],
        usage_rows=row["usage_rows"],
        moved_nanos=int(row["moved_nanos"]),
        charged_nanos=int(row["charged_nanos"]),
        prepaid_nanos=int(row["closing_nanos"]),
        actor=row["actor"],
        closed_at=row["closed_at"],
        is_new=is_new,
    )
