"""Link-local addresses, which mean something only with the interface that they are of: fe80::1%eth0."""

import socket

import namespaces
import pytest
from harness import read_all, run_usher, slow
from servers import listening

WHY_NOT = namespaces.why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"needs network namespaces: {WHY_NOT}")

CONFIG = """
listen = "[fe80::1%eth0]:{port}";  workers = 1;
protocols = ( { name = "go"; string = "go"; }, { name = "who"; string = "who"; } );
services = ( { name = "go"; match = "go"; connect = "[fe80::2%eth1]:{behind}"; {more} },
             { name = "who"; match = "who"; exec = [ "/bin/sh", "-c", "head -c 3 >/dev/null; echo $TCPREMOTEIP $TCPLOCALIP" ]; } );
"""
BEHIND = 8080


@pytest.fixture(scope="module")
def net():
    """Both of usher's interfaces have fe80::1, so that the address alone would say nothing."""
    with namespaces.Network() as network:
        for name, device, last in ((network.usher, "eth0", 1), (network.usher, "eth1", 1), (network.client, "eth0", 7),
                                   (network.server, "eth0", 2)):
            network.ip(name, f"-6 addr add fe80::{last}/64 dev {device} nodad")
        yield network


@pytest.fixture
def start(usher, net):
    def begin(config=CONFIG, more="", wrap=lambda command: command):
        return usher(config, more=more, behind=BEHIND, wrapper=lambda command: net.inside(net.usher, *wrap(command)))

    return begin


@pytest.fixture
def backend(net):
    listener = net.call(net.server, listening, ("::", BEHIND))
    listener.settimeout(slow(10))
    yield listener
    listener.close()


def say(net, port, data):
    def there():
        client = socket.socket(socket.AF_INET6)
        client.settimeout(slow(20))
        client.connect(("fe80::1", port, 0, socket.if_nametoindex("eth0")))
        client.sendall(data)
        return client

    return net.call(net.client, there)


def test_listeners_backends_logs_and_environment(net, start, backend):
    one = start()
    with say(net, one.port, b"go") as client:
        server, peer = backend.accept()
        with server:
            assert server.recv(10) == b"go" and peer[0].startswith("fe80::")
            server.sendall(b"here")
        assert read_all(client) == b"here"
    (line,) = one.wait_connections(1)
    assert line["client"].startswith("[fe80::7%eth0]:") and line["listener"] == f"[fe80::1%eth0]:{one.port}"
    assert line["to"] == f"[fe80::2%eth1]:{BEHIND}"
    with say(net, one.port, b"who") as client:
        assert read_all(client) == b"fe80::7%eth0 fe80::1%eth0\n"


@pytest.mark.parametrize("version", [1, 2])
def test_a_proxy_header_has_the_address_alone(net, start, backend, version):
    """Neither version has a place for a zone."""
    one = start(more=f"send_proxy = {version};")
    with say(net, one.port, b"go") as client:
        server, _ = backend.accept()
        with server:
            server.settimeout(slow(10))
            head = server.recv(4096)
            if version == 1:
                assert head.startswith(f"PROXY TCP6 fe80::7 fe80::1 {client.getsockname()[1]} {one.port}\r\n".encode())
            else:
                assert head[16:48] == socket.inet_pton(socket.AF_INET6, "fe80::7") + socket.inet_pton(socket.AF_INET6, "fe80::1")


@pytest.mark.parametrize("rule, admitted", [('allow = "fe80::7%eth0"', True), ('allow = "fe80::7%eth1"', False),
                                            ('allow = "fe80::%eth0/10"', True), ('allow = "fe80::7"', True),
                                            ('deny = "fe80::7%eth0"', False), ('deny = "fe80::%eth1/64"', True)])
def test_rules_of_access(net, start, backend, rule, admitted):
    one = start(more=rule + ";")
    with say(net, one.port, b"go"):
        if admitted:
            backend.accept()[0].close()
        (line,) = one.wait_connections(1)
    assert (line["end"] == "refused") == (not admitted), line


def test_sslh_s_file(net, start, backend):
    text = ('listen: ( { host: "fe80::1%eth0"; port: "{port}"; } );\n'
            'protocols: ( { name: "regex"; regex_patterns: [ "^go" ]; host: "fe80::2%eth1"; port: "{behind}"; } );\n')
    one = start(text, wrap=lambda command: [command[0], "sslh", "-f", "-n", "-F" + command[3]])
    with say(net, one.port, b"go"):
        server, _ = backend.accept()
        with server:
            assert server.recv(10) == b"go"


@pytest.mark.parametrize("key, address, complaint", [
    ("listen", "[fe80::1]:443", "is a link-local address, expected it with an interface"),
    ("listen", "[fe80::1%none-such-0]:443", "names an interface that is not there"),
    ("connect", "[fe80::1]:443", "is a link-local address, expected it with an interface"),
    ("connect", "[fe80::1%none-such-0]:443", "names an interface that is not there")])
def test_what_is_missing_is_told(place, key, address, complaint):
    addresses = {"listen": "127.0.0.1:1", "connect": "127.0.0.1:2", key: address}
    (place / "usher.conf").write_text(f'listen = "{addresses["listen"]}";\n'
                                      f'services = ( {{ name = "a"; match = "ssh"; connect = "{addresses["connect"]}"; }} );\n')
    done = run_usher("check", "-c", place / "usher.conf")
    assert done.returncode == 2 and complaint in done.stderr
