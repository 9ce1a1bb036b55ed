"""Delivery by connection: backends of every kind, several of them, dead ones, names, fallback, reject;
listeners and routes by listener."""

import pathlib
import re
import socket

import pytest
from harness import connect, dead_port, read_all, read_exactly
from servers import listening, output_of

SIMPLE = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  connect_timeout = {connect_timeout};
protocols = ( { name = "line"; regex = "^[a-z ]*\\n"; } );
services = ( { name = "back"; match = "line"; connect = {backends}; {more} } {others} );
"""


@pytest.fixture
def simple(usher):
    def start(*backends, others="", more="", connect_timeout=5.0):
        return usher(SIMPLE, backends="[ " + ", ".join(f'"{name}"' for name in backends) + " ]", more=more,
                     others=", " + others if others else "", connect_timeout=connect_timeout)

    return start


def exchange(address, data):
    """Sends, closes that side, and takes everything that comes back."""
    with connect(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


@pytest.mark.parametrize("kind", ["tcp4", "tcp6", "unix"])
def test_backends_of_every_kind(simple, echo, kind):
    one = simple(getattr(echo, kind))
    data = b"hello\n" + bytes(range(256)) * 4000
    assert exchange(one.port, data) == data
    (line,) = one.wait_connections(1)
    assert line.items() >= {"service": "back", "delivery": "connect", "to": getattr(echo, kind),
                            "bytes_up": str(len(data)),
                            "bytes_down": str(len(data)), "end": "finished"}.items()


def test_http_to_a_server_on_a_unix_socket(usher, nginx):
    one = usher("""
        listen = "127.0.0.1:{port}";
        services = ( { name = "web"; match = "http"; connect = "{unix}"; } );
    """, unix=nginx.unix)
    assert output_of(["curl", "-sS", f"http://127.0.0.1:{one.port}/who"]) == b"plain GET 127.0.0.1 HTTP/1.1\n"


def test_a_backend_by_its_name(simple, echo):
    one = simple(f"localhost:{echo.port4}")
    assert exchange(one.port, b"hello\n") == b"hello\n"
    assert one.wait_connections(1)[0]["to"] == f"localhost:{echo.port4}"
    assert len(one.resolvers) == 1


@pytest.mark.skipif(not re.search(r"^::1\s(?:[^#\n]*\s)?localhost(?:\s|$)", pathlib.Path("/etc/hosts").read_text(), re.M),
                    reason="localhost has no IPv6 address in /etc/hosts")
def test_a_name_with_addresses_of_both_families_reaches_a_server_of_either(simple, echo):
    for port in (echo.port4, echo.port6):
        assert exchange(simple(f"localhost:{port}").port, b"hello\n") == b"hello\n"


def test_the_next_backend_serves_where_the_first_is_dead(simple, echo, place):
    one = simple(f"127.0.0.1:{dead_port()}", f"unix:{place}/nobody.sock", f"[::1]:{dead_port()}", echo.tcp4)
    for _ in range(10):
        assert exchange(one.port, b"hello\n") == b"hello\n"
    assert {line["to"] for line in one.wait_connections(10)} == {echo.tcp4}


def test_a_name_that_does_not_exist_is_passed_over(simple, echo):
    one = simple("no-such-host.invalid:80", echo.tcp4)
    assert exchange(one.port, b"hello\n") == b"hello\n"
    assert one.wait_connections(1)[0]["to"] == echo.tcp4


def test_the_fallback_serves_where_every_backend_is_dead(simple, echo):
    one = simple(f"127.0.0.1:{dead_port()}", f"127.0.0.1:{dead_port()}", more='fallback = "spare";',
                 others=f'{{ name = "spare"; connect = "{echo.tcp6}"; }}')
    data = b"hello\n" + b"x" * 100_000
    assert exchange(one.port, data) == data
    (line,) = one.wait_connections(1)
    assert (line["service"], line["to"]) == ("spare", echo.tcp6)
    assert one.wait_log("service back failed .* falling back to spare")


def test_fallbacks_in_a_chain(simple, echo, place):
    program = place / "program"  # may be executed, but cannot
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    one = simple(f"127.0.0.1:{dead_port()}", more='fallback = "second";', others=f"""
        {{ name = "second"; handover = "{place}/nobody.sock"; fallback = "third"; }},
        {{ name = "third"; exec = [ "{program}" ]; fallback = "fourth"; }},
        {{ name = "fourth"; connect = "{echo.unix}"; }}""")
    assert exchange(one.port, b"hello\n") == b"hello\n"
    assert one.wait_connections(1)[0]["service"] == "fourth"


def test_a_service_that_nobody_serves_closes(simple):
    one = simple(f"127.0.0.1:{dead_port()}")
    with one.connect() as client:
        client.sendall(b"hello\n")
        with_end(client)
    (line,) = one.wait_connections(1)
    assert (line["end"], line["error"]) == ("delivery-failed", "Connection refused")


def with_end(client):
    """The connection is over, by an end or by a reset: unread bytes make a reset of a close."""
    try:
        assert client.recv(100) == b""
    except ConnectionResetError:
        pass


# ---- reject, on_unknown


REJECT = """
listen = [ "127.0.0.1:{port}" ];
protocols = ( { name = "one"; string = "one\\n"; }, { name = "two"; string = "two\\n"; } );
services = ( { name = "closed"; match = "one"; reject = "close"; },
             { name = "reset"; match = "two"; reject = "reset"; } );
