"""What else an sslh configuration says: where to listen, as whom to run, where to log, who may come in, and what of it is left
out."""

import contextlib
import getpass
import os
import pathlib
import re
import signal
import socket
import subprocess

import namespaces
import pytest
from dialects import Foreign, complaints_of, fixture_of
from harness import (
    BINARY,
    BUILD,
    ENVIRONMENT,
    IS_ROOT,
    children,
    connect,
    end_process,
    free_port,
    process_stat,
    read_all,
    read_exactly,
    run_usher,
    slow,
    wait_until,
)
from peers import Backend, HandedUsher
from servers import listening
from sslhs import HAVE_SSLH, SAYS, ask, at, echoes, entry, listen, name_of, protocols  # noqa: F401

sslh = fixture_of("sslh")


def printed(place, text, *args):
    """(what is printed, the complaints)"""
    file = place / "sslh.cfg"
    file.write_text(text)
    done = run_usher("sslh", "--print", f"-F{file}", *args, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.replace(str(file), "FILE").splitlines()


HERE = 'listen: ( { host: "127.0.0.1"; port: "443"; } );\n'
SSH = 'protocols: ( { name: "ssh"; host: "localhost"; port: "22"; } );\n'

# ---- listeners and targets


def test_unix_sockets_both_ways(sslh, echoes, place):
    (a,) = echoes("a")
    os.chmod(a.path, 0o777)
    text = f"""timeout: 1;
listen: ( {{ host: "{place}/in.sock"; is_unix: true; port: ""; }}, {{ host: "127.0.0.1"; port: "{{port}}"; }} );
protocols: ( {{ name: "ssh"; host: "{a.path}"; is_unix: true; port: ""; }} );
"""
    if not os.access(a.path.parent, os.X_OK) or IS_ROOT:
        for folder in a.path.parents:
            if str(folder).startswith("/tmp/"):
                os.chmod(folder, 0o755)
    one = sslh(text)
    assert ask(one, SAYS["ssh"])[0] == "a"
    with connect(place / "in.sock") as client:
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "a"


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_host_by_name_is_listened_on_at_all_its_addresses(sslh, echoes, family, host):
    if host not in {info[4][0] for info in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}:
        pytest.skip(f"localhost is not {host} here")
    (a,) = echoes("a")
    one = sslh('listen: ( { host: "localhost"; port: "{port}"; } );\n' + protocols(entry("ssh", a)))
    with connect((host, one.port)) as client:
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "a"


@pytest.mark.skipif(not IS_ROOT, reason="needs root: makes a network namespace")
def test_a_name_that_stands_for_an_address_of_ipv6_where_that_is_switched_off(place):
    """As in many containers, whose /etc/hosts has ::1 all the same."""
    if "::1" not in {info[4][0] for info in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}:
        host = "::1"  # the same, written out
    else:
        host = "localhost"
    (place / "c.cfg").write_text(f'listen: ( {{ host: "127.0.0.1"; port: "443"; }}, {{ host: "{host}"; port: "444"; }} );\n' + SSH)
    done = subprocess.run(["unshare", "-n", "sh", "-ec", "ip link set lo up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1; "
                           f"{BINARY} sslh -f -F{place}/c.cfg 2>{place}/log & for try in $(seq 100); do "
                           f"grep -q serving {place}/log && break; sleep 0.1; done; ss -Htln; kill -TERM $!; wait $!"],
                          capture_output=True, text=True, timeout=slow(30), check=False, env=ENVIRONMENT)
    assert done.returncode == 0 and "127.0.0.1:443" in done.stdout and "[::1]:444" in done.stdout, (
        done.stdout + done.stderr + (place / "log").read_text())


def test_so_many_connections_of_a_listener_and_of_a_protocol(sslh, echoes):
    a, b = echoes("a", "b")
    one = sslh(listen("max_connections: 3;") + protocols(entry("ssh", a, "max_connections: 2;"), entry("http", b)))
    inside = []
    for who, name in (("ssh", "a"), ("ssh", "a")):
        inside.append(one.connect())
        inside[-1].sendall(SAYS[who])
        assert name_of(inside[-1]) == name
    assert ask(one, SAYS["ssh"])[0] is None, "a third one of that protocol"
    inside.append(one.connect())
    inside[-1].sendall(SAYS["http"])
    assert name_of(inside[-1]) == "b"
    assert ask(one, SAYS["http"])[0] is None, "a fourth one of that listener"
    one.wait_log("max_connections of this listener reached")
    for client in inside:
        client.close()


def test_sockets_from_systemd_are_taken_instead_of_those_of_the_file(echoes):
    a, = echoes("a")

    class Handed(HandedUsher):
        def command(self):
            return [str(BINARY), "sslh", "-f", "--control=", f"-F{self.file}"]

    four, six = listening(("127.0.0.1", 0)), listening(("::1", 0))
    one = Handed([four, six], 'listen: ( { host: "127.0.0.1"; port: "{port}"; } );\n' + protocols(entry("ssh", a)))
    try:
        one.start()
        for sock in (four, six):
            with connect(sock.getsockname()[:2]) as client:
                client.sendall(SAYS["ssh"])
                assert name_of(client) == "a"
        with pytest.raises(ConnectionRefusedError):
            connect(one.ports["port"])
        one.stop()
    finally:
        four.close()
        six.close()
        one.clean()


def test_keepalive(place):
    """On is what usher does by itself; only who says no has none."""
    text, complaints = printed(place, """listen: ( { host: "127.0.0.1"; port: "1"; keepalive: true; },
  { host: "127.0.0.1"; port: "2"; keepalive: false; }, { host: "127.0.0.1"; port: "3"; } );
protocols: ( { name: "ssh"; host: "a"; port: "1"; keepalive: true; }, { name: "tls"; host: "a"; port: "2"; keepalive: false; },
  { name: "http"; host: "a"; port: "3"; } );""")
    assert complaints == []
    assert '{ address = "127.0.0.1:2"; keepalive = false; }' in text and text.count("keepalive") == 2
    assert '{ name = "tls"; match = "tls"; connect = "a:2"; keepalive = false; }' in text


BESIDE = """udp_max_connections: 16;
listen: ( { host: "127.0.0.1"; port: "443"; }, { host: "127.0.0.1"; port: "443"; is_udp: true; %s } );
protocols: (
 { name: "wireguard"; host: "localhost"; is_udp: true; port: "51820"; },
 { name: "ssh"; host: "localhost"; port: "22"; tfo_ok: true; fork: true; resolve_on_forward: true; },
 { name: "openvpn"; host: "localhost"; port: "1194"; transparent: true; },
 { name: "openvpn"; host: "localhost"; port: "1195"; is_udp: true; max_connections: 5; %s },
 { name: "regex"; host: "localhost"; is_udp: true; port: "123"; udp_timeout: 20; regex_patterns: [ "hello" ]; },
 { name: "anyprot"; host: "localhost"; port: "4433"; proxyprotocol: 2; } );"""


def checked(place, text):
    """Natively: what `usher check` says of it, as a table without blanks."""
    file = place / "native.conf"
    file.write_text(text)
    done = run_usher("check", "-c", file)
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r"(?m)^ +|(?<=\S) +", " ", done.stdout)


