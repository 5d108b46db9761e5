"""What one gateway leaves behind and another settles."""

from tests.support.ledger_world import World, charge, held, reconnected


async def test_the_charges_of_a_dead_gateway_are_not_counted_as_ones_own(world: World) -> None:
    """The next one settles numbers far above its own: that is no tail that the store has lost."""
    key = world.account()
    async with world.gateway() as first:
        holds = [await held(first, key, world.id(), 300) for _ in range(5)]
        world.proxy.is_refusing = True
        world.proxy.cut()
        for hold in holds:
            await first.record(hold, charge(hold, 120))
    world.proxy.is_refusing = False
    async with world.gateway() as second:
        assert await second.drain(seconds=5)
        assert await world.wallet(key) == (1_000_000_000 - 5 * 120, 0)
        await reconnected(world, second)
        assert second.lost_shards == set()
        await held(second, key, world.id(), 300)
