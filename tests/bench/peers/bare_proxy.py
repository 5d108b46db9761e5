"""aiohttp's server and client on uvloop, passing bytes through and doing nothing else.

`python -m tests.bench.peers.bare_proxy PORT ORIGIN_PORT`
"""

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

_LEFT_OUT = ("transfer-encoding", "content-length", "connection", "date", "server")


class BareProxy:
    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        self._session = session
        self._origin = origin

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {"content-type": request.content_type}
        url = self._origin + request.path
        async with self._session.post(url, data=body, headers=headers) as reply:
            passed = {n: v for n, v in reply.headers.items() if n.lower() not in _LEFT_OUT}
            if "content-length" in reply.headers:
                return web.Response(status=reply.status, headers=passed, body=await reply.read())
            response = web.StreamResponse(status=reply.status, headers=passed)
            await response.prepare(request)
            async for data in reply.content.iter_any():
                await response.write(data)
            await response.write_eof()
            return response


async def main(port: int, origin_port: int) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout()
    ) as session:
        proxy = BareProxy(session, f"http://127.0.0.1:{origin_port}")
        server = web.Server(proxy.handle, access_log=None)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
