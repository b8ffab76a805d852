# A Runtime API proxy on aiohttp, as one would write it today: bodies are streamed both ways.
import asyncio
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../" + os.path.basename(__file__))
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web  # noqa: E402 - its folder is found above

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
UPSTREAM = "http://" + os.environ["PROXY_UPSTREAM"]


async def main():
    # Idle connections would be closed after 15 s upstream, and after 75 s here: a frozen environment knows no idling.
    connector = TCPConnector(keepalive_timeout=86_400)
    timeout = ClientTimeout(total=None, sock_connect=None)
    async with ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:

        async def handle(request):
            headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
            body = request.content if request.can_read_body else None
            async with session.request(
                request.method, UPSTREAM + request.path_qs, headers=headers, data=body
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response

        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None, keepalive_timeout=86_400)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(site._server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
