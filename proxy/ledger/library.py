"""The function library in Redis: put there where it is missing or older than ours."""

import hashlib
from pathlib import Path
from typing import Final

from proxy.ledger import calls
from proxy.ledger.connection import Connection
from proxy.ledger.faults import AmbiguousError, LedgerSetupError, NotSentError, RefusedError

LIBRARY: Final = Path(__file__).resolve().parents[2] / "sql" / "ledger.lua"
_DIGEST: Final = "@DIGEST@"
_REVISION: Final = "local REVISION = "


class Library:
    """A source text and the version that it answers: "REVISION:DIGEST"."""

    def __init__(self, source: str) -> None:
        digest = hashlib.sha256(source.encode()).hexdigest()[:16]
        line = next(line for line in source.splitlines() if line.startswith(_REVISION))
        self.revision = int(line.removeprefix(_REVISION))
        self.version = f"{self.revision}:{digest}"
        self._source = source.replace(_DIGEST, digest)

    async def ensure(self, connection: Connection) -> None:
        """Leaves a newer revision alone: it still has every function that we call."""
        found = await _find_version(connection)
        if found is not None:
            revision = int(found.partition(":")[0])
            if revision > self.revision or found == self.version:
                return
        await connection.call("FUNCTION", "LOAD", "REPLACE", self._source)


def load_library() -> Library:
    return Library(LIBRARY.read_text())


async def _find_version(connection: Connection) -> str | None:
    try:
        answer = await connection.call(*calls.version())
    except RefusedError as refused:
        if "not found" in refused.args[0]:
            return None
        raise
    return str(answer, "ascii")


async def check_store(connection: Connection) -> None:
    """Raises LedgerSetupError where Redis would throw money away to make room, and NotSentError
    where it is no master yet."""
    policy = (await _info(connection, "memory")).get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        raise LedgerSetupError(
            f"Redis has maxmemory-policy {policy}: it would evict wallets when full;"
            " set maxmemory-policy noeviction"
        )
    role = (await _info(connection, "replication")).get("role", "unknown")
    if role != "master":
        raise NotSentError(f"Redis is no master, but {role}")


async def check_single(connection: Connection) -> None:
    """Raises LedgerSetupError where one node of a cluster is taken for the whole store."""
    if (await _info(connection, "cluster")).get("cluster_enabled") == "1":
        raise LedgerSetupError("Redis is a cluster: add ?cluster=true to its URL")


async def _info(connection: Connection, section: str) -> dict[str, str]:
    try:
        answer = await connection.call("INFO", section)
    except AmbiguousError as error:
        raise NotSentError(f"no answer to INFO: {error}") from error
    return dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
