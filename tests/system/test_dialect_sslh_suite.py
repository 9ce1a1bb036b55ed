"""What sslh's own test suite (2.3.1, 22 checks) asks of it, asked of usher by sslh's names: command lines that end with a status,
probes that take little for an answer, and PROXY headers of every kind. Servers say their name before what they send back, as
those of that suite do. Each check is one read of what came, as there: a header and the bytes behind it come together."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading

import namespaces
import proxy_header
import pytest
from dialects import Foreign, fixture_of
from harness import BINARY, ENVIRONMENT, connect, end_ushers, free_port, process_stat, read_exactly, run_usher, slow, wait_until

sslh = fixture_of("sslh")
NAMES = pytest.mark.parametrize("way", ["dialect", "printed", "link"])

SSH, LONG_SSH = b"SSH-2.0 hello", b"SSH-2.0 Tester banner\n"
SOCKS5 = b"\x05\x04\x01\x02\x03\x04"  # of four methods, of which IANA has not assigned the last
HEADER = b"PROXY TCP4 127.0.0.1 127.0.0.1 8080 8081\r\n"
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


class NamedEcho:
    """Each piece that it reads goes back with its name in front."""

    def __init__(self, name, family=4):
        self.name, self.host = name, LOOPBACK[family]
        self.listener = socket.create_server((self.host, 0), family=socket.AF_INET6 if family == 6 else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            try:
                while data := client.recv(8192):
                    client.sendall(self.name.encode() + b": " + data)
            except OSError:
                pass

    def entry(self, more="", name=None):
        return f'{{ name: "{name or self.name}"; host: "{self.host}"; port: "{self.port}"; {more} }}'

    def end(self):
        self.listener.close()


@pytest.fixture
def echo():
    started = []

    def start(name, family=4):
        started.append(NamedEcho(name, family))
        return started[-1]

    yield start
    for one in started:
        one.end()


def configuration(listeners, *entries):
    """The globals of the suite's configurations."""
    return f"""foreground: true; inetd: false; numeric: true; transparent: false; timeout: 10;
pidfile: "{{dir}}/sslh.pid"; syslog_facility: "auth";
verbose-config: 1; verbose-config-error: 1; verbose-connections: 1; verbose-connections-error: 1; verbose-connections-try: 1;
verbose-fd: 0; verbose-packets: 1; verbose-probe-info: 1; verbose-probe-error: 1; verbose-system-error: 1; verbose-int-error: 1;
listen: ( {listeners} );
protocols: ( {", ".join(entries)} );
on_timeout: "ssh";
"""


def listener(more="", port="port", host="127.0.0.1"):
    return f'{{ host: "{host}"; port: "{{{port}}}"; keepalive: true; {more} }}'


def answer(address, data):
    """(who answered, what it had got), as the first read has it."""
    with connect(address) as client:
        client.sendall(data)
        name, _, got = client.recv(1024).partition(b": ")
        return name.decode(), got


# ---- checks 1 and 2: what ends with a status


def test_an_address_to_listen_on_without_a_host_ends_with_6(place):
    done = run_usher("sslh", "-v", "3", "-f", "-u", "root", "--listen", "8083", "--ssh", "localhost:9000", "--tls", "localhost:9025",
                     "-P", place / "pid")
    assert done.returncode == 6 and "--listen 8083, expected HOST:PORT" in done.stderr


def test_a_user_that_is_not_there_ends_with_2(place):
    file = place / "test.cfg"
    file.write_text(configuration('{ host: "127.0.0.1"; port: "1"; }', '{ name: "ssh"; host: "localhost"; port: "9000"; }'))
    done = run_usher("sslh", "-F", file, "-u", "root_doesnt_exist", "--listen", f"localhost:{free_port()}", "--ssh",
                     "localhost:9000", "--tls", "localhost:9025", "-P", place / "pid")
    assert done.returncode == 2 and "there is no user `root_doesnt_exist'" in done.stderr


# ---- 3 to 6: probes, on a listener where headers may come and none does


