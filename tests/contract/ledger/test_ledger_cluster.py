"""The ledger on three masters and three replicas: every shard, failovers, slots that move."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.dev.binaries import NoServerError, find_redis
from proxy.dev.servers import Server
from proxy.domain.clock import SystemClock
from proxy.domain.errors import LedgerUnavailableError
from proxy.domain.outcome import Outcome
from proxy.ledger.faults import LedgerSetupError, RefusedError
from proxy.ledger.opening import open_wallets
from routing.money import Nanos
from tests.support.cluster_world import SHARDS, ClusterWorld, keys_on, shard_slot
from tests.support.databases import cloned, make_template
from tests.support.platform import open_platform, settings_for
from tests.support.redis_cluster import RedisCluster, make_cluster
from tests.support.tables import model, table, upstream

TABLE = table(upstream("one", "http://127.0.0.1:9"), model("m", "one"))
# What does not depend on the server's own ways is tried on one of them.
EMBEDDED = pytest.mark.parametrize("cluster", ["embedded"], indirect=True)
DEBIAN = Path("/usr/bin/redis-server")


@pytest.fixture(scope="module")
def template(postgres_server: Server) -> str:
    return make_template(postgres_server.url)


@pytest.fixture(scope="module", params=["embedded", "debian"])
def cluster(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """Each in turn: the embedded Valkey and Debian's Redis."""
    if request.param == "debian" and not DEBIAN.exists():
        pytest.skip(f"{DEBIAN} is not installed (apt-get install redis-server)")
    try:
        binary = DEBIAN if request.param == "debian" else find_redis({})
    except NoServerError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as directory:
        cluster = make_cluster(Path(directory), binary)
        try:
            asyncio.run(cluster.start())
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def tcp_redis(tmp_path: Path) -> Iterator[str]:
    """A server by itself, on TCP; its URL."""
    alone = make_cluster(
        tmp_path, find_redis({}), masters=1, replicas=0, settings={"cluster-enabled": "no"}
    )
    alone.nodes[0].start()
    try:
        asyncio.run(alone.answers())
        yield f"redis://127.0.0.1:{alone.nodes[0].port}"
    finally:
        alone.stop()


@pytest.fixture
async def world(
    cluster: RedisCluster, postgres_server: Server, template: str, tmp_path: Path
) -> AsyncIterator[ClusterWorld]:
    """A gateway and a worker, and an account with money on every shard."""
    for number in range(cluster.masters):
        await (await cluster.master(number)).says("FLUSHALL")
    with cloned(postgres_server.url, template) as dsn:
        settings = settings_for(cluster.url, dsn, tmp_path, shards=SHARDS)
        async with open_platform(settings, TABLE) as platform:
            world = ClusterWorld(cluster, platform)
            for shard in range(SHARDS):
                await world.open_account(shard)
            yield world


async def test_charges_of_every_shard_reach_postgres(world: ClusterWorld) -> None:
    async with world.load() as load:
        await world.answered_everywhere(load)
    assert load.refused == 0
    await world.assert_books(load)


async def test_a_killed_master_loses_and_doubles_nothing(world: ClusterWorld) -> None:
    async with world.load() as load:
        await world.cluster.kill_master(await world.cluster.shard_of(shard_slot(0)))
        await world.answered_everywhere(load)
    await world.assert_books(load)


async def test_a_master_that_hands_over_loses_and_doubles_nothing(world: ClusterWorld) -> None:
    async with world.load() as load:
        for number in range(world.cluster.masters):
            await world.cluster.failover(number)
        await world.answered_everywhere(load)
    assert world.ledger.lost_shards == frozenset()
    await world.assert_books(load)


async def test_a_slot_moves_key_by_key_under_load(world: ClusterWorld) -> None:
    slot = shard_slot(0)
    source = await world.cluster.shard_of(slot)
    target = (source + 1) % world.cluster.masters
    async with world.load() as load:
        await world.cluster.reshard([slot], source, target, pause_seconds=0.05)
        await world.answered_everywhere(load)
        await world.cluster.reshard([slot], target, source, pause_seconds=0.05)
        await world.answered_everywhere(load)
    assert load.refused > 0  # the moves were noticed, and told with 503
    await world.assert_books(load)


@EMBEDDED
async def test_a_master_that_stands_still_loses_and_doubles_nothing(world: ClusterWorld) -> None:
    async with world.load() as load:
        await world.cluster.pause_master(await world.cluster.shard_of(shard_slot(1)))
        await world.answered_everywhere(load)
    await world.assert_books(load)


@EMBEDDED
async def test_a_slot_changes_hands_at_one_moment_under_load(world: ClusterWorld) -> None:
    slot = shard_slot(0)
    source = await world.cluster.shard_of(slot)
    target = (source + 1) % world.cluster.masters
    async with world.load() as load:
        await world.cluster.move_slots_whole(slot, slot, source, target)
        await world.answered_everywhere(load)
        await world.cluster.move_slots_whole(slot, slot, target, source)
        await world.answered_everywhere(load)
    await world.assert_books(load)