def test_entries_with_is_udp_are_for_datagrams_and_the_others_for_connections(place):
    """QUIC or whatever else an expression tells goes its way beside the web on the same port."""
    text, complaints = printed(place, BESIDE % ("max_connections: 9;", ""))
    assert complaints == []
    assert '{ address = "udp:127.0.0.1:443"; max_connections = 9; on_unknown = "regex"; }' in text
    assert '{ name = "wireguard"; match = "wireguard"; connect = "localhost:51820"; idle_timeout = 60.0; answer_timeout = 60.0; }' in text
    assert 'match = { protocol = "openvpn"; listener = [ "127.0.0.1:443" ]; }; connect = "localhost:1194"; transparent = true; }' in text
    assert ('match = { protocol = "openvpn"; listener = [ "udp:127.0.0.1:443" ]; }; connect = "localhost:1195"; max_connections = 5; '
            'idle_timeout = 60.0; answer_timeout = 60.0; }') in text
    assert 'connect = "localhost:123"; idle_timeout = 20.0; answer_timeout = 20.0; }' in text
    assert 'on_silence = "ssh";\non_unknown = "anyprot";' in text
    table = checked(place, text)
    assert " 127.0.0.1:443\n connections: ssh, openvpn\n" in table
    assert " udp:127.0.0.1:443 at most 9 flows matches nothing: regex\n datagrams: openvpn, wireguard, regex-pattern\n" in table


