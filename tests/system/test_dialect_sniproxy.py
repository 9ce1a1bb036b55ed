"""usher under sniproxy's configuration, beside sniproxy itself where it is installed: which server a name gets."""

import contextlib
import shutil
import socket
import subprocess

import pytest
from dialects import WAYS, fixture_of
from harness import SOURCE, connect, free_port, run_usher, slow, wait_until
from peers import Named, client_hello

sniproxy = fixture_of("sniproxy")

CONFIG = r"""
listen 127.0.0.1:{port} { prot tls; tab hosts
  fallback 127.0.0.1:{fallback} }
listener 127.0.0.1:{port_web} {
  protocol http
}
table hosts {
  example.com 127.0.0.1:{a}  # anywhere in the name, and with any byte for the dot
  ^exact\\.net$ 127.0.0.1:{b}
  "^(one|two)\\.alt$" 127.0.0.1:{a}
  ^.+[0-9]\\.num\\.test$ 127.0.0.1:{b}
  .*\\.last$ localhost:{a}
}
table {
  web 127.0.0.1:{b} proxy_protocol
}
"""
NAMES = {"example.com": "a", "www.example.com": "a", "example.com.evil": "a", "examplexcom": "a", "exact.net": "b", "www.exact.net": "f",
         "exactxnet": "f", "one.alt": "a", "two.alt": "a", "three.alt": "f", "x1.num.test": "b", "1.num.test": "f", "a.b.last": "a", "last": "f",
         "other": "f", None: "f"}


@pytest.fixture
def servers():
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(contextlib.closing(Named(name[0]))) for name in ("a", "b", "fallback")}


def ports(servers):
    return {name: one.port for name, one in servers.items()}


def ask(port, first):
    with connect(("127.0.0.1", port), slow(60)) as client:
        client.sendall(first)
        return client.recv(1).decode()


def web(port, host):
    return ask(port, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


@WAYS
def test_names_get_their_servers(sniproxy, servers, way):
    one = sniproxy(CONFIG, way=way, **ports(servers))
    assert {name: ask(one.port, client_hello(name)) for name in NAMES} == NAMES
    assert ask(one.port, b"GET / HTTP/1.0\r\n\r\n") == "f"
    assert web(one.ports["port_web"], "www.web:80") == "b"
    assert web(one.ports["port_web"], "other") == ""


@pytest.mark.skipif(not shutil.which("sniproxy"), reason="needs sniproxy: `scripts/packages` does not install it")
def test_sniproxy_itself_gives_them_the_same(servers, place):
    port, port_web = free_port(), free_port()
    text = CONFIG.replace("{port}", str(port)).replace("{port_web}", str(port_web))
    for name, one in servers.items():
        text = text.replace("{%s}" % name, str(one.port))
    # Names of servers need a name server.
    (place / "sniproxy.conf").write_text(text.replace("localhost:", "127.0.0.1:"))
    with subprocess.Popen([shutil.which("sniproxy"), "-f", "-c", place / "sniproxy.conf"], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 30, "sniproxy to serve")
            assert {name: ask(port, client_hello(name)) for name in NAMES} == NAMES
            assert web(port_web, "www.web:80") == "b"
        finally:
            process.terminate()


def test_the_configurations_of_its_package_and_of_the_example_are_taken(place):
    for file in (SOURCE / "examples/sniproxy/sniproxy.conf", place / "packaged.conf"):
        if file.name == "packaged.conf":
            file.write_text(PACKAGED)
        printed = run_usher("convert", "sniproxy", file)
        assert printed.returncode == 0, printed.stderr
        (place / "usher.conf").write_text(printed.stdout)
    assert 'allow_names = [ "*.example.org" ];' in run_usher("convert", "sniproxy", SOURCE / "examples/sniproxy/sniproxy.conf").stdout


PACKAGED = r"""
user daemon
pidfile /var/run/sniproxy.pid
error_log {
    # Log to the daemon syslog facility
    syslog daemon
    priority notice
}
listen 80 {
    proto http
    table http_hosts
    # Fallback backend server to use if we can not parse the client request
    fallback localhost:8080
    access_log {
        filename /var/log/sniproxy/http_access.log
        priority notice
    }
}
listen 443 {
    proto tls
    table https_hosts
    access_log {
        filename /var/log/sniproxy/https_access.log
        priority notice
    }
}
table http_hosts {
    example.com 192.0.2.10:8001
    example.net 192.0.2.10:8002
#.*\.itunes\.apple\.com$	*:443
}
table https_hosts {
    example.org unix:/var/run/server.sock
}
table {
    example.com 192.0.2.10
}
"""


@pytest.mark.parametrize(("text", "line", "words"), [
    ("listen 443 {\n}\n", 1, "table `' is not there"),
    ("listen 443 {\ntable x\n}\ntable x {\n^a[b-d]+$ 192.0.2.1\n}\n", 5, "cannot be had by globs (it repeats something else than `.')"),
    ("listen 443 {\nsource 192.0.2.9\n}\ntable {\na b\n}\n", 2, "usher connects from the address that the system chooses"),
    ("listen 443 {\nprotocol smtp\n}\ntable {\na b\n}\n", 2, "protocol `smtp', expected http or tls"),
    ("bogus 1\nlisten 443 {\n}\ntable {\na b\n}\n", 1, "unknown keyword `bogus', expected one of username"),
    ("listen 443 {\n", 1, "the listener has no end, expected `}'"),
    ("listen here {\n}\ntable {\na b\n}\n", 1, "`here' is no address to listen on"),
    ("listen 443 {\n}\ntable {\na\n}\n", 4, "`a' has no server"),
    ("listen 443 {\nfallback *\n}\ntable {\na b\n}\n", 2, "there is no name to connect to"),
])
def test_an_error_names_its_line_and_what_was_expected(place, text, line, words):
    (place / "sniproxy.conf").write_text(text)
    result = run_usher("sniproxy", "--print", place / "sniproxy.conf")
    assert result.returncode == 2
    said = result.stderr.splitlines()
    assert any(f"sniproxy.conf:{line}: " in one and words in one for one in said), said