decide_timeout = {decide_timeout};  on_silence = "{on_silence}";
"""


def test_reject_reset_is_a_reset(usher):
    one = usher(REJECT, decide_timeout=10.0, on_silence="closed")
    with one.connect() as client:
        client.sendall(b"two\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert one.wait_connections(1)[0].items() >= {"service": "reset", "delivery": "reject",
                                                  "end": "rejected"}.items()


def test_reject_close_of_a_silent_client_is_an_end_of_stream(usher):
    one = usher(REJECT, decide_timeout=0.1, on_silence="closed")
    with one.connect() as client:
        assert client.recv(1) == b""
    assert one.wait_connections(1)[0].items() >= {"service": "closed", "end": "rejected"}.items()


def test_reject_reset_of_a_silent_client_is_a_reset(usher):
    one = usher(REJECT, decide_timeout=0.1, on_silence="reset")
    with one.connect() as client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_reject_close_of_a_client_that_spoke_is_an_end_of_stream(usher):
    """`close` promises no reset, whatever the client has sent: what it was is told by `reject = "reset"`."""
    one = usher(REJECT, decide_timeout=10.0, on_silence="closed")
    with one.connect() as client:
        client.sendall(b"one\nand more")
        assert client.recv(1) == b""
    assert one.wait_connections(1)[0]["service"] == "closed"


UNKNOWN = """
listen = [ "127.0.0.1:{port}" ];  decide_timeout = 600.0;
services = ( { name = "ssh"; match = "ssh"; connect = "127.0.0.1:1"; },
             { name = "other"; connect = "{echo}"; } );
