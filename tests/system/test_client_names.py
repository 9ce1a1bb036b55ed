"""Services that connect to the name that their client asks for: which names and addresses that may be, and what strangers can make of it."""

import collections
import contextlib
import socket
import threading
import time

import pytest
from harness import connect, read_all, slow, wait_until
from name_server import A, SERVFAIL, WHY_NOT, NameServer
from peers import Backend, client_hello

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  connect_timeout = {timeout};  name_max_age = {age};
services = (
	{{ name = "tls"; match = "tls"; connect = "sni:{to}"; allow_names = [ "*.app.test" ]; {more} }},
	{{ name = "web"; match = "http"; connect = "host:{to}"; allow_names = "*.app.test"; allow_addresses = "127.0.0.21"; }}
);
""".replace("{{", "{").replace("}}", "}")
LOOPBACK = 'allow_addresses = [ "127.0.0.0/8" ];'
HOSTILE = ["10.1.2.3", "192.168.1.1", "172.20.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "::1", "fe80::1",
           "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]


@pytest.fixture
def names():
    one = NameServer()
    yield one
    one.close()


@pytest.fixture
def start(usher, names, place):
    return lambda to, more=LOOPBACK, timeout=20, age=300: usher(CONFIG, to=to, more=more, timeout=timeout, age=age,
                                                               wrapper=names.wrapper(place))


@contextlib.contextmanager
def server(host, port=0):
    """Says its own address to everybody who has said something."""
    with Backend((host, port)) as one:
        one.listener.settimeout(None)

        def run():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = one.listener.accept()
                    with peer:
                        peer.recv(4096)
                        peer.sendall(host.encode())

        threading.Thread(target=run, daemon=True).start()
        yield one
        with contextlib.suppress(OSError):
            one.listener.shutdown(socket.SHUT_RDWR)


def ask(one, first, source=None):
    with connect(("127.0.0.1", one.port), slow(60), source) as client:
        client.sendall(first)
        try:
            return read_all(client).decode()
        except ConnectionResetError:
            return ""


def tls(one, name, source=None):
    return ask(one, client_hello(name), source)


def test_a_client_gets_the_server_that_it_names(start, names):
    """By its SNI or its Host, whatever their case; an answer serves many clients, and when name servers fail for longer than it lasts."""
    with server("127.0.0.21") as first, server("127.0.0.22", first.port):
        names.zone["a.app.test"] = (["127.0.0.21"], 1)
        names.zone["b.app.test"] = (["127.0.0.22"], 600)
        one = start(first.port)
        assert [tls(one, name) for name in ("a.app.test", "B.App.Test", "b.app.test")] == ["127.0.0.21", "127.0.0.22", "127.0.0.22"]
        assert names.times_asked("b.app.test") == 1
        assert ask(one, b"GET / HTTP/1.1\r\nHost: a.app.test:80\r\n\r\n") == "127.0.0.21"
        assert ask(one, b"GET / HTTP/1.1\r\nHost: b.app.test\r\n\r\n") == ""  # 127.0.0.22 is not in allow_addresses
        names.mode[None] = SERVFAIL
        asked = names.times_asked("a.app.test")
        wait_until(lambda: tls(one, "a.app.test") == "127.0.0.21" and names.times_asked("a.app.test") > asked, 60, "it to be asked for in vain")
        assert tls(one, "a.app.test") == "127.0.0.21"
        lines = one.connections()
        assert {line["sni"] for line in lines if line["service"] == "tls"} == {"a.app.test", "b.app.test"}
        assert {line["to"] for line in lines if line["service"] == "tls"} == {f"sni:{first.port}"}


def test_names_and_addresses_that_are_not_allowed_lead_nowhere(start, names):
    """No question is asked for such a name, and no connection is made to such an address."""
    with server("127.0.0.1") as backend:
        names.zone["app.test"] = (["127.0.0.1"], 600)
        names.zone["a.other.test"] = (["127.0.0.1"], 600)
        one = start(backend.port, more="")
        for number, address in enumerate(HOSTILE):
            names.zone[f"h{number}.app.test"] = ([address], 600)
            assert tls(one, f"h{number}.app.test") == ""
        assert [tls(one, name) for name in ("app.test", "a.other.test", "x_y.a.b.app.test", None)] == [""] * 4
        assert ask(one, client_hello("no name")) == ""
        errors = collections.Counter(line.get("error") for line in one.connections())
        assert errors == {
            "The name has no address that is public or in allow_addresses": len(HOSTILE),
            "The name is not in allow_names": 2,
            "The name has no address": 1,
            "The client asks for no host name": 2,
        }
        assert not {name for name, _ in names.asked if not name.endswith(".app.test")}


def test_a_name_that_leads_back_to_usher_is_refused(usher, names, place):
    names.zone["me.app.test"] = (["127.0.0.1"], 600)
    one = usher(CONFIG.replace("{to}", "{port}"), more=LOOPBACK, timeout=20, age=300, wrapper=names.wrapper(place))
    assert tls(one, "me.app.test") == ""
    wait_until(lambda: "Leads back to usher itself" in {line.get("error") for line in one.connections()}, 60, "the reason in the log")


def test_who_asks_for_many_names_delays_nobody_else(start, names):
    """Of one source so many a second are looked up, whoever waits for a name server keeps nobody, and the others are served."""
    with server("127.0.0.21") as backend:
        names.zone["a.app.test"] = (["127.0.0.21"], 600)
        one = start(backend.port, timeout=3)
        assert tls(one, "a.app.test") == "127.0.0.21"
        names.delay = 0.2
        names.asked.clear()
        begin = time.monotonic()
        flood = [connect(("127.0.0.1", one.port), slow(60), ("127.0.0.7", 0)) for _ in range(200)]
        for number, client in enumerate(flood):
            client.sendall(client_hello(f"n{number}.app.test"))
        assert tls(one, "a.app.test") == "127.0.0.21"
        names.zone["c.app.test"] = (["127.0.0.21"], 600)
        wait_until(lambda: tls(one, "c.app.test", ("127.0.0.8", 0)) == "127.0.0.21", 60, "another source to be served")
        for client in flood:
            client.close()
        asked = {name for name, kind in names.asked if kind == A and name.startswith("n")}
        assert len(asked) <= 64 + 20 * (time.monotonic() - begin) + 1
        assert len(asked) < 200 or time.monotonic() - begin > 6