def test_what_of_udp_is_left_out_is_said(place):
    _, complaints = printed(place, BESIDE % ("proxyprotocol: true;", "transparent: true;"))
    assert complaints == [
        "FILE:2: warning: `proxyprotocol' of a listener on UDP is left out: datagrams have no PROXY header",
        "FILE:7: warning: `transparent' and `proxyprotocol' of `openvpn' are left out for datagrams"]
    _, complaints = printed(place, HERE + BESIDE[BESIDE.index("protocols"):] % "")
    assert complaints == [f"FILE:{line}: warning: `{name}' is left out: no listener is on UDP"
                          for line, name in ((3, "wireguard"), (6, "openvpn"), (7, "regex"))]
    udp = 'listen: ( { host: "127.0.0.1"; port: "1"; is_udp: true; } );\n'
    _, complaints = printed(place, udp + BESIDE[BESIDE.index("protocols"):] % "")
    assert complaints == [f"FILE:{line}: warning: `{name}' is left out: all listeners are on UDP"
                          for line, name in ((4, "ssh"), (5, "openvpn"), (8, "anyprot"))]
    _, complaints = printed(place, HERE.replace(" );", ", " + udp[10:-4] + " );") + SSH)
    assert complaints == ["FILE:1: warning: listener 127.0.0.1:1 is left out: no protocol is for UDP"]
    _, complaints = printed(place, udp + 'protocols: ( { name: "http"; host: "a"; port: "1"; is_udp: true; }, '
                            '{ name: "anyprot"; host: "/x"; is_unix: true; port: ""; is_udp: true; }, '
                            '{ name: "wireguard"; host: "a"; port: "2"; } );')
    assert complaints == ["FILE:2: warning: `http' is left out: usher knows it in connections alone",
                          "FILE:2: warning: `anyprot' is left out: datagrams do not go to UNIX sockets"]
    status, complaints = complaints_of(place, "sslh", udp + SSH)
    assert status == 1 and any("nowhere to listen" in line for line in complaints)
    assert any("`ssh' is left out: all listeners are on UDP" in line for line in complaints)


def test_a_file_without_is_udp_in_its_protocols_is_for_both(place):
    """As sslh 1.22 has it; its example for UDP is such a file."""
    text, complaints = printed(place, """verbose: 3; foreground: true; transparent: false; timeout: 10;
listen: ( { host: "127.0.0.1"; is_udp: true; port: "4443"; } );
protocols: ( { name: "regex"; regex_patterns: [ "rutschle.net" ]; host: "localhost"; port: "53"; },
     { name: "anyprot";  host: "localhost"; port: "9099";  } );""")
    assert complaints == []
    assert '{ address = "udp:127.0.0.1:4443"; max_connections = 1024; on_unknown = "anyprot"; }' in text
    assert '{ name = "regex"; match = "regex-pattern"; connect = "localhost:53"; idle_timeout = 60.0; answer_timeout = 60.0; }' in text
    assert " datagrams: regex-pattern\n" in checked(place, text)

    both, complaints = printed(place, HERE.replace(" );", ', { host: "127.0.0.1"; port: "443"; is_udp: true; } );') +
                               'protocols: ( { name: "openvpn"; host: "localhost"; port: "1"; }, { name: "anyprot"; host: "a"; port: "2"; } );')
    assert complaints == []
    assert '{ name = "openvpn"; match = "openvpn"; connect = "localhost:1"; answer_timeout = 60.0; }' in both
    assert both.count("idle_timeout") == 1, "that of all connections, which flows do not have"


# ---- transparent


