"""Whom the operator bans while usher runs, and for whom a service is opened: `usher ban', `unban', `open', `shut', `bans', and fail2ban."""

import os
import shutil
import signal
import socket
import subprocess

import proxy_header
import pytest
from datagrams import Server, client
from harness import BINARY, SOURCE, slow, wait_until

CONFIG = """
listen = ( "127.0.0.1:{port}", "udp:127.0.0.1:{port}" );  control = "{dir}/control";  workers = 2;
services = ( { name = "all"; connect = "127.0.0.1:%d"; } );  on_unknown = "all";  on_silence = "all";
"""
CLOSED = """
listen = "127.0.0.1:{port}";  control = "{dir}/control";
services = ( { name = "ssh"; match = "ssh"; allow = [ "192.0.2.1" ]; connect = "127.0.0.1:%d"; },
             { name = "web"; match = "http"; connect = "127.0.0.1:%d"; } );
"""


def run(one, *words):
    return subprocess.run([BINARY, words[0], "-s", one.control, *words[1:]], capture_output=True, text=True, timeout=slow(20), check=False)


def order(one, *words):
    done = run(one, *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


def is_served(one, host="127.0.0.2", first=b"hello"):
    """Whether this address comes to the server."""
    try:
        with socket.create_connection(("127.0.0.1", one.port), slow(10), source_address=(host, 0)) as c:
            c.sendall(first)
            return c.recv(100) == b"served"
    except ConnectionResetError:
        return False


@pytest.fixture
def echo():
    one = Server()
    yield one
    one.close()


@pytest.fixture
def serve(usher, named_servers):
    (server,) = named_servers("served")
    return lambda config=CONFIG, **options: usher(config % ((server.port,) * config.count("%d")), **options)


def test_who_is_banned_is_reset_at_once_and_all_others_are_served(serve):
    one = serve()
    assert is_served(one)
    assert order(one, "ban", "127.0.0.2") == "banned"
    assert not is_served(one)
    assert is_served(one, "127.0.0.3")
    (line,) = one.wait_connections(1, rule="ban")
    assert line["client"].startswith("127.0.0.2:") and line["end"] == "refused" and "service" not in line
    assert one.ask(b"status")[0]["refused"]["ban"] == 1
    one.wait_log("127.0.0.2 is banned until that is taken back, by the control socket")


def test_a_ban_is_taken_back(serve):
    one = serve()
    order(one, "ban", "127.0.0.2")
    assert not is_served(one)
    assert order(one, "unban", "127.0.0.2") == "banned no more"
    assert is_served(one)
    done = run(one, "unban", "127.0.0.2")
    assert (done.returncode, done.stderr) == (
        1, "usher: 127.0.0.2 is not banned, expected an address or prefix that `usher bans' lists\n")


def test_a_ban_ends_with_its_time(serve):
    one = serve()
    order(one, "ban", "--for", "1s", "127.0.0.2")
    wait_until(lambda: is_served(one), 20, "the ban to end")
    assert one.ask(b"bans") == []


def test_a_prefix_is_banned(serve):
    one = serve()
    order(one, "ban", "127.0.0.0/30")
    assert not is_served(one, "127.0.0.3")
    assert is_served(one, "127.0.0.4")


def test_sessions_that_are_served_already_go_on(serve):
    one = serve()
    with socket.create_connection(("127.0.0.1", one.port), slow(10), source_address=("127.0.0.2", 0)) as c:
        c.sendall(b"one")
        assert c.recv(100) == b"served"
        order(one, "ban", "127.0.0.2")
        assert not is_served(one)
        c.shutdown(socket.SHUT_WR)
        assert c.recv(100) == b""
    assert one.wait_connections(1, end="finished")[0]["bytes_up"] == "3"


def test_datagrams_of_who_is_banned_are_dropped_and_counted(usher, echo):
    one = usher('listen = "udp:127.0.0.1:{port}"; control = "{dir}/control"; drain_timeout = 0.1; '
                'services = ({ name = "all"; connect = "%s"; }); on_unknown = "all";' % echo.text())
    order(one, "ban", "127.0.0.1")
    with client(one.port) as c:
        c.send(b"one")
        wait_until(lambda: one.ask(b"status")[0]["datagrams"]["banned"] == 1, 10, "it to be counted")
        order(one, "unban", "127.0.0.1")
        c.send(b"two")
        assert c.recv(100) == b"two"
    assert echo.datagrams() == [b"two"]


def test_behind_a_proxy_the_proxys_client_is_banned(serve):
    one = serve(CONFIG.replace('( "127.0.0.1:{port}"', '( { address = "127.0.0.1:{port}"; accept_proxy = [ "127.0.0.0/8" ]; }'))
    order(one, "ban", "203.0.113.9")
    for source, served in (("203.0.113.9", False), ("203.0.113.8", True)):
        with socket.create_connection(("127.0.0.1", one.port), slow(10)) as c:
            c.sendall(proxy_header.v1((source, 5), ("192.0.2.1", 443)) + b"hello")
            try:
                assert (c.recv(100) == b"served") is served
            except ConnectionResetError:
                assert not served


def test_a_service_is_opened_for_an_address_and_shut_again(serve):
    one = serve(CLOSED)
    ssh = b"SSH-2.0-x\r\n"
    assert not ssh_is_served(one, ssh)
    assert order(one, "open", "ssh", "--from", "127.0.0.2", "--for", "10m") == "open"
    assert ssh_is_served(one, ssh)
    assert not ssh_is_served(one, ssh, "127.0.0.3")
    (told,) = one.ask(b"bans")
    assert (told["what"], told["service"], told["address"]) == ("open", "ssh", "127.0.0.2") and 0 < told["left_s"] <= 600
    assert order(one, "shut", "ssh", "--from", "127.0.0.2") == "open no more"
    assert not ssh_is_served(one, ssh)


def ssh_is_served(one, hello, host="127.0.0.2"):
    with socket.create_connection(("127.0.0.1", one.port), slow(10), source_address=(host, 0)) as c:
        c.sendall(hello)
        return c.recv(100) == b"served"


def test_bans_are_listed(serve):
    one = serve()
    for address in ("192.0.2.7", "2001:db8::/32"):
        order(one, "ban", address)
    order(one, "ban", "--for", "2h", "198.51.100.0/24")
    lines = order(one, "bans").splitlines()
    assert lines[0].split() == ["address", "what", "left"]
    assert sorted(" ".join(line.split()) for line in lines[1:]) == [
        "192.0.2.7 banned -", "198.51.100.0/24 banned 2.0 h", "2001:db8::/32 banned -"]
    assert {(told["address"], "left_s" in told) for told in one.ask(b"bans")} == {
        ("192.0.2.7", False), ("2001:db8::/32", False), ("198.51.100.0/24", True)}


@pytest.mark.parametrize("what", ["reload", "upgrade", "worker"])
def test_what_was_said_outlives(serve, what):
    one = serve(may_crash=what == "worker")
    order(one, "ban", "127.0.0.2")
    if what == "reload":
        one.reload()
    elif what == "upgrade":
        assert one.ask(b"upgrade", 25) == [{"done": "upgraded"}]
    else:
        gone = one.workers[0]
        os.kill(gone, signal.SIGKILL)
        wait_until(lambda: len(one.workers_but([gone])) == 2, 20, "the next worker")
    assert not is_served(one)
    assert is_served(one, "127.0.0.3")


@pytest.mark.parametrize(("words", "status", "said"), [
    (("ban", "nobody"), 2, "usher: `nobody': expected an address such as 192.0.2.7 or 2001:db8::7, or a prefix such as 192.0.2.0/24"),
    (("ban", "192.0.2.1/24"), 2, "usher: `192.0.2.1/24': expected an address such as 192.0.2.7 or 2001:db8::7, or a prefix such as 192.0.2.0/24"),
    (("ban", "--for", "ever", "192.0.2.1"), 2, "usher: --for ever: expected a time such as 90s, 10m, 2h or 7d, of 3660 days at most"),
    (("open", "nothing", "--from", "192.0.2.1", "--for", "5"), 1, "usher: there is no service `nothing'"),
    (("open", "web", "--from", "192.0.2.1", "--for", "5"), 1, "usher: service `web' has no `allow': it is open for everybody"),
    (("shut", "ssh", "--from", "192.0.2.1"), 1, "usher: service `ssh' is not open for 192.0.2.1 by a request"),
])
def test_what_cannot_be_said(serve, words, status, said):
    done = run(serve(CLOSED), *words)
    assert (done.returncode, done.stderr) == (status, said + "\n")


@pytest.mark.skipif(not shutil.which("fail2ban-server"), reason="fail2ban is not here")
def test_fail2ban_bans_by_usher(serve, tmp_path):
    """The real one: its filter reads usher's log, its action bans, and unbans when the time is over."""
    one = serve('log = { to = "{dir}/log"; };' + CLOSED)
    web = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for part in ("filter.d", "action.d", "jail.d", "run"):
        (tmp_path / part).mkdir()
    for part in ("filter.d", "action.d"):
        shutil.copy(SOURCE / "etc/fail2ban" / part / "usher.conf", tmp_path / part)
    (tmp_path / "fail2ban.conf").write_text(
        f"[Definition]\nloglevel = INFO\nlogtarget = {tmp_path}/log\nsocket = {tmp_path}/run/socket\npidfile = {tmp_path}/run/pid\n"
        "dbfile = None\nsyslogsocket = auto\ndbpurgeage = 1d\ndbmaxmatches = 10\nallowipv6 = auto\n")
    (tmp_path / "jail.conf").write_text(
        f"[usher]\nenabled = true\nbackend = polling\nfilter = usher\nlogpath = {one.dir}/log\nmaxretry = 3\nfindtime = 600\nbantime = 600\n"
        f"usedns = no\nignoreself = false\nignoreip =\naction = usher[usher='{BINARY}', options='-s {one.control}']\n")
    options = ["-c", tmp_path, "-s", tmp_path / "run/socket", "-p", tmp_path / "run/pid"]
    fail2ban = subprocess.Popen(["fail2ban-server", *options, "-f", "start"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(*words):
        return subprocess.run(["fail2ban-client", *options, *words], capture_output=True, text=True, timeout=slow(20), check=False)

    try:
        wait_until(lambda: "usher" in ask("status").stdout, 60, "fail2ban")
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", one.port), slow(10), source_address=("127.0.0.2", 0)) as c:
                c.sendall(b"what no service takes\r\n\r\n")
                assert c.recv(10) == b""
        wait_until(lambda: [told["address"] for told in one.ask(b"bans")] == ["127.0.0.2"], 60, "the ban")
        assert not is_served(one, first=web)
        assert is_served(one, "127.0.0.3", web)
        assert ask("set", "usher", "unbanip", "127.0.0.2").returncode == 0
        wait_until(lambda: one.ask(b"bans") == [], 60, "the ban to be taken back")
        assert is_served(one, first=web)
    finally:
        ask("stop")
        fail2ban.wait(slow(30))
