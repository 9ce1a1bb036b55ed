"""Clients over UDP whose address has changed, or whose flow has ended here and not at its ends: they stay with their backend, of several, by the
id that the backend gave them, else by their address."""

import contextlib
import os
import signal
import struct

import pytest
from datagrams import Server, client, exchange
from harness import NEVER, free_port, wait_until
from test_explain import chromium_datagrams

CONFIG = """
listen = "udp:127.0.0.1:{port}"; workers = %d; control = "{dir}/control"; drain_timeout = 0.1;
services = ( %s
  { name = "wireguard"; match = "wireguard"; connect = [ "{first}", "{second}" ]; idle_timeout = {never}; },
  { name = "openvpn"; match = "openvpn"; connect = [ "{first}", "{second}" ]; idle_timeout = {never}; },
  { name = "quic"; match = { protocol = "quic"; sni = "shop.example.com"; }; connect = [ "{first}", "{second}" ]; idle_timeout = {never}; } );
"""


def noise(n):
    return bytes(1 + i % 255 for i in range(n))


def wireguard_initiation():
    return struct.pack("<II", 1, 0xC0FFEE) + noise(140)


def wireguard_data(index, counter=0):
    return struct.pack("<IIQ", 4, index, counter) + noise(32)


OPENVPN_RESET = b"\x38" + noise(8) + bytes(5)


def openvpn_data(peer, number):
    return bytes([9 << 3]) + peer.to_bytes(3, "big") + struct.pack("!I", number) + noise(40)


def quic_short(server_id):
    return b"\x40" + server_id + noise(40)


class Peer(Server):
    """A server of all three: what it answers has the ids that it was made with. It sends back what is no handshake."""

    def __init__(self, port=0, index=0, server_id=b"", peer=0):
        self.index, self.server_id, self.peer = index, server_id, peer
        super().__init__(("127.0.0.1", port), answer=self._reply)

    def _reply(self, datagram):
        if datagram[:4] == b"\1\0\0\0":
            return [struct.pack("<III", 2, self.index, 0xC0FFEE) + noise(80)]
        if datagram[0] & 0x80:
            return [b"\xc0\0\0\0\1\0" + bytes([len(self.server_id)]) + self.server_id + noise(100)]
        if datagram[0] >> 3 == 9:
            return [openvpn_data(self.peer, 1)]
        return [datagram]


@pytest.fixture
def pair(usher):
    """make(...) gives usher, and two backends of its services, of which the first is not there at first: clients that come before
    pair.first() is called are the second one's."""

    class Pair:
        def __init__(self):
            self.servers = []
            self.first_port = free_port()

        def make(self, workers=1, more="", config=CONFIG, **words):
            self.second = self.add(index=0x22222222, server_id=b"second-id", peer=0)
            self.config = config
            self.usher = usher(config % (workers, more), first=f"127.0.0.1:{self.first_port}", second=self.second.text(), never=NEVER, **words)
            return self.usher

        def add(self, **options):
            self.servers.append(Peer(**options))
            return self.servers[-1]

        def first(self, *openings):
            """With datagrams that rules give to services, which have found it refusing and try it last for a while: it is up for these."""
            one = self.add(port=self.first_port, index=0x11111111, server_id=b"the-first", peer=0)
            for opening in openings:
                wait_until(lambda: self._gets(one, opening), 20, "the first backend")
                one.got.clear()
            return one

        def _gets(self, server, opening):
            with client(self.usher.port, source=("127.0.0.77", 0)) as other:
                exchange(other, opening)
            return server.got

    one = Pair()
    yield one
    for server in one.servers:
        server.close()


def known_by(one):
    return [session.get("known_by") for session in sorted(one.ask(b"sessions"), key=lambda session: session.get("id", 0)) if "client" in session]


def open_wireguard(port, **options):
    c = client(port, **options)
    exchange(c, wireguard_initiation())
    exchange(c, wireguard_data(0x22222222))
    return c


def open_quic(port):
    c = client(port)
    for datagram in chromium_datagrams():
        c.send(datagram)
    for _ in chromium_datagrams():
        c.recv(2000)
    exchange(c, quic_short(b"second-id"))
    return c


def open_openvpn(port, peer=0, **options):
    c = client(port, **options)
    exchange(c, OPENVPN_RESET)
    exchange(c, openvpn_data(peer, 1))
    exchange(c, openvpn_data(peer, 2))
    return c


# ---- by an id