def test_transparent_for_all_and_for_one(place):
    entries = '''protocols: ( { name: "ssh"; host: "a"; port: "1"; }, { name: "tls"; host: "a"; port: "2"; transparent: true; },
  { name: "http"; host: "/run/x"; is_unix: true; port: ""; } );'''
    for text, args, expected in (("", [], {"tls"}), ("transparent: true;", [], {"ssh", "tls"}),
                                 ("transparent: false;", ["--transparent"], {"ssh", "tls"})):
        found, complaints = printed(place, text + HERE + entries, *args)
        assert set(re.findall(r'name = "(\w+)".*transparent = true', found)) == expected
        assert complaints == []


@pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))
def test_the_server_sees_the_clients_address(place):
    with namespaces.Network() as net:
        # As sslh's documents have it: what the server answers comes back to this machine by a table of its own.
        net.run(net.usher, "sh", "-ec", "ip rule add iif eth1 ipproto tcp sport 4431 lookup 100; "
                "ip route add local default dev lo table 100")
        one = Foreign("sslh", 'listen: ( { host: "0.0.0.0"; port: "{port}"; } );\nprotocols: ( { name: "ssh"; '
                      f'host: "{namespaces.SERVER[4]}"; port: "4431"; transparent: true; }} );\n')
        one.wrapper = lambda command: net.inside(net.usher, "/usr/bin/env", "-C", str(one.dir), *command)
        try:
            with net.call(net.server, listening, (namespaces.SERVER[4], 4431)) as listener:
                one.start()
                with net.call(net.client, connect, (namespaces.USHER[4], one.port)) as client:
                    client.sendall(SAYS["ssh"])
                    listener.settimeout(slow(10))
                    server, peer = listener.accept()
                    with server:
                        assert peer == client.getsockname() and peer[0] == namespaces.CLIENT[4]
                        assert read_exactly(server, len(SAYS["ssh"])) == SAYS["ssh"]
                        server.sendall(b"and back")
                        assert read_exactly(client, 8) == b"and back"
            one.stop()
        finally:
            one.clean()


# ---- PROXY headers


def header_v1(client, server):
    return f"PROXY TCP4 {client[0]} {server[0]} {client[1]} {server[1]}\r\n".encode()


def header_of(data):
    """(source, destination, what follows) of data that begins with a header of version 2 for TCP over IPv4."""
    assert data.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11")
    end = 16 + int.from_bytes(data[14:16], "big")
    addresses = [socket.inet_ntoa(data[at : at + 4]) for at in (16, 20)]
    ports = [int.from_bytes(data[at : at + 2], "big") for at in (24, 26)]
    return *zip(addresses, ports), data[end:]


@pytest.mark.parametrize("version", [1, 2])
def test_a_proxy_header_is_sent(sslh, version):
    with Backend() as backend:
        one = sslh(listen() + protocols(
            f'{{ name: "ssh"; host: "127.0.0.1"; port: "{backend.port}"; proxyprotocol: {version}; }}'))
        with one.connect() as client:
            source = client.getsockname()
            client.sendall(SAYS["ssh"])
            with backend.accept() as server:
                client.shutdown(socket.SHUT_WR)
                got = read_all(server)
    here = ("127.0.0.1", one.port)
    if version == 1:
        assert got == header_v1(source, here) + SAYS["ssh"]
    else:
        assert header_of(got) == (source, here, SAYS["ssh"])


def test_a_proxy_header_that_comes_in_is_sent_on_or_taken_off(sslh):
    with Backend() as kept, Backend() as taken:
        one = sslh(listen("proxyprotocol: true;") + protocols(
            f'{{ name: "ssh"; host: "127.0.0.1"; port: "{taken.port}"; proxyprotocol: 0; }}',
            f'{{ name: "http"; host: "127.0.0.1"; port: "{kept.port}"; }}'))
        for backend, who in ((taken, "ssh"), (kept, "http")):
            with one.connect() as client:
                client.sendall(header_v1(("192.0.2.7", 4711), ("198.51.100.1", 443)) + SAYS[who])
                with backend.accept() as server:
                    client.shutdown(socket.SHUT_WR)
                    got = read_all(server)
            assert got == (b"" if backend is taken else header_v1(("192.0.2.7", 4711), ("198.51.100.1", 443))) + SAYS[who]
        for line in one.wait_connections(2):
            assert line["client"] == "192.0.2.7:4711"


