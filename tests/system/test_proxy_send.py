"""Backends that get a PROXY header first (send_proxy): what it says, that it comes once on each connection and before
anything else, and that nobody counts it among the client's bytes."""

import socket
import threading

import proxy_header
import pytest
from harness import connect, dead_port, free_port, read_all, read_exactly, run_usher, slow
from peers import Backend, client_hello, exchange, how_it_ends, reset
from servers import listening

CONFIG = """
listen = ( "127.0.0.1:{port}", "[::1]:{port}", {{ address = "unix:{dir}/in.sock"; mode = 0666; }},
           {{ address = "127.0.0.1:{port_proxied}"; accept_proxy = "127.0.0.0/8"; }},
           {{ address = "unix:{dir}/proxied.sock"; mode = 0666; accept_proxy = "unix:"; }} );
workers = 2;  connect_timeout = {connect_timeout};
protocols = ( {{ name = "go"; string = "go"; }} );
services = ( {{ name = "go"; match = [ "go", "http", "tls" ]; connect = {backends}; send_proxy = {version}; {more} }} {others} );
""".replace("{{", "{").replace("}}", "}")

CLIENT, LOCAL = ("192.0.2.7", 52044), ("198.51.100.1", 443)


@pytest.fixture
def start(usher):
    def begin(*backends, version=2, more="", others="", connect_timeout=5.0):
        names = ", ".join(f'"{name}"' for name in backends)
        return usher(CONFIG, backends=f"[ {names} ]", version=version, more=more, others=others and ", " + others,
                     connect_timeout=connect_timeout)

    return begin


def talk(client, backend, said=b"go"):
    """Sends, and gives what the backend got: the header and the rest of the stream."""
    client.sendall(said)
    client.shutdown(socket.SHUT_WR)
    with backend.accept() as server:
        header = proxy_header.take(server)
        rest = read_all(server)
    return header, rest


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("kind", ["tcp4", "tcp6", "unix"])
def test_the_header_names_client_and_local_address(start, place, kind, host, version):
    """Whatever family the backend has: a client of one family, a backend of another."""
    where = {"tcp4": ("127.0.0.1", 0), "tcp6": ("::1", 0), "unix": place / "b.sock"}[kind]
    with Backend(where) as backend:
        port = backend.listener.getsockname()[1] if kind != "unix" else None
        one = start({"tcp4": f"127.0.0.1:{port}", "tcp6": f"[::1]:{port}", "unix": f"unix:{where}"}[kind],
                    version=version)
        with connect((host, one.port)) as client:
            name = client.getsockname()[:2]
            header, rest = talk(client, backend, b"go on\n")
    assert (header.version, header.command, header.source, header.destination) == (version, 1, name, (host, one.port))
    assert rest == b"go on\n"
    line = one.wait_connections(1)[0]
    assert line["bytes_up"] == "6"
    assert header.tlvs == ({proxy_header.UNIQUE_ID: line["id"].encode()} if version == 2 else {})


@pytest.mark.parametrize("version", [1, 2])
def test_a_client_of_a_unix_socket(start, backend, version):
    one = start(f"127.0.0.1:{backend.port}", version=version)
    with connect(one.dir / "in.sock") as client:
        header, rest = talk(client, backend)
    if version == 1:
        assert (header.source, header.destination) == (None, None)
    else:
        assert (header.family, header.source, header.destination) == (0x31, "", f"{one.dir}/in.sock")
    assert rest == b"go"


def test_what_version_2_says_of_tls(start, backend):
    """The server name; the protocol where the client offers one alone: of several the server chooses."""
    one = start(f"127.0.0.1:{backend.port}")
    for alpn, told in (((b"h2",), b"h2"), ((b"h2", b"http/1.1"), None), ((), None)):
        hello = client_hello(sni="shop.example", alpn=alpn)
        with one.connect() as client:
            header, rest = talk(client, backend, hello)
        assert header.tlvs[proxy_header.AUTHORITY] == b"shop.example"
        assert header.tlvs.get(proxy_header.ALPN) == told
        assert rest == hello
    lines = one.wait_connections(3)
    assert [int(line["id"]) for line in lines] == sorted({int(line["id"]) for line in lines})


def test_what_version_2_says_of_http(start, backend):
    one = start(f"127.0.0.1:{backend.port}")
    with one.connect() as client:
        header, _ = talk(client, backend, b"GET / HTTP/1.1\r\nHost: Web.example:8080\r\n\r\n")
    assert header.tlvs == {proxy_header.AUTHORITY: one.wait_connections(1)[0]["host"].encode(),
                           proxy_header.UNIQUE_ID: one.connections()[0]["id"].encode()}


