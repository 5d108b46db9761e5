"""`/v1/models` tells who would see a request, and nothing of how we reach them."""

from urllib.parse import quote

from tests.support.platform import PlatformFactory
from tests.support.tables import model, table, upstream

HIDDEN = (
    "TEST_KEY",
    "sk-upstream",
    "127.0.0.1",
    "http://",
    "hidden-title",
    "up-maker",
    "secretive",
)


async def test_no_address_key_or_name_of_ours_is_told(start_platform: PlatformFactory) -> None:
    route = ", body: {secretive: true}, headers: {x-title: hidden-title}"
    text = table(
        upstream("one", "http://127.0.0.1:9"),
        model("maker/model", "one", route=route, aliases="[short, other/name]"),
    )
    async with start_platform(text) as platform:
        key = await platform.key()
        names = ("maker/model", "maker%2Fmodel", "short", "other/name", "other%2fname")
        for target in ("/models", *(f"/models/{name}" for name in names)):
            for base in ("/v1", "/api/v1"):
                url = platform.running.base_url + base + target
                async with platform.http.get(url, headers=key.headers) as response:
                    body = await response.text()
                assert (target, response.status) == (target, 200)
                assert [word for word in HIDDEN if word in body + str(response.headers)] == []
                assert '"id":"maker/model"' in body
        unknown = f"{platform.base_url}/models/{quote('no such model', safe='')}"
        async with platform.http.get(unknown, headers=key.headers) as response:
            error = (await response.json())["error"]
        assert (response.status, error["code"]) == (404, "model_not_found")


async def test_every_list_needs_a_key(start_platform: PlatformFactory) -> None:
    async with start_platform(table(upstream("one", "http://127.0.0.1:9"), model("m", "one"))) as p:
        wrong = ("/usage?limit=0", "/generation", "/generation?id=x")  # told to who may ask at all
        for path in ("/models", "/models/m", "/models/none", "/key", "/credits", "/usage", *wrong):
            for headers in ({}, {"authorization": "Bearer sk-al-short"}, {"x-api-key": "sk-other"}):
                async with p.http.get(p.base_url + path, headers=headers) as response:
                    error = (await response.json())["error"]
                assert (path, response.status) == (path, 401)
                assert error["code"] == "invalid_api_key"
                assert response.headers["x-should-retry"] == "false"