def test_who_may_send_proxy_headers_is_told_of(place):
    text, complaints = printed(place, 'listen: (\n{ host: "127.0.0.1"; port: "1"; proxyprotocol: true; },\n'
                               '{ host: "/tmp/x"; is_unix: true; port: ""; proxyprotocol: true; } );\n' + SSH)
    assert 'accept_proxy = [ "0.0.0.0/0", "::/0" ]; absent = "plain";' in text
    assert 'accept_proxy = [ "unix:" ]; absent = "plain";' in text
    assert complaints == [f"FILE:{line}: warning: PROXY headers are accepted from every client of this listener; usher's own "
                          "`accept_proxy' can name the proxies" for line in (2, 3)]


# ---- as whom, where to, how long


@pytest.mark.parametrize("text, expected", [
    ("", ("info", 'to = "syslog"; facility = "auth"')),
    ("foreground: true;", ("info", 'to = "stderr"')),
    ("foreground: true; verbose: true;", ("debug", 'to = "stderr"')),
    ("foreground: true; verbose: 2;", ("debug", 'to = "syslog"; facility = "auth"')),
    ("foreground: true; verbose-connections: 0; verbose_connections_error: 0;", ("notice", 'to = "stderr"')),
    ("foreground: true; verbose-probe-info: 1;", ("debug", 'to = "stderr"')),
    ('syslog_facility: "local3";', ("info", 'to = "syslog"; facility = "local3"')),
    ('syslog_facility: "none";', ("info", 'to = "/dev/null"')),
    ('syslog-facility: "none"; foreground: true;', ("info", 'to = "stderr"')),
    ('logfile: "/var/log/sslh.log"; verbose: 4;', ("debug", 'to = "/var/log/sslh.log"')),
    ('logfile: "/var/log/sslh.log"; verbose-connections: 7; foreground: true;', ("info", 'to = "/var/log/sslh.log"')),
    ('logfile: "/var/log/sslh.log";', ("info", 'to = "syslog"; facility = "auth"')),
    ('verbose: true; inetd: true; foreground: true;', ("debug", 'to = "syslog"; facility = "auth"')),
])
def test_where_the_log_goes(place, text, expected):
    found, complaints = printed(place, text + HERE + SSH)
    assert f'log = {{ level = "{expected[0]}"; {expected[1]}; }};' in found
    several = "verbose-connections: 7" in text
    assert complaints == (["FILE:1: warning: the log goes to the log file only, not to standard error, syslog and the log file"]
                          if several else [])


def test_a_log_file(sslh, echoes, place):
    (a,) = echoes("a")
    place.chmod(0o777)
    one = sslh(f'logfile: "{place}/log"; verbose-connections: 4; verbose-system-error: 4;\n' + listen() + protocols(
        entry("ssh", a), entry("http", a, "log_level: 0;")), serving=False)
    wait_until(lambda: one._listens(one.port), 10, "it to listen")
    assert [ask(one, SAYS[who])[0] for who in ("http", "ssh")] == ["a", "a"]
    wait_until(lambda: "service=ssh" in (place / "log").read_text(), 5, "the line of a connection")
    assert "service=http" not in (place / "log").read_text(), "log_level 0"


def test_times(place):
    for text, expected in (("", "5.0"), ("timeout: 2;", "2.0"), ("timeout: 0;", "0.001"), ("timeout: 100000;", "86400.0")):
        found, _ = printed(place, text + HERE + SSH)
        assert f"decide_timeout = {expected};" in found
        assert "idle_timeout = 2592000.0;" in found, "sslh has none"


def test_a_timeout_of_zero_sends_whoever_does_not_speak_at_once_to_the_server_for_silent_clients(sslh, echoes):
    a, b = echoes("a", "b")
    one = sslh("timeout: 0;\n" + listen() + protocols(entry("tls", a), entry("ssh", b)))
    assert ask(one, b"")[0] == "b"


