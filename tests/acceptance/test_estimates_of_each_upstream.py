"""What one upstream states teaches nothing about another's answers."""

from tests.support.answers import TEXT, completion
from tests.support.platform import PlatformFactory
from tests.support.scripted_upstream import ScriptedUpstream, Seen, Wire
from tests.support.tables import model, table, upstream


async def test_an_upstream_that_counts_strangely_raises_no_other_upstreams_estimates(
    start_platform: PlatformFactory,
) -> None:
    async def strange(_: Seen, wire: Wire) -> None:
        usage = {"prompt_tokens": 9_000, "completion_tokens": 900, "total_tokens": 9_900}
        await wire.json(completion(usage=usage))

    async def silent(_: Seen, wire: Wire) -> None:
        await wire.json(completion())

    async with (
        ScriptedUpstream(strange).running() as one,
        ScriptedUpstream(silent).running() as two,
    ):
        ups = upstream("one", one.url) + upstream("two", two.url, party="beta")
        async with start_platform(table(ups, model("m", "one", "two"))) as platform:
            for _ in range(3):
                key = await platform.key()
                answer = await platform.chat(key, model="m", provider={"only": ["alpha"]})
                await platform.charged(key, answer, None, status="ok", source="reported")
            key = await platform.key()
            answer = await platform.chat(key, model="m", provider={"only": ["beta"]})
            row = await platform.charged(key, answer, None, status="ok", source="estimated")
            assert row["output"] == -(-len(TEXT) // 4)
