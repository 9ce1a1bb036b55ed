#!/usr/bin/python3
"""Everything at once, for long: make soak MINUTES=10.

An usher, built with sanitizers, serves clients of every kind at the same time: bulk both ways with checksums, short questions, half-closes,
resets of either side, PROXY headers, handovers, programs on a socket, on pipes and on a terminal, names from an identifier, clients that are
silent or send a byte at a time, and over UDP flows whose every answer is compared, single questions, and a flood that no service takes; while
it is reloaded with another number of workers, upgraded and asked for its status. From time to time all pause, and the books are balanced:
bytes, connections and datagrams as clients, servers and usher counted them, descriptors as at the start, memory flat. A datagram that was sent has an answer, or usher says
what became of it. In the last third of the time workers are killed too: then connections may be cut and datagrams lost, but what arrives is
still right.

Prints what was done and what was found; ends with 1 where something is wrong.
"""

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import re
import signal
import socket
import struct
import sys
import threading
import time

SYSTEM = pathlib.Path(__file__).resolve().parents[1] / "system"
sys.path.insert(0, str(SYSTEM))

STOCK = random.Random(1).randbytes((1 << 22) + 65536)
TIMEOUT = 60

CONFIG = """
listen = ( "127.0.0.1:{port}", { address = "127.0.0.1:{port_proxied}"; accept_proxy = "127.0.0.0/8"; },
           { address = "udp:127.0.0.1:{port}"; receive_buffer = 4194304; }, "udp:127.0.0.1:{port_asked}" );
workers = 2;  decide_timeout = 2.0;  idle_timeout = 30.0;  drain_timeout = 20.0;  control = "{dir}/control";
max_undecided = 200;  max_undecided_per_source = 20;  log = { level = "info"; };
protocols = ( { name = "bulk"; string = "bulk "; }, { name = "rude"; string = "rude "; }, { name = "pipe"; string = "pipe "; },
              { name = "pty"; string = "pty "; }, { name = "sock"; string = "sock "; }, { name = "hand"; string = "hand "; },
              { name = "short"; string = "short "; }, { name = "flow"; string = "flow "; }, { name = "query"; string = "query "; } );
identifiers = ( { program = [ "/usr/bin/python3", "{identifier}" ]; mode = "stream"; timeout = 2.0; } );
services = (
  { name = "bulk"; match = "bulk"; connect = "127.0.0.1:{backend}"; },
  { name = "short"; match = "short"; connect = [ "127.0.0.1:1", "127.0.0.1:{backend}" ]; },
  { name = "rude"; match = "rude"; connect = "127.0.0.1:{backend}"; },
  { name = "pipe"; match = "pipe"; exec = [ "/bin/cat" ]; stdio = "pipe"; max_startups = 0; max_startups_per_source = 0; },
  { name = "pty"; match = "pty"; exec = [ "/bin/sh", "-c", "read line; echo got $line" ]; stdio = "pty";
    max_startups = 0; max_startups_per_source = 0; },
  { name = "sock"; match = "sock"; exec = [ "/bin/sh", "-c", "read line; echo got $line" ];
    max_startups = 0; max_startups_per_source = 0; },
  { name = "hand"; match = { protocol = "hand"; listener = "127.0.0.1:{port}"; }; handover = "{receiver}"; },
  { name = "named"; match = { identified = "xecho"; listener = [ "127.0.0.1:{port}", "udp:127.0.0.1:{port_asked}" ]; };
    connect = "127.0.0.1:{backend}"; idle_timeout = 3.0; },
  { name = "flow"; match = "flow"; connect = "127.0.0.1:{backend}"; idle_timeout = 3.0; answer_timeout = 3.0; },
  { name = "query"; match = "query"; connect = [ "127.0.0.1:1", "127.0.0.1:{backend}" ]; answers = 1; answer_timeout = 3.0; },
  { name = "ssh"; match = "ssh"; reject = "close"; } );
"""

class Wrong(Exception):
    """What no disturbance excuses."""


def piece_of(seed, size):
    at = seed * 7919 % 65536
    return memoryview(STOCK)[at : at + size]


