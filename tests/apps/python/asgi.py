"""The routes of the test programs as a bare ASGI application, for uvicorn."""
import asyncio


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    _, route, *rest = scope["path"].split("/")
    argument = rest[0] if rest else ""

    async def answer(status, body, headers=None):
        if headers is None:
            headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    if route == "hello":
        await answer(200, b"hello\n")
    elif route == "echo":
        total, more = 0, True
        while more:
            message = await receive()
            total += len(message.get("body", b""))
            more = message.get("more_body", False)
        await answer(200, str(total).encode())
    elif route == "bytes":
        await answer(200, b"b" * int(argument))
    elif route == "chunked":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        left = int(argument)
        for at in range(0, left, 1000):
            piece = b"c" * min(1000, left - at)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    elif route == "status":
        code = int(argument)
        await answer(code, b"" if code in (204, 304) else b"status\n", [] if code in (204, 304) else None)
    elif route == "slow":
        await asyncio.sleep(int(argument) / 1000)
        await answer(200, b"slow\n")
    else:
        await answer(404, b"none\n")
