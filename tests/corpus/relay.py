#!/usr/bin/python3
"""Stands between a client and its server, and makes of the client's datagrams what those of one are whose address has changed.

    relay.py NEAR FAR SECONDS HOST PORT [back]

What arrives at NEAR goes to FAR and the answers back. After so many seconds each datagram of the client goes to HOST and PORT instead,
from a socket of its own; with `back` it is the answers that go there, from the first one on. All ports are on 127.0.0.1 but the listener's.
"""

import contextlib
import select
import socket
import sys
import time

near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
near.bind(("127.0.0.1", int(sys.argv[1])))
server = "127.0.0.1", int(sys.argv[2])
until = time.monotonic() + float(sys.argv[3])
listener = sys.argv[4], int(sys.argv[5])
answers_are_kept = sys.argv[6:] == ["back"]
far = {}  # the sockets to the server, by client
kept = []


def far_of(client):
    if client not in far:
        far[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far[client].connect(server)
    return far[client]


def keep(data):
    kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    kept[-1].sendto(data, listener)


def take(ready):
    data, source = ready.recvfrom(2048)
    if ready is not near and answers_are_kept:
        keep(data)
    elif ready is not near:
        near.sendto(data, next(client for client, one in far.items() if one is ready))
    elif answers_are_kept or time.monotonic() < until:
        far_of(source).send(data)
    else:
        keep(data)


while True:
    for each in select.select([near, *far.values()], [], [])[0]:
        with contextlib.suppress(ConnectionRefusedError):  # the server has not begun
            take(each)
