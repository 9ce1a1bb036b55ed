#!/usr/bin/env python3
"""Takes connections that usher hands over, without libusher-handover: the wire format in thirty lines.

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


def receive(channel):
    """The next connection on a channel: its socket and a dict of attributes; None when the channel ends."""
    # Offer a large buffer only at the start of a message: the kernel stops behind bytes that have a descriptor.
    message, fds, _, _ = socket.recv_fds(channel, 1024, 16)
    try:
        if not message:
            return None
        if message != TCPMUX:
            while len(message) < 8 or len(message) < struct.unpack_from("!H", message, 6)[0]:
                total = struct.unpack_from("!H", message, 6)[0] if len(message) >= 8 else 8
                more = channel.recv(total - len(message))
                if not more:
                    raise ValueError("message cut off")
                message += more
            if message[:5] != b"USHR\x01" or len(message) != struct.unpack_from("!H", message, 6)[0]:
                raise ValueError("not a handover message")
        if len(fds) != 1:
            raise ValueError("not one descriptor")
        attributes, at = {}, 8
        while at < len(message):
            kind, length = struct.unpack_from("!HH", message, at)
            value = message[at + 4 : at + 4 + length]
            if kind == 1:
                attributes["id"] = int.from_bytes(value, "big")
            elif kind in NAMES:  # others are for receivers that know them
                attributes[NAMES[kind]] = value.decode("latin-1")
            at += 4 + length
        return socket.socket(fileno=fds.pop()), attributes
    finally:
        for fd in fds:
            os.close(fd)


def serve(channel):
    """Answers everything that comes on one channel (usher opens one a worker)."""
    with channel:
        while (taken := receive(channel)) is not None:
            client, attributes = taken
            with client:
                client.setblocking(True)
                client.sendall(f"connection {attributes.get('id', 0)} of service {attributes.get('service', '')}\n".encode())


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
