"""Hellos that need several datagrams, as real clients sent them (tests/corpus), through the running usher: in order, in another order, and
with one that never comes."""

import json

import pytest
from datagrams import Server, client
from harness import NEVER, SOURCE

CONFIG = """
listen = "udp:127.0.0.1:{port}"; decide_timeout = {timeout}; drain_timeout = 0.1;
services = ( { name = "named"; match = { sni = [ "shop.example.com", "vpn.example.com" ]; }; connect = "{named}"; },
             { name = "others"; match = [ "quic", "dtls" ]; connect = "{others}"; } );
"""
HELLOS = ["quic-client-chromium-deb13", "quic-client-firefox-deb13", "dtls-client-openssl-fragments-deb13",
          "dtls-client-gnutls-fragments-deb13"]


def datagrams_of(flow_id):
    """Those that have the hello: the first two."""
    lines = (SOURCE / f"tests/corpus/{flow_id.split('-')[0]}.jsonl").read_text().splitlines()
    flow = next(flow for flow in map(json.loads, lines) if flow["id"] == flow_id)
    return [bytes.fromhex(segment) for segment in flow["segments"][:2]]


@pytest.fixture
def servers():
    made = [Server(answer=lambda datagram: [b"named " + datagram[:64]]), Server(answer=lambda datagram: [b"others " + datagram[:64]])]
    yield made
    for one in made:
        one.close()


def start(usher, servers, timeout):
    return usher(CONFIG, named=servers[0].text(), others=servers[1].text(), timeout=timeout)


@pytest.mark.parametrize("flow_id", HELLOS)
def test_a_hello_of_two_datagrams_is_decided_by_its_name_in_either_order(usher, servers, flow_id):
    one = start(usher, servers, NEVER)
    first, second = datagrams_of(flow_id)
    for order in [first, second], [second, first], [second, second, first]:
        with client(one.port) as c:
            for datagram in order:
                c.send(datagram)
            assert [c.recv(200) for _ in order] == [b"named " + datagram[:64] for datagram in order], "all of them, in their order"


def test_a_hello_whose_rest_never_comes_is_decided_at_the_deadline(usher, servers):
    one = start(usher, servers, 0.3)
    first, _ = datagrams_of(HELLOS[0])
    with client(one.port) as c:
        c.send(first)
        assert c.recv(200) == b"others " + first[:64]


def test_eight_datagrams_without_the_rest_of_a_hello_decide_at_once(usher, servers):
    one = start(usher, servers, NEVER)
    first, _ = datagrams_of(HELLOS[0])
    with client(one.port) as c:
        for _ in range(8):
            c.send(first)
        assert [c.recv(200) for _ in range(8)] == [b"others " + first[:64]] * 8