@pytest.mark.parametrize("opens, datagram, by", [
    (open_wireguard, wireguard_data(0x22222222, 1), "receiver_index"),
    (open_quic, quic_short(b"second-id"), "connection_id"),
    (open_openvpn, openvpn_data(0, 3), "peer_id"),
], ids=["wireguard", "quic", "openvpn"])
def test_a_client_with_another_address_stays_with_its_backend_by_its_id(pair, opens, datagram, by):
    one = pair.make()
    with opens(one.port) as before:
        first = pair.first()
        with client(one.port, source=("127.0.0.9", 0)) as moved:
            exchange(moved, datagram)
            assert known_by(one) == [None, by]
            # The other address still has its flow, and nobody gets the answers to it.
            exchange(before, datagram)
            assert first.got == []
            sessions = [session for session in one.ask(b"sessions") if "client" in session]
            assert len({session["service"] for session in sessions}) == 1
            assert len({session["protocol"] for session in sessions}) == 1
    assert len({peer for _, peer, _ in pair.second.got}) == 2
    one.stop()
    assert [line.get("known_by") for line in one.connections()] == [None, by]


@pytest.mark.parametrize("datagram", [wireguard_data(0x33333333, 1), openvpn_data(7, 3)], ids=["wireguard", "openvpn"])
def test_who_has_an_id_that_no_backend_gave_goes_where_the_rules_say(pair, datagram):
    one = pair.make()
    with open_wireguard(one.port), open_openvpn(one.port):
        first = pair.first(wireguard_initiation(), OPENVPN_RESET)
        with client(one.port, source=("127.0.0.9", 0)) as other:
            exchange(other, datagram)
    assert first.datagrams() == [datagram]


def test_a_short_header_whose_id_no_backend_gave_is_dropped(pair):
    one = pair.make()
    with open_quic(one.port), client(one.port, source=("127.0.0.9", 0)) as other:
        other.send(quic_short(b"second-Id"))
        exchange(other, quic_short(b"second-id"))
    assert quic_short(b"second-Id") not in pair.second.datagrams()


def test_an_id_is_known_when_the_client_has_spoken_after_the_answer_that_has_it(pair):
    """A flood of forged addresses, which see no answers, puts nothing into the table."""
    one = pair.make()
    with client(one.port) as c:
        exchange(c, wireguard_initiation())
        first = pair.first(wireguard_initiation())
        with client(one.port, source=("127.0.0.9", 0)) as moved:
            exchange(moved, wireguard_data(0x22222222, 1))
            assert len(first.got) == 1
        exchange(c, wireguard_data(0x22222222, 2))
        with client(one.port, source=("127.0.0.8", 0)) as moved:
            exchange(moved, wireguard_data(0x22222222, 3))
            assert len(first.got) == 1


def test_a_peer_id_that_two_servers_gave_is_told_apart_by_the_clients_address(pair):
    """OpenVPN's servers count from 0."""
    one = pair.make()
    with open_openvpn(one.port, source=("127.0.0.2", 0)):
        first = pair.first(OPENVPN_RESET)
        with open_openvpn(one.port, source=("127.0.0.3", 0)):
            got = len(first.got), len(pair.second.got)
            with client(one.port, source=("127.0.0.2", 0)) as moved:
                exchange(moved, openvpn_data(0, 4))
                assert (len(first.got), len(pair.second.got)) == (got[0], got[1] + 1)
            with client(one.port, source=("127.0.0.3", 0)) as moved:
                exchange(moved, openvpn_data(0, 4))
                assert (len(first.got), len(pair.second.got)) == (got[0] + 1, got[1] + 1)
            with client(one.port, source=("127.0.0.4", 0)) as moved:
                exchange(moved, openvpn_data(0, 4))  # anybody's: as the rules say
                assert (len(first.got), len(pair.second.got)) == (got[0] + 2, got[1] + 1)


def test_any_worker_knows_the_id(pair):
    one = pair.make(4)
    with open_wireguard(one.port), contextlib.ExitStack() as open_:
        first = pair.first()
        for _ in range(20):
            exchange(open_.enter_context(client(one.port)), wireguard_data(0x22222222, 1))
        assert first.got == []
        assert len({session["worker"] for session in one.ask(b"sessions") if "client" in session}) > 1


def test_ids_are_known_after_reloads_and_upgrades(pair):
    """Also those of flows that have ended, and where services have other numbers."""
    one = pair.make(2)
    open_wireguard(one.port).close()
    with open_quic(one.port):
        first = pair.first()
        one.reload(pair.config % (1, '{ name = "other"; match = "dns"; connect = "127.0.0.1:9"; },'))
        before = one.workers
        one.send_signal(signal.SIGUSR2)
        wait_until(lambda: one.workers_but(before), 15.0, "the workers of the new binary")
        one.reload(pair.config % (2, ""))
        with client(one.port) as moved:
            exchange(moved, wireguard_data(0x22222222, 1))
        with client(one.port) as moved:
            exchange(moved, quic_short(b"second-id"))
    assert first.got == []


