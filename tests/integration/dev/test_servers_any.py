import asyncpg
from redis.asyncio import Redis

from proxy.dev.servers import Server


async def test_every_redis_answers(any_redis: Server) -> None:
    async with Redis.from_url(any_redis.url) as client:
        assert await client.ping()
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert (await client.config_get("appendonly"))["appendonly"] == "yes"


async def test_every_postgres_answers_in_utc_and_locale_c(any_postgres: Server) -> None:
    connection = await asyncpg.connect(any_postgres.url)
    try:
        assert await connection.fetchval("SHOW timezone") == "UTC"
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        assert await connection.fetchval("SHOW lc_messages") == "C"
    finally:
        await connection.close()
