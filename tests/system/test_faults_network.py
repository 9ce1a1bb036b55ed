"""Networks that lose, delay, reorder and repeat packets, and machines that vanish without a word."""

import socket
import time

import namespaces
import pytest
from harness import connect, read_exactly, slow, wait_until
from peers import client_hello, exchange, join_all, Receiver, Sender
from servers import listening
from wires import Wires

pytestmark = pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))

CONFIG = """
listen = ( { address = "0.0.0.0:4431"; keepalive = {near}; } );  workers = 1;
decide_timeout = 20.0;  connect_timeout = {connect};  idle_timeout = {idle};
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = [ {backends} ]; keepalive = {far}; {more} },
             { name = "tls"; match = { sni = "far.example"; }; connect = [ {backends} ]; } );
"""


@pytest.fixture
def net():
    with Wires() as wires:
        yield wires


class Far:
    """An usher in the middle, and a backend of the test's own behind it."""

    def __init__(self, usher, net, backends='"198.51.100.2:4431"', idle=3600.0, connect_timeout=1.0, near="true", far="true", more=""):
        self.net = net
        self.listener = net.call(net.server, listening, ("198.51.100.2", 4431), 16)
        self.listener.settimeout(slow(10))
        self.one = usher(CONFIG, backends=backends, idle=idle, connect=connect_timeout, near=near, far=far, more=more,
                         wrapper=lambda command: net.inside(net.usher, *command))

    def connect(self, first=b"go"):
        client = self.net.call(self.net.client, connect, ("192.0.2.1", 4431))
        client.sendall(first)
        return client

    def pair(self, first=b"go"):
        client = self.connect(first)
        server, _ = self.listener.accept()
        server.settimeout(slow(10))
        assert read_exactly(server, len(first)) == first
        return client, server


def is_reset_within(sock, seconds, meanwhile=lambda: None):
    """How long it took."""
    begin = time.monotonic()
    sock.settimeout(0.25)
    while time.monotonic() - begin < slow(seconds):
        try:
            assert sock.recv(1) == b"?", "an orderly end"
        except TimeoutError:
            try:
                meanwhile()
            except ConnectionError:
                return time.monotonic() - begin
        except ConnectionResetError:
            return time.monotonic() - begin
    raise AssertionError(f"not reset within {slow(seconds)} s")


# ---- who vanishes


@pytest.mark.parametrize("timeouts", [{"idle": 3.0}, {"more": "idle_timeout = 3.0;"}], ids=["of all", "of the service"])
@pytest.mark.parametrize("who", ["server", "client"])
def test_who_vanishes_is_noticed_though_it_is_sent_something_all_the_time(usher, net, who, timeouts):
    """Bytes that only go into a buffer here are bytes that move; what is not acknowledged says more."""
    far = Far(usher, net, **timeouts)
    client, server = far.pair()
    (net.far if who == "server" else net.near).cut = True
    left = client if who == "server" else server
    took = is_reset_within(left, 9, lambda: left.sendall(b"are you there? "))
    assert took > 2, took
    (line,) = far.one.wait_connections(1)
    assert line["end"] == f"{who}-reset"


@pytest.mark.parametrize("who", ["server", "client"])
def test_who_vanishes_in_silence_is_noticed_by_keepalive(usher, net, who):
    far = Far(usher, net, near=1, far=1)
    client, server = far.pair()
    time.sleep(0.5)  # until all is acknowledged: bytes that are not, the kernel repeats instead of asking
    (net.far if who == "server" else net.near).cut = True
    assert is_reset_within(client if who == "server" else server, 10) > 3
    far.one.wait_connections(1, end=f"{who}-reset")


def test_an_idle_connection_outlives_a_short_cut_of_the_network(usher, net):
    far = Far(usher, net, near=1, far=1)
    client, server = far.pair()
    net.near.cut = net.far.cut = True
    time.sleep(2.5)
    net.near.cut = net.far.cut = False
    time.sleep(2)
    exchange(client, server, 200000, 200000)


def test_a_reader_that_pauses_is_not_taken_for_one_that_vanished(usher, net):
    """Its window is shut, but it answers."""
    far = Far(usher, net)
    client, server = far.pair()
    server.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while True:
            sent += server.send(bytes(100000))
    time.sleep(3)
    assert read_exactly(client, sent) == bytes(sent)
    server.settimeout(slow(10))
    server.sendall(b"on")
    assert read_exactly(client, 2) == b"on"


def test_a_backend_whose_network_swallows_everything_is_passed_over(usher, net):
    far = Far(usher, net, backends='"198.51.100.77:1", "198.51.100.2:4431"', connect_timeout=4.0)
    begin = time.monotonic()
    client, server = far.pair()
    assert time.monotonic() - begin > 1.5, "half of connect_timeout for the first"
    exchange(client, server, 1000, 1000)


def test_a_client_that_vanishes_undecided_is_let_go_at_the_deadline(usher, net):
    far = Far(usher, net)
    far.one.reload(CONFIG.replace("decide_timeout = 20.0", "decide_timeout = 1.0"))
    client = far.connect(b"g")
    time.sleep(0.2)
    net.near.cut = True
    (line,) = far.one.wait_connections(1)
    assert line["end"] == "no-service" and 900 < float(line["total_ms"]) < 2500
    client.close()


# ---- a bad network


def bad(wire, loss=0.02):
    wire.loss, wire.repeat, wire.delay, wire.jitter = loss, 0.01, 0.003, 0.004


def test_bytes_arrive_whole_over_a_network_that_loses_reorders_and_repeats(usher, net):
    far = Far(usher, net, connect_timeout=60.0)  # a SYN that is lost comes again after a second
    bad(net.near)
    bad(net.far)
    pairs = [far.pair() for _ in range(3)]
    threads = []
    for number, (client, server) in enumerate(pairs):
        threads.append((Sender(client, 1500000, number), Receiver(server, number + 10)))
        threads.append((Sender(server, 1500000, number + 20), Receiver(client, number + 30)))
    join_all(*(thread for couple in threads for thread in couple))
    for sender, receiver in threads:
        assert receiver.size == 1500000 and sender.digest == receiver.digest
    assert net.near.lost > 10 and net.far.lost > 10


def test_a_hello_in_pieces_over_a_bad_network_is_told_by_its_name(usher, net):
    far = Far(usher, net, connect_timeout=60.0)  # a SYN that is lost comes again after a second
    bad(net.near, 0.1)
    hello = client_hello("far.example", size=20000, record=700)
    for _ in range(5):
        client = far.connect(b"")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(hello), 1500):
            client.sendall(hello[at : at + 1500])
        server, _ = far.listener.accept()
        server.settimeout(slow(10))
        assert read_exactly(server, len(hello)) == hello
        client.close()
        server.close()
    assert all(line["service"] == "tls" and line["sni"] == "far.example" for line in far.one.wait_connections(5))


def test_resets_cross_a_bad_network_as_resets(usher, net):
    far = Far(usher, net)
    bad(net.near, 0.0)
    bad(net.far, 0.0)
    for who in (0, 1) * 3:
        both = far.pair()
        both[who].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        both[who].close()
        with pytest.raises(ConnectionResetError):
            both[1 - who].recv(1)
    wait_until(lambda: len(far.one.connections()) == 6, 5)
