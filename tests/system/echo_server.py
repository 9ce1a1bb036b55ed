"""An echo server: echo_server.py GREETING FD... serves the listening sockets FD, any number of clients.

In one thread. It says GREETING first, then gives back what comes, and after the client's end of
stream its own.
"""

import selectors
import socket
import sys

ROOM = 1 << 20  # unsent bytes at which a client is no longer read


class Client:
    def __init__(self, connection, greeting):
        self.connection = connection
        self.unsent = bytearray(greeting)
        self.ended = False
        self.events = 0


def serve(greeting, listening):
    selector = selectors.DefaultSelector()

    def watch(client):
        events = 0
        if not client.ended and len(client.unsent) < ROOM:
            events |= selectors.EVENT_READ
        if client.unsent:
            events |= selectors.EVENT_WRITE
        if events == client.events:
            return
        if not client.events:
            selector.register(client.connection, events, client)
        elif not events:
            selector.unregister(client.connection)
        else:
            selector.modify(client.connection, events, client)
        client.events = events

    def drop(client):
        if client.events:
            selector.unregister(client.connection)
        client.connection.close()

    def turn(client, events):
        if events & selectors.EVENT_READ:
            piece = client.connection.recv(1 << 18)
            client.ended = not piece
            client.unsent += piece
        if client.unsent:
            try:
                del client.unsent[: client.connection.send(client.unsent)]
            except BlockingIOError:
                pass
        if client.ended and not client.unsent:
            drop(client)
        else:
            watch(client)

    for one in listening:
        one.setblocking(False)
        selector.register(one, selectors.EVENT_READ, None)
    while True:
        for key, events in selector.select():
            if key.data is None:
                try:
                    connection, _ = key.fileobj.accept()
                except OSError:
                    continue
                connection.setblocking(False)
                client, events = Client(connection, greeting), 0
            else:
                client = key.data
            try:
                turn(client, events)
            except OSError:
                drop(client)


if __name__ == "__main__":
    serve(sys.argv[1].encode(), [socket.socket(fileno=int(fd)) for fd in sys.argv[2:]])
