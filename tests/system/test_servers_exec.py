"""Delivery to a program: on the client's socket, between pipes, on a terminal; what it is told, who it is."""

import grp
import json
import os
import pwd
import socket
import sys
import threading

import pytest
from harness import IS_ROOT, connect, read_all, read_exactly, wait_until
from servers import run

EXEC = """
listen = ( "127.0.0.1:{port}", "[::1]:{port}", "unix:{dir}/in.sock" );
protocols = ( { name = "hello"; regex = "^hello\\n"; } );
services = ( { name = "program"; match = {match}; exec = [ {words} ]; stdio = "{stdio}"; max_startups = 0; max_startups_per_source = 0; {more} } );
"""

# Tells all about itself, and the line that it reads, in a line of JSON.
REPORT = r"""
import json, os, signal, stat, sys
def terminal(fd):
    return os.ttyname(fd) if os.isatty(fd) else None
def kind(fd):
    mode = os.fstat(fd).st_mode
    names = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device"}
    return names.get(stat.S_IFMT(mode), "file")
about = {
    "environment": dict(os.environ), "pid": os.getpid(), "session": os.getsid(0), "group": os.getpgid(0),
    "kinds": [kind(fd) for fd in (0, 1, 2)], "terminals": [terminal(fd) for fd in (0, 1, 2)],
    "ids": os.getresuid() + os.getresgid(), "groups": sorted(os.getgroups()),
    "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")), "directory": os.getcwd(),
    "blocking": [os.get_blocking(fd) for fd in (0, 1)],
    "blocked": [line.split()[1] for line in open("/proc/self/status") if line.startswith("SigBlk")][0],
    "ignored": [line.split()[1] for line in open("/proc/self/status") if line.startswith("SigIgn")][0],
}
try:
    fd = os.open("/dev/tty", os.O_RDWR)
    about["foreground"] = os.tcgetpgrp(fd)
    os.close(fd)
except OSError:
    about["foreground"] = None
line = sys.stdin.readline()
print(json.dumps({**about, "first": line}), flush=True)
"""


@pytest.fixture
def running(usher, place):
    """running(*words, stdio=...) starts usher with that program for "hello\\n"; without words, the report."""
    report = place / "report.py"
    report.write_text(REPORT)
    report.chmod(0o644)

    def start(*words, stdio="socket", more="", match='"hello"', **options):
        words = words or (sys.executable, "-S", "-E", str(report))
        text = ", ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)
        return usher(EXEC, words=text, stdio=stdio, more=more, match=match, **options)

    return start


def report_of(client):
    client.sendall(b"hello\n")
    text = read_all(client).decode()
    start = text.index("{")
    return json.loads(text[start : text.index("\n", start)])


@pytest.mark.parametrize("stdio, kinds", [
    ("socket", ["socket", "socket", "device"]),
    ("pipe", ["pipe", "pipe", "device"]),
    ("pty", ["device", "device", "device"]),
])
def test_stdio(running, stdio, kinds):
    one = running(stdio=stdio)
    with one.connect() as client:
        about = report_of(client)
    assert about["kinds"] == kinds
    assert about["first"] == "hello\n", "the first bytes are the program's to read"
    assert about["blocking"] == [True, True], "as accept() gives it"
    assert about["session"] == about["group"] == about["pid"], "a session of its own"
    assert int(about["blocked"], 16) == 0
    assert int(about["ignored"], 16) & ~(1 << 12 | 1 << 24) == 0, "Python itself ignores SIGPIPE and SIGXFSZ"
    assert set(about["fds"]) <= {0, 1, 2, 3}, "3 is the listing's own"
    (line,) = one.wait_connections(1)
    assert line.items() >= {"delivery": "exec", "to": sys.executable,
                            "end": "program-started" if stdio == "socket" else "finished"}.items()


def test_a_terminal_is_the_controlling_one_of_a_session_of_its_own(running):
    one = running(stdio="pty")
    with one.connect() as client:
        about = report_of(client)
    assert len(set(about["terminals"])) == 1 and about["terminals"][0].startswith("/dev/pts/")
    assert about["session"] == about["pid"] == about["foreground"]


def test_two_programs_have_two_terminals(running):
    one = running("/bin/sh", "-c", "read x; tty; read x", stdio="pty")
    with one.connect() as first, one.connect() as second:
        names = []
        for client in (first, second):
            client.sendall(b"hello\n")
            text = b""
            while b"/dev/pts/" not in text or not text.endswith(b"\n"):
                text += client.recv(1000)
            names.append(text.split(b"/dev/pts/")[1].split()[0])
    assert names[0] != names[1]
    one.wait_connections(2)


def test_no_terminal_where_none_was_asked_for(running):
    one = running()
    with one.connect() as client:
        assert report_of(client)["foreground"] is None


# ---- environment


CONVENTIONS = {"PROTO", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP", "TCPLOCALPORT", "REMOTE_ADDR",
               "REMOTE_PORT",
               "USHER_SERVICE", "USHER_PROTOCOL"}
