"""The commands, as a program reads them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from click.testing import CliRunner, Result

from proxy.__main__ import main
from proxy.dev.servers import Server
from proxy.domain.clock import SystemClock
from proxy.domain.ids import parse_key_token
from proxy.ledger.opening import open_worker_ledger
from proxy.store.pool import open_store
from proxy.vault import KeyHasher
from tests.support.databases import execute, run_apart
from tests.support.ledger_world import nothing_to_restore

SECRET_KEY = "5ecre7-" * 6
STRANGER = "00000000-0000-7000-8000-000000000000"
Apilink = Callable[..., Result]


@pytest.fixture
def apilink(database: str, redis_server: Server) -> Apilink:
    """Runs a command in this process, on two shards."""
    environ = {
        "APILINK_DATABASE_URL": database,
        "APILINK_REDIS_URL": redis_server.url,
        "APILINK_SECRET_KEY": SECRET_KEY,
        "APILINK_SHARDS": "2",
    }

    def call(*words: str, status: int = 0, **changes: str) -> Result:
        result = CliRunner().invoke(main, words, env={**environ, **changes})
        assert result.exit_code == status, result.output
        return result

    return call


def _json(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.fixture
def account(apilink: Apilink) -> str:
    made = _json(apilink("accounts", "create", "--email", "Ada@Example.com ", "--json"))
    return str(made["account_id"])


@pytest.fixture
def opened_ledger(apilink: Apilink, database: str, redis_server: Server) -> None:
    """As a worker leaves Redis."""
    apilink("migrate")
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()

    async def step() -> None:
        async with (
            open_store(database) as store,
            open_worker_ledger(
                redis_url=redis_server.url,
                directory=store.directory,
                shards=store.shards,
                flushes=store.flushes,
                clock=SystemClock(),
                restore=nothing_to_restore,
                owner="test",
                lease_seconds=60,
                timeout_ms=2_000,
                flush_entries_max=10,
            ) as worker,
        ):
            await worker.tend_shards_once()

    run_apart(step)


def test_migrate_says_what_it_applied(apilink: Apilink) -> None:
    assert _json(apilink("migrate", "--json")) == {"applied": []}
    assert apilink("migrate").output == "up to date\n"
    refused = apilink("migrate", status=1, APILINK_SHARDS="3")
    assert "this deployment has 2" in refused.stderr


def test_an_address_is_one_account_whatever_its_case(apilink: Apilink, account: str) -> None:
    listed = _json(apilink("accounts", "list", "--json"))["data"]
    assert [(row["account_id"], row["email"]) for row in listed] == [(account, "ada@example.com")]
    again = apilink("accounts", "create", "--email", "ADA@example.com", status=1)
    assert "has an account already" in again.stderr
    apilink("accounts", "create", "--email", "ada at example", status=2)


def test_credit_is_exact_to_nine_decimals_and_counts_once(apilink: Apilink, account: str) -> None:
    words = ("credit", "--account", account, "--usd", "10.000000001", "--reference", "r", "--json")
    first = _json(apilink(*words))
    assert (first["outcome"], first["balance_nanos"]) == ("ok", 10_000_000_001)
    assert _json(apilink(*words))["outcome"] == "exists"
    other = apilink("credit", "--account", account, "--usd", "2", "--reference", "r", status=1)
    assert "another amount" in other.stderr
    for usd in ("0.0000000001", "1e3", "-1", "0", "ten"):
        apilink("credit", "--account", account, f"--usd={usd}", "--reference", "x", status=2)
    full = ("credit", "--account", account, "--usd", "999990", "--reference")
    assert "1,000,000 USD" in apilink(*full, "y", status=1).stderr
    taken = apilink(
        "credit", "--account", account, "--usd=-1.5", "--reference", "z", "--kind", "adjustment"
    )
    assert taken.output == "credited; balance 8.500000001 USD at the last flush\n"


def test_a_credit_needs_no_redis(apilink: Apilink, account: str) -> None:
    words = ("credit", "--account", account, "--usd", "1", "--reference", "r", "--json")
    done = _json(apilink(*words, APILINK_REDIS_URL="unix:///tmp/al-nowhere/redis.sock"))
    assert (done["outcome"], done["delivered"]) == ("ok", False)


def test_a_key_is_shown_once_and_only_its_hash_is_kept(
    apilink: Apilink, account: str, database: str
) -> None:
    words = ["--limit-usd", "1.00", "--reset", "daily", "--allow", "US,EU", "--rpm", "60"]
    made = _json(apilink("keys", "create", "--account", account, *words, "--json"))
    token = parse_key_token(made["key"])
    assert token is not None
    assert token.key_id == made["key_id"]
    listed = apilink("keys", "list", "--account", account, "--json")
    assert token.secret not in listed.output
    assert _json(listed)["data"] == [
        {
            "key_id": token.key_id,
            "account_id": account,
            "name": "",
            "revoked": False,
            "epoch": 1,
            "limit_nanos": 1_000_000_000,
            "reset": "daily",
            "requests_per_minute": 60,
            "tokens_per_minute": None,
            "concurrency": None,
            "models_allow": None,
            "jurisdictions_allow": ["US", "EU"],
            "jurisdictions_deny": [],
        }
    ]
    hashes: list[bytes] = []

    async def read() -> None:
        async with open_store(database) as store:
            key = await store.keys.find(token.key_id)
            assert key is not None
            hashes.append(key.secret_hash)

    run_apart(read)
    assert hashes == [KeyHasher(SECRET_KEY).hash(token.secret)]
    apilink("keys", "create", "--account", account, "--allow", "usa", status=2)
    assert "no account" in apilink("keys", "create", "--account", STRANGER, status=1).stderr


def test_a_keys_places_and_models_must_be_the_tables(apilink: Apilink, account: str) -> None:
    new = ("keys", "create", "--account", account)
    assert "did you mean US" in apilink(*new, "--allow", "USA", status=2).stderr
    assert "'NARNIA'" in apilink(*new, "--deny", "CN,NARNIA", status=2).stderr
    assert "'nope/nothing'" in apilink(*new, "--models", "nope/nothing", status=2).stderr
    apilink(*new, "--allow", "us, eu-us", "--models", "gpt-4o,openai/gpt-4.1")
    (kept,) = _json(apilink("keys", "list", "--account", account, "--json"))["data"]
    assert kept["jurisdictions_allow"] == ["US", "eu-us"]
    assert kept["models_allow"] == ["gpt-4o", "openai/gpt-4.1"]
    nowhere = {"APILINK_ROUTING": "/tmp/al-nowhere/routing.yaml"}
    assert "cannot be read" in apilink(*new, "--allow", "US", status=2, **nowhere).stderr
    apilink(*new, **nowhere)  # who bounds nothing needs no table


@pytest.mark.usefixtures("opened_ledger")
def test_a_whole_key_stands_for_its_id_and_is_not_repeated(apilink: Apilink, account: str) -> None:
    made = _json(apilink("keys", "create", "--account", account, "--json"))
    revoked = apilink("keys", "revoke", made["key"], "--json")
    assert _json(revoked)["key_id"] == made["key_id"]
    assert made["key"] not in revoked.output
    mistyped = made["key"][:-1]
    refused = apilink("keys", "limit", mistyped, "--rpm", "1", status=2)
    assert "mistyped" in refused.stderr
    assert mistyped not in refused.output


@pytest.mark.usefixtures("opened_ledger")
def test_limits_change_one_by_one_and_a_revocation_is_for_ever(
    apilink: Apilink, account: str
) -> None:
    key = _json(apilink("keys", "create", "--account", account, "--rpm", "9", "--json"))["key_id"]
    limited = _json(apilink("keys", "limit", key, "--limit-usd", "2", "--tpm", "50", "--json"))
    assert (limited["limit_nanos"], limited["requests_per_minute"]) == (2_000_000_000, 9)
    lifted = _json(apilink("keys", "limit", key, "--rpm", "none", "--json"))
    assert (lifted["requests_per_minute"], lifted["tokens_per_minute"]) == (None, 50)
    revoked = _json(apilink("keys", "revoke", key, "--json"))
    assert (revoked["revoked"], revoked["epoch"]) == (True, 4)
    assert "no key" in apilink("keys", "revoke", "absent", status=1).stderr


def test_a_revocation_holds_in_postgres_though_redis_is_away(
    apilink: Apilink, account: str
) -> None:
    key = _json(apilink("keys", "create", "--account", account, "--json"))["key_id"]
    away = {"APILINK_REDIS_URL": "unix:///tmp/al-nowhere/redis.sock"}
    assert "Redis does not answer" in apilink("keys", "revoke", key, status=3, **away).stderr
    assert _json(apilink("keys", "list", "--json"))["data"][0]["revoked"] is True


@pytest.mark.usefixtures("opened_ledger")
def test_verify_answers_with_its_exit_status(apilink: Apilink, account: str, database: str) -> None:
    apilink("credit", "--account", account, "--usd", "10", "--reference", "r")
    found = _json(apilink("ledger", "verify", "--json"))
    assert (found["ok"], found["wallets"], found["difference_nanos"]) == (True, 1, 0)
    execute(database, "UPDATE wallets SET balance_nanos = balance_nanos - 1")
    found = _json(apilink("ledger", "verify", "--json", status=1))
    assert (found["ok"], found["status"], found["book_difference_nanos"]) == (
        False,
        "different",
        1,
    )


def test_verify_does_not_know_without_a_store(apilink: Apilink) -> None:
    nowhere = {"APILINK_REDIS_URL": "unix:///tmp/al-nowhere/redis.sock"}
    found = _json(apilink("ledger", "verify", "--json", status=3, **nowhere))
    assert (found["ok"], found["status"]) == (False, "unknown")
    nowhere = {"APILINK_DATABASE_URL": "postgresql://apilink@/apilink?host=/tmp/al-nowhere"}
    found = _json(apilink("ledger", "verify", "--json", status=3, **nowhere))
    assert (found["ok"], found["status"]) == (False, "unknown")
    assert "Postgres does not answer" in apilink("accounts", "list", status=3, **nowhere).stderr


@pytest.mark.parametrize(
    "words",
    [
        ("accounts", "create", "--email", "a@example.com"),
        ("accounts", "list"),
        ("keys", "list"),
        ("ledger", "verify"),
        ("credit", "--account", STRANGER, "--usd", "1", "--reference", "r"),
    ],
)
def test_a_database_without_a_schema_is_told_the_command_that_makes_it(
    apilink: Apilink, database: str, words: tuple[str, ...]
) -> None:
    bare = urlsplit(database)._replace(path="/postgres").geturl()
    refused = apilink(*words, status=1, APILINK_DATABASE_URL=bare)
    assert "run `apilink migrate`" in refused.stderr
    nonsense = apilink(*words, status=2, APILINK_DATABASE_URL="postgresql://u:p@:x/%zz")
    assert "APILINK_DATABASE_URL: is not a URL of Postgres" in nonsense.stderr


def test_without_settings_a_running_dev_is_suggested(apilink: Apilink) -> None:
    refused = apilink("accounts", "list", status=2, APILINK_DATABASE_URL="")
    assert "--data-dir" in refused.stderr


def test_explain_of_an_unknown_request(apilink: Apilink) -> None:
    assert "no request" in apilink("ledger", "explain", STRANGER, status=1).stderr


@pytest.mark.parametrize("name", ["migrate", "credit", "accounts create", "ledger verify"])
def test_help_has_an_example(apilink: Apilink, name: str) -> None:
    assert f"Example: apilink {name}" in apilink(*name.split(), "--help").output


def test_the_books_are_read_and_closed(apilink: Apilink, opened_ledger: None, account: str) -> None:
    del opened_ledger
    apilink("credit", "--account", account, "--usd", "2.5", "--reference", "r1")
    found = _json(apilink("ledger", "trial-balance", "--json"))
    closing = {line["code"]: line["closing_nanos"] for line in found["accounts"]}
    assert (found["ok"], found["total_nanos"]) == (True, 0)
    assert (closing["prepayments"], closing["clearing"]) == (-2_500_000_000, 2_500_000_000)
    today = datetime.now(UTC).date()
    for as_of in ((), ("--as-of", today.isoformat())):
        now = _json(apilink("ledger", "balance", "--account", account, *as_of, "--json"))
        assert now["balance_nanos"] == 2_500_000_000
    then = ("--as-of", "2026-01-31T12:00:00+01:00")
    assert apilink("ledger", "balance", "--account", account, *then).stdout == (
        "0.00 USD before 2026-01-31T11:00:00+00:00\n"
    )
    last = (today.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    outcomes = [_json(apilink("ledger", "close", last, "--json"))["outcome"] for _ in range(2)]
    assert outcomes == ["ok", "exists"]
    assert "prepaid  0.00 USD" in apilink("ledger", "close", last).stdout


def test_what_cannot_be_closed_or_told_is_refused_in_words(
    apilink: Apilink, opened_ledger: None, account: str
) -> None:
    del opened_ledger
    month = datetime.now(UTC).strftime("%Y-%m")
    assert "stays open" in apilink("ledger", "close", month, status=1).stderr
    apilink("ledger", "close", "2026-13", status=2)
    apilink("ledger", "balance", "--account", STRANGER, status=1)
    ahead = apilink("ledger", "balance", "--account", account, "--as-of", "2999-01-01", status=2)
    assert "lies ahead" in ahead.stderr
    naive = ("--as-of", "2026-01-31T12:00:00")
    assert "offset" in apilink("ledger", "balance", "--account", account, *naive, status=2).stderr


def test_nothing_is_closed_while_nobody_knows(
    apilink: Apilink, opened_ledger: None, account: str
) -> None:
    del opened_ledger, account
    away = {"APILINK_REDIS_URL": "redis://127.0.0.1:1"}
    apilink("ledger", "close", "2026-01", status=3, **away)