def test_in_the_background_with_a_pid_file(echoes, place):
    """As its unit files and init scripts start it: the starting process ends once it serves."""
    (a,) = echoes("a")
    port = free_port()
    before = set(children(os.getpid()))
    user = "nobody" if IS_ROOT else getpass.getuser()
    done = run_usher("sslh", "--user", user, "--pidfile", place / "pid", "-p", f"127.0.0.1:{port}", "--ssh", at(a),
                     "--syslog-facility", "none", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int((place / "pid").read_text())
    try:
        assert {new for new in set(children(os.getpid())) - before if (process_stat(new) or [""])[0] == "usher: master"} == {pid}
        with connect(port) as client:
            client.sendall(SAYS["ssh"])
            assert name_of(client) == "a"
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 10, "it to end")
    assert not (place / "pid").exists()
    for orphan in set(children(os.getpid())) - before:
        wait_until(lambda: os.waitpid(orphan, os.WNOHANG)[0] == orphan, 10, "those that it left")


def test_background_goes_before_the_foreground_of_the_file(place):
    found, _ = printed(place, "foreground: true;" + HERE + SSH, "--background")
    assert 'to = "syslog"' in found


@pytest.mark.parametrize("words", [["-i"], ["--inetd"]])
@pytest.mark.parametrize("who", ["ssh", "http"])
def test_by_inetd(echoes, words, who):
    """One connection, on descriptors 0, 1 and 2; -p, -P and -u are of no meaning."""
    a, b = echoes("a", "b")
    with listening(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        client.settimeout(slow(10))
        server, _ = listener.accept()
        process = subprocess.Popen([BINARY, "sslh", *words, "-p", "nohost.invalid:1", "-u", "nobody-of-that-name", "-P", "/no/where",
                                    "--http", at(b), "--ssh", at(a)], stdin=server, stdout=server, stderr=server,
                                   env=ENVIRONMENT)
        server.close()
        try:
            client.sendall(SAYS[who])
            assert name_of(client) == ("a" if who == "ssh" else "b")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == SAYS[who]
            assert process.wait(slow(10)) == 0
        finally:
            end_process(process)


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")
def test_who_runs_it(place):
    found, complaints = printed(place, 'user: "nobody";\npidfile: "sub/pid";\nchroot: "/var/empty";\n' + HERE + SSH)
    assert 'user = "nobody";' in found and f'pid_file = "{place}/sub/pid";' in found
    assert complaints == ["FILE:3: warning: `chroot' is left out: usher's workers have no privileges and open no files"]


@pytest.mark.skipif(not IS_ROOT, reason="needs root: takes rights away from itself")
def test_under_what_debians_unit_allows(echoes, place):
    """Not as root, one capability, no new privileges, no memory that is both written and executed (which PCRE2's compiler wants)."""
    (a,) = echoes("a")
    port = free_port()
    (place / "c.cfg").write_text(listen().replace("{port}", str(port)) + protocols(
        entry("regex", a, 'regex_patterns: [ "^SSH-[12]" ];'), entry("anyprot", a)))
    limits = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    capability = "-all,+net_bind_service"
    process = subprocess.Popen(
        ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--inh-caps", capability, "--ambient-caps", capability,
         "--bounding-set", capability + ",+setgid,+setuid", "--securebits", "+noroot,+noroot_locked", "--no-new-privs",
         "/usr/bin/python3", "-c", limits, BINARY, "sslh", "--foreground", "--control=", "--user", "nobody", f"-F{place}/c.cfg"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    try:
        wait_until(lambda: Foreign._listens(port) or process.poll() is not None, 10, "it to listen")
        with connect(port) as client:
            client.sendall(SAYS["ssh"])
            assert name_of(client) == "a"
    finally:
        assert end_process(process) == 0


# ---- the end


class Left:
    """An usher whose workers outlive it."""

    def __init__(self, one):
        self.workers, self.loggers = one.workers, one.loggers

    def alive(self):
        found = []
        for pid in [*self.workers, *self.loggers]:
            try:
                if os.waitpid(pid, os.WNOHANG)[0] != pid:
                    found.append(pid)
            except ChildProcessError:
                pass
        return found


def test_at_its_end_open_connections_go_on_and_the_port_is_free_at_once(sslh, echoes):
    """As with sslh's forking server: a restart costs nobody a session."""
    (a,) = echoes("a")
    text = listen() + protocols(entry("ssh", a))
    one = sslh(text, may_leave=("usher: worker", "usher: logger"))
    with one.connect() as client:
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "a"
        read_exactly(client, len(SAYS["ssh"]))
        left = Left(one)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(slow(5)) == 0
        another = sslh(text.replace("{port}", str(one.port)))
        with connect(one.port) as newcomer:
            newcomer.sendall(SAYS["ssh"])
            assert name_of(newcomer) == "a"
        client.sendall(b"still here")
        assert read_exactly(client, 10) == b"still here"
        assert left.alive()
        another.stop()
    wait_until(lambda: not left.alive(), 5, "its workers to end with their last connection")
    assert "bytes_up" in one.output(), "and they write their lines"


def test_a_signal_to_all_of_it_ends_all_of_it(sslh, echoes):
    """As systemd sends it where the unit does not say KillMode=process."""
    (a,) = echoes("a")
    one = sslh(listen() + protocols(entry("ssh", a)), may_leave=("usher: worker", "usher: logger"), may_crash=True)
    with one.connect() as client:
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "a"
        left = Left(one)
        for pid in [one.pid, *left.workers, *left.loggers]:
            with contextlib.suppress(ProcessLookupError):  # a worker without connections ends by itself
                os.kill(pid, signal.SIGTERM)
        assert one.process.wait(slow(5)) == 0
        wait_until(lambda: not left.alive(), 5, "all of it to end")


def test_interrupted_it_ends_with_all_connections(sslh, echoes):
    (a,) = echoes("a")
    one = sslh(listen() + protocols(entry("ssh", a)))
    with one.connect() as client:
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "a"
        one.stop(signal.SIGINT)


# ---- hosts.allow and hosts.deny


def in_a_namespace(place, allow, deny, script):
    """Runs a script where these are /etc/hosts.allow and /etc/hosts.deny."""
    (place / "allow").write_text(allow)
    (place / "deny").write_text(deny)
    for name in ("hosts.allow", "hosts.deny"):
        if not os.path.exists(f"/etc/{name}"):
            pytest.skip(f"there is no /etc/{name} to mount another one over")
    return subprocess.run(["unshare", "-m", "sh", "-ec", f"mount --bind {place}/allow /etc/hosts.allow; "
                           f"mount --bind {place}/deny /etc/hosts.deny; {script}"], capture_output=True, text=True,
                          timeout=slow(30), check=False, env=ENVIRONMENT)


RULES = [("", "ssh: 127.0.0.0/255.0.0.0", "", "b"), ("ssh: 127.0.0.1", "ALL: ALL", "a", ""), ("", "ALL: ALL", "", ""),
         ("ALL: ALL", "ALL: ALL", "a", "b"), ("", "sshd: ALL", "a", "b"), ("", "ssh: 192.0.2.", "a", "b"),
         ("", "web: ALL: spawn (echo told > {place}/told)", "a", ""), ("ssh: ALL: twist /bin/true", "", "", "b")]


def takes_files_away(sslh):
    """From 2.1 on sslh has Landlock, and what libwrap runs for it can write nothing."""
    done = subprocess.run([sslh, "-V"], capture_output=True, text=True, timeout=slow(10))
    return tuple(map(int, re.findall(r"\d+", done.stdout + done.stderr)[:2])) >= (2, 1)


@pytest.mark.skipif(not IS_ROOT, reason="needs root: makes a mount namespace")
@pytest.mark.skipif(not (BUILD / "src/usher-libwrap").exists(), reason="built without libwrap")
@pytest.mark.parametrize("allow, deny, ssh, web", RULES)
@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.skipif(not HAVE_SSLH, reason="no sslh"))])
def test_rules_for_who_may_come_in(echoes, place, real, allow, deny, ssh, web):
    """`service' names what libwrap's rules are about."""
    a, b = echoes("a", "b")
    port = free_port()
    (place / "c.cfg").write_text(listen().replace("{port}", str(port)) + protocols(
        entry("ssh", a, 'service: "ssh";'), entry("http", b, 'service: "web";')))
    client = place / "client.py"
    client.write_text(f"""
import socket, sys, time
for data in ({SAYS["ssh"]!r}, {SAYS["http"]!r}):
    for _ in range(100):
        try:
            client = socket.create_connection(("127.0.0.1", {port}), 10)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    client.sendall(data)
    try:
        print(client.recv(2).decode().strip())
    except ConnectionResetError:
        print()
    client.close()
""")
    program = "/usr/sbin/sslh" if real else f"{BINARY} sslh"
    place.chmod(0o777)
    done = in_a_namespace(place, allow + "\n", deny.replace("{place}", str(place)) + "\n",
                          f"{program} -f -n -F{place}/c.cfg >{place}/log 2>&1 & /usr/bin/python3 {client}; kill -TERM $!; wait $! || :")
    assert done.stdout.split("\n")[:2] == [ssh, web], done.stderr + (place / "log").read_text()
    if "spawn" in deny and not (real and takes_files_away(program)):
        # libwrap does not wait for it.
        wait_until(lambda: (place / "told").exists() and (place / "told").read_text() == "told\n", 10, "the command")
    if not real and not ssh:
        assert "rule=access" in (place / "log").read_text()


