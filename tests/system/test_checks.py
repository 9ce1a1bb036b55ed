"""Checks of backends: each kind, against servers that serve, that are silent and that say something else; what becomes of clients and sessions; and a
checker that is killed, stopped, or has a thousand backends."""

import contextlib
import os
import re
import selectors
import signal
import socket
import threading

import pytest
from harness import dead_port, read_all, run_usher, slow, wait_until
from peers import Named

CONFIG = """
listen = [ "127.0.0.1:{port}", "udp:127.0.0.1:{port_udp}" ];  workers = 1;  control = "{dir}/control";
protocols = ( { name = "go"; string = "go"; }, { name = "pong"; regex = "^[+]PONG"; } );
services = ( { name = "go"; match = { protocol = "go"; listener = "127.0.0.1:{port}"; }; connect = [ {backends} ]; {more} } );
"""
OFTEN = "every = 0.2; timeout = 0.2;"


class Answering:
    """A server that answers with `answer` as soon as it was sent something, and keeps what that was."""

    def __init__(self, answer, port=0):
        self.answer, self.asked = answer, []
        self.listener = socket.create_server(("127.0.0.1", port), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client):
        with contextlib.suppress(OSError), client:
            self.asked.append(client.recv(4096))
            client.sendall(self.answer)
            while client.recv(4096):
                pass

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def answering():
    made = []

    def start(answer, **options):
        made.append(Answering(answer, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def serve(usher):
    def start(backends, more, **options):
        written = ", ".join(f'"127.0.0.1:{getattr(one, "port", one)}"' for one in backends)
        return usher(CONFIG, backends=written, more=more, **options)

    return start


def found(one):
    """The backends by service and address."""
    return {f'{backend["service"]} {backend["address"]}': backend for backend in one.ask(b"backends")}


def is_checked(one, n=1):
    return all(backend["check"]["total"] >= n for backend in found(one).values() if "check" in backend)


def who_answers(one):
    with one.connect() as client:
        client.sendall(b"go")
        return client.recv(100)


def checker(one):
    return wait_until(lambda: one._named("checker"), 5, "the checker")[0]


# ---- kinds

KINDS = """
listen = [ "127.0.0.1:{port}", "udp:127.0.0.1:{port_udp}" ];  workers = 1;  control = "{dir}/control";
protocols = ( { name = "pong"; regex = "^[+]PONG"; }, { name = "go"; string = "go"; } );
on_unknown = "tcp";
services = (
    { name = "tcp"; connect = "127.0.0.1:{silent}"; check = { every = 0.5; timeout = 0.3; }; },
    { name = "silent"; match = "smb"; connect = "127.0.0.1:{silent}"; check = { every = 0.5; timeout = 0.3; expect = "vnc"; }; },
    { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{sshd}"; check = { expect = "ssh"; }; },
    { name = "smtp"; match = "smtp"; connect = "127.0.0.1:{sshd}"; check = { expect = "smtp"; }; },
    { name = "redis"; match = "redis"; connect = "127.0.0.1:{pong}"; check = { send = "PING\\r\\n"; expect = "pong"; }; },
    { name = "bytes"; match = "ldap"; connect = "127.0.0.1:{pong}"; check = { send = { bytes = "50 00"; }; expect = { string = "-ERR"; }; }; },
    { name = "http"; match = "http"; connect = "127.0.0.1:{well}"; send_proxy = 1; check = { http = "/health"; }; },
    { name = "elsewhere"; match = "irc"; connect = "127.0.0.1:{silent}"; check = { port = {well}; http = "HEAD /primary"; }; },
    { name = "sick"; match = "imap"; connect = "127.0.0.1:{sick}"; check = { http = "GET /health"; }; },
    { name = "expected"; match = "pop3"; connect = "127.0.0.1:{sick}"; check = { http = "/"; expect = [ "200", "503" ]; }; },
    { name = "tls"; match = "tls"; connect = "127.0.0.1:{tls}"; check = { sni = "one.example"; }; },
    { name = "https"; match = "vnc"; connect = "127.0.0.1:{tls}"; check = { sni = "one.example"; http = "/"; expect = [ "2xx", "4xx" ]; }; },
    { name = "plain"; match = "git"; connect = "127.0.0.1:{well}"; check = { sni = "one.example"; }; },
    { name = "unix"; match = "nats"; connect = "unix:{dir}/socket"; check = { send = "PING"; expect = { contains = "PO"; }; }; },
    { name = "udp"; match = "ntp"; connect = "127.0.0.1:{udp}"; check = { send = "ping"; expect = "pong"; }; },
    { name = "deaf"; match = "snmp"; connect = "127.0.0.1:{dead}"; check = { send = "ping"; expect = "pong"; }; },
    { name = "beside"; match = "ike"; connect = "127.0.0.1:{dead}"; check = { port = {well}; http = "/"; }; }
);
"""


def answer_datagrams(server):
    with contextlib.suppress(OSError):
        while True:
            asked, client = server.recvfrom(100)
            server.sendto(b"+PONG " + asked, client)


def test_each_kind_of_check_knows_its_server(usher, sshd, nginx, named_servers, answering):
    (silent,) = named_servers("", silent=True)
    pong, well, sick = answering(b"+PONG\r\n"), answering(b"HTTP/1.1 204 No\r\n\r\n"), answering(b"HTTP/1.0 503 No\r\n\r\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        threading.Thread(target=answer_datagrams, args=(udp,), daemon=True).start()
        one = usher(KINDS, silent=silent.port, sshd=sshd.port, pong=pong.port, well=well.port, sick=sick.port, tls=nginx.https_one,
                    udp=udp.getsockname()[1], dead=dead_port())
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(one.dir / "socket"))
            os.chmod(one.dir / "socket", 0o777)
            listener.listen(10)
            listener.settimeout(slow(5))
            client, _ = listener.accept()
            with client:
                assert client.recv(100) == b"PING"
                client.sendall(b"...PONG")
                wait_until(lambda: is_checked(one), 10, lambda: f"all to be checked: {found(one)}")
        udp.close()
    results = {backend["service"]: backend["check"]["result"] for backend in found(one).values() if "check" in backend}
    assert results == {
        "tcp": "passed", "silent": "no answer in time", "ssh": "passed", "smtp": "another answer than expected",
        "redis": "passed", "bytes": "another answer than expected", "http": "passed", "elsewhere": "passed", "sick": "HTTP status 503",
        "expected": "passed", "tls": "passed", "https": "passed", "plain": "TLS handshake failed", "unix": "passed", "udp": "passed",
        "deaf": "Connection refused", "beside": "passed"}
    assert b"PING\r\n" in pong.asked and b"P\0" in pong.asked
    requests = b"".join(well.asked)
    assert b"PROXY UNKNOWN\r\nGET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % well.port in requests
    assert b"HEAD /primary HTTP/1.1\r\n" in requests
    down = {name: backend["why"] for name, backend in found(one).items() if backend["state"] == "down"}
    assert down[f"sick 127.0.0.1:{sick.port}"] == "check: HTTP status 503"
    assert f"silent 127.0.0.1:{silent.port}" in down and f"tcp 127.0.0.1:{silent.port}" not in down


# ---- clients

def test_a_backend_is_found_down_and_up_without_a_client(serve):
    dead = dead_port()
    one = serve([dead], f"check = {{ {OFTEN} }};")
    one.wait_log(re.escape(f"service go: backend 127.0.0.1:{dead} is down (check: Connection refused): others are tried first"))
    back = Named("back", port=dead)
    one.wait_log(re.escape(f"service go: backend 127.0.0.1:{dead} is up again"))
    back.close()
    one.wait_log("is down", count=2)


def test_clients_get_none_that_checks_find_down(serve, named_servers, answering):
    """It would take them: nothing but the check says that it should not."""
    (well,) = named_servers("well")
    sick = Named("sick")
    page = answering(b"HTTP/1.1 503 No\r\n\r\n")
    one = serve([sick, well], f'check = {{ {OFTEN} port = {page.port}; http = "/"; }};')
    one.wait_log(f"backend 127.0.0.1:{well.port} is down")
    one.wait_log(f"backend 127.0.0.1:{sick.port} is down")
    assert who_answers(one) == b"sick"  # all down is as if all were up
    assert found(one)[f"go 127.0.0.1:{sick.port}"]["state"] == "down"  # and no client brings it back
    page.answer = b"HTTP/1.1 200 Yes\r\n\r\n"
    one.wait_log("is up again", count=2)
    assert who_answers(one) == b"sick"
    sick.close()


def test_the_operators_word_stands_whatever_checks_find(serve, named_servers):
    one = serve(named_servers("a"), f"check = {{ {OFTEN} }};")
    wait_until(lambda: is_checked(one), 5, "a check")
    address, backend = next((name.split()[1], backend) for name, backend in found(one).items())
    one.ask(b"backend go %s drain" % address.encode())
    before = backend["check"]["total"]
    wait_until(lambda: is_checked(one, before + 5), 5, "further checks")
    assert found(one)[f"go {address}"]["state"] == "drain"


@pytest.mark.parametrize("on_down", ["close", "keep"])
def test_sessions_of_one_that_is_down_are_closed_where_that_is_wanted(serve, named_servers, answering, on_down):
    page = answering(b"HTTP/1.1 200 Yes\r\n\r\n")
    one = serve(named_servers("a"), f'on_down = "{on_down}"; check = {{ {OFTEN} port = {page.port}; http = "/"; }};')
    with one.connect() as client:
        client.sendall(b"go")
        assert client.recv(10) == b"a"
        page.answer = b"HTTP/1.1 503 No\r\n\r\n"
        one.wait_log("is down")
        if on_down == "close":
            client.settimeout(slow(5))
            assert read_all(client) == b""
            one.wait_connections(end="backend-down")
        # All are down, so it is served; and it stays, because it came later.
        assert who_answers(one) == b"a"
        with one.connect() as late:
            late.sendall(b"go")
            assert late.recv(10) == b"a"
            before = next(iter(found(one).values()))["check"]["total"]
            wait_until(lambda: is_checked(one, before + 8), 5, "further checks")
            assert len(one.connections(end="backend-down")) == (on_down == "close")
            if on_down == "keep":
                client.sendall(b"x")


# ---- reload, upgrade, faults

def test_what_checks_found_stays_over_reload_and_upgrade(serve, named_servers):
    (well,) = named_servers("well")
    dead = dead_port()
    one = serve([dead, well], f"check = {{ {OFTEN} }};")
    one.wait_log("is down")
    one.words["backends"] = f'"127.0.0.1:{well.port}", "127.0.0.1:{dead}"'
    one.reload(one.config)
    one.ask(b"upgrade", timeout=60)
    before = found(one)[f"go 127.0.0.1:{dead}"]["check"]["total"]
    assert before > 0
    wait_until(lambda: is_checked(one, before + 3), 10, "further checks")
    assert found(one)[f"go 127.0.0.1:{dead}"]["state"] == "down"
    assert one.output().count("is down") == 1 and "is up" not in one.output()
    wait_until(lambda: len(one._named("checker")) == 1, 5, "one checker")
    one.words["more"] = ""
    one.reload(one.config)
    wait_until(lambda: not one._named("checker"), 5, "no checker")


def test_a_checker_that_is_killed_is_started_again(serve):
    dead = dead_port()
    one = serve([dead], f"check = {{ {OFTEN} }};", may_crash=True)
    one.wait_log("is down")
    os.kill(checker(one), signal.SIGKILL)
    one.wait_log("the checker died and is started again in 1 s: it was killed by signal 9")
    before = found(one)[f"go 127.0.0.1:{dead}"]["check"]["total"]
    wait_until(lambda: is_checked(one, before + 3), 10, "further checks")
    assert one.output().count("is down") == 1 and "is up" not in one.output()


def test_a_checker_that_is_stopped_changes_no_state_and_is_started_again(serve, named_servers):
    (well,) = named_servers("well")
    dead = dead_port()
    one = serve([well, dead], f"check = {{ {OFTEN} }};", may_crash=True)
    one.wait_log("is down")
    wait_until(lambda: is_checked(one), 5, "all to be checked")
    os.kill(checker(one), signal.SIGSTOP)
    assert who_answers(one) == b"well"
    one.wait_log("the checker has done nothing for 1[0-9] s: it is killed and started again", 20)
    before = max(backend["check"]["total"] for backend in found(one).values())
    wait_until(lambda: is_checked(one, before), 10, "further checks")
    assert one.output().count("is down") == 1 and "is up" not in one.output()


def test_a_thousand_backends_that_hang_are_checked_a_few_at_a_time(usher):
    most, opened, done = 0, 0, threading.Event()

    def serve_nobody(listener):
        nonlocal most, opened
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while not done.is_set():
                for key, _ in selector.select(0.1):
                    if key.fileobj is listener:
                        selector.register(listener.accept()[0], selectors.EVENT_READ)
                        opened += 1
                        most = max(most, len(selector.get_map()) - 1)
                    else:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
            for key in list(selector.get_map().values()):
                key.fileobj.close()

    with socket.create_server(("0.0.0.0", 0), backlog=1000) as listener:
        thread = threading.Thread(target=serve_nobody, args=(listener,))
        thread.start()
        backends = ", ".join(f'"127.77.{n // 200}.{n % 200 + 1}:{listener.getsockname()[1]}"' for n in range(1000))
        one = usher(CONFIG, backends=backends, more='check = { every = 1; timeout = 0.5; expect = "ssh"; };')
        wait_until(lambda: is_checked(one), 20, "all to be checked")
        states = {(backend["state"], backend["why"]) for backend in found(one).values()}
        done.set()
        thread.join()
    assert states == {("down", "check: no answer in time")}
    # What the checker has closed may be seen a moment later than the next one that it opens.
    assert opened >= 1000 and most <= 2 * 256


def test_the_table_shows_what_came_of_checks(serve):
    dead = dead_port()
    one = serve([dead], f"check = {{ {OFTEN} }};")
    wait_until(lambda: is_checked(one), 5, "a check")
    table = run_usher("backends", "-s", one.control).stdout
    assert re.search(r"go +127.0.0.1:\d+ +down .* check: Connection refused, checked \d\S* s ago\n", table)
