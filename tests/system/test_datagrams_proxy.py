"""Backends that learn who a flow's client is: a PROXY header in front of the flow's first datagram, or of each (send_proxy)."""

import socket

import pytest
from datagrams import Server, client, exchange, send_segments
from harness import NEVER, free_port, wait_until
from proxy_header import ALPN, AUTHORITY, SIGNATURE, UNIQUE_ID, parse
from test_explain import chromium_datagrams

DGRAM4, DGRAM6 = 0x12, 0x22

CONFIG = """
listen = ( "udp:127.0.0.1:{port}", "udp:[::1]:{port}" {also} ); workers = {workers}; control = "{dir}/control";
services = ( { name = "quic"; match = { protocol = "quic"; sni = "*"; }; connect = {connect}; send_proxy = {send}; idle_timeout = {never}; {more} },
             { name = "all"; connect = {connect}; send_proxy = {send}; idle_timeout = {never}; {more} } {others} );
on_unknown = "all"; drain_timeout = 0.1;
"""


def without_header(datagram):
    return [datagram[parse(datagram).length :] if datagram.startswith(SIGNATURE) else datagram]


@pytest.fixture
def server():
    made = []

    def make(*args, **more):
        more.setdefault("answer", without_header)
        made.append(Server(*args, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def relay(usher):
    def make(*backends, send="2", more="", others="", also="", workers=1):
        connect = "[ %s ]" % ", ".join(f'"{b if isinstance(b, str) else b.text()}"' for b in backends)
        return usher(CONFIG, connect=connect, send=send, more=more, others=others, also=also, workers=workers, never=NEVER)

    return make


def taken_apart(datagram):
    header = parse(datagram)
    return header, datagram[header.length :]


def headed(back):
    """What a server has got, in order: whether with a header, and the payload."""
    return [(datagram.startswith(SIGNATURE), without_header(datagram)[0]) for datagram in back.datagrams()]


@pytest.mark.parametrize("host,family", [("127.0.0.1", DGRAM4), ("::1", DGRAM6)])
def test_the_first_datagram_alone_begins_with_a_header(relay, server, host, family):
    back = server()
    one = relay(back)
    with client(one.port, host) as c:
        for payload in (b"one", b"two", b"three"):
            assert exchange(c, payload) == payload
        header, payload = taken_apart(back.datagrams()[0])
        assert (payload, header.version, header.command, header.family) == (b"one", 2, 1, family)
        assert header.source == c.getsockname()[:2]
        assert header.destination == (host, one.port)
        assert header.tlvs[UNIQUE_ID].isdigit()
        assert back.datagrams()[1:] == [b"two", b"three"]
    # What is counted is what the client has sent.
    (listed,) = [line for line in one.ask(b"sessions") if "client" in line]
    assert (listed["datagrams_up"], listed["bytes_up"]) == (3, len(b"onetwothree"))


def test_each_datagram_begins_with_a_header(relay, server):
    back = server()
    one = relay(back, send='"each"')
    with client(one.port) as c:
        for payload in (b"one", b"", b"three"):
            assert exchange(c, payload) == payload
        headers = [taken_apart(datagram)[0] for datagram in back.datagrams()]
        assert headers == [headers[0]] * 3
        assert headers[0].source == c.getsockname()
    assert headed(back) == [(True, b"one"), (True, b""), (True, b"three")]


def test_each_flow_has_its_own(relay, server):
    back = server()
    one = relay(back)
    with client(one.port) as first, client(one.port) as second:
        for c in (first, second):
            exchange(c, b"hello")
            exchange(c, b"again")
        ids = set()
        for c, datagram in zip((first, second), back.datagrams()[::2]):
            assert taken_apart(datagram)[0].source == c.getsockname()
            ids.add(taken_apart(datagram)[0].tlvs[UNIQUE_ID])
        assert len(ids) == 2


@pytest.mark.parametrize("send", ["2", '"each"'])
def test_a_flow_that_was_undecided_sends_what_was_kept_behind_it(relay, server, send):
    """A hello of QUIC in several datagrams: they come together, and the server's name is told."""
    back = server(answer=lambda datagram: [])
    one = relay(back, send=send)
    hello = chromium_datagrams()
    with client(one.port) as c:
        for datagram in hello:
            c.send(datagram)
        wait_until(lambda: len(back.datagrams()) == len(hello), what="the whole hello")
    assert headed(back) == [(i == 0 or send != "2", datagram) for i, datagram in enumerate(hello)]
    tlvs = taken_apart(back.datagrams()[0])[0].tlvs
    assert (tlvs[AUTHORITY], tlvs[ALPN]) == (b"shop.example.com", b"h3")


@pytest.mark.parametrize("gro", [False, True])
@pytest.mark.parametrize("send", ["2", '"each"'])
def test_joined_datagrams_keep_contents_and_boundaries(relay, server, send, gro):
    """They come in as one message, and go out joined where they can be, each with its header or the first one alone."""
    back = server(answer=lambda datagram: [])
    one = relay(back, send=send)
    sent = []
    with client(one.port) as c:
        for round_ in range(4):
            segments = [bytes([round_, i]) * 300 for i in range(40)] + [b"the shorter one"]
            send_segments(c, segments)
            sent += segments
        wait_until(lambda: len(back.datagrams()) == len(sent), what="all datagrams")
    assert headed(back) == [(i == 0 or send != "2", payload) for i, payload in enumerate(sent)]


@pytest.mark.parametrize("send", ["2", '"each"'])
def test_another_backend_gets_the_header_again(relay, server, send):
    """The first one refuses, by ICMP; what was kept goes to the next with the header."""
    back = server()
    one = relay(f"127.0.0.1:{free_port()}", back, send=send)
    with client(one.port) as c:
        c.send(b"hello")
        wait_until(lambda: c.send(b"more") and back.datagrams(), what="the other backend")
    got = headed(back)
    assert got[0] == (True, b"hello")
    assert {with_header for with_header, _ in got[1:]} <= {send != "2"}


@pytest.mark.parametrize("moves", [False, True])
def test_a_backend_that_was_started_anew_gets_the_header_again(relay, server, moves):
    """That nothing was there the network says, and what is there now knows nothing of the flow; also after a reload."""
    first = server()
    one = relay(first)
    with client(one.port) as c:
        assert exchange(c, b"hello") == b"hello"
        first.close()
        if moves:
            one.reload()
        c.send(b"nobody is there")
        wait_until(lambda: one.ask(b"status")[0]["services"][1]["failed"] == 1, what="the refusal")
        second = server(first.address)
        assert exchange(c, b"again") == b"again"
        assert exchange(c, b"more") == b"more"
        assert headed(second) == [(True, b"again"), (False, b"more")]
        assert taken_apart(second.datagrams()[0])[0] == taken_apart(first.datagrams()[0])[0]


def test_a_fallback_without_send_proxy_gets_none(relay, server):
    back = server()
    one = relay(f"127.0.0.1:{free_port()}", more='fallback = "plain";',
                others=', { name = "plain"; match = "rtp"; connect = "%s"; }' % back.text())
    with client(one.port) as c:
        c.send(b"hello")
        wait_until(lambda: c.send(b"more") and back.datagrams(), what="the fallback")
    assert headed(back)[0] == (False, b"hello")


@pytest.mark.parametrize("send", ["2", '"each"'])
def test_after_a_reload_it_is_known_whether_the_first_one_has_gone(relay, server, send):
    """Twice: so it is known by those as well that were told of it."""
    back = server()
    one = relay(back, send=send, workers=2)
    with client(one.port) as c:
        exchange(c, b"before")
        for word in (b"after", b"later"):
            one.reload()
            assert exchange(c, word) == word
    assert headed(back) == [(True, b"before"), (send != "2", b"after"), (send != "2", b"later")]
    if send != "2":
        assert len({taken_apart(datagram)[0].source for datagram in back.datagrams()}) == 1


def test_what_is_too_big_with_its_header_is_counted_and_the_next_one_has_it(relay, server):
    back = server()
    one = relay(back)
    with client(one.port) as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        c.send(b"x" * 65507)
        assert exchange(c, b"small") == b"small"
        assert exchange(c, b"again") == b"again"
    assert one.ask(b"status")[0]["datagrams"]["too_big"] == 1
    assert headed(back) == [(True, b"small"), (False, b"again")]


def test_addresses_are_of_the_backends_family_where_that_is_wanted(relay, server):
    back = server(("::1", 0))
    one = relay(back, more='send_proxy_family = "backend";')
    with client(one.port) as c:
        exchange(c, b"hello")
        header, _ = taken_apart(back.datagrams()[0])
        assert header.family == DGRAM6
        assert header.source == ("::ffff:127.0.0.1", c.getsockname()[1])


def test_one_service_serves_connections_and_flows(relay, server):
    """`each' is for datagrams; a connection begins with one header of version 2. The first backend has UDP alone."""
    back = server()
    with socket.create_server(("127.0.0.1", 0)) as stream:
        one = relay(back, "%s:%d" % stream.getsockname(), send='"each"', also=f', "127.0.0.1:{(port := free_port())}"')
        with client(one.port) as c:
            exchange(c, b"hello")
            assert taken_apart(back.datagrams()[0])[0].family == DGRAM4
        with socket.create_connection(("127.0.0.1", port)) as c:
            c.send(b"\0\1\2 no protocol\r\n")
            c.shutdown(socket.SHUT_WR)
            at, _ = stream.accept()
            with at, at.makefile("rb") as whole:
                header, payload = taken_apart(whole.read())
                assert (header.family, header.source, payload) == (0x11, c.getsockname(), b"\0\1\2 no protocol\r\n")
