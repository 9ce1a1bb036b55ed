"""Both ends of a relayed connection, played by the test itself: clients and backends that reset, stall,
half-close and check what comes; what processes cost; a ClientHello made to measure."""

import contextlib
import hashlib
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import harness
from harness import ready, slow
from servers import listening

SANITIZED = b"__asan_init" in harness.BINARY.read_bytes() if harness.BINARY.exists() else False

# Everything that begins with "go" is relayed to the test's own backend.
RELAY = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = "127.0.0.1:{backend}"; } );
"""


class Named:
    """A server that says its name to each client and keeps the connection until the client ends it. `silent`: says nothing."""

    def __init__(self, name, port=0, silent=False):
        self.name, self.silent, self.accepted = name.encode(), silent, 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(1000)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.accepted += 1
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client):
        with contextlib.suppress(OSError), client:
            if not self.silent:
                client.sendall(self.name)
            while client.recv(1024):
                pass

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Hanging:
    """A port whose backlog is full: a connection to it is neither accepted nor refused."""

    def __init__(self, port=0):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(filler)
        time.sleep(0.05)

    def relent(self):
        """Lets everybody in from now on."""
        for filler in self.fillers:
            filler.close()
        self.fillers = []
        self.listener.settimeout(slow(5))
        self.listener.listen(100)

    def close(self):
        for sock in (*self.fillers, self.listener):
            sock.close()


class Backend:
    """A listening socket of the test's own: .port, accept(), and whether anybody came."""

    def __init__(self, address=("127.0.0.1", 0), backlog=4096):
        self.listener = listening(address, backlog)
        self.port = self.listener.getsockname()[1] if isinstance(address, tuple) else None

    def accept(self, timeout=5.0):
        self.listener.settimeout(slow(timeout))
        server, _ = self.listener.accept()
        server.settimeout(slow(10))
        return server

    def accept_unless_ended(self, client):
        """The connection that the client's became, or None where usher has ended the client's."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        poll.register(client, select.POLLIN)
        ready_now = {fd for fd, _ in poll.poll(slow(60) * 1000)}
        assert ready_now, "neither came to the backend nor ended"
        return self.accept() if self.listener.fileno() in ready_now else None

    def nobody_comes(self, seconds):
        return not ready(self.listener, seconds)

    def close(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


opened = []  # sockets of pair(), for close_opened()


def close_opened():
    """So that a test that failed does not keep usher from draining."""
    while opened:
        opened.pop().close()


def pair(one, backend, first=b"go", buffer=None):
    """(client, server): both ends of a connection through usher; the backend has read `first`."""
    client = connect_small(one.port, buffer) if buffer else one.connect()
    opened.append(client)
    client.sendall(first)
    server = backend.accept()
    opened.append(server)
    got = b""
    while len(got) < len(first):
        got += server.recv(len(first) - len(got))
    assert got == first
    return client, server


def connect_small(port, buffer):
    """A client whose receive buffer holds little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(slow(10))
    client.connect(("127.0.0.1", port))
    return client


def serves(port):
    """Does a client that says "go" hear it?"""
    with harness.connect(port) as client:
        client.sendall(b"go")
        return client.recv(2) == b"go"