@EMBEDDED
async def test_a_dead_third_stops_its_own_accounts_alone(world: ClusterWorld) -> None:
    await world.cluster.everywhere("CONFIG", "SET", "cluster-require-full-coverage", "no")
    dead = await world.cluster.shard_of(shard_slot(0))
    key = next(key for key in world.keys if key.shard == 0)
    alive = [key for key in world.keys if await world.shard_of(key) != dead]
    async with world.load() as load:
        pass
    hold = await world.hold(key)
    world.cluster.kill_shard(dead)
    load.recorded[hold.request_id] = (key.account_id, 77)
    await world.record(hold, 77)  # in the journal
    with pytest.raises(LedgerUnavailableError):
        await world.hold(key)
    for other in alive:  # and settled, though the pump has one that cannot be sent
        hold = await world.hold(other)
        load.recorded[hold.request_id] = (other.account_id, 88)
        await world.record(hold, 88)
        await world.until_free(other)
    assert world.ledger.backlog > 0
    await world.cluster.restart_shard(dead)
    await world.cluster.everywhere("CONFIG", "SET", "cluster-require-full-coverage", "yes")
    await world.assert_books(load)


@EMBEDDED
async def test_a_replica_that_lagged_is_found_out_when_it_takes_over(world: ClusterWorld) -> None:
    """What it never got is in the gateway's journal: the shards recover by themselves."""
    number = await world.cluster.shard_of(shard_slot(0))
    lost = {key.shard for key in world.keys if await world.shard_of(key) == number}
    await world.cluster.lag(number)
    async with world.load() as load:
        before = await world.generations()
        await world.cluster.kill_master(number, then=world.cluster.catch_up)
        await world.answered_everywhere(load)
    after = await world.generations()
    assert {shard for shard in after if after[shard] > before[shard]} == lost
    assert 0 in lost
    await world.assert_books(load)


async def test_half_a_wallet_is_no_wallet(world: ClusterWorld) -> None:
    """While its slot moves, a shard refuses; what it refused has happened nowhere."""
    key = next(key for key in world.keys if key.shard == 0)
    source = await world.cluster.shard_of(shard_slot(0))
    target = (source + 1) % world.cluster.masters
    async with world.load() as load:
        pass
    hold = await world.hold(key)
    async with world.cluster.migrating(shard_slot(0), source, target) as migration:
        keys = await migration.keys()
        assert len(keys) > 4
        for name in keys:
            with pytest.raises(LedgerUnavailableError) as raised:
                await world.hold(key)
            assert _code_of(raised.value) in ("TRYAGAIN", "ASK")
            before = await keys_on(migration.target)
            await migration.move(name)
            assert set(await keys_on(migration.target)) == {*before, name.decode()}
        # All is there, and nobody says yet that it is: a call on keys that exist is passed on.
        outcome, _, _ = await world.ledger.key_state(key)
        assert outcome is Outcome.OK
        assert await world.ledger.extend(hold, Nanos(hold.amount_nanos + 1)) is Outcome.OK
        # A call of one key would be run on nothing just as well: it waits.
        with pytest.raises(RefusedError, match="ASK"):
            await world.ledger._fenced._link.call("EXISTS", "al:{s0}:shard")
    await world.cluster.settled()
    await world.record(hold, 99)
    load.recorded[hold.request_id] = (key.account_id, 99)
    await world.assert_books(load)
    await world.cluster.reshard([shard_slot(0)], target, source)


def _code_of(error: LedgerUnavailableError) -> str:
    assert isinstance(error.__cause__, RefusedError)
    return error.__cause__.code


@EMBEDDED
async def test_one_node_is_not_taken_for_the_store(world: ClusterWorld) -> None:
    node = world.cluster.nodes[0]
    with pytest.raises(LedgerSetupError, match="cluster=true"):
        await _open(f"redis://127.0.0.1:{node.port}", world)


@EMBEDDED
async def test_a_single_server_is_not_taken_for_a_cluster(
    world: ClusterWorld, tcp_redis: str
) -> None:
    with pytest.raises(LedgerSetupError, match="no cluster"):
        await _open(f"{tcp_redis}?cluster=true", world)


@EMBEDDED
async def test_seeds_that_are_gone_are_passed_over(world: ClusterWorld) -> None:
    first = f"redis://127.0.0.1:1,127.0.0.1:{world.cluster.nodes[4].port}?cluster=true"
    await _open(first, world)
    with pytest.raises(LedgerUnavailableError):
        await _open("redis://127.0.0.1:1,127.0.0.1:2?cluster=true", world)


async def _open(url: str, world: ClusterWorld) -> None:
    shards = world.platform.store.shards
    async with open_wallets(redis_url=url, shards=shards, clock=SystemClock(), timeout_ms=2_000):
        pass