@pytest.mark.skipif(not IS_ROOT, reason="needs root: makes a mount namespace")
@pytest.mark.skipif(not (BUILD / "src/usher-libwrap").exists(), reason="built without libwrap")
def test_rules_that_come_hold_after_a_reload(echoes, place):
    (a,) = echoes("a")
    port = free_port()
    place.chmod(0o777)
    script = place / "client.py"
    script.write_text(f"""
import os, signal, socket, subprocess, time
def ask():
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", {port}), 10) as client:
                client.sendall({SAYS["ssh"]!r})
                return client.recv(1)
        except ConnectionRefusedError:
            time.sleep(0.05)
        except ConnectionResetError:
            return b""
usher = subprocess.Popen([{str(BINARY)!r}, "sslh", "-f", "--control=", "-p", "127.0.0.1:{port}", "--ssh", {at(a)!r}], stderr=open("{place}/log", "w"))
print(ask())
for rules, answer in (("ALL: ALL", b""), ("", b"a")):
    open("/etc/hosts.deny", "w").write(rules)
    usher.send_signal(signal.SIGHUP)
    for _ in range(100):
        if ask() == answer:
            break
        time.sleep(0.05)
    print(ask())
usher.send_signal(signal.SIGINT)
usher.wait(60)
""")
    done = in_a_namespace(place, "", "", f"/usr/bin/python3 {script}")
    assert done.stdout.split() == ["b'a'", "b''", "b'a'"], done.stderr + (place / "log").read_text()


