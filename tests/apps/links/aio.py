"""A front end on asyncio: `aio.py LOOP PORT LOG DOWNSTREAM...`, LOOP being `asyncio` or `uvloop`, each DOWNSTREAM a port of
127.0.0.1. What belongs together is written to LOG at the end: `IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`."""
import asyncio
import collections
import contextvars
import random
import signal
import sys

import aiohttp
from aiohttp import web

loop_kind, port, log, *downstream = sys.argv[1:]
truth = []
owner = contextvars.ContextVar("owner")
request_id = contextvars.ContextVar("request_id", default=None)
seen_in, seen_out = collections.Counter(), collections.Counter()


def count(ports, number):
    ports[number] += 1
    return ports[number] - 1


class Noted(aiohttp.ClientRequest):
    """A request that notes which connection it is sent on."""

    async def send(self, connection):
        ends = [connection.transport.get_extra_info(name)[1] for name in ("sockname", "peername")]
        local = "{} {}".format(*ends)
        truth.append(f"{owner.get()} {local} {count(seen_out, local)}")
        return await super().send(connection)


async def call(app, own, which, path):
    owner.set(own)
    headers = {"X-Request-ID": request_id.get()} if request_id.get() else None
    async with app["session"].get(f"http://127.0.0.1:{downstream[which]}{path}", headers=headers) as response:
        await response.read()


async def one(app, own):
    await call(app, own, 0, "/a")


async def sequence(app, own):
    await call(app, own, 0, "/a")
    await call(app, own, 1, "/b")


async def parallel(app, own):
    await asyncio.gather(call(app, own, 0, "/a"), call(app, own, 1, "/b"))
    await call(app, own, 0, "/c")


async def cached(app, own):
    await call(app, own, 0, "/a")
    if random.random() < 0.5:
        await call(app, own, 1, "/b")


async def timer(app, own):
    await asyncio.sleep(random.uniform(0.002, 0.008))
    await call(app, own, 0, "/a")
    await asyncio.sleep(random.uniform(0.002, 0.008))
    await call(app, own, 1, "/b")


ROUTES = {"one": one, "sequence": sequence, "parallel": parallel, "cached": cached, "timer": timer}


async def handle(request):
    remote = request.transport.get_extra_info("peername")[1]
    own = f"{remote} {count(seen_in, remote)}"
    request_id.set(request.headers.get("X-Request-ID"))
    work = ROUTES.get(request.match_info["route"])
    if work:
        await work(request.app, own)
    return web.Response(text="done\n")


async def main():
    app = web.Application()
    app.router.add_get("/{route}", handle)
    connector = aiohttp.TCPConnector(limit=0)
    app["session"] = aiohttp.ClientSession(connector=connector, request_class=Noted)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    with open(log, "w") as file:
        file.write("\n".join(truth) + "\n")


if loop_kind == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
