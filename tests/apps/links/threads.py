"""A front end with a thread to each connection, or (`pool`) with one thread that reads requests and others that take them from a
queue: `threads.py thread|pool PORT LOG DOWNSTREAM...`. What belongs together is written to LOG at the end:
`IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`."""
import collections
import http.client
import queue
import random
import selectors
import signal
import socket
import sys
import threading
import time

# Before there are threads, so that none of them gets it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
kind, port, log, *downstream = sys.argv[1:]
WORKERS = 64
lock = threading.Lock()
truth = []
seen_in, seen_out = collections.Counter(), collections.Counter()
idle = [queue.LifoQueue() for _ in downstream]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n"


def count(ports, number):
    ports[number] += 1
    return ports[number] - 1


def call(own, which, path):
    try:
        connection = idle[which].get_nowait()
    except queue.Empty:
        connection = http.client.HTTPConnection("127.0.0.1", int(downstream[which]))
        connection.connect()
    local = f"{connection.sock.getsockname()[1]} {downstream[which]}"
    with lock:
        truth.append(f"{own} {local} {count(seen_out, local)}")
    connection.request("GET", path)
    connection.getresponse().read()
    idle[which].put(connection)


def pause():
    time.sleep(random.uniform(0.002, 0.008))


def work(route, own):
    if route == "one":
        call(own, 0, "/a")
    elif route == "sequence":
        call(own, 0, "/a")
        call(own, 1, "/b")
    elif route == "parallel":
        other = threading.Thread(target=call, args=(own, 0, "/a"))
        other.start()
        call(own, 1, "/b")
        other.join()
        call(own, 0, "/c")
    elif route == "cached":
        call(own, 0, "/a")
        if random.random() < 0.5:
            call(own, 1, "/b")
    elif route == "timer":
        pause()
        call(own, 0, "/a")
        pause()
        call(own, 1, "/b")


def read(connection):
    """The route of the next request; `None` at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        if not piece:
            return None
        head += piece
    return head.split(b" ")[1].decode().split("?")[0].strip("/")


def serve(connection, route):
    remote = connection.getpeername()[1]
    with lock:
        own = f"{remote} {count(seen_in, remote)}"
    work(route, own)
    connection.sendall(ANSWER)


def each(connection):
    while (route := read(connection)) is not None:
        serve(connection, route)
    connection.close()


def listen():
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=512)
    if kind == "thread":
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=each, args=(connection,), daemon=True).start()
    requests = queue.SimpleQueue()

    def worker():
        while True:
            serve(*requests.get())

    for _ in range(WORKERS):
        threading.Thread(target=worker, daemon=True).start()
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            route = read(key.fileobj)
            if route is None:
                selector.unregister(key.fileobj)
                key.fileobj.close()
            else:
                requests.put((key.fileobj, route))


threading.Thread(target=listen, daemon=True).start()
signal.sigwait({signal.SIGTERM})
with lock, open(log, "w") as file:
    file.write("\n".join(truth) + "\n")
