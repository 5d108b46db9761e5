"""Who a request may reach: account, key and request each only tighten, over the whole chain and
for every fallback. What matters is which upstream saw a request, not what the client was told."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from multidict import CIMultiDict

from proxy.billing.credit import credit
from proxy.domain.account import ApiKey, KeyLimits
from proxy.domain.clock import SystemClock
from proxy.domain.ids import mint_key_token, mint_uuid7
from proxy.vault import KeyHasher
from routing.money import Nanos
from tests.support.answers import USAGE, completion, platform_with
from tests.support.platform import SECRET, Platform, PlatformFactory, TestKey, chat_body
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model

# alpha US · beta FR · gamma seated in SG, controlled from CN · delta says not where it processes.
PARTIES = """
version: 1
groups: {NORTH: [FR, DE]}
parties:
  alpha: {name: Alpha Inc., seat: US, processes_in: [US], policy_url: "https://a.example",
    mechanism: SCC}
  beta: {name: Beta SAS, seat: FR, processes_in: [FR], policy_url: "https://b.example",
    mechanism: none}
  gamma: {name: Gamma Ltd., seat: SG, controlled_from: CN, processes_in: [SG],
    policy_url: "https://c.example", mechanism: SCC}
  delta: {name: Delta Inc., seat: US, processes_in: [unknown], policy_url: "https://d.example",
    mechanism: SCC}
