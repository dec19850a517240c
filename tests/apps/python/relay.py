"""A server with a thread per connection that asks the next one: relay.py ADDRESS PORT NEXT [CHAIN KEY AUTHORITY].

NEXT is a URL, or "-" for the last. With certificates it speaks TLS at both ends. It hands no header on, and keeps its
connections to the next one, one per thread.
"""
import http.client
import socketserver
import ssl
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler

MINE = threading.local()


def ask(url, path, authority):
    """Asks the next one, on this thread's connection."""
    parts = urllib.parse.urlsplit(url)
    if not hasattr(MINE, "connection"):
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=authority)
            context.check_hostname = False
            MINE.connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=10)
        else:
            MINE.connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    MINE.connection.request("GET", path)
    return MINE.connection.getresponse().read()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = sys.argv[3]
        body = b"end" if url == "-" else b"via " + ask(url, self.path, sys.argv[6] if len(sys.argv) > 6 else None)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def main():
    server = Server((sys.argv[1], int(sys.argv[2])), Handler)
    if len(sys.argv) > 4:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[4], sys.argv[5])
        # The hand-shake is of the connection's thread.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


main()
