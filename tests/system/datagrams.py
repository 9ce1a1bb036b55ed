"""Servers and clients over UDP, for the tests of datagrams."""

import pathlib
import socket
import struct
import threading

from harness import slow

UDP_SEGMENT, UDP_GRO = 103, 104
IP_RECVERR, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 11, 10, 2


class Server:
    """A UDP server in a thread: what it got, in order, as (datagram, client, TOS); `answer(datagram)` gives the answers, by default
    the datagram itself."""

    def __init__(self, address=("127.0.0.1", 0), answer=None, gro=False, tos=0):
        self.family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(self.family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if self.family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
        if gro:
            self.socket.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        self.socket.bind(address)
        self.address = self.socket.getsockname()
        self.port = self.address[1]
        self.answer = answer or (lambda datagram: [datagram])
        self.got = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def text(self):
        return f"[{self.address[0]}]:{self.port}" if self.family == socket.AF_INET6 else f"{self.address[0]}:{self.port}"

    def _serve(self):
        while True:
            try:
                datagram, control, _, client = self.socket.recvmsg(65536, 256)
            except OSError:
                return
            if datagram == b"end of the server":
                return
            tos = 0
            for _, kind, data in control:
                if kind in (socket.IP_TOS, socket.IPV6_TCLASS):
                    tos = data[0]
            self.got.append((datagram, client, tos))
            for answer in self.answer(datagram):
                try:
                    self.socket.sendto(answer, client)
                except OSError:
                    pass

    def datagrams(self):
        return [datagram for datagram, _, _ in list(self.got)]

    def close(self):
        with socket.socket(self.family, socket.SOCK_DGRAM) as last:
            last.sendto(b"end of the server", self.address)
        self.thread.join(slow(5))
        self.socket.close()


def client(port, host="127.0.0.1", source=None, timeout=10.0):
    """A socket that is connected to usher's port there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.settimeout(slow(timeout))
    if source:
        one.bind(source)
    one.connect((host, port))
    return one


def exchange(one, datagram):
    one.send(datagram)
    return one.recv(65536)


def send_segments(one, segments):
    """Datagrams of one size, the last perhaps shorter, in one call (UDP_SEGMENT)."""
    one.sendmsg([b"".join(segments)], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", len(segments[0])))])


def dns_question(name="www.example", number=0x1234):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def read_inodes(port, table):
    lines = [line.split() for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]]
    return sorted(int(fields[9]) for fields in lines if fields[1].endswith(f":{port:04X}"))


def udp_inodes(port, table="udp"):
    """Of the sockets on the port, in the order in which they were made. The kernel gives the table in pieces, and passes some over
    where others come and go meanwhile: what it says three times in a row is so."""
    seen = [read_inodes(port, table)]
    while len(seen) < 3 or not seen[-1] == seen[-2] == seen[-3]:
        seen.append(read_inodes(port, table))
    return seen[-1]