# ---- a header that came in


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("source, destination", [
    (CLIENT, LOCAL), (("2001:db8::7", 1), ("2001:db8::1", 2)), (("::ffff:192.0.2.7", 1), ("::ffff:192.0.2.1", 2)),
    (("::ffff:192.0.2.7", 1), ("2001:db8::1", 2))], ids=["4", "6", "mapped", "4 to 6"])
@pytest.mark.parametrize("came", [proxy_header.v1, proxy_header.v2])
def test_what_came_in_goes_on(start, backend, came, source, destination, version):
    one = start(f"127.0.0.1:{backend.port}", version=version)

    def plain(address, both):
        """IPv4 is written as IPv4 where both are, else as IPv6."""
        mapped = address[0].startswith("::ffff:")
        return (address[0].removeprefix("::ffff:") if mapped and both else address[0]), address[1]

    both = all(name[0].startswith("::ffff:") for name in (source, destination))
    with one.connect(one.ports["port_proxied"]) as client:
        header, rest = talk(client, backend, came(source, destination) + b"go")
    assert (header.source, header.destination) == (plain(source, both), plain(destination, both))
    assert rest == b"go"


def test_a_mixed_pair_is_written_as_other_proxies_write_it(start, backend):
    """With the dots of an IPv4 address, which every reader of addresses takes."""
    one = start(f"127.0.0.1:{backend.port}", version=1)
    with one.connect(one.ports["port_proxied"]) as client:
        client.sendall(proxy_header.v1(("::ffff:192.0.2.7", 1), ("2001:db8::1", 2)) + b"go")
        with backend.accept() as server:
            wanted = b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\ngo"
            assert read_exactly(server, len(wanted)) == wanted
    assert one.wait_connections(1)[0]["client"] == "192.0.2.7:1"


def test_tlvs_that_came_in_go_on(start, backend):
    """What stands further up knows better; what is missing is added; checksum and padding were for the header that came."""
    one = start(f"127.0.0.1:{backend.port}")
    secure = b"\1\0\0\0\0" + proxy_header.tlv(0x21, b"TLSv1.3")
    with one.connect(one.ports["port_proxied"]) as client:
        tlvs = (proxy_header.tlv(proxy_header.NOOP, b"xxx") + proxy_header.tlv(proxy_header.UNIQUE_ID, b"\0\1id")
                + proxy_header.tlv(proxy_header.SSL, secure) + proxy_header.tlv(0xEA, b"\1vpce-1"))
        came = proxy_header.v2(CLIENT, LOCAL, tlvs, checksum=True)
        header, _ = talk(client, backend, came + b"GET / HTTP/1.1\r\nHost: web.example\r\n\r\n")
    assert header.tlvs == {proxy_header.UNIQUE_ID: b"\0\1id", proxy_header.SSL: secure, 0xEA: b"\1vpce-1",
                           proxy_header.AUTHORITY: b"web.example"}


def test_a_health_check_of_the_proxy_is_the_proxy(start, backend):
    one = start(f"127.0.0.1:{backend.port}")
    with one.connect(one.ports["port_proxied"]) as client:
        name = client.getsockname()
        header, _ = talk(client, backend, proxy_header.v2(command=0) + b"go")
    assert (header.command, header.source, header.destination) == (1, name, ("127.0.0.1", one.ports["port_proxied"]))


def test_two_ushers_in_a_row(usher, backend):
    """By TCP and by a UNIX socket: the second one logs and passes on the client of the first."""
    second = usher("""
        listen = ( { address = "127.0.0.1:{port}"; accept_proxy = "127.0.0.1"; },
                   { address = "unix:{dir}/in.sock"; mode = 0666; accept_proxy = "unix:"; } );
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; connect = "127.0.0.1:{backend}"; send_proxy = 2; } );
    """, backend=backend.port)
    count = 0
    for version in (1, 2):
        for where in (f"127.0.0.1:{second.ports['port']}", f"unix:{second.dir}/in.sock"):
            first = usher("""
                listen = "[::1]:{port}";
                protocols = ( { name = "go"; string = "go"; } );
                services = ( { name = "go"; match = "go"; connect = "{where}"; send_proxy = {version}; } );
            """, where=where, version=version)
            with connect(("::1", first.port)) as client:
                name = client.getsockname()[:2]
                header, rest = talk(client, backend, b"go on")
            assert (header.source, header.destination, rest) == (name, ("::1", first.port), b"go on")
            # Version 1 has no room for an id: the second one gives its own.
            count += 1
            lines = second.wait_connections(count)
            told = first.wait_connections(1) if version == 2 else lines
            assert header.tlvs[proxy_header.UNIQUE_ID].decode() == told[-1]["id"]
    assert all(line["client"].startswith("[::1]:") and line["via"] for line in lines)


