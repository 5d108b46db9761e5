"""What an account has used, for its own eyes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from proxy.domain.charge import Charge
from proxy.domain.clock import ms_of
from proxy.store.database import Database
from proxy.store.queries import Queries
from proxy.store.usage_row import charge_of
from routing.money import Nanos

USAGE_ROWS_MAX: Final = 1000
_ID_MIN: Final = UUID(int=0)
_ID_MAX: Final = UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Newest first. `next_cursor` is where the next page begins; None at the end."""

    charges: tuple[Charge, ...]
    next_cursor: UUID | None


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """As of the shard's cursor. `credited_nanos` is the sum of all movements, debits included."""

    credited_nanos: Nanos
    charged_nanos: Nanos
    balance_nanos: Nanos


class UsageReader:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def find_generation(self, account_id: UUID, request_id: UUID) -> Charge | None:
        """None for another account's request as well."""
        charge = await self.find(request_id)
        return charge if charge is not None and charge.account_id == account_id else None

    async def find(self, request_id: UUID) -> Charge | None:
        """Whosever it is: for operators."""
        row = await self._database.fetchrow(self._queries.find_usage, request_id)
        return None if row is None else charge_of(row)

    async def list_usage(
        self,
        account_id: UUID,
        key_id: str | None = None,
        from_at: datetime | None = None,
        to_at: datetime | None = None,
        limit: int = 100,
        cursor: UUID | None = None,
    ) -> UsagePage:
        """Requests minted in [from_at, to_at), of all the account's keys or of one."""
        rows_max = min(max(limit, 1), USAGE_ROWS_MAX)
        first = _ID_MIN if from_at is None else uuid7_floor(from_at)
        end = _ID_MAX if to_at is None else uuid7_floor(to_at)
        if cursor is not None:
            end = min(end, cursor)
        rows = await self._database.fetch(
            self._queries.list_usage, account_id, key_id, first, end, rows_max + 1
        )
        charges = tuple(charge_of(row) for row in rows[:rows_max])
        return UsagePage(charges, charges[-1].request_id if len(rows) > rows_max else None)

    async def totals(self, account_id: UUID) -> AccountTotals | None:
        """None where there is no such account."""
        row = await self._database.fetchrow(self._queries.load_totals, account_id)
        if row is None:
            return None
        credited, balance = row["credited_nanos"], row["balance_nanos"]
        return AccountTotals(Nanos(credited), Nanos(credited - balance), Nanos(balance))


def uuid7_floor(when: datetime) -> UUID:
    """No greater than any UUIDv7 minted in this millisecond or later."""
    return UUID(int=min(max(ms_of(when), 0), (1 << 48) - 1) << 80)
