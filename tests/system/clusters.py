"""Three machines that run usher, between a router and their servers; each is a network namespace.

    client  10.0.0.2 -- eth0 --  router  10.0.0.1  192.0.2.1 -- eth1 --+-- eth0  192.0.2.11  machine 1  198.51.100.11  eth1 --+-- servers
                                                                       +-- eth0  192.0.2.12  machine 2  198.51.100.12  eth1 --+   198.51.100.1
                                                                       +-- eth0  192.0.2.13  machine 3  198.51.100.13  eth1 --+   .21 .22 .23
"""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import threading

from harness import read_exactly, slow
from namespaces import Network

_numbers = itertools.count(1)


class Cluster(Network):
    def __init__(self):
        number = next(_numbers)
        self.client, self.router, self.servers, *self.machines = (f"usher-{os.getpid()}-{number}-{name}" for name in ("c", "r", "s", "1", "2", "3"))

    def __exit__(self, *_):
        for name in (self.client, self.router, self.servers, *self.machines):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _build(self):
        for name in (self.client, self.router, self.servers, *self.machines):
            self.host("ip", "netns", "add", name)
            self.ip(name, "link set lo up")
        self.run(self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self._cable(self.client, "eth0", self.router, "eth0")
        for name, device in ((self.router, "eth1"), (self.servers, "eth0")):
            self.ip(name, f"link add {device} type bridge forward_delay 0")
        for name, device, address in ((self.client, "eth0", "10.0.0.2"), (self.router, "eth0", "10.0.0.1"), (self.router, "eth1", "192.0.2.1"),
                                      *((self.servers, "eth0", f"198.51.100.{last}") for last in (1, 21, 22, 23))):
            self.ip(name, f"addr add {address}/24 dev {device}")
            self.ip(name, f"link set {device} up")
        self.ip(self.client, "route add default via 10.0.0.1")
        for number, machine in enumerate(self.machines, 1):
            for device, other, network in (("eth0", self.router, "192.0.2"), ("eth1", self.servers, "198.51.100")):
                self._cable(machine, device, other, f"port{number}")
                self.ip(other, f"link set port{number} master {'eth1' if other == self.router else 'eth0'} up")
                self.ip(machine, f"addr add {network}.1{number}/24 dev {device}")
                self.ip(machine, f"link set {device} up")
            self.ip(machine, "route add default via 192.0.2.1")

    def _cable(self, one, device, other, other_device):
        self.host("ip", "link", "add", device, "netns", one, "type", "veth", "peer", "name", other_device, "netns", other)

    def unplug(self, number):
        """That machine is gone for all others, without a word."""
        self.ip(self.router, f"link set port{number} down")
        self.ip(self.servers, f"link set port{number} down")


class Serving:
    """Servers on port 443 of the three addresses, TCP and UDP: each says its number, and then echoes; a datagram is answered by the number."""

    def __init__(self, net):
        self.sockets = []
        for number in (1, 2, 3):
            stream, datagrams = net.call(net.servers, self._sockets, f"198.51.100.2{number}")
            self.sockets += [stream, datagrams]
            name = b"%d" % number
            threading.Thread(target=self._accept, args=(stream, name), daemon=True).start()
            threading.Thread(target=self._answer, args=(datagrams, name), daemon=True).start()

    @staticmethod
    def _sockets(address):
        stream = socket.create_server((address, 443))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((address, 443))
        return stream, datagrams

    def _accept(self, stream, name):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._echo, args=(stream.accept()[0], name), daemon=True).start()

    @staticmethod
    def _echo(peer, name):
        with contextlib.suppress(OSError), peer:
            peer.sendall(name)
            while data := peer.recv(1000):
                peer.sendall(data)

    @staticmethod
    def _answer(datagrams, name):
        with contextlib.suppress(OSError):
            while peer := datagrams.recvfrom(1000)[1]:
                datagrams.sendto(name, peer)

    def close(self):
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Stream:
    """A client's connection that has had its server's number."""

    def __init__(self, address, timeout):
        self.sock = socket.socket()
        self.sock.settimeout(timeout)
        self.sock.connect((address, 443))
        self.sock.sendall(b"hello")
        self.server = read_exactly(self.sock, 6)[:1]

    def lives(self):
        """Whether a byte goes there and comes back."""
        try:
            self.sock.settimeout(slow(1))
            self.sock.sendall(b"x")
            return self.sock.recv(1) == b"x"
        except OSError:
            return False


class Flow:
    """A client's datagrams, from one port."""

    def __init__(self, address):
        self.address = address
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(0.2)

    def server(self):
        """The number of the one that answered; None: none did."""
        with contextlib.suppress(OSError):
            self.sock.sendto(b"hello", (self.address, 443))
            return self.sock.recv(10)


def have_nexthops():
    return shutil.which("ip") is not None and "resilient" in subprocess.run(["ip", "nexthop", "help"], capture_output=True, text=True, check=False).stderr
