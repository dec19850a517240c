"""HTTPS servers that come to TLS in unusual ways: tls.py MODE PORT CHAIN KEY [FILE].

Modes: plain; late (loads the library when FILE is there); prefork (workers forked with the library); fork (a child for each
connection shakes hands); handed (a child goes on with a session that its parent began, and the parent with others).
"""
import os
import signal
import socket
import sys
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


def serve(connection):
    """Answers requests without body until the client ends."""
    waiting = b""
    while True:
        while b"\r\n\r\n" not in waiting:
            piece = connection.recv(65536)
            if not piece:
                return
            waiting += piece
        _, waiting = waiting.split(b"\r\n\r\n", 1)
        connection.sendall(OK)


def main():
    mode, port, chain, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    if mode == "late":
        while not os.path.exists(sys.argv[5]):
            time.sleep(0.005)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    if mode == "prefork":
        for _ in range(3):
            if os.fork() == 0:
                break
    while True:
        connection, _ = listener.accept()
        is_child = mode == "fork" and os.fork() == 0
        if mode == "fork" and not is_child:
            connection.close()
            continue
        try:
            session = context.wrap_socket(connection, server_side=True)
            if mode == "handed":
                is_child = os.fork() == 0
                if not is_child:
                    # Without a word to the client: the session is the child's.
                    os.close(session.detach())
                    continue
            serve(session)
            session.close()
        except OSError:
            # A client that only looks whether somebody listens does not shake hands.
            connection.close()
        if is_child:
            os._exit(0)


main()
