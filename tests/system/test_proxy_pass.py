"""PROXY headers that need not be there (absent), go on as they came (pass_proxy), or have the family of the backend
(send_proxy_family)."""

import socket
import time

import proxy_header
import pytest
from harness import connect, read_all, read_exactly, run_usher, slow, wait_until
from peers import Backend, how_it_ends

CONFIG = """
listen = ( { address = "127.0.0.1:{port}"; accept_proxy = "127.0.0.1"; absent = "plain"; {listener} },
           { address = "unix:{dir}/in.sock"; mode = 0666; accept_proxy = "unix:"; absent = "plain"; } );
control = "{dir}/control.sock";  workers = 2;  decide_timeout = {decide_timeout};
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = [ "go", "http" ]; connect = "{backend}"; {service} },
             { name = "rest"; connect = "{backend}"; {service} } );
on_silence = "rest"; on_unknown = "rest";
"""

CLIENT, LOCAL = ("192.0.2.7", 52044), ("198.51.100.1", 443)
HEADERS = {
    "v1": proxy_header.v1(CLIENT, LOCAL),
    "v1 TCP6": proxy_header.v1(("2001:db8::7", 1), ("::1", 2)),
    "v1 unknown": b"PROXY UNKNOWN of whatever kind\r\n",
    "v2": proxy_header.v2(CLIENT, LOCAL),
    "v2, 9000 bytes": proxy_header.v2(CLIENT, LOCAL, proxy_header.tlv(0xEA, bytes(9000)), checksum=True),
    "v2 padding": proxy_header.v2(CLIENT, LOCAL, proxy_header.tlv(proxy_header.NOOP, bytes(7))),
    "v2 local": proxy_header.v2(command=0),
    "v2 unix": proxy_header.v2("/run/a", "/run/b"),
}


@pytest.fixture
def backend():
    with Backend() as one:
        yield one


@pytest.fixture
def start(usher, backend):
    def begin(listener="", service="pass_proxy = true;", decide_timeout=20, target=None, **options):
        return usher(CONFIG, listener=listener, service=service, decide_timeout=decide_timeout,
                     backend=target or f"127.0.0.1:{backend.port}", **options)

    return begin


def through(address, backend, *pieces, pause=0.05):
    """What the backend gets of these pieces."""
    with connect(address) as client:
        for i, piece in enumerate(pieces):
            if i:
                time.sleep(pause)
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        with backend.accept() as server:
            return read_all(server)


# ---- a header that need not be there


@pytest.mark.parametrize("said", [b"go", b"GET / HTTP/1.0\r\n\r\n", b"PUT / HTTP/1.0\r\n\r\n", b"PROXZ / HTTP/1.0\r\n\r\n",
                                  b"\r\n\r\n\0\r\nQUIX", b"\xff\xff"])
def test_who_sends_none_is_served_as_it_is(start, backend, said):
    one = start()
    pieces = [said[i : i + 1] for i in range(len(said))]
    assert through(one.port, backend, said) == said
    assert through(one.port, backend, *pieces, pause=0.002) == said
    assert through(one.dir / "in.sock", backend, said) == said
    for line in one.wait_connections(3):
        assert "via" not in line and line["end"] == "finished"


@pytest.mark.parametrize("said", [b"", b"P", b"PROX", b"\r\n"])
def test_who_leaves_before_it_is_clear_is_gone_as_anywhere(start, said):
    one = start()
    with one.connect() as client:
        client.sendall(said)
    assert one.wait_connections(1)[0]["end"] in ("client-gone", "client-reset")


def test_who_says_nothing_is_silent_at_its_time(start, backend):
    """decide_timeout is not lengthened by the time that a header has."""
    one = start(decide_timeout=0.3)
    with one.connect() as client, backend.accept() as server:
        server.sendall(b"hello")
        assert read_exactly(client, 5) == b"hello"
    assert 300 <= float(one.wait_connections(1)[0]["decided_ms"])


def test_half_a_header_is_waited_for_as_long_as_for_a_decision(start, backend):
    one = start(decide_timeout=0.3)
    with one.connect() as client:
        client.sendall(b"PROXY TCP4 ")
        with backend.accept() as server:
            assert read_exactly(server, 11) == b"PROXY TCP4 "


