"""Keys, limits and credit as an operator sets them, in force in every process at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.dev.servers import Server
from tests.support.deployment import CHAT, FRENCH, HELD, Deployment, Gateway, run_deployment
from tests.support.doors import Door
from tests.support.platform import Answer
from tests.support.processes import until


@dataclass(frozen=True, slots=True)
class Office:
    """A running deployment of two gateway processes, and its operator's commands."""

    apilink: Deployment
    gateway: Gateway

    def account(self, usd: str = "1.00") -> str:
        email = f"{len(self.apilink.query('SELECT 1 FROM accounts'))}@example.com"
        made = self.apilink.apilink("accounts", "create", "--email", email, "--json")
        account = str(made["account_id"])
        if usd != "0":
            self.credit(account, usd, "first")
        return account

    def credit(self, account: str, usd: str, reference: str) -> dict[str, Any]:
        words = ("--account", account, "--usd", usd, "--reference", reference, "--json")
        found: dict[str, Any] = self.apilink.apilink("credit", *words)
        return found

    def key(self, account: str, *options: str) -> dict[str, str]:
        words = ("--account", account, *options, "--json")
        found: dict[str, str] = self.apilink.apilink("keys", "create", *words)
        return found

    def doors(self) -> list[Door]:
        """One to each process."""
        return [self.gateway.door(pid) for pid in self.gateway.pids]


@pytest.fixture(scope="module")
def office(
    postgres_server: Server, platform_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    directory = tmp_path_factory.mktemp("office")
    with run_deployment(postgres_server.url, platform_template, directory) as apilink:
        yield Office(apilink, apilink.start_all(workers=2))
        apilink.assert_books_agree()


def refused(answer: Answer, status: int, code: str) -> bool:
    assert (answer.status, answer.json()["error"]["code"]) == (status, code), answer
    return True


def test_a_revoked_key_is_refused_everywhere_from_the_next_request_on(office: Office) -> None:
    key = office.key(office.account())
    doors = office.doors()
    for door in doors:
        assert door.chat(key["key"], CHAT).status == 200
        assert door.get("/v1/models", key["key"]).status == 200
    office.apilink.apilink("keys", "revoke", key["key_id"])
    for door in doors:
        # What is asked first must not be what tells the others.
        assert refused(door.get("/v1/models", key["key"]), 401, "invalid_api_key")
        assert refused(door.get(f"/v1/models/{CHAT}", key["key"]), 401, "invalid_api_key")
    for path in ("/v1/key", "/v1/credits", "/v1/usage"):
        assert all(refused(d.get(path, key["key"]), 401, "invalid_api_key") for d in doors)
    assert all(refused(d.chat(key["key"], CHAT), 401, "invalid_api_key") for d in doors)


def test_a_revoked_key_s_first_request_may_be_a_chat(office: Office) -> None:
    key = office.key(office.account())
    doors = office.doors()
    assert all(door.chat(key["key"], CHAT).status == 200 for door in doors)
    office.apilink.apilink("keys", "revoke", key["key_id"])
    assert all(refused(d.chat(key["key"], CHAT), 401, "invalid_api_key") for d in doors)


def test_a_limit_in_dollars_is_one_for_all_processes(office: Office) -> None:
    account = office.account()
    key = office.key(account, "--limit-usd", "0.001", "--reset", "daily")["key"]
    for _ in range(20):
        answers = [door.chat(key, CHAT, max_tokens=40) for door in office.doors()]
        if {answer.status for answer in answers} == {402}:
            break
    assert all(refused(answer, 402, "key_limit_exceeded") for answer in answers)
    told = office.doors()[0].get("/v1/key", key).json()["data"]
    assert (told["limit_nanos"], told["limit_reset"]) == (1_000_000, "daily")
    assert 0 < told["usage_nanos"] <= 1_000_000
    # The account has money left, and its other keys may spend it.
    assert office.gateway.door().chat(office.key(account)["key"], CHAT).status == 200


def test_two_requests_a_minute_are_two_in_all(office: Office) -> None:
    key = office.key(office.account(), "--rpm", "2")["key"]
    one, other = office.doors()
    # In two minutes at the most: three requests may lie on both sides of a minute's end.
    statuses = [door.chat(key, CHAT).status for door in (one, other) * 3]
    assert 2 <= statuses.count(200) <= 4
    limited = other.chat(key, CHAT)
    assert refused(limited, 429, "rate_limited")
    assert 1 <= int(limited.headers["retry-after"]) <= 60
    assert limited.headers["x-ratelimit-limit-requests"] == "2"


def test_one_request_at_a_time_is_one_in_all(office: Office) -> None:
    key = office.key(office.account(), "--concurrency", "1")["key"]
    one, other = office.doors()
    stream = one.stream(key, HELD)
    stream.event()
    assert refused(other.chat(key, CHAT), 429, "concurrency_limited")
    office.apilink.let_go()
    assert stream.rest().body.endswith(b"data: [DONE]\n\n")
    assert until(lambda: other.chat(key, CHAT).status == 200)


def test_a_key_goes_to_the_countries_it_may(office: Office) -> None:
    key = office.key(office.account(), "--allow", "FR")["key"]
    for door in office.doors():
        assert door.chat(key, FRENCH).headers["x-apilink-jurisdictions"] == "FR"
        forbidden = door.chat(key, CHAT)
        assert refused(forbidden, 403, "jurisdiction_not_allowed")
        assert "US" in forbidden.json()["error"]["message"]


def test_a_credit_counts_once_and_at_once(office: Office) -> None:
    account = office.account(usd="0")
    key = office.key(account)["key"]
    doors = office.doors()
    assert all(refused(door.chat(key, CHAT), 402, "insufficient_balance") for door in doors)
    assert office.credit(account, "0.50", "bank-1")["outcome"] == "ok"
    assert office.credit(account, "0.50", "bank-1")["outcome"] == "exists"
    words = ("--account", account, "--usd", "0.60", "--reference", "bank-1", "--json")
    with pytest.raises(AssertionError, match="another amount"):
        office.apilink.apilink("credit", *words)
    for door in doors:
        told = door.get("/v1/credits", key).json()["data"]
        assert (told["total_credits_nanos"], told["balance_nanos"]) == (500_000_000, 500_000_000)
    assert all(door.chat(key, CHAT).status == 200 for door in doors)