def read_exactly(sock, n):
    data = bytearray()
    while len(data) < n:
        piece = sock.recv(min(n - len(data), 1 << 18))
        if not piece:
            raise EOFError(f"{len(data)} of {n} bytes came")
        data += piece
    return data


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            raise EOFError("no line")
        line += piece
    return line


def room_for_datagrams(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF if os.geteuid() else 33, 4 << 20)  # SO_RCVBUFFORCE
    return sock


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# ---- servers: what a client asks for stands in its first line


def serve_bulk(sock, words, counts):
    """up down seed: takes `up` bytes, says what they were, gives `down`."""
    up, down, seed = map(int, words)
    digest = hashlib.sha256(read_exactly(sock, up)).hexdigest()
    if sock.recv(1):
        raise Wrong("bytes behind the end")
    sock.sendall(digest.encode() + b"\n")
    sock.sendall(piece_of(seed, down))
    counts["server_up"] += up
    counts["server_down"] += down + 65
    counts["served"] += 1


def serve_one(sock, counts, lock, wrong):
    sock.settimeout(TIMEOUT)
    mine = {"server_up": 0, "server_down": 0, "served": 0}
    try:
        line = read_line(sock)
        word, *words = line.split()
        if word == b"bulk":
            serve_bulk(sock, words, mine)
            mine["server_up"] += len(line)
        elif word in (b"short", b"hand", b"xecho"):
            sock.sendall(b"is " + line)
        elif word == b"rude":
            read_exactly(sock, int(words[1]))
            if words[0] == b"reset":
                reset(sock)
                return
            sock.recv(1)
    except (OSError, EOFError):
        pass
    except (Wrong, ValueError) as problem:
        wrong.append(f"server: {problem!r}")
    finally:
        sock.close()
        with lock:
            for key, value in mine.items():
                counts[key] = counts.get(key, 0) + value


def serve_datagrams(sock, counts, lock):
    """Every datagram is its own answer."""
    while True:
        try:
            datagram, client = sock.recvfrom(65536)
            word = datagram.split(b" ", 1)[0].decode(errors="replace")
            with lock:
                for key, value in (("echoed", 1), (word + "_up", len(datagram))):
                    counts[key] = counts.get(key, 0) + value
            sock.sendto(datagram, client)
        except OSError:
            pass  # of a client that is not there any more


def backend(listener, datagrams, pipe):
    counts, lock, wrong = {}, threading.Lock(), []
    threading.Thread(target=serve_datagrams, args=(datagrams, counts, lock), daemon=True).start()

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(sock, counts, lock, wrong), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    while pipe.recv() == "count":
        with lock:
            pipe.send((dict(counts), list(wrong)))


# ---- clients, one kind each: a connection each call, and what it moved


