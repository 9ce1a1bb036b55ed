"""Connections that begin with a PROXY header (accept_proxy): who is believed, what is refused and why, and that the client
that the header names is the client for everything from then on."""

import importlib.util
import socket
import subprocess
import time

import proxy_header
import pytest
from harness import SOURCE, Usher, connect, new_directory, read_all, read_exactly, remove_directory, slow
from peers import how_it_ends, reset
from servers import listening

spec = importlib.util.spec_from_file_location("example_receiver", SOURCE / "examples/receiver.py")
example_receiver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example_receiver)

CONFIG = """
listen = ( {{ address = "127.0.0.1:{{port}}"; accept_proxy = {accept}; {listener} }},
           {{ address = "unix:{{dir}}/in.sock"; mode = 0666; accept_proxy = "unix:"; }} );
workers = 2;  decide_timeout = {decide_timeout};
protocols = ( {{ name = "env"; string = "env"; }}, {{ name = "echo"; string = "echo"; }} );
services = (
  {{ name = "env"; match = "env"; exec = [ "/bin/sh", "-c", "read -r line; exec env" ]; fallback = "rest"; }},
  {{ name = "echo"; match = "echo"; connect = "{{echo}}"; {service} }},
  {{ name = "rest"; connect = "{{echo}}"; }} );
{more}
"""

CLIENT, LOCAL = ("192.0.2.7", 52044), ("198.51.100.1", 443)
CLIENT6, LOCAL6 = ("2001:db8::7", 52044), ("2001:db8::1", 443)
V1, V2 = proxy_header.v1(CLIENT, LOCAL), proxy_header.v2(CLIENT, LOCAL)


@pytest.fixture
def start(usher, echo):
    def begin(accept='"127.0.0.1"', listener="", service="", more="", decide_timeout=10.0, **options):
        config = CONFIG.format(accept=accept, listener=listener, service=service, more=more,
                               decide_timeout=decide_timeout)
        return usher(config, echo=echo.tcp4, **options)

    return begin


def environment(client):
    lines = read_all(client).decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


HEADERS = {
    "v1 TCP4": (V1, CLIENT, LOCAL),
    "v1 TCP6": (proxy_header.v1(CLIENT6, LOCAL6), CLIENT6, LOCAL6),
    "v1 TCP6, mapped": (proxy_header.v1(("::ffff:192.0.2.7", 52044), LOCAL6), CLIENT, LOCAL6),
    "v1 TCP6, both mapped": (proxy_header.v1(("::ffff:192.0.2.7", 52044), ("::ffff:c633:6401", 443)), CLIENT, LOCAL),
    "v2 TCP4": (V2, CLIENT, LOCAL),
    "v2 TCP6": (proxy_header.v2(CLIENT6, LOCAL6), CLIENT6, LOCAL6),
    "v2 TCP6, mapped": (proxy_header.v2(("::ffff:192.0.2.7", 52044), LOCAL6), CLIENT, LOCAL6),
    "v2 UDP4": (proxy_header.v2(CLIENT, LOCAL, family=0x12), CLIENT, LOCAL),
    "v2 with TLVs": (proxy_header.v2(CLIENT, LOCAL, proxy_header.tlv(0xEA, bytes(9000)), checksum=True), CLIENT, LOCAL),
}