on_unknown = "other";
"""


def test_unknown_bytes_go_to_on_unknown_at_once(usher, echo):
    one = usher(UNKNOWN, echo=echo.tcp4)
    with one.connect() as client:
        client.sendall(b"\x00\xffwhat is this")
        assert read_exactly(client, 14) == b"\x00\xffwhat is this"
    (line,) = one.wait_connections(1)
    assert line["service"] == "other" and "protocol" not in line


# ---- several listeners


def test_ipv4_and_ipv6_on_one_port_number_and_two_more(usher, echo):
    one = usher("""
        listen = ( "127.0.0.1:{port}", { address = "[::1]:{port}"; }, "127.0.0.1:{port_b}",
                   "127.0.0.2:{port}" );
        services = ( { name = "all"; connect = "{echo}"; } );
        on_unknown = "all";
    """, echo=echo.tcp4)
    addresses = [("127.0.0.1", one.port), ("::1", one.port), ("127.0.0.1", one.ports["port_b"]),
                 ("127.0.0.2", one.port)]
    # Without a service that could match, the first byte decides.
    for address in addresses:
        assert exchange(address, b"hello") == b"hello"
    assert [line["listener"] for line in one.wait_connections(4)] == [
        f"127.0.0.1:{one.port}", f"[::1]:{one.port}", f"127.0.0.1:{one.ports['port_b']}",
        f"127.0.0.2:{one.port}"]


def test_all_addresses_of_both_families_on_one_port(usher, echo):
    one = usher("""
        listen = [ "0.0.0.0:{port}", "[::]:{port}" ];
        services = ( { name = "all"; connect = "{echo}"; } );  on_unknown = "all";
    """, echo=echo.tcp4)
    for host in ("127.0.0.1", "::1", "127.9.8.7"):
        assert exchange((host, one.port), b"hello") == b"hello"
    four, six, other = one.wait_connections(3)
    assert four["client"].startswith("127.0.0.1:") and six["client"].startswith("[::1]:")
    assert (four["listener"], six["listener"]) == (f"0.0.0.0:{one.port}", f"[::]:{one.port}")


@pytest.mark.parametrize("mode", ["0600", "0666", "0640", None])
def test_a_unix_listener_has_its_mode_and_serves(usher, echo, mode):
    one = usher("""
        listen = ( { address = "unix:{dir}/in.sock"; {mode} } );
        services = ( { name = "all"; connect = "{echo}"; } );  on_unknown = "all";
    """, mode=f"mode = {mode};" if mode else "", echo=echo.tcp4)
    path = one.dir / "in.sock"
    assert path.stat().st_mode & 0o7777 == int(mode or "0660", 8)
    assert exchange(path, b"hello") == b"hello"
    assert one.wait_connections(1)[0]["client"] == "unix:"
    one.stop()
    assert not path.exists()


def test_a_unix_socket_that_a_dead_process_left_is_replaced(usher, echo, place):
    left = listening(place / "in.sock")
    left.close()
    one = usher("""
        listen = [ "unix:{place}/in.sock" ];
        services = ( { name = "all"; connect = "{echo}"; } );  on_unknown = "all";
    """, place=place, echo=echo.unix)
    assert exchange(place / "in.sock", b"hello") == b"hello"
    one.stop()


BY_LISTENER = """
listen = ( "127.0.0.1:{port}", "[::1]:{port}", "127.0.0.1:{port_b}", "unix:{dir}/in.sock" );
protocols = ( { name = "any"; regex = "(?s)^."; within = 1; } );
services = ( { name = "six"; match = { protocol = "http"; listener = "[::1]:{port}"; }; connect = "{six}"; },
             { name = "path"; match = { protocol = "any"; listener = "unix:{dir}/in.sock"; };
               connect = "{path}"; },
             { name = "two"; match = { protocol = [ "http", "any" ]; listener = [ "127.0.0.1:{port_b}" ]; };
               connect = "{two}"; },
             { name = "rest"; match = "http"; connect = "{rest}"; } );
"""


def test_the_listener_decides(usher, named_echoes):
    names = ("six", "path", "two", "rest")
    one = usher(BY_LISTENER, **{name: server.tcp4 for name, server in zip(names, named_echoes(*names))})
    ways = {("127.0.0.1", one.port): "rest", ("::1", one.port): "six",
            ("127.0.0.1", one.ports["port_b"]): "two", str(one.dir / "in.sock"): "path"}
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    for address, name in ways.items():
        assert exchange(address, request) == f"{name}\n".encode() + request


def test_the_command_line_overrides_the_port_of_every_ip_listener(usher, echo):
    other = dead_port()
    one = usher("""
        listen = [ "127.0.0.1:{port}", "[::1]:{port_b}", "unix:{dir}/in.sock" ];
        protocols = ( { name = "any"; regex = "(?s)^."; within = 1; } );
        services = ( { name = "six"; match = { protocol = "any"; listener = "[::1]:{port_b}"; };
                       connect = "{tcp6}"; },
                     { name = "all"; connect = "{tcp4}"; } );  on_unknown = "all";
    """, tcp4=echo.tcp4, tcp6=echo.tcp6, args=["-p", other])
    for address in (("127.0.0.1", other), ("::1", other), one.dir / "in.sock"):
        assert exchange(address, b"hello") == b"hello"
    for port in one.ports.values():
        with pytest.raises(ConnectionRefusedError):
            connect(port)
    assert [(line["listener"], line["service"]) for line in one.wait_connections(3)] == [
        (f"127.0.0.1:{other}", "all"), (f"[::1]:{other}", "six"), (f"unix:{one.dir}/in.sock", "all")]