INHERITED = {"PATH", "LANG", "TZ", "USER", "HOME", "SHELL", "LC_CTYPE"}  # LC_CTYPE: Python sets it for itself


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_the_environment_tells_of_the_connection(running, host, stdio):
    one = running(stdio=stdio, env={"SECRET": "of usher's own"})
    with one.connect(host=host) as client:
        me = client.getsockname()
        environment = report_of(client)["environment"]
    expected = {"PROTO": "TCP", "TCPREMOTEIP": me[0], "TCPREMOTEPORT": str(me[1]), "TCPLOCALIP": host,
                "TCPLOCALPORT": str(one.port), "REMOTE_ADDR": me[0], "REMOTE_PORT": str(me[1]),
                "USHER_SERVICE": "program", "USHER_PROTOCOL": "hello"}
    assert {name: environment.get(name) for name in expected} == expected
    assert set(environment) <= CONVENTIONS | INHERITED


def test_the_environment_of_a_unix_client(running):
    one = running()
    with connect(one.dir / "in.sock") as client:
        environment = report_of(client)["environment"]
    assert environment["PROTO"] == "UNIX"
    assert not any(name.startswith(("TCP", "REMOTE_")) for name in environment)


def test_the_environment_has_the_server_name_of_tls(usher, place):
    script = f"exec >{place}/told; printenv USHER_SNI USHER_PROTOCOL USHER_SERVICE; head -c 3"
    (place / "script").write_text(script)
    one = usher("""
        listen = [ "127.0.0.1:{port}" ];
        services = ( { name = "names"; match = { protocol = "tls"; sni = [ "*.shop.example" ]; };
                       exec = [ "/bin/sh", "{place}/script" ]; } );
    """, place=place)
    done = run(["openssl", "s_client", "-connect", f"127.0.0.1:{one.port}", "-servername", "A.Shop.example"])
    assert done.returncode != 0, "it is no TLS server"
    assert one.wait_connections(1)[0]["sni"] == "a.shop.example"
    assert (place / "told").read_bytes() == b"a.shop.example\ntls\nnames\n" + bytes([22, 3, 1])


# ---- data


@pytest.mark.parametrize("stdio", ["socket", "pipe"])
def test_a_megabyte_there_and_back_and_the_half_close(running, stdio):
    one = running("/bin/cat", stdio=stdio)
    data = b"hello\n" + os.urandom(1_000_000)
    with one.connect() as client:
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(client) == data
        sender.join()
    one.wait_connections(1)
    wait_until(lambda: not one.programs(), 5, "cat to end")


@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_what_a_program_wrote_last_arrives_before_the_end(running, stdio):
    one = running("/bin/sh", "-c", "read x; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done",
                  stdio=stdio)
    with one.connect() as client:
        client.sendall(b"hello\n")
        lines = read_all(client).replace(b"\r\n", b"\n").splitlines()
    assert lines[-2000:] == [b"line %d" % number for number in range(2000)]
    one.wait_connections(1)


@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_a_program_learns_that_its_client_is_gone(running, stdio):
    one = running("/bin/cat", stdio=stdio)
    with one.connect() as client:
        client.sendall(b"hello\n")
        assert read_exactly(client, 6)
        wait_until(one.programs, 5, "cat to run")
    wait_until(lambda: not one.programs(), 5, "cat to end")
    one.wait_connections(1)


def test_a_terminal_behaves_like_one(running):
    """Echo, line editing, the end-of-file character, CR LF on output."""
    one = running("/bin/cat", stdio="pty")
    with one.connect() as client:
        client.sendall(b"hello\nabd\x7fc\n")
        assert read_exactly(client, 14).startswith(b"hello\r\n")
        client.sendall(b"\x04")
        rest = read_all(client)
    assert b"abc\r\n" in rest or rest == b"", rest
    one.wait_connections(1)


@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_programs_are_reaped(running, stdio):
    one = running("/bin/sh", "-c", "read x; echo $x; exit 3", stdio=stdio)
    for _ in range(20):
        with one.connect() as client:
            client.sendall(b"hello\n")
            assert b"hello" in read_all(client)
    one.wait_connections(20)
    wait_until(lambda: not one.programs(), 5, "all programs to be reaped")


# ---- identity


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")
@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_a_program_runs_as_the_user_of_its_service(running, stdio):
    who = pwd.getpwnam("daemon")
    one = running(stdio=stdio, more='user = "daemon";')
    with one.connect() as client:
        about = report_of(client)
    assert about["ids"] == [who.pw_uid] * 3 + [who.pw_gid] * 3
    assert about["groups"] == sorted(set(os.getgrouplist("daemon", who.pw_gid)))
    assert {name: about["environment"][name] for name in ("USER", "HOME", "SHELL")} == {
        "USER": "daemon", "HOME": who.pw_dir, "SHELL": who.pw_shell}


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")
def test_a_program_runs_with_the_group_of_its_service(running):
    one = running(more='user = "daemon"; group = "mail";')
    with one.connect() as client:
        about = report_of(client)
    assert about["ids"] == [pwd.getpwnam("daemon").pw_uid] * 3 + [grp.getgrnam("mail").gr_gid] * 3


def test_a_program_without_a_user_runs_as_who_started_usher(running):
    one = running()
    with one.connect() as client:
        about = report_of(client)
    assert about["ids"] == list(os.getresuid() + os.getresgid())


@pytest.mark.skipif(not IS_ROOT, reason="needs root: started by an ordinary user it stays that user")
def test_workers_are_nobody_and_have_no_capabilities(running):
    one = running()
    for pid in one.workers + one.loggers:
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines()
                      if ":\t" in line)
        assert "0" not in status["Uid"].split() + status["Gid"].split() and status["Groups"].strip() == ""
        assert {status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"].strip() == "1"
