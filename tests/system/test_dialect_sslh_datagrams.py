"""sslh's configuration of UDP, served: as sslh and natively under what `--print` printed."""

import pytest
from datagrams import Server, client, exchange
from dialects import WAYS, Foreign, fixture_of
from harness import end_ushers, free_port
from sslhs import SAYS, ask, echoes  # noqa: F401
from test_datagrams_listen import needs_systemd, udp_inodes
from test_servers_activation import launched_with

sslh = fixture_of("sslh")

LISTEN = 'listen: ( { host: "127.0.0.1"; port: "{port}"; }, { host: "127.0.0.1"; port: "{port}"; is_udp: true; } );\n'


@pytest.fixture
def servers():
    """Servers that put their name before what they are sent."""
    started = []

    def start(*names):
        for name in names:
            started.append(Server(answer=lambda datagram, name=name: [name.encode() + b":" + datagram]))
        return started

    yield start
    for one in started:
        one.close()


def entry(name, port, more=""):
    """Flows of theirs end soon, which usher's own end waits for."""
    more += " udp_timeout: 1;"
    return f'{{ name: "{name}"; host: "127.0.0.1"; port: "{port}"; {more} }}'


def answered(one, datagram):
    with client(one.port) as asking:
        return exchange(asking, datagram)


@WAYS
def test_datagrams_and_connections_of_one_port_go_to_their_own_entries(sslh, servers, echoes, way):
    """QUIC and WireGuard by expressions, beside ssh; what nothing matches goes to the last entry of its kind."""
    quic, wireguard, rest = servers("quic", "wireguard", "rest")
    ssh, last = echoes("ssh", "last")
    one = sslh(LISTEN + "protocols: (" + ", ".join([
        entry("regex", quic.port, r'is_udp: true; regex_patterns: [ "^[\\xc0-\\xff]\\x00\\x00\\x00\\x01" ];'),
        entry("ssh", ssh.port4), entry("regex", wireguard.port, r'is_udp: true; regex_patterns: [ "^\\x01\\x00" ];'),
        entry("anyprot", last.port4), entry("anyprot", rest.port, "is_udp: true;")]) + " );", way=way)
    assert answered(one, b"\xc3\0\0\0\1 hello") == b"quic:\xc3\0\0\0\1 hello"
    assert answered(one, b"\1\0\0\0") == b"wireguard:\1\0\0\0"
    assert answered(one, SAYS["ssh"]) == b"rest:" + SAYS["ssh"], "ssh is for connections"
    assert ask(one, SAYS["ssh"])[0] == "ssh"
    assert ask(one, b"\1\0\0\0")[0] == "last", "the expressions are for datagrams"


@WAYS
def test_a_file_without_is_udp_in_its_protocols_serves_both(sslh, servers, way):
    """sslh's own example for UDP."""
    names, rest = servers("names", "rest")
    one = sslh('listen: ( { host: "127.0.0.1"; is_udp: true; port: "{port}"; } );\nprotocols: ( ' +
               entry("regex", names.port, 'regex_patterns: [ "rutschle.net" ];') + ", " + entry("anyprot", rest.port) + " );", way=way)
    assert answered(one, b"where is rutschle.net?") == b"names:where is rutschle.net?"
    assert answered(one, b"where is example.net?") == b"rest:where is example.net?"


@needs_systemd
def test_udp_sockets_of_systemd_take_the_place_of_the_files(servers):
    """Two of one address are one listener."""
    (rest,) = servers("rest")
    port, other = free_port(), free_port()
    one = Foreign("sslh", f'listen: ( {{ host: "127.0.0.1"; port: "{other}"; is_udp: true; }} );\nprotocols: ( ' +
                  entry("anyprot", rest.port, "is_udp: true;") + " );")
    inside = one.wrapper
    one.wrapper = lambda command: launched_with(*[f"udp:127.0.0.1:{port}"] * 2)(inside(command))
    try:
        one.start()
        assert len(udp_inodes(port)) == 2 and not udp_inodes(other)
        for _ in range(20):
            with client(port) as asking:
                assert exchange(asking, b"hello") == b"rest:hello"
    finally:
        end_ushers([one])
