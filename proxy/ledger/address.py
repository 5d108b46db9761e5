"""Where Redis is, as one URL.

    redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]            one server
    rediss://…[?ca=FILE]                                      over TLS; FILE: whom to trust, as PEM
    unix://PATH[?db=DATABASE]                                 a unix socket
    redis://[…@]HOST:PORT,HOST:PORT…?cluster=true             a Redis Cluster, by nodes to ask first

A cluster has one database, and the same user and password on every node.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

PORT_DEFAULT: Final = 6379
SEEDS_MAX: Final = 100
_OPTIONS: Final = frozenset({"db", "ca", "cluster"})

Host = tuple[str, int]


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Either `path` (a unix socket) or `host` and `port`. Of a cluster they are its first seed, and
    `more_seeds` are the others. `ca`: a file of certificates to trust instead of the system's."""

    path: str | None = None
    host: str = "localhost"
    port: int = PORT_DEFAULT
    is_tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    ca: Path | None = None
    is_cluster: bool = False
    more_seeds: tuple[Host, ...] = ()

    @property
    def seeds(self) -> tuple[Host, ...]:
        return ((self.host, self.port), *self.more_seeds)

    def at(self, host: Host) -> "RedisAddress":
        """One node of the cluster: another place, the same credentials."""
        return replace(self, host=host[0], port=host[1], is_cluster=False, more_seeds=())


def parse_redis_url(url: str) -> RedisAddress:
    """Raises ValueError, which never repeats the password."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("a Redis URL starts with redis://, rediss:// or unix://")
    options = _parse_options(parts.query)
    is_unix = parts.scheme == "unix"
    if is_unix and not parts.path:
        raise ValueError("unix:// needs a path")
    if "ca" in options and parts.scheme != "rediss":
        raise ValueError("ca= is for rediss://")
    first, *more = _parse_hosts(parts)
    database = options.get("db", "" if is_unix else parts.path.strip("/")) or "0"
    if not database.isdecimal():
        raise ValueError("a Redis database is a number")
    _check_cluster(options.get("cluster"), more, database, is_unix=is_unix)
    return RedisAddress(
        path=unquote(parts.path) if is_unix else None,
        host=first[0],
        port=first[1],
        is_tls=parts.scheme == "rediss",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=int(database),
        ca=Path(options["ca"]) if "ca" in options else None,
        is_cluster="cluster" in options,
        more_seeds=tuple(more),
    )


def _parse_options(query: str) -> dict[str, str]:
    found = parse_qs(query, strict_parsing=True) if query else {}
    if set(found) - _OPTIONS:
        raise ValueError("a Redis URL knows these options: db, ca, cluster")
    if any(len(given) > 1 for given in found.values()):
        raise ValueError("an option of a Redis URL is given once")
    return {name: given[0] for name, given in found.items()}


def _check_cluster(cluster: str | None, more: list[Host], database: str, *, is_unix: bool) -> None:
    if cluster is None:
        if more:
            raise ValueError("several hosts are a cluster's: add ?cluster=true")
        return
    if cluster != "true":
        raise ValueError("cluster= is true, or is left out")
    if is_unix or int(database):
        raise ValueError("a Redis Cluster is reached by hosts, and has database 0 alone")


def _parse_hosts(parts: SplitResult) -> list[Host]:
    """What stands behind the credentials, which may hold commas of their own."""
    listed = parts.netloc.rpartition("@")[2].split(",")
    if len(listed) > SEEDS_MAX:
        raise ValueError(f"more than {SEEDS_MAX} hosts")
    if len(listed) > 1 and not all(listed):
        raise ValueError("a host is missing between two commas")
    found = []
    for text in listed:
        one = urlsplit(f"//{text}")
        found.append((one.hostname or "localhost", one.port or PORT_DEFAULT))
    return found
