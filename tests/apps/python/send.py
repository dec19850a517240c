"""Does what a plan on standard input says, by the library that is named, and prints each exchange.

    send.py requests|httpx|aiohttp|aiohttp-uvloop
"""
import asyncio
import itertools
import json
import os
import ssl
import sys
import threading

PLAN = json.load(sys.stdin)
CA = PLAN["authority"]
BASE = f"{'https' if CA else 'http'}://{PLAN['address']}"
H2 = PLAN["version"] == "h2"
EXCHANGES = []


def tell(connection, port, asked, status, body):
    EXCHANGES.append({
        "connection": connection, "port": port, "method": asked["method"], "path": asked["path"],
        "status": status, "body": body,
    })


def body_of(asked):
    return b"b" * asked["body"] if asked["body"] else None


def with_requests():
    import requests

    def on_connection(connection, asked_for):
        with requests.Session() as session:
            session.trust_env = False
            if CA:
                session.verify = CA
            for asked in asked_for:
                url = BASE + asked["path"]
                with session.request(asked["method"], url, data=body_of(asked), stream=True) as response:
                    port = response.raw._connection.sock.getsockname()[1]
                    tell(connection, port, asked, response.status_code, len(response.content))

    threads = [threading.Thread(target=on_connection, args=pair) for pair in enumerate(PLAN["connections"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def at_once(asked_for, number, one):
    """So many at once as the plan wants."""
    left = iter(asked_for)

    async def worker():
        for asked in left:
            await one(asked)

    await asyncio.gather(*(worker() for _ in range(number)))


async def at_gate(connection, ordinal):
    """Waits where the plan says, which wants one request in flight for that; gives more headers for the request."""
    gate = PLAN.get("gate")
    if not gate:
        return {}
    if ordinal == gate["after"]:
        with open(f"{gate['directory']}/c{connection}", "w"):
            pass
        while not os.path.exists(f"{gate['directory']}/open"):
            await asyncio.sleep(0.005)
    return {"x-serial": f"serial-of-the-request-{ordinal:06}"}


async def with_httpx():
    import httpx

    trust = ssl.create_default_context(cafile=CA) if CA else False
    limits = httpx.Limits(max_connections=1)

    async def on_connection(connection, asked_for):
        async with httpx.AsyncClient(
            http1=not H2, http2=H2, verify=trust, limits=limits, trust_env=False, timeout=30
        ) as client:
            ordinals = itertools.count()

            async def one(asked):
                url = BASE + asked["path"]
                headers = await at_gate(connection, next(ordinals))
                async with client.stream(
                    asked["method"], url, content=body_of(asked), headers=headers
                ) as response:
                    port = response.extensions["network_stream"].get_extra_info("client_addr")[1]
                    tell(connection, port, asked, response.status_code, len(await response.aread()))

            await at_once(asked_for, max(1, PLAN["in_flight"]) if H2 else 1, one)

    await asyncio.gather(*(on_connection(*pair) for pair in enumerate(PLAN["connections"])))


async def with_aiohttp():
    import socket

    import aiohttp

    trust = ssl.create_default_context(cafile=CA) if CA else False

    async def on_connection(connection, asked_for):
        sockets = []

        def make(address):
            sockets.append(socket.socket(*address[:3]))
            return sockets[-1]

        connector = aiohttp.TCPConnector(limit=1, ssl=trust, socket_factory=make)
        async with aiohttp.ClientSession(connector=connector) as session:
            for asked in asked_for:
                async with session.request(asked["method"], BASE + asked["path"], data=body_of(asked)) as response:
                    size = len(await response.read())
                    tell(connection, sockets[-1].getsockname()[1], asked, response.status, size)

    await asyncio.gather(*(on_connection(*pair) for pair in enumerate(PLAN["connections"])))


library = sys.argv[1]
if library == "requests":
    with_requests()
elif library == "httpx":
    asyncio.run(with_httpx())
elif library == "aiohttp":
    asyncio.run(with_aiohttp())
elif library == "aiohttp-uvloop":
    import uvloop

    uvloop.run(with_aiohttp())
else:
    sys.exit(f"unknown library {library}")
json.dump(EXCHANGES, sys.stdout)