@pytest.mark.parametrize("broken, rule", [(b"PROXY TCP4 nonsense\r\n", "malformed"), (b"PROXY TCP5", "malformed"),
                                          (proxy_header.SIGNATURE + b"\x21\x11\xff\xff", "too-long")])
def test_a_broken_one_ends_the_connection_all_the_same(start, broken, rule):
    one = start()
    with one.connect() as client:
        client.sendall(broken)
        assert how_it_ends(client) in ("eof", "reset")
    (line,) = one.wait_connections(1)
    assert (line["end"], line["rule"]) == ("proxy-header", rule)


def test_strangers_are_refused_all_the_same(start):
    one = start()
    with connect(("127.0.0.1", one.port), source=("127.9.9.9", 0)) as client:
        assert how_it_ends(client) in ("eof", "reset")
    assert one.wait_connections(1)[0]["rule"] == "source"


# ---- one that goes on as it came


@pytest.mark.parametrize("kind", list(HEADERS))
def test_a_header_goes_on_byte_for_byte(start, backend, kind):
    header = HEADERS[kind]
    one = start()
    assert through(one.port, backend, header + b"go on") == header + b"go on"
    half = len(header) // 2
    assert through(one.port, backend, header[:half], header[half:], b"go on") == header + b"go on"
    assert through(one.port, backend, b"go on") == b"go on", "none came, none goes"
    named = kind not in ("v1 unknown", "v2 local")
    lines = one.wait_connections(3)
    assert [("via" in line) for line in lines] == [named, named, False]


def test_a_client_that_says_nothing_behind_its_header(start, backend):
    one = start(decide_timeout=0.3)
    with one.connect() as client:
        client.sendall(HEADERS["v1"])
        with backend.accept() as server:
            assert read_exactly(server, len(HEADERS["v1"])) == HEADERS["v1"]


def test_a_header_that_was_read_before_a_reload_goes_on_after_it(start, backend):
    """It crosses to the new worker with the connection."""
    header = HEADERS["v2, 9000 bytes"]
    one = start()
    with one.connect() as client:
        client.sendall(header + b"g")
        wait_until(lambda: "192.0.2.7:52044" in run_usher("sessions", "-s", one.dir / "control.sock").stdout, 20, "its header to be read")
        one.reload()
        client.sendall(b"o on")
        with backend.accept() as server:
            assert read_exactly(server, len(header) + 5) == header + b"go on"
    assert one.wait_connections(1)[0]["client"] == "192.0.2.7:52044"


def test_a_header_and_the_first_bytes_are_one_read(start, backend):
    """For servers that look at one read only; and it spares a packet."""
    one = start()
    for _ in range(20):
        with one.connect() as client:
            client.sendall(HEADERS["v1"] + b"go on")
            with backend.accept() as server:
                server.settimeout(slow(10))
                assert server.recv(1000) == HEADERS["v1"] + b"go on"


# ---- one of the backend's family


@pytest.mark.parametrize("family, host, kind", [("backend", "::1", "TCP6 ::ffff:"), ("client", "::1", "TCP4 "),
                                                ("backend", "127.0.0.1", "TCP4 ")])
def test_the_family_of_the_addresses(start, family, host, kind):
    with Backend((host, 0)) as backend:
        target = f"[{host}]:{backend.port}" if ":" in host else f"{host}:{backend.port}"
        one = start(service=f'send_proxy = 1; send_proxy_family = "{family}";', target=target)
        got = through(one.port, backend, HEADERS["v1"] + b"go")
        assert got.startswith(f"PROXY {kind}192.0.2.7 ".encode()) and got.endswith(b" 52044 443\r\ngo")


def test_a_backend_on_a_unix_socket_has_no_family(place, start):
    with Backend(place / "b.sock") as backend:
        one = start(service='send_proxy = 1; send_proxy_family = "backend";', target=f"unix:{place}/b.sock")
        assert through(one.port, backend, HEADERS["v1"] + b"go") == HEADERS["v1"] + b"go"


def test_the_check_shows_it(start):
    one = start()
    text = run_usher("check", "-c", one.file).stdout
    assert "PROXY headers from 127.0.0.1 where there are any, others refused" in text and "(PROXY header passed)" in text