def test_a_flow_that_another_worker_has_taken_over_still_learns(pair):
    one = pair.make()
    with open_wireguard(one.port) as c:
        one.reload()
        first = pair.first()
        pair.second.index = 0x44444444
        exchange(c, wireguard_initiation())
        with client(one.port) as moved:
            exchange(moved, wireguard_data(0x44444444, 1))
    assert first.got == []


def test_an_id_leads_to_no_service_that_its_listener_does_not_have(pair):
    other = free_port()
    config = """listen = ( "udp:127.0.0.1:{port}", "udp:127.0.0.1:{other}" ); workers = %d; control = "{dir}/control"; services = ( %s
        { name = "inner"; match = { protocol = "wireguard"; listener = "udp:127.0.0.1:{port}"; }; connect = [ "{first}", "{second}" ]; },
        { name = "outer"; match = "wireguard"; connect = "{first}"; } );"""
    one = pair.make(config=config, other=other)
    with open_wireguard(one.port):
        first = pair.first()
        with client(other) as outside:
            exchange(outside, wireguard_data(0x22222222, 1))
    assert len(first.got) == 1


# ---- by the client's address


UNKNOWN = """
listen = "udp:127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; protocols = ( { name = "hello"; string = "hello"; } ); %s
services = ( { name = "hello"; match = "hello"; connect = [ "{first}", "{second}" ]; idle_timeout = 0.1; },
             { name = "other"; match = "dns"; connect = "{second}"; } );
"""


def open_hello(one, **options):
    c = client(one.port, **options)
    exchange(c, b"hello")
    exchange(c, b"proven")
    one.wait_connections(1, 20, service="hello", end="idle")
    return c


@pytest.fixture
def hello(pair):
    def make(more=""):
        config = UNKNOWN.replace("%s", more)
        return pair.make(config=config.replace("workers = 1", "workers = %d") + "%s")
    return make


def test_who_goes_on_when_the_flow_has_ended_has_its_service_and_backend_again(pair, hello):
    one = hello('on_unknown = "other";')
    with open_hello(one) as c:
        first = pair.first()
        exchange(c, b"nothing that a rule knows")
    assert first.got == []
    assert [line.get("known_by") for line in one.wait_connections(2, 20, service="hello")] == [None, "client"]


def test_from_another_port_the_last_service_of_an_address_gets_what_no_other_service_does(pair, hello):
    one = hello()
    with open_hello(one), client(one.port) as moved, client(one.port, source=("127.0.0.9", 0)) as other:
        first = pair.first()
        other.send(b"nobody's")
        exchange(moved, b"nothing that a rule knows")
    assert first.got == []
    assert [line.get("known_by") for line in one.wait_connections(2, 20, service="hello")] == [None, "client_address"]
    assert b"nobody's" not in pair.second.datagrams()


def test_on_unknown_comes_before_the_last_service_of_an_address(pair, hello):
    one = hello('on_unknown = "other";')
    with open_hello(one), client(one.port) as another:
        exchange(another, b"nothing that a rule knows")
        assert [session["service"] for session in one.ask(b"sessions") if "client" in session] == ["other"]


def test_a_rule_comes_before_the_last_service_of_an_address(pair, hello):
    one = hello()
    with open_hello(one) as c:
        first = pair.first(b"hello")
        exchange(c, b"hello")
    assert first.datagrams() == [b"hello"]


# ---- a backend that goes away


def test_a_flow_ends_when_its_backend_is_gone_and_the_next_datagram_goes_to_another(pair):
    one = pair.make()
    with open_wireguard(one.port) as c:
        first = pair.first()
        pair.servers.remove(pair.second)
        pair.second.close()

        def arrives():
            c.send(wireguard_data(0x22222222, 1))
            return first.got

        wait_until(arrives, 30, "the other backend to have the client")
        (line,) = one.wait_connections(1, 20)
    assert (line["end"], line["error"]) == ("delivery-failed", "Connection refused")
    assert float(line["total_ms"]) > 1900  # one report ends nothing


def test_the_master_keeps_the_table_when_a_worker_dies(pair, usher):
    one = pair.make(1, may_crash=True)
    with open_wireguard(one.port):
        first = pair.first()
        (old,) = one.workers
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: one.workers_but([old]), what="another worker")
        with client(one.port) as moved:
            exchange(moved, wireguard_data(0x22222222, 1))
    assert first.got == []
