"""Starts a program as systemd's socket activation does: systemd_launcher.py [@PATH] [--receive-buffer=BYTES] ADDRESS... -- COMMAND...

ADDRESS is host:port, udp:host:port or the path of a UNIX socket; their sockets become descriptors 3 and up. An address that is there twice
has SO_REUSEPORT. Who listens on the UNIX socket at PATH gets the sockets as well, as systemd keeps them.
"""

import os
import socket
import sys

separator = sys.argv.index("--")
keeper, addresses = None, sys.argv[1:separator]
if addresses and addresses[0].startswith("@"):
    keeper = addresses.pop(0)[1:]
buffer = addresses.pop(0).partition("=")[2] if addresses and addresses[0].startswith("--receive-buffer=") else None
sockets = []
for address in addresses:
    if address.startswith("/"):
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.bind(address)
        os.chmod(address, 0o640)
    else:
        host, port = address.removeprefix("udp:").rsplit(":", 1)
        kind = socket.SOCK_DGRAM if address.startswith("udp:") else socket.SOCK_STREAM
        one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        if kind == socket.SOCK_STREAM:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(addresses.count(address) > 1))
        one.bind((host, int(port)))
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(buffer))
    if one.type == socket.SOCK_STREAM:
        one.listen(17)
    sockets.append(os.dup2(os.dup(one.fileno()), 100 + len(sockets)))
    one.close()
if keeper:
    with socket.socket(socket.AF_UNIX) as to:
        to.connect(keeper)
        socket.send_fds(to, [b"x"], sockets)
for number, fd in enumerate(sockets):
    os.dup2(fd, 3 + number, inheritable=True)
os.closerange(3 + len(sockets), 200)
command = sys.argv[separator + 1 :]
os.execve(command[0], command, {**os.environ, "LISTEN_PID": str(os.getpid()),
                                "LISTEN_FDS": str(len(sockets))})
