"""Backends by name: what becomes of them when name servers are slow, silent, failing, lying, or when the answer changes."""

import contextlib
import signal
import socket
import threading
import time

import pytest
from datagrams import Server
from datagrams import client as datagram_client
from harness import dead_port, read_all, slow, wait_until
from name_server import A, AAAA, NXDOMAIN, REFUSED, SERVFAIL, WHY_NOT, NameServer
from peers import Backend

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  connect_timeout = {timeout};  name_max_age = {age};
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = [ {backends} ]; {more} } );
"""
WEEK = 7 * 86400


@pytest.fixture
def names():
    one = NameServer()
    yield one
    one.close()


@pytest.fixture
def named(usher, names, place):
    """named("app.test:80", ...): an usher with these backends."""

    def start(*backends, timeout=20, age=300, more="", **keys):
        return usher(CONFIG, backends=", ".join(f'"{one}"' for one in backends), timeout=timeout, age=age, more=more,
                     wrapper=names.wrapper(place, **keys))

    return start


@contextlib.contextmanager
def server(host, port=0):
    """Says its own address to everybody."""
    with Backend((host, port)) as one:
        one.listener.settimeout(None)
        stop = False

        def run():
            while not stop:
                try:
                    peer, _ = one.listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(2)
                    peer.sendall(host.encode())

        threading.Thread(target=run, daemon=True).start()
        yield one
        stop = True
        with contextlib.suppress(OSError):
            one.listener.shutdown(socket.SHUT_RDWR)


def ask(one):
    with one.connect() as client:
        client.settimeout(slow(60))
        client.sendall(b"go")
        try:
            return read_all(client).decode()
        except ConnectionResetError:
            return ""


def known(one, name):
    return [line for line in one.log if "resolved" in line.text and f"name={name}" in line.text]


def serves(one, host, seconds=60):
    wait_until(lambda: ask(one) == host, seconds, f"to be served by {host}")


# ---- known addresses stay


@pytest.mark.parametrize("how", ["reload", "upgrade"])
def test_known_addresses_survive_while_name_servers_are_silent(named, names, how):
    with server("127.0.0.21") as backend:
        names.zone["app.test"] = (["127.0.0.21"], 600)
        one = named(f"app.test:{backend.port}")
        serves(one, "127.0.0.21")
        names.mode[None] = "silent"
        resolvers = one.resolvers
        one.process.send_signal(signal.SIGHUP if how == "reload" else signal.SIGUSR2)
        wait_until(lambda: one.resolvers and not set(one.resolvers) & set(resolvers), 60, "another resolver alone")
        assert [ask(one) for _ in range(6)] == ["127.0.0.21"] * 6
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: one.output().count("serving: ") == 3, 60, "to serve once more")
        assert [ask(one) for _ in range(6)] == ["127.0.0.21"] * 6


def test_a_reload_keeps_answers_by_name_and_not_by_place(named, names):
    with server("127.0.0.21") as first, server("127.0.0.22") as second:
        names.zone["a.test"] = (["127.0.0.21"], 600)
        names.zone["b.test"] = (["127.0.0.22"], 600)
        one = named(f"a.test:{first.port}", f"b.test:{second.port}")
        serves(one, "127.0.0.21")
        wait_until(lambda: "name=b.test" in one.output(), 60, "b.test to be known")
        names.mode[None] = "silent"
        one.words["backends"] = f'"new.test:1", "B.test:{second.port}", "a.test:{first.port}"'
        one.write()
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: one.output().count("serving: ") == 2, 60, "to serve again")
        assert ask(one) == "127.0.0.22"


@pytest.mark.parametrize("trouble", ["silent", SERVFAIL, REFUSED, NXDOMAIN, "wrong-id", "wrong-question", "loop", "short"])
def test_trouble_leaves_the_last_good_answer_and_passes(named, names, trouble):
    with server("127.0.0.21") as backend, server("127.0.0.22", backend.port):
        names.zone["app.test"] = (["127.0.0.21"], 600)
        one = named(f"app.test:{backend.port}", age=1)
        serves(one, "127.0.0.21")
        names.mode[None] = trouble
        asked = names.times_asked("app.test")
        wait_until(lambda: "resolve-failed" in one.output(), 60, "a failure in the log")
        assert names.times_asked("app.test") > asked
        assert ask(one) == "127.0.0.21"
        names.zone["app.test"] = (["127.0.0.22"], 600)
        names.mode.clear()
        serves(one, "127.0.0.22")


@pytest.mark.parametrize("how", ["truncated", "long"])
def test_what_is_cut_short_is_asked_for_over_tcp_and_what_is_too_long_is_not_lost(named, names, how):
    """c-ares cuts an answer that is longer than it asked for, or from 1.33 on takes it."""
    with server("127.0.0.21") as backend:
        names.zone["app.test"] = (["127.0.0.21"], 600)
        names.mode[None] = how
        one = named(f"app.test:{backend.port}")
        serves(one, "127.0.0.21")
        assert names.streams > 0 or how == "long"


@pytest.mark.parametrize("trouble", [SERVFAIL, "silent"])
def test_a_family_whose_question_fails_is_not_lost(named, names, trouble):
    """The answer to the other question alone would be taken for the whole."""
    with server("127.0.0.21") as backend:
        names.zone["app.test"] = (["127.0.0.21", "2001:db8::1"], 600)
        one = named(f"app.test:{backend.port}", age=1)
        serves(one, "127.0.0.21")
        names.mode[A] = trouble
        before = names.times_asked("app.test", AAAA)
        wait_until(lambda: names.times_asked("app.test", AAAA) >= before + 3, 120, "it to be asked for again and again")
        assert ask(one) == "127.0.0.21"
        names.mode.clear()
        names.zone["app.test"] = (["2001:db8::1"], 600)
        wait_until(lambda: "addresses=2001:db8::1\n" in one.output() or 'addresses=2001:db8::1"' in one.output(), 60,
                   "the other family to be gone")


def test_a_name_that_comes_late_is_found_when_a_client_waits(named, names):
    with server("127.0.0.21") as backend:
        names.mode[None] = SERVFAIL
        one = named(f"app.test:{backend.port}")
        wait_until(lambda: "resolve-failed" in one.output(), 60, "a failure in the log")
        wait_until(lambda: names.times_asked("app.test") >= 5, 60, "the pauses between questions to have grown")
        names.zone["app.test"] = (["127.0.0.21"], 600)
        names.mode.clear()
        assert ask(one) == "127.0.0.21"


# ---- answers change


@pytest.mark.parametrize("ttl", [0, 600, WEEK])
def test_a_backend_that_moves_is_found_whatever_the_ttl(named, names, ttl):
    """Not only by who comes after the client that was refused: by that one too."""
    names.zone["app.test"] = (["127.0.0.21"], ttl)
    with server("127.0.0.21") as backend:
        port = backend.port
        one = named(f"app.test:{port}")
        serves(one, "127.0.0.21")
    time.sleep(1.1)  # a name is asked for once a second
    names.zone["app.test"] = (["127.0.0.22"], ttl)
    with server("127.0.0.22", port):
        assert ask(one) == "127.0.0.22"


def test_an_address_where_nobody_answers_any_more_is_left_for_the_new_one(named, names):
    """It does not refuse: it is silent, as machines that are gone are."""
    names.zone["app.test"] = (["127.0.0.21"], 600)
    with server("127.0.0.21") as backend:
        port = backend.port
        one = named(f"app.test:{port}")
        serves(one, "127.0.0.21")
    full = socket.socket()
    full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    full.bind(("127.0.0.21", port))
    full.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.21", port))
    names.zone["app.test"] = (["127.0.0.22"], 600)
    with server("127.0.0.22", port):
        assert ask(one) == "127.0.0.22"
    for sock in (full, *fillers):
        sock.close()


def test_who_is_refused_again_and_again_does_not_flood_the_name_server(named, names):
    names.zone["app.test"] = (["127.0.0.21"], 600)
    with server("127.0.0.21") as backend:
        one = named(f"app.test:{backend.port}")
        serves(one, "127.0.0.21")
    begin, before, refused = time.monotonic(), names.times_asked("app.test"), 0
    while time.monotonic() - begin < 4 or refused < 20:
        assert ask(one) == ""
        refused += 1
    seconds = time.monotonic() - begin
    assert 1 <= names.times_asked("app.test") - before <= seconds + 2


def test_a_long_ttl_is_believed_for_as_long_as_the_configuration_says(named, names):
    names.zone["app.test"] = (["127.0.0.21"], WEEK)
    with server("127.0.0.21") as backend:
        one = named(f"app.test:{backend.port}", age=2)
        wait_until(lambda: names.times_asked("app.test") >= 4, 60, "the name to be asked for")
        serves(one, "127.0.0.21")


def test_a_ttl_is_believed(named, names):
    names.zone["app.test"] = (["127.0.0.21"], 600)
    with server("127.0.0.21") as backend:
        one = named(f"app.test:{backend.port}")
        serves(one, "127.0.0.21")
        time.sleep(2)  # a client that came before the first answer may have had it asked for once more
        asked = names.times_asked("app.test")
        time.sleep(5)
        assert names.times_asked("app.test") == asked <= 2


def test_each_connection_asks_where_the_service_says_so(named, names):
    """The old address still answers, and would do so for ever."""
    names.zone["app.test"] = (["127.0.0.21"], 600)
    with server("127.0.0.21") as backend, server("127.0.0.22", backend.port):
        one = named(f"app.test:{backend.port}", more='resolve = "connect";')
        serves(one, "127.0.0.21")
        names.zone["app.test"] = (["127.0.0.22"], 600)
        time.sleep(1.1)  # younger answers count as new
        assert ask(one) == "127.0.0.22"
        names.mode[None] = "silent"
        time.sleep(1.1)
        assert [ask(one) for _ in range(4)] == ["127.0.0.22"] * 4


def test_resolve_on_forward_means_it(usher, names, place):
    names.zone["app.test"] = (["127.0.0.21"], 600)
    with server("127.0.0.21") as backend, server("127.0.0.22", backend.port):
        text = ('listen: ( { host: "127.0.0.1"; port: "{port}"; } );\nprotocols: ( { name: "regex"; regex_patterns: [ "^go" ]; '
                f'host: "app.test"; port: "{backend.port}"; resolve_on_forward: true; }} );\n')
        one = usher(text, wrapper=lambda command: names.wrapper(place)(
            [command[0], "sslh", "-f", "-n", "-F" + str(command[3])]))
        serves(one, "127.0.0.21")
        names.zone["app.test"] = (["127.0.0.22"], 600)
        time.sleep(1.1)
        assert ask(one) == "127.0.0.22"


# ---- datagrams


FLOWS = """
listen = "udp:127.0.0.1:{port}"; workers = 1; drain_timeout = 0.1; connect_timeout = 20;
services = ( { name = "app"; connect = [ "127.0.0.1:{dead}", "app.test:{live}" ]; answer_timeout = 60; } );
on_unknown = "app";
"""


def test_a_flow_waits_for_the_name_of_the_next_backend_when_the_first_refuses(usher, names, place):
    """Its datagrams go there when the answer comes, and count once. A name server that takes more than a second is not waited for:
    on a slow machine the test tries again."""
    server = Server(("127.0.0.1", 0))
    names.zone["app.test"] = (["127.0.0.1"], 600)
    names.delay = 0.3
    answers = []
    for _ in range(4):
        one = usher(FLOWS, dead=dead_port(), live=server.port, wrapper=names.wrapper(place))
        with datagram_client(one.port, timeout=3) as c:
            with contextlib.suppress(TimeoutError):
                c.send(b"one")
                c.send(b"two")
                answers = [c.recv(100), c.recv(100)]
            one.stop()
        if answers:
            break
    server.close()
    assert answers == [b"one", b"two"]
    (line,) = one.connections()
    assert (line["datagrams_up"], line["datagrams_down"], line["bytes_up"]) == ("2", "2", "6")