class Client:
    """Clients that are silent or slow have other source addresses: from one address, the oldest of all would be shed."""

    def __init__(self, ports, seed, killing):
        self.ports, self.random, self.killing, self.counts, self.last = ports, random.Random(seed), killing, {}, 0

    def connect(self, source="127.0.0.1", proxied=False):
        port = self.ports["port_proxied" if proxied else "port"]
        sock = socket.socket()
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
        self.last = sock.getsockname()[1]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxied:
            sock.sendall(b"PROXY TCP4 192.0.2.%d 192.0.2.99 4711 443\r\n" % self.random.randrange(1, 90))
        return sock

    def count(self, **more):
        for key, value in more.items():
            self.counts[key] = self.counts.get(key, 0) + value

    def bulk(self, proxied=False):
        size = lambda: int(4e6 ** self.random.random())
        up, down, seed = size(), size(), self.random.randrange(1 << 20)
        head = b"bulk %d %d %d\n" % (up, down, seed + 1)
        with self.connect(proxied=proxied) as sock:
            sock.sendall(head[:3])
            sock.sendall(head[3:])
            sock.sendall(piece_of(seed, up))
            sock.shutdown(socket.SHUT_WR)
            digest = read_line(sock).strip().decode()
            if digest != hashlib.sha256(piece_of(seed, up)).hexdigest():
                raise Wrong("other bytes arrived at the server")
            if self.random.random() < 0.1:
                time.sleep(self.random.random() / 4)
            if read_exactly(sock, down) != piece_of(seed + 1, down):
                raise Wrong("other bytes arrived at the client")
            if sock.recv(1):
                raise Wrong("bytes behind the end")
        self.count(up=up + len(head), down=down + 65, bulk=1)

    def proxied(self):
        self.bulk(True)

    def short(self, word=b"short"):
        question = b"%s %d\n" % (word, self.random.randrange(1 << 30))
        with self.connect() as sock:
            sock.sendall(question)
            answer = read_line(sock)
            if answer != b"is " + question:
                raise Wrong(f"asked {question!r}, answered {answer!r}")
            if sock.recv(1):
                raise Wrong("bytes behind the end")

    def hand(self):
        self.short(b"hand")

    def named(self):
        self.short(b"xecho")

    def rude_server(self):
        with self.connect() as sock:
            sock.sendall(b"rude reset 1000\n" + bytes(1000))
            try:
                if sock.recv(1) == b"":
                    raise EOFError("a reset came as an orderly end")  # as the kernel ends what a killed worker had
            except ConnectionResetError:
                pass

    def rude_client(self):
        sock = self.connect()
        sock.sendall(b"rude client 1000000\n" + bytes(self.random.randrange(100000)))
        time.sleep(self.random.random() / 20)
        reset(sock)

    def send_and_shut(self, sock, data):
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # whoever reads meets it too

    def pipe(self):
        data = b"pipe " + bytes(piece_of(self.random.randrange(1 << 20), self.random.randrange(1, 200000)))
        with self.connect() as sock:
            sender = threading.Thread(target=self.send_and_shut, args=(sock, data))
            sender.start()
            try:
                got = read_exactly(sock, len(data))
            finally:
                sender.join(TIMEOUT)
            if got != data or sock.recv(1):
                raise Wrong("a program on pipes gave other bytes back")

    def _got(self, word):
        with self.connect() as sock:
            number = self.random.randrange(1 << 30)
            sock.sendall(b"%s %d\n" % (word, number))
            line = read_line(sock).strip()
            if word == b"pty" and line == b"pty %d" % number:
                line = read_line(sock).strip()  # the terminal's own echo
            if line != b"got %s %d" % (word, number):
                raise Wrong(f"a program said {line!r}")

    def pty(self):
        self._got(b"pty")

    def sock(self):
        self._got(b"sock")

    def silent(self):
        with self.connect("127.0.0.2", self.random.random() < 0.2) as sock:
            try:
                sock.recv(1)
            except ConnectionResetError:
                self.count(shed=1)
        time.sleep(0.1)

    def slow(self):
        with self.connect("127.0.0.6") as sock:
            try:
                for byte in b"short":
                    sock.sendall(bytes([byte]))
                    time.sleep(self.random.random())
            except OSError:
                self.count(shed=1)

    def rubbish(self):
        with self.connect() as sock:
            sock.sendall(b"\x7f" + self.random.randbytes(self.random.randrange(1, 3000)))
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass


    # -- over UDP

    def datagrams(self, word, count, window, source="127.0.0.1", port="port"):
        """Sends `count` datagrams, of which at most `window` have no answer yet. Each answer comes once; that one is missing, or comes
        before an earlier one, is for the books to explain. Each kind has a source address of its own: a flow is there for some time after its client, and a
        port that is used again continues it."""
        with room_for_datagrams(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.bind((source, 0))
            sock.connect(("127.0.0.1", self.ports[port]))
            self.last = sock.getsockname()[1]
            tag, sent, awaited, late = self.random.randrange(1 << 40), [], set(), set()
            while len(sent) < count or awaited:
                while len(sent) < count and len(awaited) < window:
                    seed, size = self.random.randrange(1 << 20), int(4000 ** self.random.random())
                    awaited.add(len(sent))
                    sent.append(b"%s %d %d " % (word, tag, len(sent)) + piece_of(seed, size))
                    sock.send(sent[-1])
                    self.count(sent=1, **{f"{word.decode()}_up": len(sent[-1])})
                sock.settimeout(1 if self.killing.is_set() else 20)
                try:
                    answer = sock.recv(65536)
                except TimeoutError:
                    late |= awaited
                    awaited.clear()
                    continue
                except ConnectionRefusedError:
                    raise Wrong("nobody has the port") from None
                self.count(got=1)
                fields = answer.split(b" ", 3)
                number = int(fields[2]) if len(fields) == 4 and fields[2].isdigit() else -1
                if number not in awaited | late or answer != sent[number]:
                    raise Wrong(f"answer {answer[:60]!r} of {len(answer)} bytes, expected one to {sorted(awaited)}")
                if number in awaited and number != min(awaited):
                    self.count(out_of_order=1)
                awaited.discard(number)
                late.discard(number)

    def flow(self):
        self.datagrams(b"flow", self.random.randrange(1, 300), self.random.randrange(1, 17))

    def query(self):
        self.datagrams(b"query", 1, 1, "127.0.0.2")

    def named_query(self):
        self.datagrams(b"xecho", self.random.randrange(1, 5), 1, port="port_asked")

    def flood(self):
        """What no service takes, from many addresses and ports."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((f"127.1.{self.random.randrange(256)}.{self.random.randrange(1, 255)}", 0))
            for _ in range(self.random.randrange(1, 20)):
                start = self.random.choice((b"\x7f", b"flo", b"query", b"SSH-2.0-x\r\n"))
                sock.sendto(start + bytes(self.random.randrange(1, 1400)), ("127.0.0.1", self.ports["port"]))
                self.count(flooded=1)
        time.sleep(0.002)


KINDS = {"flow": 4, "query": 1, "named_query": 1, "flood": 2, "bulk": 4, "proxied": 2, "short": 3, "hand": 2, "named": 1, "rude_server": 1, "rude_client": 1, "pipe": 1, "pty": 1,
         "sock": 1, "silent": 30, "slow": 10, "rubbish": 1}


def drive(kind, ports, seed, go, stop, killing, clients, wrong):
    """Connections of one kind, one after the other, while it may."""
    client = Client(ports, seed, killing)
    clients.append((kind, client))
    while not stop.is_set():
        if not go.wait(0.2):
            client.idle = True
            continue
        client.idle = False
        excused = killing.is_set()
        try:
            getattr(client, kind)()
            client.count(**{"done": 1})
        except Wrong as problem:
            wrong.append(f"{kind}, from port {client.last}: {problem}")
        except (OSError, EOFError) as problem:
            client.count(cut=1)
            if not excused and not killing.is_set():
                wrong.append(f"{kind}, from port {client.last}: {problem!r}")
        if kind in ("short", "sock", "pty", "rude_server", "rude_client", "rubbish"):
            time.sleep(0.02)
    client.idle = True


def crowd(kinds, ports, seed, go, stop, killing, pipe):
    """A process of clients."""
    clients, wrong, threads = [], [], []
    for number, kind in enumerate(kinds):
        threads.append(threading.Thread(target=drive, args=(kind, ports, seed + number, go, stop, killing, clients, wrong)))
        threads[-1].start()
    while True:
        word = pipe.recv()
        if word == "count":
            while not go.is_set() and not all(getattr(client, "idle", False) for _, client in clients):
                time.sleep(0.02)
            sums = {}
            for kind, client in clients:
                for key, value in client.counts.items():
                    sums.setdefault(kind, {}).setdefault(key, 0)
                    sums[kind][key] += value
            pipe.send((sums, list(wrong)))
        else:
            break
    for thread in threads:
        thread.join()


# ---- the run


def pss_kib(pid):
    """Its share of memory; all that it has where we may not look."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    except OSError:
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4


class Soak:
    def __init__(self, arguments):
        import harness
        import receivers
        from servers import listening

        self.harness, self.arguments = harness, arguments
        harness.become_reaper()
        self.problems, self.balances, self.memory, self.reloads, self.upgrades, self.kills, self.asked, self.turn = [], [], [], 0, 0, 0, 0, 0
        self.place = harness.new_directory("usher-soak-")
        listener = listening(("127.0.0.1", 0), 4096)
        self.parts = []
        datagrams = room_for_datagrams(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(listener.getsockname())
        self._process(backend, listener, datagrams)
        self.receiver = receivers.Receiver(self.place / "receiver.sock")
        os.chmod(self.place / "receiver.sock", 0o666)
        self.handed = {}
        threading.Thread(target=self._serve_handed, daemon=True).start()
        identifier = harness.SOURCE / "examples/identifier_stream.py"
        self.one = harness.Usher(CONFIG, backend=listener.getsockname()[1], receiver=self.place / "receiver.sock",
                                 identifier=self._identifier(identifier), may_crash=True, stop_timeout=40.0,
                                 env={"ASAN_OPTIONS": harness.SANITIZER_OPTIONS["ASAN_OPTIONS"] + ":quarantine_size_mb=1"})
        self.one.start()
        self.fds = self.one.fds()
        self.workers = itertools.cycle([3, 1, 4, 2])
        self.go, self.stop, self.killing = (multiprocessing.Event() for _ in range(3))

    def _identifier(self, example):
        """The example, which names what begins with a name of its own: xecho."""
        text = example.read_text().replace("KNOWN = {", 'KNOWN = {b"xecho ": b"xecho", ')
        path = self.place / "identifier.py"
        path.write_text(text)
        path.chmod(0o755)
        return path

    def _process(self, function, *arguments):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=function, args=(*arguments, theirs), daemon=True)
        process.start()
        self.parts.append((process, ours))

    def _serve_handed(self):
        while True:
            sock, _ = self.receiver.taken.get()
            if sock:
                threading.Thread(target=serve_one, args=(sock, self.handed, threading.Lock(), self.problems), daemon=True).start()

    def start_clients(self):
        kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
        for number in range(4):
            self._process(crowd, kinds[number::4], self.one.ports, self.arguments.seed + number * 100, self.go, self.stop,
                          self.killing)

    # -- while it runs

    def status(self):
        self.asked += 1
        done = self.harness.run_usher("status", "-s", self.one.dir / "control", "--json", timeout=20)
        if done.returncode:
            raise Wrong(f"status: {done.stderr}")
        return json.loads(done.stdout)

    def disturb(self, seconds):
        """Lets all run for so long, reloads meanwhile, and kills workers where that is the time for it."""
        end = time.monotonic() + seconds
        self.go.set()
        while time.monotonic() < end:
            time.sleep(min(1.0, max(0, end - time.monotonic())))
            self.turn += 1
            try:
                self.status()
                if self.turn % 2:
                    self.asked += 1
                    self.harness.run_usher("sessions", "-s", self.one.dir / "control", "--json", timeout=20)
            except Wrong as problem:
                self.problems.append(str(problem))
            if self.turn % 20 == 0:
                self.one.send_signal(signal.SIGUSR2)
                self.upgrades += 1
            elif self.turn % 4 == 0:
                self.reload(next(self.workers))
            if self.killing.is_set() and self.turn % 3 == 0 and self.one.workers:
                os.kill(random.choice(self.one.workers), signal.SIGKILL)
                self.kills += 1
            if self.one.process.poll() is not None:
                self.problems.append(f"the master ended with {self.one.process.returncode}")
                return

    def reload(self, workers):
        self.one.write(CONFIG.replace("workers = 2;", f"workers = {workers};"))
        self.one.send_signal(signal.SIGHUP)
        self.reloads += 1

    def counts(self):
        """What servers and clients say, once they have paused."""
        server, clients = {}, {}
        for number, (_, pipe) in enumerate(self.parts):
            pipe.send("count")
            if not pipe.poll(TIMEOUT + 30):
                raise Wrong("clients do not come to an end")
            sums, wrong = pipe.recv()
            self.problems += [problem for problem in wrong if problem not in self.problems]
            if number == 0:
                server = sums
                continue
            for kind, values in sums.items():
                for key, value in values.items():
                    clients.setdefault(kind, {}).setdefault(key, 0)
                    clients[kind][key] += value
        return server, clients

    def balance(self):
        """All clients pause; the counts must agree."""
        self.go.clear()
        _, clients = self.counts()
        self.reload(2)  # as many as at the start, for the memory and the descriptors
        for _ in range(400):
            status = self.status()
            if (status["connections"] == 0 and len(status["generations"]) == 1 and len(self.one.workers) == 2
                    and not self.programs()):
                break
            time.sleep(0.1)
        else:
            self.problems.append(f"after 40 s of quiet there are still {status['connections']} connections, "
                                 f"{len(status['generations'])} generations, programs {self.one.programs()}")
        server, clients = self.counts()
        self.check_books(status, server, clients)
        self.check_descriptors()
        pids = [self.one.pid, *self.one.workers]
        self.memory.append((sum(pss_kib(pid) for pid in pids), pss_kib(self.one.pid)))
        self.balances.append((status, server, clients))

    def programs(self):
        """Of clients: identifiers stay."""
        def is_identifier(pid):
            try:
                return b"identifier.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                return False

        return {pid: name for pid, name in self.one.programs().items() if not is_identifier(pid)}

    def check_books(self, status, server, clients):
        sums = {key: sum(kind.get(key, 0) for kind in clients.values()) for key in ("up", "down", "cut", "bulk", "sent", "got", "flooded", "flow_up", "query_up", "out_of_order")}
        services = {service["name"]: service for service in status["services"]}
        bulk = services["bulk"]
        self.books = [("bytes up", sums["up"], server.get("server_up", 0), bulk["bytes_up"]),
                      ("bytes down", sums["down"], server.get("server_down", 0), bulk["bytes_down"]),
                      ("transfers", sums["bulk"], server.get("served", 0), bulk["total"])]
        self.check_datagrams(status, services, server, sums)
        for name, client, served, counted in self.books:
            if not self.kills and not client == served == counted:
                self.problems.append(f"{name}: clients say {client}, servers {served}, usher {counted}")
            elif self.kills and not client <= served:
                self.problems.append(f"{name}: clients say {client}, servers only {served}")
        accepted = sum(listener["accepted"] for listener in status["listeners"])
        ended = sum(status["ended"].values())
        if not self.kills and accepted != ended:
            self.problems.append(f"{accepted} connections accepted, {ended} ended")
        if status["undecided"]:
            self.problems.append(f"{status['undecided']} undecided connections of none")

    def check_datagrams(self, status, services, server, sums):
        """What was sent was answered, or is among what usher and the kernel dropped and counted."""
        dropped = {name: n for name, n in status["datagrams"].items() if name != "fragmented"}
        self.datagrams = {"sent": sums["sent"], "flooded": sums["flooded"], "echoed": server.get("echoed", 0), "got": sums["got"], **dropped}
        if not sums["got"] <= server.get("echoed", 0) <= sums["sent"]:
            self.problems.append(f"datagrams from nowhere: {self.datagrams}")
        if not self.kills and sums["sent"] + sums["flooded"] - sums["got"] != sum(dropped.values()):
            self.problems.append(f"datagrams that are not accounted for: {self.datagrams}")
        if not self.kills and not sum(dropped.values()) - dropped["unwanted"] and sums["out_of_order"]:
            self.problems.append(f"{sums['out_of_order']} answers came before an earlier one, after {self.reloads} reloads, {self.upgrades} upgrades")
        if not self.kills and sums["got"] == sums["sent"]:
            self.books += [(f"{word} bytes", sums[f"{word}_up"], server.get(f"{word}_up", 0), services[word]["bytes_up"])
                           for word in ("flow", "query")]

    def check_descriptors(self):
        now = self.one.fds()
        if now[self.one.pid] != self.fds[self.one.pid]:
            self.problems.append(f"the master has {now[self.one.pid]} descriptors, and had {self.fds[self.one.pid]}")
        had = max(count or 0 for pid, count in self.fds.items() if pid != self.one.pid)
        for pid, count in now.items():
            # A worker keeps empty pipes for the next transfers, at most 64.
            if pid != self.one.pid and count is not None and count > had + 2 * 64:
                self.problems.append(f"worker {pid} has {count} descriptors, and had {had}")

    def check_memory(self):
        """Of the samples but the first, which is from before everything was touched once."""
        samples = [whole for whole, _ in self.memory[1:]]
        if len(samples) < 2:
            return
        half = len(samples) // 2
        early, late = sum(samples[:half]) / half, sum(samples[half:]) / (len(samples) - half)
        if late > early * 1.25 + 4096:
            self.problems.append(f"memory grows: {early:.0f} KiB in the first half, {late:.0f} in the second")

    def run(self):
        self.start_clients()
        whole = self.arguments.minutes * 60
        begin = time.monotonic()
        cycle = max(8.0, min(30.0, whole / 12))
        while (spent := time.monotonic() - begin) < whole and self.one.process.poll() is None:
            if spent > whole * 2 / 3:
                self.killing.set()
            self.disturb(min(cycle, whole - spent))
            self.balance()
            print(f"{time.monotonic() - begin:5.0f} s  {self.line()}", flush=True)
        self.check_memory()

    def line(self):
        status, _, clients = self.balances[-1]
        done = sum(kind.get("done", 0) for kind in clients.values())
        return (f"{done} connections done, {sum(kind.get('cut', 0) for kind in clients.values())} cut, {self.reloads} reloads, {self.upgrades} upgrades, "
                f"{self.kills} kills, {status['shed']['max_undecided'] + status['shed']['max_undecided_per_source']} shed, "
                f"{self.memory[-1][0]} KiB, {len(self.problems)} problems")

    def end(self):
        self.stop.set()
        self.go.set()
        for process, pipe in reversed(self.parts):  # the servers last
            pipe.send("end")
            process.join(TIMEOUT)
            process.kill()
        try:
            self.one.stop()
        except AssertionError as problem:
            self.problems.append(str(problem)[:3000])
        output = self.one.output()
        self.problems += sorted(set(line for line in output.splitlines() if re.search(
            r"Sanitizer|runtime error|Assertion|ended with status|out of descriptors|event loop failed", line)))[:20]
        killed = len(re.findall(r"worker \d+ was killed by signal", output))
        if killed != self.kills:
            self.problems.append(f"{killed} workers were killed by a signal, {self.kills} by us")
        self.receiver.close()
        if not self.problems:
            self.one.clean()
            self.harness.remove_directory(self.place)

    def report(self):
        status, _, clients = self.balances[-1]
        print(f"\n{'kind':12} {'done':>8} {'cut':>6} {'shed':>6}")
        for kind, values in sorted(clients.items()):
            print(f"{kind:12} {values.get('done', 0):8} {values.get('cut', 0):6} {values.get('shed', 0):6}")
        print(f"\n{'':12} {'clients':>14} {'servers':>14} {'usher':>14}")
        for name, client, served, counted in self.books:
            print(f"{name:12} {client:14} {served:14} {counted:14}")
        print("\ndatagrams    " + ", ".join(f"{name} {n}" for name, n in self.datagrams.items() if n))
        print("ended        " + ", ".join(f"{name} {n}" for name, n in status["ended"].items() if n))
        print(f"reloads      {self.reloads}, upgrades {self.upgrades}, workers killed {self.kills}, questions to the control socket {self.asked}")
        print("memory       " + " ".join(str(whole) for whole, _ in self.memory) + " KiB of all, "
              + " ".join(str(master) for _, master in self.memory) + " KiB of the master")
        print(f"descriptors  master {self.fds[self.one.pid]} at the start, as at each balance")
        print("\n" + (f"{len(self.problems)} problems, the first of them:\n" + "\n".join(self.problems[:20]) if self.problems else "nothing is wrong"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--usher", required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    os.environ["USHER"] = arguments.usher
    soak = Soak(arguments)
    try:
        soak.run()
    except Wrong as problem:
        soak.problems.append(str(problem))
    finally:
        soak.end()
    soak.report()
    sys.exit(bool(soak.problems))


if __name__ == "__main__":
    main()