@NAMES
def test_without_a_header_a_listener_for_headers_serves_as_any(sslh, echo, way):
    """The file has also what the suite's has: a UNIX listener, UDP, a service that is transparent, keys of other programs."""
    ssh, socks5, rest = echo("ssh"), echo("socks5"), echo("anyprot")
    one = sslh(configuration(
        ", ".join([listener("proxyprotocol: true;"), listener(port="port_plain"),
                   '{ host: "127.0.0.1"; is_udp: true; port: "8086"; }', '{ host: "{dir}/in.sock"; is_unix: true; port: ""; }']),
        ssh.entry("fork: true; transparent: true; resolve_on_forward: true;"), socks5.entry(),
        '{ name: "regex"; host: "127.0.0.1"; is_udp: true; port: "9020"; udp_timeout: 30; regex_patterns: [ "^foo" ]; }',
        '{ name: "regex"; host: "127.0.0.1"; port: "1"; regex_patterns: [ "^foo", "^bar" ]; minlength: 4; '
        'test_patterns: ( { pattern: "foo"; result: "ssh"; } ); }', rest.entry()), way=way)
    assert answer(one.port, LONG_SSH) == ("ssh", LONG_SSH)
    assert answer(one.port, SOCKS5) == ("socks5", SOCKS5)


# ---- 7 to 16: headers that are made


@NAMES
def test_a_protocol_with_the_key_gets_a_header_and_one_without_gets_none(sslh, echo, way):
    ssh, socks5, rest = echo("ssh"), echo("socks5"), echo("anyprot")
    one = sslh(configuration(listener(), ssh.entry("proxyprotocol: 1;"), socks5.entry(), rest.entry()), way=way)
    name, got = answer(one.port, SSH)
    assert name == "ssh" and re.fullmatch(rb"PROXY TCP4 127.0.0.1 127.0.0.1 \d+ %d\r\n" % one.port + SSH, got)
    assert answer(one.port, SOCKS5) == ("socks5", SOCKS5)


@NAMES
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("client, server", [(4, 4), (4, 6), (6, 4), (6, 6)])
def test_between_families_a_header_has_ipv6_addresses(sslh, echo, way, client, server, version):
    """TCP4 only where both connections are IPv4; an IPv4 address in TCP6 has dots."""
    ssh, rest = echo("ssh", server), echo("anyprot", server)
    one = sslh(configuration(listener(host=LOOPBACK[client]), ssh.entry(f"proxyprotocol: {version};"), rest.entry()), way=way)
    with connect((LOOPBACK[client], one.port)) as sock:
        here = sock.getsockname()[:2]
        sock.sendall(SSH)
        assert read_exactly(sock, 5) == b"ssh: "
        got = sock.recv(1024)
    mapped = "::ffff:" if (client, server) == (4, 6) else ""
    if version == 1:
        kind = "TCP4" if client == server == 4 else "TCP6"
        host = mapped + here[0]
        assert got == f"PROXY {kind} {host} {host} {here[1]} {one.port}\r\n".encode() + SSH
    else:
        header = proxy_header.parse(got)
        assert header.source == (mapped + here[0], here[1]) and header.destination == (mapped + here[0], one.port)
        assert got[header.length :] == SSH


# ---- 17 to 22: headers that come in


@NAMES
@pytest.mark.parametrize("header", [
    HEADER, b"PROXY UNKNOWN what ever\r\n", proxy_header.v2(("192.0.2.7", 1), ("192.0.2.1", 2), proxy_header.tlv(0xE0, b"x" * 500)),
    proxy_header.v2(("2001:db8::7", 1), ("2001:db8::1", 2), checksum=True), proxy_header.v2(command=0)],
    ids=["version 1", "unknown", "version 2, TLVs", "version 2, checksum", "local"])
def test_a_protocol_without_the_key_gets_the_header_as_it_came(sslh, echo, way, header):
    ssh, rest = echo("ssh"), echo("anyprot")
    one = sslh(configuration(listener("proxyprotocol: true;") + ", " + listener("proxyprotocol: false;", "port_plain"),
                             ssh.entry(), rest.entry()), way=way)
    assert answer(one.port, header + SSH) == ("ssh", header + SSH)
    assert answer(one.ports["port_plain"], SSH) == ("ssh", SSH)
    assert answer(one.ports["port_plain"], HEADER + SSH) == ("anyprot", HEADER + SSH), "there, a header is bytes like others"


