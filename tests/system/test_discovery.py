"""Backends found by SRV records: their ports, priorities and weights, and what becomes of them when answers change or fail."""

import contextlib

import pytest
from harness import slow, wait_until
from name_server import SERVFAIL, SRV, WHY_NOT, NameServer
from peers import Named

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  connect_timeout = {patience};  name_max_age = {age};  control = "{dir}/control";
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = {connect}; ports = "1024-65535"; balance = "{balance}"; } );
"""
APP = "_go._tcp.app.test"


@pytest.fixture
def names():
    one = NameServer()
    one.zone["here.test"] = (["127.0.0.1"], 600)
    yield one
    one.close()


@pytest.fixture
def found(usher, names, place):
    def start(connect=f'"srv:{APP}"', age=300, balance="roundrobin", patience=20):
        return usher(CONFIG, connect=connect, age=age, balance=balance, patience=patience, wrapper=names.wrapper(place))

    return start


@contextlib.contextmanager
def servers(*letters):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Named(letter))) for letter in letters]


def ask(one):
    with one.connect() as client:
        client.settimeout(slow(60))
        client.sendall(b"go")
        try:
            return client.recv(1).decode()
        except ConnectionResetError:
            return ""


def answers(one, n):
    return "".join(sorted(ask(one) for _ in range(n)))


def backends(one):
    return [at for at in one.ask(b"backends") if "address" in at]


def test_ports_weights_and_priorities_are_those_of_the_records(found, names):
    """Who is of a lower priority serves; another when nobody of those can be had."""
    with servers("a", "b", "c") as (a, b, c):
        names.services[APP] = ([(10, 3, a.port, "here.test"), (10, 1, b.port, "here.test"), (20, 1, c.port, "here.test")], 600)
        one = found()
        wait_until(lambda: ask(one) != "", 60, "to be served")
        assert answers(one, 16) in ("a" * 12 + "b" * 4, "a" * 11 + "b" * 5, "a" * 13 + "b" * 3)
        assert [at.get("backup", False) for at in backends(one)] == [False, False, True]
        a.close()
        b.close()
        assert answers(one, 4) == "cccc"


@pytest.mark.parametrize("how", ["additional", "asked", "truncated"])
def test_targets_are_found_however_the_name_server_answers(found, names, how):
    """With their addresses, as Consul and CoreDNS answer; without, as dnsmasq may; many of them, which takes TCP."""
    with servers("a") as (a,):
        names.additional = how != "asked"
        names.services[APP] = ([(1, 1, a.port, "here.test")] +
                               [(2, 1, 40000 + i, "here.test") for i in range(50 if how == "truncated" else 0)], 600)
        if how == "truncated":
            names.mode[SRV] = "truncated"
        one = found(balance="first")
        wait_until(lambda: ask(one) == "a", 60, "to be served")
        assert (names.times_asked("here.test") > 0) == (how == "asked")
        assert (names.streams > 0) == (how == "truncated")


def test_answers_that_change_move_new_clients_and_leave_the_others(found, names):
    with servers("a", "b") as (a, b):
        names.services[APP] = ([(0, 0, a.port, "here.test")], 1)
        one = found(age=1)
        wait_until(lambda: ask(one) == "a", 60, "to be served")
        with one.connect() as old:
            old.settimeout(slow(60))
            old.sendall(b"go")
            assert old.recv(1) == b"a"
            names.services[APP] = ([(0, 0, b.port, "here.test")], 1)
            wait_until(lambda: ask(one) == "b", 60, "the new one")
            names.mode[None] = SERVFAIL  # from here on nobody knows anything
            wait_until(lambda: "resolve-failed" in one.output(), 60, "a failure in the log")
            assert answers(one, 4) == "bbbb"
            names.mode.clear()
            names.services[APP] = ([], 1)  # neither is an empty answer news
            asked = names.times_asked(APP, SRV)
            wait_until(lambda: names.times_asked(APP, SRV) > asked + 1, 60, "it to be asked for")
            assert answers(one, 4) == "bbbb"
            old.sendall(b"still here")
            assert [at["address"] for at in backends(one)] == [f"127.0.0.1:{b.port}"]


def test_a_service_that_is_withdrawn_gets_no_clients_at_once(found, names):
    """ "." says that there is none (RFC 2782): that is an answer, and clients do not wait for another."""
    with servers("a") as (a,):
        names.services[APP] = ([(0, 0, a.port, "here.test")], 1)
        one = found(age=1, patience=3600)  # who waits for that waits longer than ask() does
        wait_until(lambda: ask(one) == "a", 60, "to be served")
        names.services[APP] = ([(0, 0, 0, ".")], 600)
        wait_until(lambda: ask(one) == "", 60, "nobody to serve")
        assert "name=srv:" + APP in one.output()


def test_a_port_that_the_service_does_not_have_gets_no_clients(found, names):
    with servers("a") as (a,):
        names.services[APP] = ([(0, 0, 22, "here.test"), (1, 0, a.port, "here.test")], 600)
        one = found()
        wait_until(lambda: ask(one) == "a", 60, "to be served")
        assert "1 of its records have a port that `ports' does not have" in one.output()
        assert [at["address"] for at in backends(one)] == [f"127.0.0.1:{a.port}"]


def test_records_beside_an_address_and_backups(found, names):
    with servers("a", "b") as (a, b):
        names.services[APP] = ([(0, 0, a.port, "here.test")], 600)
        one = found(f'( {{ address = "srv:{APP}"; backup = true; }}, "127.0.0.1:{b.port}" )')
        wait_until(lambda: APP in one.output(), 60, "the answer")
        assert answers(one, 4) == "bbbb"
        b.close()
        assert answers(one, 4) == "aaaa"
