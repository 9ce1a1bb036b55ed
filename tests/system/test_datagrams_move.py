"""Flows move to the workers of the next generation, at a reload and at an upgrade: none is lost, doubled or put in another order, whatever
becomes of the number of workers."""

import collections
import contextlib
import os
import signal
import struct
import threading

import pytest
from datagrams import Server, client, exchange
from harness import NEVER, count_fds, slow, wait_until
from test_explain import chromium_datagrams

CONFIG = """
listen = ( "udp:127.0.0.1:{port}", "udp:[::1]:{port}" ); workers = %d; control = "{dir}/control";
services = ( { name = "echo"; connect = "{echo}"; idle_timeout = {never}; %s } );
on_unknown = "echo"; drain_timeout = 0.1;
"""


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()


@pytest.fixture
def relay(usher, server):
    def make(workers=2, more=""):
        return usher(CONFIG % (workers, more), echo=server.text(), never=NEVER)

    return make


class Talker:
    """A client that sends numbered datagrams, 4 at a time, and notes the answers, until it is told to end."""

    def __init__(self, port, host):
        self.socket = client(port, host)
        self.sent = 0
        self.heard = []
        self.ending = False
        self.thread = threading.Thread(target=self._talk, daemon=True)
        self.thread.start()

    def _talk(self):
        while not self.ending:
            for _ in range(4):
                self.socket.send(struct.pack("!I", self.sent) + b"x" * 100)
                self.sent += 1
            for _ in range(4):
                self.heard.append(struct.unpack("!I", self.socket.recv(200)[:4])[0])

    def end(self):
        self.ending = True
        self.thread.join(slow(20))
        self.socket.close()
        assert self.heard == list(range(self.sent))


@pytest.fixture
def talkers():
    made = []

    def make(port, n=12):
        made.extend(Talker(port, "::1" if i % 3 == 0 else "127.0.0.1") for i in range(n))
        wait_until(lambda: all(one.heard for one in made), what="an answer for everybody")
        return made

    yield make
    for one in made:
        one.ending = True


def progress(talkers, n=3):
    """Everybody hears some more."""
    before = [len(one.heard) for one in talkers]
    wait_until(lambda: all(len(one.heard) >= was + n for one, was in zip(talkers, before)), what="more answers for everybody")


def sessions(one):
    return [line for line in one.ask(b"sessions") if "client" in line]


@pytest.mark.parametrize("workers", [[1, 1, 1], [2, 2, 2], [4, 2, 1], [1, 2, 4], [2, 3, 2, 5, 1]], ids=str)
def test_no_datagram_is_lost_doubled_or_overtaken_by_a_reload(relay, server, talkers, workers):
    one = relay(workers[0])
    all_of_them = talkers(one.port)
    for n in workers[1:]:
        one.reload(CONFIG % (n, ""))
        progress(all_of_them)
    # One that is on its way between two workers is in neither's list.
    wait_until(lambda: len(sessions(one)) == len(all_of_them), what="all flows in the list")
    for talker in all_of_them:
        talker.end()
    ports = collections.Counter(peer for _, peer, _ in server.got)
    assert len(ports) == len(all_of_them)  # each kept its socket to the backend
    assert one.connections() == []


def flows_of_workers(one, n):
    """How many flows each worker has, once all have come to where they go."""
    wait_until(lambda: len(sessions(one)) == n, what="all flows in the list")
    return collections.Counter(line["worker"] for line in sessions(one))


def test_flows_are_shared_out_anew_with_another_number_of_workers(relay, server, talkers):
    """Those that are open, some of them at rate, and those that come. So many that no worker is left out by chance."""
    one = relay(1)
    all_of_them = talkers(one.port)
    with contextlib.ExitStack() as open_:
        def more():
            return [open_.enter_context(client(one.port)) for _ in range(60)]

        cs = more()
        for c in cs:
            exchange(c, b"before")
        for workers in (3, 2, 1):
            one.reload(CONFIG % (workers, ""))
            progress(all_of_them)
            assert len(flows_of_workers(one, len(cs) + len(all_of_them))) == workers
            cs += more()
            for c in cs:
                assert exchange(c, b"with %d" % workers) == b"with %d" % workers
            assert len(flows_of_workers(one, len(cs) + len(all_of_them))) == workers
    for talker in all_of_them:
        talker.end()
    assert len({peer for _, peer, _ in server.got}) == len(cs) + len(all_of_them)  # each kept its socket to the backend


def test_a_new_worker_that_dies_costs_its_own_flows_alone(usher, server):
    """In the middle of a reload: the old worker is stopped, so that it has sent nothing yet."""
    one = usher(CONFIG % (1, ""), echo=server.text(), never=NEVER, may_crash=True)
    with contextlib.ExitStack() as open_:
        cs = [open_.enter_context(client(one.port)) for _ in range(60)]
        for c in cs:
            exchange(c, b"before")
        (old,) = one.workers
        os.kill(old, signal.SIGSTOP)
        try:
            one.reload(CONFIG % (3, ""))
            victim = next(pid for pid in one.workers if pid != old)
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: len(set(one.workers) - {old, victim}) == 3, what="a worker in its place")
        finally:
            os.kill(old, signal.SIGCONT)
        for c in cs:
            assert exchange(c, b"after") == b"after"
        left = [line for line in sessions(one) if line["datagrams_up"] == 2]
        assert 0 < len(left) < len(cs)
        peers = collections.Counter(peer for _, peer, _ in server.got)
        assert sum(n == 2 for n in peers.values()) == len(left)  # the others have another socket to the backend


