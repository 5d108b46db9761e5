"""Accounts."""

from collections.abc import AsyncIterator
from uuid import UUID

from proxy.domain.account import Account
from proxy.store.database import Database, Record
from proxy.store.queries import Queries

_PAGE = 500
_FIRST = UUID(int=0)


class Accounts:
    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    async def create(
        self,
        *,
        account_id: UUID,
        email: str,
        shard: int,
        notice_attested_by: str | None = None,
        jurisdictions_allow: tuple[str, ...] | None = None,
        jurisdictions_deny: tuple[str, ...] = (),
    ) -> bool:
        """With an empty wallet. False where the address (in lower case) has an account already."""
        made = await self._database.fetchval(
            self._queries.insert_account,
            account_id,
            email,
            shard,
            jurisdictions_allow,
            jurisdictions_deny,
            notice_attested_by,
        )
        return made is not None

    async def find(self, account_id: UUID) -> Account | None:
        row = await self._database.fetchrow(self._queries.find_account, account_id)
        return None if row is None else _account(row)

    async def find_by_email(self, email: str) -> Account | None:
        row = await self._database.fetchrow(self._queries.find_account_by_email, email)
        return None if row is None else _account(row)

    async def all(self) -> AsyncIterator[Account]:
        """By id, so by age; a page at a time."""
        after = _FIRST
        while rows := await self._database.fetch(self._queries.list_accounts, after, _PAGE):
            for row in rows:
                yield _account(row)
            after = rows[-1]["account_id"]


def _account(row: Record) -> Account:
    allow = row["jurisdictions_allow"]
    return Account(
        account_id=row["account_id"],
        email=row["email"],
        shard=row["shard"],
        created_at=row["created_at"],
        jurisdictions_allow=None if allow is None else tuple(allow),
        jurisdictions_deny=tuple(row["jurisdictions_deny"]),
    )
