"""`rediss://`: the whole way of a call over TLS, to one server and to a cluster."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from proxy.dev.servers import Server
from proxy.ledger.address import parse_redis_url
from proxy.ledger.faults import NotSentError
from proxy.ledger.library import check_store, load_library
from proxy.ledger.link import Link
from tests.support.certificates import Certificate, make_certificate
from tests.support.redis_cluster import HOST, free_ports, running_cluster

DEBIAN = Path("/usr/bin/redis-server")


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "localhost")


@pytest.fixture
async def tls_port(redis_server: Server, certificate: Certificate) -> AsyncIterator[int]:
    """The embedded server speaks no TLS: something in front of it does."""
    path = redis_server.url.removeprefix("unix://")
    handlers: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        answers, server = await asyncio.open_unix_connection(path)
        with suppress(OSError):
            await asyncio.gather(_pass(reader, server), _pass(answers, writer))
        for end in (server, writer):
            with suppress(OSError):
                await end.wait_closed()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    async with await asyncio.start_server(accept, HOST, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
    if handlers:
        await asyncio.wait(handlers)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
    finally:
        writer.close()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    link = Link(parse_redis_url(url), timeout_ms=2_000, calls_max=100)
    link.greetings.extend((check_store, load_library().ensure))
    try:
        await link.start()
        yield link
    finally:
        await link.close()


async def test_a_call_over_tls(tls_port: int, certificate: Certificate) -> None:
    async with linked(f"rediss://localhost:{tls_port}?ca={certificate.cert}") as link:
        assert await link.call("EXISTS", "al:{s99}:shard") == 0


@pytest.mark.parametrize("ca", ["", "?ca={none}"])
async def test_a_server_that_nobody_vouches_for_gets_no_call(
    tls_port: int, tmp_path: Path, ca: str
) -> None:
    with pytest.raises(NotSentError):
        async with linked(f"rediss://localhost:{tls_port}{ca.format(none=tmp_path / 'none.pem')}"):
            pass


async def test_a_server_of_another_name_gets_no_call(
    tls_port: int, certificate: Certificate
) -> None:
    with pytest.raises(NotSentError, match="certificate"):
        async with linked(f"rediss://127.0.0.1:{tls_port}?ca={certificate.cert}"):
            pass


@pytest.mark.skipif(
    not DEBIAN.exists(), reason=f"{DEBIAN} is not installed: the embedded server speaks no TLS"
)
async def test_a_cluster_over_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, HOST)
    (port,) = free_ports(1)
    settings = {
        "tls-port": str(port),
        "tls-cert-file": str(certificate.cert),
        "tls-key-file": str(certificate.key),
        "tls-ca-cert-file": str(certificate.cert),
        "tls-auth-clients": "no",
        "tls-cluster": "yes",  # so that nodes tell each other's TLS ports
    }
    async with running_cluster(
        tmp_path / "cluster", DEBIAN, masters=1, replicas=0, settings=settings
    ):
        url = f"rediss://127.0.0.1:{port}?cluster=true&ca={certificate.cert}"
        async with linked(url) as link:
            assert await link.call("EXISTS", "al:{s99}:shard") == 0