def test_no_datagram_is_lost_by_an_upgrade(relay, server, talkers):
    one = relay(2)
    all_of_them = talkers(one.port)
    for _ in range(2):
        before = one.workers
        one.send_signal(signal.SIGUSR2)
        wait_until(lambda: one.workers_but(before), 15.0, "the workers of the new binary")
        progress(all_of_them)
    for talker in all_of_them:
        talker.end()
    assert len({peer for _, peer, _ in server.got}) == len(all_of_them)


def test_answers_after_a_reload_come_from_the_address_that_was_asked(usher, server):
    """Through another socket of the listener's group, perhaps, until the client sends something again: all of them have the port."""
    text = CONFIG.replace("127.0.0.1:{port}", "0.0.0.0:{port}", 1)
    one = usher(text % (2, ""), echo=server.text(), never=NEVER)
    with contextlib.ExitStack() as open_:
        clients = [open_.enter_context(client(one.port, f"127.0.0.{7 + i}")) for i in range(8)]
        for i, c in enumerate(clients):
            exchange(c, b"%d" % i)
        peers = {datagram: peer for datagram, peer, _ in server.got}
        one.reload(text % (1, ""))
        for i, c in enumerate(clients):
            server.socket.sendto(b"by itself", peers[b"%d" % i])
            assert c.recv(100) == b"by itself"


def test_a_flow_keeps_its_number_clock_and_counts(relay):
    one = relay(1)
    with client(one.port) as c:
        exchange(c, b"hello")
        (before,) = sessions(one)
        one.reload()
        exchange(c, b"again")
        (after,) = sessions(one)
        assert after["id"] == before["id"]
        assert (after["datagrams_up"], after["datagrams_down"], after["bytes_up"]) == (2, 2, 10)
        assert after["worker"] != before["worker"]
        status = one.ask(b"status")[0]
        assert status["connections"] == 1
        assert [s["open"] for s in status["services"]] == [1]
        one.ask(b"close %d" % after["id"])
        (line,) = one.wait_connections(1)
        assert (line["datagrams_up"], line["service"], line["end"]) == ("2", "echo", "closed")


def test_what_comes_while_flows_move_waits_in_the_sockets(relay, server):
    """The old worker is stopped while it has the flows: the new one reads nothing until they have come."""
    one = relay(1)
    with contextlib.ExitStack() as open_:
        cs = [open_.enter_context(client(one.port)) for _ in range(8)]
        for c in cs:
            assert exchange(c, b"before") == b"before"
        (old,) = one.workers
        os.kill(old, signal.SIGSTOP)
        try:
            one.reload()
            for c in cs:
                c.send(b"meanwhile")
            with client(one.port) as new:
                new.send(b"a new client")
                assert len(server.got) == len(cs)
                os.kill(old, signal.SIGCONT)
                assert new.recv(100) == b"a new client"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(old, signal.SIGCONT)
        for c in cs:
            assert c.recv(100) == b"meanwhile"
    assert len({peer for _, peer, _ in server.got}) == len(cs) + 1


def test_an_undecided_flow_moves_with_its_datagrams(usher, server):
    text = """listen = "udp:127.0.0.1:{port}"; decide_timeout = {never}; control = "{dir}/control"; drain_timeout = 0.1;
              services = ({ name = "shop"; match = { protocol = "quic"; sni = "shop.example.com"; }; connect = "{echo}"; });"""
    one = usher(text, echo=server.text(), never=NEVER)
    datagrams = chromium_datagrams()
    with client(one.port) as c:
        c.send(datagrams[0])
        wait_until(lambda: sessions(one), what="the flow")
        one.reload()
        one.reload()
        assert [session["phase"] for session in wait_until(lambda: sessions(one), what="the flow")] == ["deciding"]
        assert server.got == []
        for datagram in datagrams[1:]:
            c.send(datagram)
        assert [c.recv(2000) for _ in datagrams] == datagrams
    assert server.datagrams() == datagrams


def test_a_worker_that_dies_with_its_flows_does_not_keep_the_sockets(usher, server):
    """Neither alone nor in the middle of a reload."""
    one = usher(CONFIG % (1, ""), echo=server.text(), never=NEVER, may_crash=True)
    with client(one.port) as c:
        assert exchange(c, b"one") == b"one"
        (old,) = one.workers
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: one.workers_but([old]), what="another worker")
        assert exchange(c, b"two") == b"two"
        (old,) = one.workers
        os.kill(old, signal.SIGSTOP)
        one.reload()
        os.kill(old, signal.SIGKILL)
        assert exchange(c, b"three") == b"three"


def test_reloads_leave_no_descriptors(relay):
    one = relay(1)
    with contextlib.ExitStack() as open_:
        cs = [open_.enter_context(client(one.port)) for _ in range(10)]

        def fds():
            one.reload()
            for c in cs:
                exchange(c, b"hello")
            wait_until(lambda: len(one.workers) == 1, what="the end of the old worker")
            return count_fds(one.workers[0])

        first = fds()
        assert [fds() for _ in range(3)] == [first] * 3
