"""The routes of the test programs as a WSGI application, for gunicorn."""
import time


def length_of(stream):
    total = 0
    while True:
        piece = stream.read(65536)
        if not piece:
            return total
        total += len(piece)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    _, route, *rest = path.split("/")
    argument = rest[0] if rest else ""

    def answer(status, body, headers=()):
        start_response(status, [("Content-Length", str(len(body))), *headers])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    if route == "hello":
        return answer("200 OK", b"hello\n")
    if route == "echo":
        return answer("200 OK", str(length_of(environ["wsgi.input"])).encode())
    if route == "bytes":
        return answer("200 OK", b"b" * int(argument))
    if route == "chunked":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        left = int(argument)
        return (b"c" * min(1000, left - at) for at in range(0, left, 1000))
    if route == "status":
        code = int(argument)
        if code in (204, 304):
            start_response(f"{code} Status", [])
            return []
        return answer(f"{code} Status", b"status\n")
    if route == "slow":
        time.sleep(int(argument) / 1000)
        return answer("200 OK", b"slow\n")
    return answer("404 Not Found", b"none\n")
