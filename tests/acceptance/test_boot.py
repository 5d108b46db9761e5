"""A start that cannot be: status 2, every reason on stderr, no traceback, within 10 seconds."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.dev.servers import Server
from tests.support.deployment import Deployment, changed, run_deployment
from tests.support.processes import Program, paused
from tests.support.raw_redis import redis_says

SERVE, SERVE_TWO, WORK = ["serve"], ["serve", "--workers", "2"], ["work"]
SECONDS_MAX = 10


@pytest.fixture(scope="module")
def apilink(
    postgres_server: Server, platform_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Nothing here ever starts."""
    directory = tmp_path_factory.mktemp("boot")
    with run_deployment(postgres_server.url, platform_template, directory) as deployment:
        deployment.apilink("migrate", "--json")
        yield deployment


def reasons_of(program: Program) -> list[str]:
    """A line each, once it has given up."""
    status = program.ended(SECONDS_MAX)
    said = program.stderr.read_text()
    assert status == 2, said
    assert "Traceback" not in said
    assert program.said() == []
    return said.splitlines()


def refusals(apilink: Deployment, *starts: list[str], **settings: object) -> list[list[str]]:
    """What each of these starts says, all of them at once."""
    programs = [apilink.start(*words, **settings) for words in starts]
    return [reasons_of(program) for program in programs]


def only_reasons(apilink: Deployment, *starts: list[str], **settings: object) -> set[str]:
    """Where every start gives one and the same kind of reason."""
    found = refusals(apilink, *starts, **settings)
    assert all(len(reasons) == 1 for reasons in found), found
    return {reasons[0] for reasons in found}


def reasons_by_setting(apilink: Deployment, **settings: str) -> list[tuple[str, str]]:
    """What a start says where only this one setting is as given, for each of them."""
    commands = zip(settings.items(), ("serve", "work"), strict=True)
    programs = [
        (name, apilink.start(command, **{name: text})) for (name, text), command in commands
    ]
    return [(name, "\n".join(reasons_of(program))) for name, program in programs]


def test_every_wrong_setting_is_named_and_no_secret_repeated(
    apilink: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("too-short")
    wrong = {"database_url": None, "workers": "many", "lease": 5, "trusted_proxies": "10.0.0.0/33"}
    wrong["secret_key_file"] = tmp_path / "secret"
    hint = "needs at least 32 characters; `openssl rand -hex 32` makes one"
    networks = "addresses or networks such as 10.0.0.0/8"
    for reasons in refusals(apilink, SERVE, WORK, **wrong):
        assert reasons == [
            "APILINK_LEASE: no such setting; the settings are listed in the README",
            f"APILINK_SECRET_KEY_FILE: {hint}",
            f"APILINK_TRUSTED_PROXIES: must be {networks} (it is '10.0.0.0/33')",
            "APILINK_WORKERS: must be a whole number from 1 to 1024 (it is 'many')",
            "APILINK_DATABASE_URL: must be given",
        ]


def test_an_impossible_url_is_refused_and_not_repeated(apilink: Deployment) -> None:
    for setting, reason in reasons_by_setting(
        apilink,
        database_url="postgresql://u:pass/word@db/apilink",
        redis_url="redis://:password@127.0.0.1/one",
    ):
        assert reason.startswith(f"APILINK_{setting.upper()}: ")
        assert "word" not in reason.replace("PASSWORD", "")


def test_every_mistake_of_a_routing_table_is_told_once_with_its_line(
    apilink: Deployment, tmp_path: Path
) -> None:
    text = changed(apilink.routing.read_text(), "seat: US", "seat: USA")
    path = tmp_path / "routing.yaml"
    path.write_text(text + "extra: 1\n")
    lines = text.splitlines()
    seat = next(n for n, line in enumerate(lines, 1) if "USA" in line)
    for reasons in refusals(apilink, SERVE, SERVE_TWO, routing=path, listen="127.0.0.1:9"):
        places = [reason.removeprefix(f"{path}:").partition(":")[0] for reason in reasons]
        assert places == [str(seat), str(len(lines) + 1)], reasons


def test_a_store_that_is_not_there(apilink: Deployment) -> None:
    for setting, reason in reasons_by_setting(
        apilink,
        database_url="postgresql://apilink@127.0.0.1:9/apilink",
        redis_url="unix:///tmp/there-is-no-such-socket",
    ):
        assert reason.startswith(f"APILINK_{setting.upper()}: ")
        assert "does not answer" in reason


def test_a_store_that_stands_still(apilink: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, paused(apilink.redis):
        url = f"postgresql://apilink@127.0.0.1:{deaf.getsockname()[1]}/apilink?sslmode=disable"
        without_redis = apilink.start("serve")
        without_postgres = apilink.start("work", database_url=url)
        (redis_reason,) = reasons_of(without_redis)
        (postgres_reason,) = reasons_of(without_postgres)
    assert redis_reason.startswith("APILINK_REDIS_URL: Redis does not answer")
    assert postgres_reason.startswith("APILINK_DATABASE_URL: Postgres does not answer")


def test_a_redis_that_would_evict_wallets(apilink: Deployment) -> None:
    redis_says(apilink.redis.url, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        (reason,) = only_reasons(apilink, WORK)
    finally:
        redis_says(apilink.redis.url, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert "maxmemory-policy allkeys-lru" in reason
    assert "set maxmemory-policy noeviction" in reason


def test_another_number_of_shards(apilink: Deployment) -> None:
    reasons = only_reasons(apilink, SERVE, shards=2)
    assert reasons == {"APILINK_SHARDS is 2, but this deployment has 1: it never changes"}


def test_a_database_that_is_not_migrated(apilink: Deployment, postgres_server: Server) -> None:
    """`template1` is what a new database looks like."""
    unmigrated = postgres_server.url.replace("/postgres?", "/template1?")
    for reason in only_reasons(
        apilink, SERVE_TWO, WORK, database_url=unmigrated, listen="127.0.0.1:9"
    ):
        assert reason.startswith("the database lacks 0001_create_accounts, ")
        assert reason.endswith(": run `apilink migrate`")


def test_an_address_that_is_taken(apilink: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        reasons = only_reasons(apilink, SERVE, SERVE_TWO, listen=listen)
    assert reasons == {f"APILINK_LISTEN: cannot listen at {listen}: Address already in use"}


def test_a_data_directory_that_is_a_file(apilink: Deployment) -> None:
    (reason,) = only_reasons(apilink, SERVE, data_dir=apilink.routing)
    assert reason == f"APILINK_DATA_DIR: {apilink.routing}/journal: Not a directory"
