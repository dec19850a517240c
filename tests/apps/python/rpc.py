"""The service `lab.Lab` on grpcio, server and client; messages are bytes.

    rpc.py serve-rpc PORT [CHAIN KEY]
    rpc.py call < plan.json > outcomes.json
"""
import asyncio
import json
import sys
import time
from concurrent import futures

import grpc

SERVICE = "lab.Lab"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def number(message):
    word = message.decode().split(" ")[0]
    return int(word) if word.isdigit() else 0


def echo(message, _):
    return message


def count(message, context):
    for ordinal in range(number(message)):
        yield str(ordinal).encode()
    words = message.decode().split(" ")
    if len(words) > 1:
        context.abort(CODES[int(words[1])], "counted")


def total(messages, _):
    return str(sum(number(message) for message in messages)).encode()


def chat(messages, _):
    yield from messages


def fail(message, context):
    code, text = message.decode().split(" ", 1)
    context.abort(CODES[int(code)], text)


def slow(message, context):
    end = time.monotonic() + number(message) / 1000
    while context.is_active() and time.monotonic() < end:
        time.sleep(0.001)
    return b"slow"


def serve(port, chain=None, key=None):
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=128), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if chain:
        pair = (open(key, "rb").read(), open(chain, "rb").read())
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


async def one(channel, asked, done):
    path, message, timeout = done["path"], asked["message"].encode(), asked["deadline_ms"]
    timeout = None if timeout is None else timeout / 1000
    rpc = asked["rpc"]
    if rpc == "Count":
        done["sent"] = 1
        async for _ in channel.unary_stream(path)(message, timeout=timeout):
            done["received"] += 1
    elif rpc == "Sum":
        done["sent"] = asked["count"]
        await channel.stream_unary(path)(iter([message] * asked["count"]), timeout=timeout)
        done["received"] = 1
    elif rpc == "Chat":
        call = channel.stream_stream(path)(timeout=timeout)
        for _ in range(asked["count"]):
            await call.write(message)
            done["sent"] += 1
            if await call.read() is not grpc.aio.EOF:
                done["received"] += 1
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            done["received"] += 1
    else:
        done["sent"] = 1
        await channel.unary_unary(path)(message, timeout=timeout)
        done["received"] = 1


async def on_connection(plan, connection, calls, outcomes):
    # Without a pool of its own, a channel shares its connection with the others.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    if plan["authority"]:
        trust = grpc.ssl_channel_credentials(open(plan["authority"], "rb").read())
        channel = grpc.aio.secure_channel(
            plan["address"], trust, options + [("grpc.ssl_target_name_override", "localhost")]
        )
    else:
        channel = grpc.aio.insecure_channel(plan["address"], options)
    left = iter(enumerate(calls))

    async def worker():
        for ordinal, asked in left:
            done = {
                "connection": connection, "ordinal": ordinal, "path": f"/{SERVICE}/{asked['rpc']}",
                "status": 0, "sent": 0, "received": 0,
            }
            try:
                await one(channel, asked, done)
            except grpc.RpcError as error:
                done["status"] = error.code().value[0]
            outcomes.append(done)

    async with channel:
        await channel.channel_ready()
        await asyncio.gather(*(worker() for _ in range(max(1, plan["in_flight"]))))


async def call():
    plan, outcomes = json.load(sys.stdin), []
    connections = enumerate(plan["connections"])
    await asyncio.gather(*(on_connection(plan, connection, calls, outcomes) for connection, calls in connections))
    json.dump(outcomes, sys.stdout)


if sys.argv[1] == "call":
    asyncio.run(call())
else:
    serve(*sys.argv[2:])