def written(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


@pytest.mark.parametrize("pause", [None, 0], ids=["whole", "a byte at a time"])
@pytest.mark.parametrize("name", HEADERS)
def test_the_client_is_the_one_that_the_header_names(start, name, pause):
    header, source, destination = HEADERS[name]
    one = start()
    with one.connect() as client:
        peer = client.getsockname()
        if pause is None:
            client.sendall(header + b"env\n")
        else:
            for byte in header + b"env\n":
                client.sendall(bytes([byte]))
        found = environment(client)
    assert (found["PROTO"], found["TCPREMOTEIP"], int(found["TCPREMOTEPORT"])) == ("TCP", *source)
    assert (found["REMOTE_ADDR"], int(found["REMOTE_PORT"])) == source
    assert (found["TCPLOCALIP"], int(found["TCPLOCALPORT"])) == destination
    (line,) = one.wait_connections(1)
    assert (line["client"], line["via"]) == (written(source), written(peer))
    assert (line["service"], line["end"]) == ("env", "program-started")


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_nothing_but_the_header_is_taken(start, header):
    """Cut in two at every place, with the client's bytes behind; the server gets these, and only these."""
    one = start()
    said = b"echo" + bytes(range(256)) * 20
    for cut in range(1, len(header) + 6):
        with one.connect() as client:
            client.sendall((header + said)[:cut])
            time.sleep(0.002)
            client.sendall((header + said)[cut:])
            assert read_exactly(client, len(said)) == said
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
    lines = one.wait_connections(len(header) + 5)
    assert {(line["client"], line["bytes_up"]) for line in lines} == {("192.0.2.7:52044", str(len(said)))}


def test_a_second_header_is_the_clients_own_word(start):
    one = start(more='on_unknown = "rest";')
    with one.connect() as client:
        client.sendall(V1 + V2 + b"echo")
        assert read_exactly(client, len(V2) + 4) == V2 + b"echo"
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    (line,) = one.wait_connections(1)
    assert (line["client"], line["service"]) == ("192.0.2.7:52044", "rest")


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 1.2.3.4 1.2.3.5 1 2\r\n",
                                    proxy_header.v2(command=0), proxy_header.v2(CLIENT, LOCAL, command=0),
                                    proxy_header.v2(), proxy_header.v2(CLIENT, LOCAL, family=0x10)],
                         ids=["UNKNOWN", "UNKNOWN and more", "LOCAL", "LOCAL and more", "UNSPEC", "half UNSPEC"])
def test_a_header_that_names_nobody_leaves_the_real_addresses(start, header):
    one = start()
    with one.connect() as client:
        peer = client.getsockname()
        client.sendall(header + b"env\n")
        found = environment(client)
    assert (found["TCPREMOTEIP"], int(found["TCPREMOTEPORT"])) == peer
    assert (found["TCPLOCALIP"], int(found["TCPLOCALPORT"])) == ("127.0.0.1", one.ports["port"])
    (line,) = one.wait_connections(1)
    assert line["client"] == written(peer) and "via" not in line


