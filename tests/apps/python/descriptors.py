"""HTTP servers that treat their descriptors in unusual ways: descriptors.py MODE PORT [HOST].

Modes: plain, dup, dup2, fcntl, fork, passed, inetd, prefork, calls, meanwhile.
"""
import contextlib
import fcntl
import os
import select
import socket
import sys
import tempfile

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
READERS = ["recv", "read", "readv", "recvfrom", "recvmsg", "peek", "again"]


def receive(connection, how):
    fd = connection.fileno()
    if how == "read":
        return os.read(fd, 65536)
    if how == "readv":
        parts = [bytearray(7), bytearray(20), bytearray(65536)]
        count = os.readv(fd, parts)
        return b"".join(parts)[:count]
    if how == "recvfrom":
        return connection.recvfrom(65536)[0]
    if how == "recvmsg":
        parts = [bytearray(5), bytearray(65536)]
        count = connection.recvmsg_into(parts)[0]
        return b"".join(parts)[:count]
    if how == "peek":
        connection.recv(65536, socket.MSG_PEEK)
        connection.recv(10, socket.MSG_PEEK)
        return connection.recv(65536)
    if how == "again":
        connection.setblocking(False)
        try:
            while True:
                try:
                    return connection.recv(65536)
                except BlockingIOError:
                    select.select([connection], [], [])
        finally:
            connection.setblocking(True)
    return connection.recv(65536)


def send(connection, body, how):
    fd = connection.fileno()
    head = OK % len(body)
    if how == "write":
        os.write(fd, head + body)
    elif how == "writev":
        os.writev(fd, [head[:9], head[9:], body])
    elif how == "sendto":
        # On a connected stream socket the address is ignored.
        connection.send(head)
        connection.send(body)
    elif how == "sendmsg":
        connection.sendmsg([head, body])
    elif how == "sendfile":
        connection.sendall(head, socket.MSG_MORE)
        with tempfile.TemporaryFile() as file:
            file.write(body)
            file.flush()
            sent = 0
            while sent < len(body):
                sent += os.sendfile(fd, file.fileno(), sent, len(body) - sent)
    elif how == "splice":
        connection.sendall(head)
        inside, outside = os.pipe()
        for at in range(0, len(body), 4096):
            os.write(outside, body[at:at + 4096])
            left = len(body[at:at + 4096])
            while left:
                left -= os.splice(inside, fd, left)
        os.close(inside)
        os.close(outside)
    else:
        connection.sendall(head + body)


def serve(connection):
    """Answers requests without body until the client ends: /hello, /calls/WRITER/LENGTH."""
    waiting, served = b"", 0
    while True:
        while b"\r\n\r\n" not in waiting:
            piece = receive(connection, READERS[served % len(READERS)])
            if not piece:
                return
            waiting += piece
        head, waiting = waiting.split(b"\r\n\r\n", 1)
        parts = head.split(b" ")[1].decode().split("/")
        writer, length = (parts[2], int(parts[3])) if parts[1] == "calls" else ("send", 6)
        send(connection, b"x" * length, writer)
        served += 1


def head_of(connection):
    """Reads a head, each byte in a call of its own, as Go's server does with the first; gives method, target and length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise EOFError
        head += byte
    lines = head.lower().split(b"\r\n")
    method, target, _ = lines[0].split(b" ")
    lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    return method, target, sum(lengths)


def request_of(connection):
    """The same with the body, in small pieces; gives method and target."""
    method, target, length = head_of(connection)
    while length > 0:
        length -= len(connection.recv(min(length, 5)))
    return method, target


def serve_meanwhile(connection):
    """Reads a second request before it sends the first answer's body, and all up to `/last` before it answers the others."""
    asked = [request_of(connection)]
    while asked:
        connection.sendall(OK % 10)
        method, target = asked.pop(0)
        if target != b"/last" and not asked:
            asked.append(request_of(connection))
        if method != b"head":
            connection.sendall(b"later")
            connection.sendall(b"LATER")
        while asked and asked[-1][1] != b"/last":
            asked.append(request_of(connection))
    connection.recv(1)


def change(connection, mode):
    """The same connection by another descriptor."""
    if mode == "dup":
        other = socket.socket(fileno=os.dup(connection.fileno()))
    elif mode == "dup2":
        other = socket.socket(fileno=os.dup2(connection.fileno(), 77))
    else:
        other = socket.socket(fileno=fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, 50))
    connection.close()
    return other


def worker(channel):
    """Serves connections that come as messages."""
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not descriptors:
            return
        with socket.socket(fileno=descriptors[0]) as connection:
            serve(connection)


def main():
    mode, port = sys.argv[1], int(sys.argv[2])
    host = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    if mode == "served":
        # What `inetd` starts: the connection is standard input and output.
        return serve(socket.socket(fileno=0))
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(64)
    channel = None
    if mode == "passed":
        channel, other = socket.socketpair()
        if os.fork() == 0:
            listener.close()
            channel.close()
            return worker(other)
        other.close()
    if mode == "prefork":
        for _ in range(3):
            if os.fork() == 0:
                break
    while True:
        connection, _ = listener.accept()
        if mode in ("dup", "dup2", "fcntl"):
            connection = change(connection, mode)
        if mode == "fork":
            if os.fork() == 0:
                listener.close()
                serve(connection)
                os._exit(0)
        elif mode == "inetd":
            if os.fork() == 0:
                os.dup2(connection.fileno(), 0)
                os.dup2(connection.fileno(), 1)
                os.execv(sys.executable, [sys.executable, sys.argv[0], "served", "0"])
        elif mode == "passed":
            socket.send_fds(channel, [b"c"], [connection.fileno()])
        elif mode == "meanwhile":
            with contextlib.suppress(EOFError):
                serve_meanwhile(connection)
        else:
            serve(connection)
        connection.close()


main()
