# A secret cache on aiohttp, as one would write it today: one handler, an answer made beforehand.
import asyncio
import os
import sys
from hmac import compare_digest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../" + os.path.basename(__file__))
from aiohttp import ClientSession, web  # noqa: E402 - its folder is found above

TOKEN = os.environ["AWS_SESSION_TOKEN"]
ANSWERS = {"bench": os.environ["BENCH_ANSWER"].encode()}
API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2020-01-01/extension"


async def get(request):
    if not compare_digest(request.headers.get("X-Aws-Parameters-Secrets-Token", ""), TOKEN):
        return web.Response(status=401, text="bad session token or header key")
    body = ANSWERS.get(request.query.get("secretId", ""))
    if body is None:
        return web.Response(status=400)
    return web.Response(body=body, content_type="application/json")


async def main():
    application = web.Application()
    application.router.add_get("/secretsmanager/get", get)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"])).start()
    async with ClientSession() as session:
        registration = {"events": ["INVOKE", "SHUTDOWN"]}
        headers = {"Lambda-Extension-Name": os.path.basename(__file__)}
        async with session.post(API + "/register", json=registration, headers=headers) as answer:
            identifier = answer.headers["Lambda-Extension-Identifier"]
        while True:
            async with session.get(API + "/event/next", headers={"Lambda-Extension-Identifier": identifier}) as answer:
                if b"SHUTDOWN" in await answer.read():
                    return


asyncio.run(main())
