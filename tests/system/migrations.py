"""What the tests of reloads and of upgrades share: a configuration with everything that moves, the end of the workers that were
there, a load that notices whatever goes wrong."""

import contextlib
import itertools
import signal
import socket
import subprocess
import threading
import time

from harness import NEVER, read_all, read_exactly, slow, wait_until
from peers import Backend, Receiver, Sender, join_all, pair

SERVICES = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  decide_timeout = {decide};  idle_timeout = {idle};
control = "{dir}/control";  keep_evidence = 16;  {top}
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "{name}"; match = "go"; connect = "127.0.0.1:{backend}"; {access} },
             { name = "quiet"; match = "ssh"; connect = "127.0.0.1:{quiet}"; } );
on_silence = "quiet";
"""
WORDS = {"workers": 1, "name": "go", "decide": NEVER, "idle": 3600, "access": "", "top": ""}


@contextlib.contextmanager
def replaces_workers(one, within=5):
    """What is done meanwhile ends the workers that were there."""
    old = set(one.workers)
    yield
    wait_until(lambda: not old & set(one.workers), within, "the old workers to be gone:\n" + one.output())


def move(one, config=None, within=5):
    """A reload."""
    with replaces_workers(one, within):
        one.reload(config)


class Typist(threading.Thread):
    """An ssh session in which somebody types; .error when a line did not come back."""

    def __init__(self, sshd, port, stop, number):
        super().__init__(daemon=True)
        self.stop, self.number, self.error, self.lines = stop, number, None, 0
        self.process = subprocess.Popen(["ssh", *sshd.options(port), "127.0.0.1", "cat"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.start()

    def run(self):
        try:
            for k in itertools.count():
                line = f"session {self.number} line {k}\n".encode()
                self.process.stdin.write(line)
                self.process.stdin.flush()
                got = self.process.stdout.readline()
                assert got == line, (got, self.process.stderr.read() if not got else b"")
                self.lines += 1
                if self.stop.wait(0.05):
                    break
            self.process.stdin.close()
            assert self.process.wait(slow(20)) == 0
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            self.error = error
            self.process.kill()


class Newcomers(threading.Thread):
    """New connections at a steady rate, each with a question and an answer."""

    def __init__(self, one, rate, stop):
        super().__init__(daemon=True)
        self.one, self.rate, self.stop, self.error, self.served = one, rate, stop, None, 0
        self.start()

    def run(self):
        try:
            began = time.monotonic()
            while not self.stop.is_set():
                with self.one.connect() as client:
                    client.sendall(b"echo:me")
                    assert read_exactly(client, 7) == b"echo:me"
                    client.shutdown(socket.SHUT_WR)
                    assert read_all(client) == b""
                self.served += 1
                time.sleep(max(0, began + self.served / self.rate - time.monotonic()))
        except (AssertionError, OSError, EOFError) as error:
            self.error = error


def load_and_nobody_notices(one_port, sshd, upgrades=False):
    """200 new connections a second, 50 bulk transfers, 20 ssh sessions, a client in the middle of its first bytes, a
    half-closed one."""
    one = one_port(decide_timeout=120)
    with Backend() as bulk:
        config = one.config.replace("protocols = (", 'protocols = ( { name = "bulk"; string = "bulk"; },').replace(
            "services = (", 'services = ( { name = "bulk"; match = "bulk"; connect = "127.0.0.1:%d"; },' % bulk.port)
        move(one, config)
        stop = threading.Event()
        half = one.connect()
        half.sendall(b"bulk half")
        half.shutdown(socket.SHUT_WR)
        half_server = bulk.accept()
        assert read_all(half_server) == b"bulk half"
        hello = one.connect()
        hello.sendall(b"ec")
        typists = [Typist(sshd, one.port, stop, k) for k in range(20)]
        newcomers = [Newcomers(one, 50, stop) for _ in range(4)]
        transfers = []
        for k in range(50):
            client, server = pair(one, bulk, first=b"bulk")
            source, sink = (client, server) if k % 2 else (server, client)
            transfers.append((Sender(source, 20_000_000, k), Receiver(sink, k)))
        for k in range(10):
            one.reload()
            time.sleep(0.2)
            if upgrades and k % 2:
                served = one.output().count("notice serving: ")
                one.send_signal(signal.SIGUSR2)
                wait_until(lambda: one.output().count("notice serving: ") > served, 20, "the upgrade:\n" + one.output()[-2000:])
        wait_until(lambda: len(one.workers) == 2, 5, "only the last generation:\n" + one.output()[-3000:])
        for sender, got in transfers:
            join_all(sender, got, timeout=120)
            assert (got.size, got.digest) == (20_000_000, sender.digest)
        time.sleep(0.5)
        stop.set()
        join_all(*typists, *newcomers)
        assert min(typist.lines for typist in typists) > 5
        assert sum(one.served for one in newcomers) > 100
        half_server.sendall(b"and back")
        half_server.close()
        assert read_all(half) == b"and back"
        hello.sendall(b"ho:")
        assert read_exactly(hello, 5) == b"echo:"
        hello.close()
        ends = {line["end"] for line in one.connections()}
        assert ends == {"finished"}, ends