@NAMES
def test_zero_takes_the_header_off_and_the_log_has_its_addresses(sslh, echo, way):
    ssh, regex, rest = echo("ssh"), echo("regex"), echo("anyprot")
    one = sslh(configuration(listener("proxyprotocol: true;"), ssh.entry(),
                             regex.entry('regex_patterns: [ "^regex_remove_pp" ]; proxyprotocol: 0;'), rest.entry()), way=way)
    header = proxy_header.v1(("192.0.2.7", 8080), ("198.51.100.1", 443))
    assert answer(one.port, header + b"regex_remove_pp hello") == ("regex", b"regex_remove_pp hello")
    (line,) = one.wait_connections(1)
    assert line["client"] == "192.0.2.7:8080" and line["via"].startswith("127.0.0.1:")


def test_1_and_2_make_a_header_of_the_one_that_came_in(sslh, echo):
    """Where one came, it names the client; where none did, the connection does."""
    ssh, rest = echo("ssh"), echo("anyprot")
    one = sslh(configuration(listener("proxyprotocol: true;"), ssh.entry("proxyprotocol: 1;"), rest.entry()))
    header = proxy_header.v2(("192.0.2.7", 8080), ("198.51.100.1", 443))
    assert answer(one.port, header + SSH) == ("ssh", b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n" + SSH)
    name, got = answer(one.port, SSH)
    assert name == "ssh" and re.fullmatch(rb"PROXY TCP4 127.0.0.1 127.0.0.1 \d+ %d\r\n" % one.port + SSH, got)


# ---- what the suite does besides: it ends the program by its name, and starts it again at once


@pytest.mark.parametrize("name", ["sslh", "sslh-ev", "sslh-select", "sslh-fork"])
def test_a_link_of_sslhs_names_is_found_by_that_name(echo, name):
    """killall(1) and pgrep(1) go by the name of the process."""
    ssh = echo("ssh")
    one = Foreign("sslh", configuration(listener(), ssh.entry()), way="link", link=name, may_leave=(name,), may_crash=True)
    try:
        one.start()
        ours = {one.pid, *one.workers, *one.loggers}
        assert len(ours) >= 3
        assert {process_stat(pid)[0] for pid in ours} == {name}
        assert answer(one.port, SSH)[0] == "ssh"
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):  # a worker without connections ends by itself
                os.kill(pid, signal.SIGTERM)
        assert one.process.wait(slow(20)) == 0
        wait_until(lambda: all((process_stat(pid) or ("", "Z"))[1] == "Z" for pid in ours), 20, "all of it to end")
    finally:
        end_ushers([one])


@pytest.mark.skipif(namespaces.why_not() is not None, reason=f"needs a mount namespace: {namespaces.why_not()}")
@pytest.mark.parametrize("way, name", [("link", "sslh"), ("dialect", "usher")])
def test_syslog_has_its_lines_under_the_name_it_was_started_by(echo, place, way, name):
    """With a /dev/log that the test listens on."""
    ssh = echo("ssh")
    (place / "sslh.cfg").write_text(f'foreground: true; verbose: 2;\nlisten: ( {{ host: "127.0.0.1"; port: "{free_port()}"; }} );\n'
                                    f"protocols: ( {ssh.entry()} );\n")
    (place / "sslh").symlink_to(BINARY)
    (place / "null").touch()
    command = [place / "sslh"] if way == "link" else [BINARY, "sslh"]
    script = """mount --bind /dev/null "$0/null"; mount -t tmpfs none /dev; touch /dev/null; mount --bind "$0/null" /dev/null
ln -s "$0/log" /dev/log; exec "$@" """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(place / "log"))
        (place / "log").chmod(0o777)
        log.settimeout(slow(20))
        process = subprocess.Popen(["unshare", "-m", "sh", "-ec", script, place, *command, "--control=", "-F", place / "sslh.cfg"],
                                   stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        try:
            line = log.recv(4096).decode()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(slow(20))
    assert re.match(rf"<3[0-9]>\w{{3}} [ \d]\d [\d:]{{8}} {name}(\[\d+\])?: ", line), line
