"""Asks a server on one connection until it is ended: asker.py ADDRESS PORT PREFIX. Each path is asked for once."""
import http.client
import itertools
import sys
import time

connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=60)
for number in itertools.count():
    connection.request("GET", f"/{sys.argv[3]}/{number}")
    connection.getresponse().read()
    time.sleep(0.1)