@pytest.mark.skipif(not IS_ROOT, reason="needs root: makes a mount namespace")
@pytest.mark.parametrize("allow, deny, asked", [("", "# nothing\n\n", False), ("", "ALL: 192.0.2.1", True)])
def test_without_rules_nobody_is_asked(place, allow, deny, asked):
    done = in_a_namespace(place, allow, deny, f"{BINARY} sslh --print -p 127.0.0.1:1 --ssh a:1 --tls b:2")
    assert done.returncode == 0
    built = (BUILD / "src/usher-libwrap").exists()
    assert (re.findall(r'name = "(\w+)".*access = \[ "[^"]*/usher-libwrap", "(\w+)" \]', done.stdout) ==
            ([("ssh", "sshd")] if asked and built else []))
    assert ("built without libwrap" in done.stderr) == (asked and not built)


# ---- what it is made of


def test_every_key_of_sslh_is_in_the_manual():
    page = (pathlib.Path(__file__).resolve().parents[2] / "man/usher-sslh.8").read_text()
    code = (pathlib.Path(__file__).resolve().parents[2] / "src/dialect/sslh_file.c").read_text()
    keys = set(re.findall(r"KEY\(sslh_\w+, \w+, (\w+)\)", code)) | {"verbose-" + name.replace("_", "-") for name in
                                                                    re.findall(r'CLASS\("(\w+)"', code)} | {"listen", "protocols"}
    text = page.replace(r"\-", "-")
    missing = {key for key in keys if not re.search(rf"\b{key}\b", text) and not re.search(rf"\b{key.replace('_', '-')}\b", text)}
    assert not missing
