"""Three machines on this one, joined by wires that the test is the other end of: they lose, delay, reorder and repeat packets, or are cut.

    client 192.0.2.7  -- wire --  192.0.2.1 usher 198.51.100.1  -- wire --  198.51.100.2 server

Each machine is a network namespace and each end of a wire a tun device there; a thread carries the packets across, with a seed.
"""

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time

import namespaces

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
_numbers = itertools.count(1)


def open_tun(device):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return fd


class Wire(threading.Thread):
    """Carries packets between two tun devices. Set .loss, .repeat (chances), .delay, .jitter (seconds), .cut (nothing gets through)
    at any time; .lost, .carried count."""

    def __init__(self, ends, seed):
        super().__init__(daemon=True)
        self.ends = ends
        self.loss = self.repeat = self.delay = self.jitter = 0.0
        self.cut = False
        self.lost = self.carried = 0
        self.random = random.Random(seed)
        self.waiting, self.numbers = [], itertools.count()
        self.wake, self.end = os.pipe()
        self.start()

    def _take(self, fd, to):
        while True:
            try:
                packet = os.read(fd, 65536)
            except BlockingIOError:
                return
            copies = 0 if self.cut or self.random.random() < self.loss else 1
            copies += copies and self.random.random() < self.repeat
            self.lost += not copies
            for _ in range(copies):
                due = time.monotonic() + self.delay + self.random.random() * self.jitter
                heapq.heappush(self.waiting, (due, next(self.numbers), to, packet))

    def run(self):
        one, other = self.ends
        poll = select.poll()
        for fd in (one, other, self.wake):
            poll.register(fd, select.POLLIN)
        while True:
            timeout = max(0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready = [fd for fd, _ in poll.poll(None if timeout is None else 1000 * timeout)]
            if self.wake in ready:
                return
            for fd in ready:
                self._take(fd, other if fd == one else one)
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, _, to, packet = heapq.heappop(self.waiting)
                try:
                    os.write(to, packet)
                    self.carried += 1
                except OSError:
                    self.lost += 1  # its queue is full, as any router's may be

    def close(self):
        os.close(self.end)
        self.join()
        for fd in (*self.ends, self.wake):
            os.close(fd)


class Wires(namespaces.Network):
    """A network whose links are .near (to the client) and .far (to the server)."""

    def __exit__(self, *error):
        for wire in (getattr(self, "near", None), getattr(self, "far", None)):
            if wire:
                wire.close()
        super().__exit__(*error)

    def _end(self, name, device, address):
        fd = self.call(name, open_tun, device)
        self.ip(name, f"addr add {address}/24 dev {device}")
        self.ip(name, f"link set {device} mtu 9000 up")
        return fd

    def _build(self):
        seed = next(_numbers)
        for name in (self.client, self.usher, self.server):
            subprocess.run(["ip", "netns", "add", name], check=True)
            self.ip(name, "link set lo up")
        self.near = Wire((self._end(self.client, "w0", "192.0.2.7"), self._end(self.usher, "w0", "192.0.2.1")), seed)
        self.far = Wire((self._end(self.usher, "w1", "198.51.100.1"), self._end(self.server, "w0", "198.51.100.2")), -seed)