upstreams:
"""
UPSTREAMS = {  # name: (party, role)
    "us": ("alpha", "provider"),
    "fr": ("beta", "provider"),
    "cn": ("gamma", "provider"),
    "somewhere": ("delta", "provider"),
    "reseller": ("alpha", "aggregator"),
}
MODELS = (
    model("american", "us", aliases="[am, usa/model]")
    + model("french", "fr")
    + model("chinese", "cn")
    + model("unstated", "somewhere")
    + model("resold", "reseller", route=", provider: beta, host: gamma")
    + model("both", "us", "fr")
    + model("dead", "dead")
)


@asynccontextmanager
async def world(start_platform: PlatformFactory) -> AsyncIterator[tuple[Platform, list[str]]]:
    """Yields the platform and, growing, the names of the upstreams that saw a request."""
    seen: list[str] = []

    def script_of(name: str) -> Any:
        async def script(_: Seen, wire: Wire) -> None:
            seen.append(name)
            await wire.json(completion(usage=USAGE))

        return script

    async with AsyncExitStack() as stack:
        lines = []
        for name, (party, role) in UPSTREAMS.items():
            up = await stack.enter_async_context(ScriptedUpstream(script_of(name)).running())
            speaks = f"{{openai: '{up.url}/v1'}}"
            lines.append(
                f"  {name}: {{party: {party}, as: {role}, speaks: {speaks}, "
                "keys: [{env: TEST_KEY}], on_cancel: stops}\n"
            )
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        lines.append(
            f"  dead: {{party: alpha, as: provider, speaks: {{openai: '{url}'}}, "
            "keys: [{env: TEST_KEY}]}\n"
        )
        text = PARTIES.lstrip() + "".join(lines) + "models:\n" + MODELS
        yield await stack.enter_async_context(start_platform(text)), seen


async def bound_key(
    platform: Platform,
    *,
    account_allow: tuple[str, ...] | None = None,
    account_deny: tuple[str, ...] = (),
    **fields: Any,
) -> TestKey:
    """A key of a paid account, both with bounds of their own."""
    account_id = mint_uuid7(SystemClock())
    assert await platform.store.accounts.create(
        account_id=account_id,
        email=f"{account_id}@example.com",
        shard=0,
        jurisdictions_allow=account_allow,
        jurisdictions_deny=account_deny,
    )
    amount = Nanos(5_000_000_000)
    await credit(platform.store, platform.worker.wallets, account_id, amount, "r1", "test", "test")
    token = mint_key_token()
    key = ApiKey(
        key_id=token.key_id,
        account_id=account_id,
        shard=0,
        epoch=1,
        secret_hash=KeyHasher(SECRET).hash(token.secret),
        limits=KeyLimits(),
        **fields,
    )
    await platform.store.keys.create(key)
    return TestKey(str(token), token.key_id, account_id, amount)


ALL = ("american", "french", "chinese", "unstated", "resold")
BOUNDS = [
    # How each of the three says it, and the models that may then be reached.
    ({"allow": ("US",)}, {"american"}),
    ({"allow": ("us", "FR")}, {"american", "french"}),
    ({"allow": ("EU",)}, {"french"}),
    ({"allow": ("NORTH",)}, {"french"}),
    ({"allow": ("eu-us",)}, {"american", "french"}),
    ({"allow": ("US", "FR", "SG")}, {"american", "french"}),
    ({"allow": ("US", "FR", "SG", "CN")}, {"american", "french", "chinese", "resold"}),
    ({"deny": ("CN",)}, {"american", "french"}),
    ({"deny": ("SG",)}, {"american", "french"}),
    ({"deny": ("DE",)}, {"american", "french", "chinese", "resold"}),
    ({"allow": ("US", "FR"), "deny": ("FR",)}, {"american"}),
]


async def test_account_key_and_request_each_bound_the_whole_chain(
    start_platform: PlatformFactory,
) -> None:
    async with world(start_platform) as (platform, seen):
        free = await platform.key()
        for bounds, reachable in BOUNDS:
            allow, deny = bounds.get("allow"), bounds.get("deny", ())
            by_account = await bound_key(platform, account_allow=allow, account_deny=deny)
            by_key = await bound_key(platform, jurisdictions_allow=allow, jurisdictions_deny=deny)
            asked = {"jurisdictions": {name: list(found) for name, found in bounds.items()}}
            for key, fields in ((by_account, {}), (by_key, {}), (free, asked)):
                seen.clear()
                for name in ALL:
                    answer = await platform.chat(key, model=name, **fields)
                    expected = 200 if name in reachable else 403
                    assert (bounds, name, answer.status) == (bounds, name, expected)
                    if expected == 403:
                        assert answer.json()["error"]["code"] == "jurisdiction_not_allowed"
                assert len(seen) == len(reachable)


APART = [
    ({"processing_allow": ["US"]}, {"american"}),
    ({"seats_allow": ["US"]}, {"american"}),  # who does not say where is refused by every bound
    ({"processing_allow": ["SG", "US", "FR"]}, {"american", "french", "chinese", "resold"}),
    ({"processing_allow": ["SG"], "seats_allow": ["SG", "CN"]}, {"chinese"}),
    ({"processing_allow": ["SG"], "seats_allow": ["SG"]}, set()),
    ({"processing_allow": ["EU"], "allow": ["FR", "US"]}, {"french"}),
    ({"seats_allow": ["US", "FR"], "deny": ["FR"]}, {"american"}),
    ({"processing_allow": ["eu-us"], "seats_allow": ["eu-us"]}, {"american", "french"}),
]


async def test_places_and_seats_can_be_bound_apart(start_platform: PlatformFactory) -> None:
    async with world(start_platform) as (platform, seen):
        key = await platform.key()
        for bounds, reachable in APART:
            seen.clear()
            for name in ALL:
                answer = await platform.chat(key, model=name, jurisdictions=bounds)
                expected = 200 if name in reachable else 403
                assert (bounds, name, answer.status) == (bounds, name, expected)
            assert len(seen) == len(reachable)
        for wrong in ({"seats_allow": []}, {"processing_allow": "US"}, {"seats_allow": ["XX"]}):
            answer = await platform.chat(key, model="american", jurisdictions=wrong)
            assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")


async def test_the_refusal_names_party_country_and_what_would_pass(
    start_platform: PlatformFactory,
) -> None:
    async with world(start_platform) as (platform, seen):
        key = await platform.key(allow=("US", "FR"))
        for name, party, country in (
            ("chinese", "Gamma Ltd.", "SG"),
            ("resold", "Gamma Ltd.", "SG"),
            ("unstated", "Delta Inc.", "does not say"),
        ):
            answer = await platform.chat(key, model=name)
            message = answer.json()["error"]["message"]
            assert (answer.status, party in message, country in message) == (403, True, True)
            assert "american" in message
            assert "french" in message
        assert seen == []


async def test_no_bound_loosens_another(start_platform: PlatformFactory) -> None:
    """Each of the three would allow what another one refuses."""
    async with world(start_platform) as (platform, seen):
        wide = ["US", "FR", "SG", "CN"]
        for bounds in (
            {"account_allow": ("FR",), "jurisdictions_allow": tuple(wide)},
            {"account_allow": tuple(wide), "jurisdictions_allow": ("FR",)},
            {"account_deny": ("US", "CN"), "jurisdictions_allow": tuple(wide)},
        ):
            key = await bound_key(platform, **bounds)
            for name in ("american", "chinese", "unstated", "resold"):
                for fields, headers in (
                    ({"jurisdictions": {"allow": wide}}, {}),
                    ({"provider": {"only": ["alpha", "gamma", "us", "cn"]}}, {}),
                    ({"provider": {"order": ["us", "cn"], "allow_fallbacks": True}}, {}),
                    ({}, {"x-apilink-jurisdictions": ",".join(wide)}),
                ):
                    body = chat_body(name, **fields)
                    answer = await platform.post(key, "/chat/completions", body, **headers)
                    assert (bounds, name, answer.status) == (bounds, name, 403)
        assert seen == []


async def test_the_header_is_the_request_s_bound(start_platform: PlatformFactory) -> None:
    async with world(start_platform) as (platform, seen):
        key = await platform.key()
        for value, model_name, status in (
            ("FR", "both", 200),
            (" fr , DE", "both", 200),
            ("FR", "american", 403),
            ("", "american", 400),
            ("US,,FR", "american", 400),
            ("Atlantis", "american", 400),
        ):
            name = {"x-apilink-jurisdictions": value}
            answer = await platform.post(key, "/chat/completions", chat_body(model_name), **name)
            assert (value, answer.status) == (value, status)
        assert seen == ["fr", "fr"]
        both = chat_body("american", jurisdictions={"allow": ["US"]})
        answer = await platform.post(
            key, "/chat/completions", both, **{"X-ApiLink-Jurisdictions": "US"}
        )
        assert (answer.status, answer.json()["error"]["param"]) == (400, "jurisdictions")


async def test_a_header_given_twice_is_refused_and_not_half_read(
    start_platform: PlatformFactory,
) -> None:
    async with world(start_platform) as (platform, seen):
        key = await platform.key()
        headers = CIMultiDict(key.headers)
        headers.add("x-apilink-jurisdictions", "US")
        headers.add("x-apilink-jurisdictions", "FR")
        url = f"{platform.base_url}/chat/completions"
        async with platform.http.post(url, json=chat_body("american"), headers=headers) as response:
            error = (await response.json())["error"]
        assert (response.status, error["param"]) == (400, "x-apilink-jurisdictions")
        assert seen == []


async def test_a_fallback_that_may_not_be_reached_is_skipped(
    start_platform: PlatformFactory,
) -> None:
    """The first model's upstream is away; three of the fallbacks are somebody's no."""
    async with world(start_platform) as (platform, seen):
        free = await platform.key()
        for key, own in (
            (await bound_key(platform, account_allow=("US", "FR")), {}),
            (await bound_key(platform, jurisdictions_deny=("CN",)), {}),
            (free, {"jurisdictions": {"allow": ["US", "FR"]}}),
        ):
            fields = {"models": ["chinese", "unstated", "resold", "french"], **own}
            seen.clear()
            answer = await platform.chat(key, model="dead", **fields)
            assert (answer.status, seen) == (200, ["fr"])
            assert answer.headers["x-apilink-model"] == "french"
            assert answer.headers["x-apilink-jurisdictions"] == "FR"
            # And what could be served is not refused because of them.
            answer = await platform.chat(key, model="american", **fields)
            assert (answer.status, seen) == (200, ["fr", "us"])


async def test_fallbacks_are_bound_by_the_models_of_a_key(start_platform: PlatformFactory) -> None:
    async with world(start_platform) as (platform, seen):
        key = await bound_key(platform, models_allow=frozenset({"dead", "french"}))
        answer = await platform.chat(key, model="dead", models=["american", "am", "french"])
        assert (answer.status, seen) == (200, ["fr"])
        answer = await platform.chat(key, model="american", models=["french"])
        assert (answer.status, answer.json()["error"]["code"]) == (403, "model_not_allowed")


async def test_a_key_allows_a_model_by_any_of_its_names(start_platform: PlatformFactory) -> None:
    async with world(start_platform) as (platform, _):
        for allowed in ("american", "am", "usa/model"):
            key = await bound_key(platform, models_allow=frozenset({allowed}))
            for name, status in (("american", 200), ("am", 200), ("usa/model", 200), ("both", 403)):
                answer = await platform.chat(key, model=name)
                assert (allowed, name, answer.status) == (allowed, name, status)
                if status == 200:
                    assert answer.headers["x-apilink-model"] == "american"


async def test_a_model_is_tried_once_however_often_it_is_named(
    start_platform: PlatformFactory,
) -> None:
    async with world(start_platform) as (platform, seen):
        key = await platform.key()
        answer = await platform.chat(key, model="dead", models=["dead", "dead"])
        assert (answer.status, answer.headers["x-apilink-attempts"]) == (502, "1")
        answer = await platform.chat(key, model="am", models=["american", "usa/model"])
        assert (answer.status, seen) == (200, ["us"])


async def test_a_fallback_that_does_not_exist_is_a_mistake_and_told(
    start_platform: PlatformFactory,
) -> None:
    async with world(start_platform) as (platform, seen):
        answer = await platform.chat(await platform.key(), model="american", models=["frenhc"])
        assert (answer.status, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "french" in answer.json()["error"]["message"]
        assert seen == []


async def test_the_chain_is_told_whole(start_platform: PlatformFactory) -> None:
    async with world(start_platform) as (platform, _):
        answer = await platform.chat(await platform.key(), model="resold")
        told = {n.removeprefix("x-apilink-"): v for n, v in answer.headers.items()}
        assert told["jurisdictions"] == "CN,FR,SG,US"
        assert (told["provider"], told["aggregator"]) == ("beta", "alpha")
        answer = await platform.chat(await platform.key(), model="unstated")
        assert answer.headers["x-apilink-jurisdictions"] == "US,unknown"


async def test_extensions_never_go_upstream(start_platform: PlatformFactory) -> None:
    bodies: list[dict[str, Any]] = []

    async def script(got: Seen, wire: Wire) -> None:
        bodies.append(got.json())
        assert not [name for name in got.headers if "apilink" in name]
        await wire.json(completion(usage=USAGE))

    async with platform_with(start_platform, {"m": script}) as (platform, _):
        extensions = {
            "provider": {
                "order": ["m"],
                "only": ["alpha", "m"],
                "ignore": ["beta"],
                "sort": "price",
                "allow_fallbacks": False,
                "max_price": {"prompt": "1", "completion": 2},
                "require_parameters": False,
                "data_collection": "allow",
                "zdr": False,
            },
            "models": ["m"],
        }
        own = {"temperature": 0.5, "vendor_field": {"provider": "kept"}}
        key = await platform.key()
        body = chat_body("m", **own, **extensions)
        answer = await platform.post(
            key, "/chat/completions", body, **{"x-apilink-jurisdictions": "US"}
        )
        assert answer.status == 200
        assert bodies == [chat_body("up-m", **own)]


WISHES: list[tuple[Any, int, Any]] = [
    ({"only": ["nobody"]}, 400, "invalid_request"),
    ({"ignore": ["us", "fr"]}, 400, "invalid_request"),
    ({"zdr": True}, 400, "invalid_request"),
    ({"data_collection": "deny"}, 400, "invalid_request"),
    ({"max_price": {"prompt": "0.99"}}, 400, "invalid_request"),
    ({"max_price": {"completion": 1.99}}, 400, "invalid_request"),
    ({"max_price": {"prompt": 1, "completion": "2.00"}}, 200, ["us"]),
    ({"order": ["fr"]}, 200, ["fr"]),
    ({"only": ["beta"]}, 200, ["fr"]),
    ({"ignore": ["alpha"]}, 200, ["fr"]),
    ({"ony": ["us"]}, 400, "invalid_request"),
    ({"max_price": {"prompts": "1"}}, 400, "invalid_request"),
    ({"sort": "cheapest"}, 400, "invalid_request"),
    ({"zdr": "true"}, 400, "invalid_request"),
    ("us", 400, "invalid_request"),
]


async def test_wishes_tighten(start_platform: PlatformFactory) -> None:
    async with world(start_platform) as (platform, seen):
        key = await platform.key()
        for wishes, status, expected in WISHES:
            seen.clear()
            answer = await platform.chat(key, model="both", provider=wishes)
            assert (wishes, answer.status) == (wishes, status)
            if status == 200:
                assert seen == expected
            else:
                assert (wishes, answer.json()["error"]["code"], seen) == (wishes, expected, [])