WRONG = {
    "another protocol": (b"echo hello\n", "absent"),
    "one byte of it": (b"e", "absent"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "absent"),
    "a leading zero": (V1.replace(b"443", b"0443"), "malformed"),
    "LF alone": (V1.replace(b"\r\n", b"\n"), "malformed"),
    "108 bytes": (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "malformed"),
    "version 3": (V2.replace(b"\n!", b"\n1"), "malformed"),
    "no room for addresses": (V2[:14] + b"\0\4" + V2[16:20], "malformed"),
    "TLVs that overrun": (proxy_header.v2(CLIENT, LOCAL, b"\1\0\5h2"), "malformed"),
    "a wrong checksum": (proxy_header.v2(CLIENT, LOCAL, checksum=True)[:-1] + b"!", "checksum"),
    "too long": (proxy_header.v2(CLIENT, LOCAL, proxy_header.tlv(0xEA, bytes(16384))), "too-long"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_header_ends_the_connection(start, name):
    sent, reason = WRONG[name]
    one = start(more='on_unknown = "rest"; on_silence = "rest";')
    with one.connect() as client:
        client.sendall(sent)
        assert how_it_ends(client) in ("eof", "reset")
    (line,) = one.wait_connections(1)
    assert (line["end"], line["rule"], line["client"].split(":")[0]) == ("proxy-header", reason, "127.0.0.1")
    assert "service" not in line


def test_a_header_that_the_client_does_not_finish(start):
    one = start(more='on_silence = "rest";')  # who is silent is seen
    for header in (V1, V2):
        with one.connect() as client:
            client.sendall(header[:-1])
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
    assert [line["rule"] for line in one.wait_connections(2, end="proxy-header")] == ["incomplete"] * 2
    one.connect().close()
    one.wait_connections(1, end="client-gone")
    reset(one.connect())
    one.wait_connections(1, end="client-reset")


def test_a_header_has_five_seconds(start):
    """However long, or short, the time to decide is."""
    one = start(decide_timeout=0)
    begun = time.monotonic()
    with one.connect() as silent, one.connect() as slow_one:
        slow_one.sendall(V1[:20])
        assert read_all(silent) == b""
        assert how_it_ends(slow_one) == "eof"
    assert time.monotonic() - begun > 4.5
    assert {line["rule"] for line in one.wait_connections(2, end="proxy-header")} == {"late"}


def test_the_time_to_decide_is_counted_from_accept(start):
    one = start(decide_timeout=1.0, more='on_silence = "rest";')
    with one.connect() as client:
        time.sleep(0.3)
        client.sendall(V1)
        client.sendall(b"ec")
        assert read_exactly(client, 2) == b"ec"
    (line,) = one.wait_connections(1)
    assert line["service"] == "rest" and float(line["decided_ms"]) > 990
    with one.connect() as client:  # nothing is left of it when the header comes
        time.sleep(1.5)
        client.sendall(V1 + b"ec")
        assert read_exactly(client, 2) == b"ec"
    line = one.wait_connections(2)[1]
    assert line["service"] == "rest" and line["client"] == "192.0.2.7:52044"


# ---- who is believed


def test_strangers_are_refused(start):
    one = start(accept='[ "127.0.0.1", "::/0" ]')
    for sent in (b"", b"echo", V1 + b"echo"):
        with connect(("127.0.0.1", one.ports["port"]), source=("127.9.9.9", 0)) as client:
            try:
                client.sendall(sent)
            except OSError:
                pass
            assert how_it_ends(client) in ("eof", "reset")
    lines = one.wait_connections(3)
    assert {(line["end"], line["rule"], line["client"].split(":")[0]) for line in lines} == {
        ("proxy-header", "source", "127.9.9.9")}


def test_others_may_be_plain(start):
    """Their header is not believed, and not taken away either."""
    one = start(listener='others = "plain";', more='on_unknown = "rest";')
    with connect(("127.0.0.1", one.ports["port"]), source=("127.9.9.9", 0)) as client:
        client.sendall(b"env\n")
        assert environment(client)["TCPREMOTEIP"] == "127.9.9.9"
    with connect(("127.0.0.1", one.ports["port"]), source=("127.9.9.9", 0)) as client:
        client.sendall(V1)
        assert read_exactly(client, len(V1)) == V1
    with one.connect() as client:
        client.sendall(V1 + b"env\n")
        assert environment(client)["TCPREMOTEIP"] == "192.0.2.7"
    with one.connect() as client:
        client.sendall(b"env\n")
        assert how_it_ends(client) == "eof"
    ends = [(line["client"].split(":")[0], line["end"]) for line in one.wait_connections(4)]
    assert ends == [("127.9.9.9", "program-started"), ("127.9.9.9", "finished"), ("192.0.2.7", "program-started"),
                    ("127.0.0.1", "proxy-header")]


def test_everybody_may_be_believed(start):
    one = start(accept='[ "0.0.0.0/0", "::/0" ]')
    with connect(("127.0.0.1", one.ports["port"]), source=("127.9.9.9", 0)) as client:
        client.sendall(V2 + b"env\n")
        assert environment(client)["TCPREMOTEIP"] == "192.0.2.7"


def test_a_unix_socket_with_headers(start):
    one = start()
    with connect(one.dir / "in.sock") as client:
        client.sendall(V2 + b"env\n")
        found = environment(client)
    assert (found["PROTO"], found["TCPREMOTEIP"], found["TCPLOCALIP"]) == ("TCP", "192.0.2.7", "198.51.100.1")
    with connect(one.dir / "in.sock") as client:
        client.sendall(proxy_header.v2("/run/client", "/run/server") + b"env\n")
        found = environment(client)
    assert found["PROTO"] == "UNIX" and "TCPREMOTEIP" not in found
    with connect(one.dir / "in.sock") as client:
        client.sendall(b"env\n")
        assert how_it_ends(client) in ("eof", "reset")
    first, second, third = one.wait_connections(3)
    assert (first["client"], first["via"]) == ("192.0.2.7:52044", "unix:")
    assert (second["client"], second["via"]) == ("unix:/run/client", "unix:")
    assert (third["end"], third["rule"]) == ("proxy-header", "absent")


# ---- what the named client is good for


def test_access_is_by_the_named_client(start):
    one = start(service='allow = "192.0.2.0/24"; deny = "192.0.2.66"; per_source = 1;')
    with one.connect() as kept:
        kept.sendall(V1 + b"echo")
        assert read_exactly(kept, 4) == b"echo"
        for header, rule in ((V1, "per_source"), (proxy_header.v1(("192.0.2.66", 1), LOCAL), "deny"),
                             (proxy_header.v2(("203.0.113.1", 1), LOCAL), "allow"),
                             (b"PROXY UNKNOWN\r\n", "allow")):
            with one.connect() as client:
                client.sendall(header + b"echo")
                assert read_all(client) == b""
            assert one.wait_connections(1, rule=rule)[0]["end"] == "refused"
        with one.connect() as client:  # another source from the same proxy
            client.sendall(proxy_header.v1(("192.0.2.8", 1), LOCAL) + b"echo")
            assert read_exactly(client, 4) == b"echo"


def test_a_handover_tells_the_named_client(usher, place):
    """The peer of the socket is the proxy; the message beside it says who the client is."""
    listener = listening(place / "web.sock")
    one = usher("""
        listen = {{ address = "127.0.0.1:{{port}}"; accept_proxy = "127.0.0.1"; }};
        services = ( {{ name = "web"; match = "http"; handover = "{0}/web.sock"; }} );
    """.format(place))
    with one.connect() as client:
        client.sendall(V2 + b"GET / HTTP/1.0\r\n\r\n")
        channel, _ = listener.accept()
        taken, attributes = example_receiver.Channel(channel).receive()
        with listener, channel, taken:
            assert (attributes["client"], attributes["local"]) == ("192.0.2.7:52044", "198.51.100.1:443")
            assert taken.getpeername() == client.getsockname()
            assert taken.recv(100) == b"GET / HTTP/1.0\r\n\r\n"
    assert one.wait_connections(1)[0]["end"] == "handed-over"


def test_inetd_reads_the_header_that_its_listener_demands(place, echo):
    directory = new_directory()
    try:
        one = Usher(CONFIG.format(accept='"127.0.0.1"', listener="", service="", more="", decide_timeout=5),
                    directory=directory, echo=echo.tcp4)
        one.write()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        process = subprocess.Popen([*one.command(), "-i"], stdin=server, stdout=server, stderr=subprocess.DEVNULL)
        server.close()
        with client:
            client.settimeout(slow(10))
            client.sendall(V1 + b"env\n")
            assert environment(client)["TCPREMOTEIP"] == "192.0.2.7"
        assert process.wait(slow(10)) == 0
    finally:
        remove_directory(directory)


def test_connections_from_before_a_reload_keep_their_client(start):
    one = start()
    with one.connect() as client, one.connect() as waiting:
        client.sendall(V1 + b"echo")
        assert read_exactly(client, 4) == b"echo"
        waiting.sendall(V1[:10])
        one.reload()
        waiting.sendall(V1[10:] + b"echo")
        assert read_exactly(waiting, 4) == b"echo"
        client.sendall(b"more")
        assert read_exactly(client, 4) == b"more"
    assert {line["client"] for line in one.wait_connections(2)} == {"192.0.2.7:52044"}
