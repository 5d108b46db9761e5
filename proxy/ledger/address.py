"""Where Redis is: `redis://`, `rediss://` or `unix://`, as one URL."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

PORT_DEFAULT: Final = 6379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Either `path` (a unix socket) or `host` and `port`."""

    path: str | None = None
    host: str = "localhost"
    port: int = PORT_DEFAULT
    is_tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0


def parse_redis_url(url: str) -> RedisAddress:
    """Raises ValueError, which never repeats the password."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("a Redis URL starts with redis://, rediss:// or unix://")
    options = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    if set(options) - {"db"}:
        raise ValueError("a Redis URL knows one option: db")
    is_unix = parts.scheme == "unix"
    database = options.get("db", ["" if is_unix else parts.path.strip("/")])[0] or "0"
    if not database.isdecimal():
        raise ValueError("a Redis database is a number")
    if is_unix and not parts.path:
        raise ValueError("unix:// needs a path")
    return RedisAddress(
        path=unquote(parts.path) if is_unix else None,
        host=parts.hostname or "localhost",
        port=parts.port or PORT_DEFAULT,
        is_tls=parts.scheme == "rediss",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=int(database),
    )
