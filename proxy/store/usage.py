"""What an account has used, for its own eyes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from proxy.domain.charge import Charge
from proxy.store.database import Database
from proxy.store.queries import Queries
from proxy.store.usage_row import charge_of
from routing.money import Nanos

_ROWS_MAX: Final = 1001  # a page of 1000, and one that says whether there is a next page
_ID_MAX: Final = UUID(int=(1 << 128) - 1)


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
        """None where there is no such row, or where it is another account's."""
        charge = await self.find(request_id)
        return charge if charge is not None and charge.account_id == account_id else None

    async def find(self, request_id: UUID) -> Charge | None:
        """Whosever it is: for operators."""
        row = await self._database.fetchrow(self._queries.find_usage, request_id)
        return None if row is None else charge_of(row)

    async def list_usage(
        self,
        account_id: UUID,
        *,
        key_id: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        before: UUID | None = None,
        limit: int = 100,
    ) -> Sequence[Charge]:
        """Newest first, minted in [from_ms, to_ms), with ids below `before`; of all the account's
        keys, or of one."""
        end = _ID_MAX if to_ms is None else uuid7_floor(to_ms)
        rows = await self._database.fetch(
            self._queries.list_usage,
            account_id,
            key_id,
            uuid7_floor(from_ms or 0),
            end if before is None else min(end, before),
            min(max(limit, 1), _ROWS_MAX),
        )
        return [charge_of(row) for row in rows]

    async def credited_nanos(self, account_id: UUID) -> Nanos:
        """All movements of the account that were not charges, their signs kept."""
        return Nanos(await self._database.fetchval(self._queries.sum_credits, account_id))

    async def totals(self, account_id: UUID) -> AccountTotals | None:
        """None where there is no such account."""
        row = await self._database.fetchrow(self._queries.load_totals, account_id)
        if row is None:
            return None
        credited, balance = row["credited_nanos"], row["balance_nanos"]
        return AccountTotals(Nanos(credited), Nanos(credited - balance), Nanos(balance))


def uuid7_floor(unix_ms: int) -> UUID:
    """No greater than any UUIDv7 minted in this millisecond or later."""
    return UUID(int=min(max(unix_ms, 0), (1 << 48) - 1) << 80)