# ---- once, first, and whole


def test_the_header_comes_before_a_client_that_says_nothing_more(start, backend):
    one = start(f"127.0.0.1:{backend.port}")
    with one.connect() as client:
        client.sendall(b"go")
        with backend.accept() as server:
            assert proxy_header.take(server).source == client.getsockname()
            assert read_exactly(server, 2) == b"go"
            server.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"


def test_a_silent_client_of_on_silence_is_announced_too(usher, backend):
    one = usher("""
        listen = "127.0.0.1:{port}"; decide_timeout = 1.0; on_silence = "go";
        services = ( { name = "go"; connect = "127.0.0.1:{backend}"; send_proxy = 1; } );
    """, backend=backend.port)
    with one.connect() as client, backend.accept() as server:
        assert proxy_header.take(server).source == client.getsockname()
        server.sendall(b"220 first\r\n")
        assert read_exactly(client, 11) == b"220 first\r\n"
        client.sendall(b"EHLO\r\n")
        assert read_exactly(server, 6) == b"EHLO\r\n"


SPEAKERS = """
listen = ( "127.0.0.1:{port}", { address = "127.0.0.1:{port_proxied}"; accept_proxy = "127.0.0.1"; } );
banner_timeout = 0.1;
protocols = ( { name = "mail"; string = "EHLO "; }, { name = "files"; string = "USER "; } );
services = ( { name = "mail"; match = "mail"; connect = "127.0.0.1:{mail}"; send_proxy = 1; banner = true; },
             { name = "files"; match = "files"; connect = "127.0.0.1:{files}"; send_proxy = 2; banner = true; } );
"""


@pytest.mark.parametrize("proxied", [False, True], ids=["by itself", "by a proxy"])
@pytest.mark.parametrize("answer", [b"EHLO me\r\n", b"USER me\r\n"])
def test_servers_that_speak_first_hear_of_the_client_first(usher, backend, answer, proxied):
    """The one whose greeting a silent client is shown, and the other one, whom the client's answer turns out to be for."""
    with Backend() as other:
        one = usher(SPEAKERS, mail=backend.port, files=other.port)
        with one.connect(one.ports["port_proxied" if proxied else "port"]) as client:
            source = CLIENT if proxied else client.getsockname()
            client.sendall(proxy_header.v1(CLIENT, LOCAL) if proxied else b"")
            with backend.accept() as server:
                header = proxy_header.take(server)
                assert (header.version, header.source) == (1, source)
                server.sendall(b"220 mail.example ready\r\n")
                assert read_exactly(client, 24) == b"220 mail.example ready\r\n"
                client.sendall(answer)
                if answer.startswith(b"EHLO"):
                    assert read_exactly(server, len(answer)) == answer
            if answer.startswith(b"USER"):
                with other.accept() as server:
                    header = proxy_header.take(server)
                    assert (header.version, header.source) == (2, source)
                    server.sendall(b"220 files.example ready\r\n")
                    assert read_exactly(server, len(answer)) == answer
                    server.sendall(b"331 password\r\n")
                    assert read_exactly(client, 14) == b"331 password\r\n"
    assert one.wait_connections(1)[0]["bytes_up"] == str(len(answer))


def test_each_backend_that_is_tried_gets_one_header(start, place):
    """Two are dead; who answers gets it once."""
    with Backend() as good:
        one = start(f"127.0.0.1:{dead_port()}", f"unix:{place}/nobody.sock", f"127.0.0.1:{good.port}")
        for _ in range(5):
            with one.connect() as client:
                header, rest = talk(client, good)
                assert (header.source, rest) == (client.getsockname(), b"go")


def test_a_backend_that_hangs_up_at_once(start, backend):
    one = start(f"127.0.0.1:{backend.port}")
    for _ in range(5):
        with one.connect() as client:
            client.sendall(b"go")
            reset(backend.accept())
            assert how_it_ends(client) == "reset"
        with one.connect() as client:
            client.sendall(b"go")
            backend.accept().close()
            how_it_ends(client)
    lines = one.wait_connections(10)
    # One that has gone before usher looks is one that could not be reached.
    assert {line["end"] for line in lines} <= {"server-reset", "finished", "delivery-failed"}
    assert all(int(line.get("bytes_up", 0)) <= 2 for line in lines)