def reset(sock):
    """Closes with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def how_it_ends(sock):
    """ "eof" or "reset", after whatever data still comes."""
    try:
        while sock.recv(65536):
            pass
        return "eof"
    except ConnectionResetError:
        return "reset"


def fill(sock, seconds=1.0):
    """Sends until nothing moved for `seconds`; how many bytes went."""
    sock.setblocking(False)
    sent, piece = 0, random.Random(7).randbytes(65536)
    while ready(sock, seconds, select.POLLOUT):
        try:
            sent += sock.send(piece)
        except BlockingIOError:
            pass
    sock.settimeout(slow(10))
    return sent


class Sender(threading.Thread):
    """Sends `size` random bytes in pieces of random sizes, then half-closes if told to; has .digest then."""

    def __init__(self, sock, size, seed, half_close=True, largest=1 << 18):
        super().__init__(daemon=True)
        self.sock, self.size, self.half_close, self.largest = sock, size, half_close, largest
        self.random = random.Random(seed)
        self.digest, self.error = None, None
        self.start()

    def run(self):
        digest, left = hashlib.sha256(), self.size
        stock = memoryview(self.random.randbytes((1 << 20) + 4099))
        try:
            while left:
                length = min(left, int(self.largest ** self.random.random()))
                at = self.random.randrange(len(stock) - length)
                self.sock.sendall(stock[at : at + length])
                digest.update(stock[at : at + length])
                left -= length
            if self.half_close:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.error = error
        self.digest = digest.hexdigest()


class Receiver(threading.Thread):
    """Reads to the end of the stream with buffers of random sizes; .digest and .size when joined. `before` was read already."""

    def __init__(self, sock, seed, before=b""):
        super().__init__(daemon=True)
        self.sock, self.random, self.before = sock, random.Random(seed), before
        self.digest, self.size, self.error = None, len(before), None
        self.start()

    def run(self):
        digest = hashlib.sha256(self.before)
        buffer = bytearray(1 << 18)
        view = memoryview(buffer)
        try:
            while n := self.sock.recv_into(view, self.random.choice((100, 4096, 65536, 1 << 18))):
                digest.update(view[:n])
                self.size += n
        except OSError as error:
            self.error = error
        self.digest = digest.hexdigest()


def join_all(*threads, timeout=60):
    end = time.monotonic() + slow(timeout)
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
        assert not thread.is_alive(), f"{thread} is stuck"
        assert thread.error is None, thread.error


def exchange(client, server, up, down, seed=1):
    """Random bytes both ways at once, each way closed behind its last byte; checks them."""
    threads = [
        Sender(client, up, seed),
        Sender(server, down, seed + 1),
        Receiver(server, seed + 2),
        Receiver(client, seed + 3),
    ]
    join_all(*threads)
    assert (threads[2].size, threads[3].size) == (up, down)
    assert threads[0].digest == threads[2].digest, "client to server: other bytes arrived"
    assert threads[1].digest == threads[3].digest, "server to client: other bytes arrived"


# ---- sockets handed over at start


HAND_OVER = """
import os, sys
count = int(sys.argv[1])
fds = [os.dup(int(word)) if int(word) < 3 + count else int(word) for word in sys.argv[2 : 2 + count]]
for place, fd in enumerate(fds):
    os.dup2(fd, 3 + place)
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2 + count], sys.argv[2 + count :])
"""


class HandedUsher(harness.Usher):
    """An usher that is started with listening sockets, as systemd does it."""

    def __init__(self, sockets, config, **options):
        super().__init__(config, **options)
        self.sockets = sockets

    def launch(self):
        fds = [sock.fileno() for sock in self.sockets]
        self.write()
        self.log_path = self.dir / "stderr"
        command = [sys.executable, "-c", HAND_OVER, str(len(fds)), *map(str, fds), *self.command()]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, pass_fds=fds
            )
        self.seen = harness.Seen(self.process.pid)
        return self


# ---- what a process costs


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def cpu_of(pids):
    return sum(cpu_seconds(pid) for pid in pids)


def kernel_room():
    """What the kernel at most keeps of one direction of a relayed TCP connection: two senders' and two
    receivers' buffers, and the pipe in between."""

    def most(name):
        with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as file:
            return int(file.read().split()[2])

    return 2 * most("tcp_rmem") + 2 * most("tcp_wmem") + (1 << 20)


def rss_kib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


# ---- TLS


def client_hello(sni=None, alpn=(), size=0, record=16384):
    """A ClientHello of TLS 1.2; padded to about `size` bytes by an extension that comes before the names, and
    cut into records of `record` bytes."""

    def extension(number, data):
        return struct.pack(">HH", number, len(data)) + data

    def names():
        made = b""
        if sni is not None:
            name = sni if isinstance(sni, bytes) else sni.encode()
            made += extension(0, struct.pack(">HBH", len(name) + 3, 0, len(name)) + name)
        if alpn:
            listed = b"".join(bytes([len(name)]) + name for name in alpn)
            made += extension(16, struct.pack(">H", len(listed)) + listed)
        return made

    fixed = b"\x03\x03" + bytes(range(32)) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    end = names()
    padding = max(0, size - len(fixed) - len(end) - 4 - 2 - 4)
    extensions = (extension(21, bytes(padding)) if size else b"") + end
    body = fixed + struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    pieces = [message[at : at + record] for at in range(0, len(message), record)]
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(piece)) + piece for piece in pieces)
