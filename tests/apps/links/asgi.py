"""A front end on uvicorn, calling by httpx: `asgi.py PORT LOG DOWNSTREAM...`, each DOWNSTREAM a port of 127.0.0.1. What belongs
together is written to LOG at the end: `IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`."""
import asyncio
import collections
import random
import sys

import httpx
import uvicorn

port, log, *downstream = sys.argv[1:]
truth = []
seen_in, seen_out = collections.Counter(), collections.Counter()
client = None


def count(ports, number):
    ports[number] += 1
    return ports[number] - 1


async def call(own, which, path):
    async with client.stream("GET", f"http://127.0.0.1:{downstream[which]}{path}") as response:
        # One request at a time is on a connection: they are answered in the order in which they were sent.
        stream = response.extensions["network_stream"]
        ends = [stream.get_extra_info(name)[1] for name in ("client_addr", "server_addr")]
        local = "{} {}".format(*ends)
        truth.append(f"{own} {local} {count(seen_out, local)}")
        await response.aread()


async def one(own):
    await call(own, 0, "/a")


async def sequence(own):
    await call(own, 0, "/a")
    await call(own, 1, "/b")


async def parallel(own):
    await asyncio.gather(call(own, 0, "/a"), call(own, 1, "/b"))
    await call(own, 0, "/c")


async def cached(own):
    await call(own, 0, "/a")
    if random.random() < 0.5:
        await call(own, 1, "/b")


ROUTES = {"one": one, "sequence": sequence, "parallel": parallel, "cached": cached}


async def lifespan(receive, send):
    global client
    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=None), timeout=30)
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    with open(log, "w") as file:
        file.write("\n".join(truth) + "\n")
    await send({"type": "lifespan.shutdown.complete"})


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    remote = scope["client"][1]
    own = f"{remote} {count(seen_in, remote)}"
    work = ROUTES.get(scope["path"][1:])
    if work:
        await work(own)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"done\n"})


uvicorn.run(application, port=int(port), loop="asyncio", lifespan="on", access_log=False, log_level="warning")
