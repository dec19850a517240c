"""A front end for gunicorn: `LINKS="LOG DOWNSTREAM..." gunicorn ... wsgi:application`, each DOWNSTREAM a port of 127.0.0.1. What belongs
together is written to LOG as it happens, by all processes: `IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`."""
import collections
import http.client
import os
import queue
import random
import threading

log, *downstream = os.environ["LINKS"].split(" ")
# Lines that are appended in one write are whole.
file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
lock = threading.Lock()
seen_out = collections.Counter()
idle = [queue.LifoQueue() for _ in downstream]


def count(ports, number):
    with lock:
        ports[number] += 1
        return ports[number] - 1


def call(own, which, path):
    try:
        connection = idle[which].get_nowait()
    except queue.Empty:
        connection = http.client.HTTPConnection("127.0.0.1", int(downstream[which]))
        connection.connect()
    local = f"{connection.sock.getsockname()[1]} {downstream[which]}"
    os.write(file, f"{own} {local} {count(seen_out, local)}\n".encode())
    connection.request("GET", path)
    connection.getresponse().read()
    idle[which].put(connection)


def work(route, own):
    if route in ("one", "sequence", "cached"):
        call(own, 0, "/a")
    if route == "sequence" or route == "cached" and random.random() < 0.5:
        call(own, 1, "/b")
    if route == "parallel":
        other = threading.Thread(target=call, args=(own, 0, "/a"))
        other.start()
        call(own, 1, "/b")
        other.join()
        call(own, 0, "/c")


def count_in(port):
    """How many requests came from a port before, to any process: ports are used again. A file for each counts."""
    counter = os.open(f"{log}-{port}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(counter, b".")
    ordinal = os.lseek(counter, 0, os.SEEK_CUR) - 1
    os.close(counter)
    return ordinal


def application(environ, start):
    remote = environ["REMOTE_PORT"]
    work(environ["PATH_INFO"].strip("/"), f"{remote} {count_in(remote)}")
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"done\n"]