def test_a_fallback_has_a_header_of_its_own(start, backend):
    spare = f'{{ name = "spare"; connect = "127.0.0.1:{backend.port}"; send_proxy = 1; }}'
    one = start(f"127.0.0.1:{dead_port()}", more='fallback = "spare";', others=spare)
    with one.connect() as client:
        header, rest = talk(client, backend)
    assert (header.version, header.source, rest) == (1, client_name(one), b"go")


def client_name(one):
    host, port = one.wait_connections(1)[0]["client"].rsplit(":", 1)
    return host, int(port)


def test_a_fallback_without_a_header_gets_none(start, backend):
    spare = f'{{ name = "spare"; connect = "127.0.0.1:{backend.port}"; }}'
    one = start(f"127.0.0.1:{dead_port()}", more='fallback = "spare";', others=spare)
    with one.connect() as client:
        client.sendall(b"go")
        with backend.accept() as server:
            assert read_exactly(server, 2) == b"go"


@pytest.mark.parametrize("size", [100, 8_000_000, 30_000_000])
def test_both_ways_behind_the_header(start, backend, size):
    """Large enough to be spliced: every byte is there, and counted without the header."""
    one = start(f"127.0.0.1:{backend.port}")
    with one.connect() as client:
        client.sendall(b"go")
        with backend.accept() as server:
            proxy_header.take(server)
            assert read_exactly(server, 2) == b"go"
            exchange(client, server, size, size)
    line = one.wait_connections(1)[0]
    assert (line["bytes_up"], line["bytes_down"], line["end"]) == (str(size + 2), str(size), "finished")


LARGE = proxy_header.v2(CLIENT, LOCAL, proxy_header.tlv(0xEA, bytes(range(256)) * 63))  # 16 KB, near the most


def test_a_header_that_goes_out_in_pieces(start):
    """The backend does not read: less than the header fits into the sockets' buffers, and the client's bytes wait."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    one = start(f"127.0.0.1:{listener.getsockname()[1]}")
    with listener, one.connect(one.ports["port_proxied"]) as client:
        client.sendall(LARGE + b"go" + b"x" * 300_000)
        client.shutdown(socket.SHUT_WR)
        server, _ = listener.accept()
        with server:
            server.settimeout(slow(10))
            threading.Event().wait(0.3)
            data = read_all(server)
    header = proxy_header.parse(data)
    assert header.source == CLIENT and header.tlvs[0xEA] == bytes(range(256)) * 63
    assert data[header.length :] == b"go" + b"x" * 300_000
    assert one.wait_connections(1)[0]["bytes_up"] == "300002"


def test_a_client_that_resets_while_its_header_waits(start, place):
    """A backend that accepts no more: its socket's buffer takes a part of the header."""
    listener = listening(place / "b.sock", backlog=1)
    one = start(f"unix:{place}/b.sock")
    with listener:
        for _ in range(3):
            client = one.connect(one.ports["port_proxied"])
            client.sendall(LARGE + b"go")
            server, _ = listener.accept()
            reset(client)
            with server:
                server.settimeout(slow(10))
                how_it_ends(server)
    assert {line["end"] for line in one.wait_connections(3)} == {"client-reset"}


# ---- configuration


@pytest.mark.parametrize("delivery", ['exec = [ "/bin/cat" ]', 'handover = "/run/x.sock"', 'reject = "reset"'])
def test_who_has_the_clients_socket_needs_no_header(place, delivery):
    file = place / "usher.conf"
    file.write_text(f"""listen = "127.0.0.1:{free_port()}";
        services = ( {{ name = "a"; match = "ssh"; {delivery}; send_proxy = 1; }} );""")
    result = run_usher("check", "-c", file)
    assert result.returncode == 2 and ":2: `send_proxy' goes with `connect' only" in result.stderr


def test_the_check_shows_who_is_told(place):
    file = place / "usher.conf"
    file.write_text(f"""listen = ( {{ address = "127.0.0.1:{free_port()}"; accept_proxy = [ "10.0.0.0/8", "::1" ]; }} );
        services = ( {{ name = "a"; match = "ssh"; connect = "127.0.0.1:1"; send_proxy = 2; }} );""")
    out = run_usher("check", "-c", file).stdout
    assert "PROXY headers from 10.0.0.0/8, ::1, others refused" in out
    assert "connect 127.0.0.1:1 (PROXY v2)" in out
