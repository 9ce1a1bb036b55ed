#!/usr/bin/env python3
"""Receives connections that usher hands over, without libusher-handover: the wire format in sixty lines.

usage: receiver.py /path/of.sock

Greets each client by what usher knows of it, and hangs up. The format is described in usher/handover.h.
"""
import os
import socket
import struct
import sys
import threading

NAMES = {2: "service", 3: "protocol", 4: "sni", 5: "alpn", 6: "host", 7: "client", 8: "local"}
TCPMUX = struct.pack("=I", 0xDEADBEAF)
HELLO = struct.pack("!4sBBH", b"USHR", 1, 1, 8)
ACKNOWLEDGE = 2  # the flag


class Channel:
    """One of usher's connections to us, just accepted. usher opens one a worker and keeps it."""

    def __init__(self, sock):
        self.sock = sock
        self.announced = self.announce()
        self.taken = 0

    def announce(self):
        """Announces acknowledgements, before anything is read: connections that are not acknowledged are sent again."""
        try:
            self.sock.sendall(HELLO)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False  # usher has gone, and leaves us what it had sent

    def acknowledge(self):
        self.taken += 1
        self.sock.sendall(struct.pack("!4sBBHQ", b"USHR", 1, 2, 16, self.taken))

    def receive(self):
        """The next connection: its socket and a dict of attributes; None when the channel ends."""
        # Offer a large buffer only at the start of a message: the kernel stops behind bytes that have a descriptor.
        try:
            message, fds, _, _ = socket.recv_fds(self.sock, 1024, 16)
        except ConnectionResetError:  # an older usher, which has not read our hello
            return None
        try:
            if not message:
                return None
            if message != TCPMUX:
                message = self.rest(message)
            if len(fds) != 1:
                raise ValueError("not one descriptor")
            attributes = attributes_of(message)
            # From here on it is ours. If the acknowledgement fails (BrokenPipeError), usher has taken it back.
            if self.announced and len(message) >= 8 and message[5] & ACKNOWLEDGE:
                self.acknowledge()
            return socket.socket(fileno=fds.pop()), attributes
        finally:
            for fd in fds:
                os.close(fd)

    def rest(self, message):
        while len(message) < 8 or len(message) < struct.unpack_from("!H", message, 6)[0]:
            total = struct.unpack_from("!H", message, 6)[0] if len(message) >= 8 else 8
            more = self.sock.recv(total - len(message))
            if not more:
                raise ValueError("message cut off")
            message += more
        if message[:5] != b"USHR\x01" or len(message) != struct.unpack_from("!H", message, 6)[0]:
            raise ValueError("not a handover message")
        return message


def attributes_of(message):
    attributes, at = {}, 8
    while at < len(message):
        kind, length = struct.unpack_from("!HH", message, at)
        value = message[at + 4 : at + 4 + length]
        if kind == 1:
            attributes["id"] = int.from_bytes(value, "big")
        elif kind in NAMES:  # others are for receivers that know them
            attributes[NAMES[kind]] = value.decode("latin-1")
        at += 4 + length
    return attributes


def greet(client, attributes):
    with client:
        client.setblocking(True)
        client.sendall(f"connection {attributes.get('id', 0)} of service {attributes.get('service', '')}\n".encode())


def serve(sock):
    """Answers every connection of one channel."""
    with sock:
        channel = Channel(sock)
        while True:
            try:
                taken = channel.receive()
            except BrokenPipeError:
                break  # usher has taken back what was left on this channel
            if taken is None:
                break
            try:
                greet(*taken)
            except OSError:
                pass  # that client's affair


def main():
    path = sys.argv[1]
    if os.path.exists(path):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
