"""A front end that speaks gRPC on both sides, with threads or on asyncio: `rpc.py threads|asyncio PORT LOG DOWNSTREAM...`. Nothing is
written to LOG: a call's message says which request it belongs to."""
import asyncio
import random
import sys
import threading
import time
from concurrent import futures

import grpc

kind, port, _, *downstream = sys.argv[1:]
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
ROUTES = ("one", "sequence", "parallel", "cached", "timer", "none")


def threads():
    channels = [grpc.insecure_channel(f"127.0.0.1:{to}", OPTIONS) for to in downstream]
    pool = futures.ThreadPoolExecutor(max_workers=256)

    def call(which, path, message):
        channels[which].unary_unary(path)(message)

    def pause():
        time.sleep(random.uniform(0.002, 0.008))

    def work(route, message):
        if route == "one":
            call(0, "/lab.Back/A", message)
        elif route == "sequence":
            call(0, "/lab.Back/A", message)
            call(1, "/lab.Back/B", message)
        elif route == "parallel":
            other = pool.submit(call, 0, "/lab.Back/A", message)
            call(1, "/lab.Back/B", message)
            other.result()
            call(0, "/lab.Back/C", message)
        elif route == "cached":
            call(0, "/lab.Back/A", message)
            if random.random() < 0.5:
                call(1, "/lab.Back/B", message)
        elif route == "timer":
            pause()
            call(0, "/lab.Back/A", message)
            pause()
            call(1, "/lab.Back/B", message)

    def handler(route):
        def answer(message, _):
            work(route, message)
            return b"done"

        return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=256), options=[("grpc.so_reuseport", 0)])
    handlers = {route: handler(route) for route in ROUTES}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Links", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    threading.Event().wait()


async def tasks():
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{to}", OPTIONS) for to in downstream]

    async def call(which, path, message):
        await channels[which].unary_unary(path)(message)

    async def pause():
        await asyncio.sleep(random.uniform(0.002, 0.008))

    async def work(route, message):
        if route == "one":
            await call(0, "/lab.Back/A", message)
        elif route == "sequence":
            await call(0, "/lab.Back/A", message)
            await call(1, "/lab.Back/B", message)
        elif route == "parallel":
            await asyncio.gather(call(0, "/lab.Back/A", message), call(1, "/lab.Back/B", message))
            await call(0, "/lab.Back/C", message)
        elif route == "cached":
            await call(0, "/lab.Back/A", message)
            if random.random() < 0.5:
                await call(1, "/lab.Back/B", message)
        elif route == "timer":
            await pause()
            await call(0, "/lab.Back/A", message)
            await pause()
            await call(1, "/lab.Back/B", message)

    def handler(route):
        async def answer(message, _):
            await work(route, message)
            return b"done"

        return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handlers = {route: handler(route) for route in ROUTES}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Links", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if kind == "threads":
    threads()
else:
    asyncio.run(tasks())
