"""What is told of backends over the control socket, and what the operator has done to them: drain, down, up, weight."""

import collections
import json
import os
import socket
import subprocess

import pytest
from harness import BINARY, IS_ROOT, dead_port, slow, wait_until
from peers import Named

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  control = "{dir}/control";
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = ( {backends} ); {more} } );
"""


def listed(servers):
    return ", ".join(one if isinstance(one, str) else f'"127.0.0.1:{getattr(one, "port", one)}"' for one in servers)


@pytest.fixture
def serve(usher):
    def start(backends, more='balance = "roundrobin";', config=CONFIG, **options):
        return usher(config, backends=listed(backends), more=more, **options)

    return start


def command(one, *words):
    return subprocess.run([BINARY, words[0], "-s", one.control, *words[1:]], capture_output=True, text=True, timeout=slow(20),
                          check=False)


def order(one, server, *words):
    done = command(one, "backend", "go", server if isinstance(server, str) else f"127.0.0.1:{server.port}", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def backends(one):
    """By their ports."""
    answer = one.ask(b"backends")
    return {int(backend["address"].rpartition(":")[2]): backend for backend in answer}


def ask(one):
    client = one.connect()
    client.sendall(b"go")
    return client, client.recv(100).decode()


def answers(one, n=20):
    got = collections.Counter()
    for _ in range(n):
        client, name = ask(one)
        got[name] += 1
        client.close()
    return got


def test_backends_are_listed_with_state_and_numbers(serve, named_servers):
    (alive,) = named_servers("alive")
    dead = dead_port()
    one = serve([dead, f'{{ address = "127.0.0.1:{alive.port}"; weight = 3; max_connections = 9; }}',
                 '{ address = "127.0.0.1:1"; backup = true; }'])
    held = [ask(one)[0] for _ in range(4)]
    assert {name for _, name in [ask(one)]} == {"alive"}
    told = backends(one)
    assert list(told) == [dead, alive.port, 1]  # as in the file
    down = told[dead]
    assert (down["service"], down["state"], down["why"]) == ("go", "down", "Connection refused")
    assert down["failed"] >= 1 and down["total"] == 0 and down["since"] > 0
    up = told[alive.port]
    assert (up["state"], up["weight"], up["max_connections"], up["failed"]) == ("up", 3, 9, 0)
    assert up["open"] >= 4 and up["total"] == 5 and 0 < up["latency_s"] < 60 and "why" not in up
    assert told[1]["backup"] is True and told[1]["total"] == 0
    wait_until(lambda: backends(one)[alive.port]["open"] == 4, 10, "the one that left to be counted no more")
    assert one.ask(b"status")[0]["backends"] == one.ask(b"backends")
    lines = command(one, "backends").stdout.splitlines()
    assert lines[0].split() == "service backend state since weight open total failed latency".split()
    assert lines[1].split()[:3] == ["go", f"127.0.0.1:{dead}", "down"] and lines[1].endswith("Connection refused")
    assert lines[2].endswith("ms  at most 9") and lines[3].endswith("-  backup")
    assert [json.loads(line)["state"] for line in command(one, "backends", "--json").stdout.splitlines()] == ["down", "up", "up"]
    for client in held:
        client.close()


def test_a_drained_backend_keeps_its_sessions_to_the_end(serve, named_servers):
    a, b = named_servers("a", "b")
    one = serve([a, b])
    clients = [ask(one) for _ in range(4)]
    assert order(one, a, "drain") == "1 backend: drain"
    assert answers(one) == {"b": 20}
    drained = backends(one)[a.port]
    assert (drained["state"], drained["why"], drained["open"]) == ("drain", "operator", 2)
    one.reload(one.config)
    assert answers(one) == {"b": 20}
    for client, name in clients:
        client.sendall(b"more")  # it is echoed to nobody, and the connection is there
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"" and name in "ab"
        client.close()
    wait_until(lambda: backends(one)[a.port]["open"] == 0, 10, "its last session to end")
    assert order(one, a, "up") == "1 backend: up"
    assert answers(one) == {"a": 10, "b": 10}
    one.wait_log(f"service go: backend 127.0.0.1:{a.port} gets no new clients, by the control socket")


@pytest.mark.parametrize("balance", ["first", "least", "random", "roundrobin"])
def test_one_that_is_down_gets_nobody_and_one_with_another_weight_as_many(serve, named_servers, balance):
    a, b, c = named_servers("a", "b", "c")
    one = serve([a, b, c], f'balance = "{balance}";')
    order(one, a, "down")
    assert "a" not in answers(one)
    order(one, b, "weight", "0")
    assert answers(one) == {"c": 20}
    order(one, b, "weight", "3")
    if balance == "roundrobin":
        assert answers(one) == {"b": 15, "c": 5}
    order(one, a, "up")
    order(one, b, "weight", "1")
    assert "weight_of_file" not in backends(one)[b.port]
    if balance == "first":
        assert answers(one) == {"a": 20}


def test_up_ends_a_back_off(serve, named_servers):
    (steady,) = named_servers("steady")
    dead = dead_port()
    one = serve([dead, steady], 'balance = "first";')
    assert answers(one, 3) == {"steady": 3}
    back = Named("back", port=dead)
    order(one, back, "up")
    assert answers(one, 1) == {"back": 1}
    back.close()


def test_all_that_are_out_serve_nobody(serve, named_servers):
    a, b = named_servers("a", "b")
    one = serve([a, b])
    order(one, a, "drain")
    order(one, b, "down")
    client = one.connect()
    client.sendall(b"go")
    try:
        assert client.recv(10) == b""
    except ConnectionResetError:
        pass
    one.wait_connections(end="delivery-failed")


@pytest.mark.parametrize("how", ["reload", "upgrade"])
def test_orders_stay_while_the_file_says_the_same_of_a_backend(serve, named_servers, how):
    a, b, c = named_servers("a", "b", "c")
    one = serve([a, b, c])

    def again():
        one.write()
        done = command(one, how)
        assert done.returncode == 0, done.stderr

    order(one, a, "drain")
    order(one, b, "weight", "0")
    again()
    assert answers(one) == {"c": 20}
    one.words["backends"] = listed([c, b, a])  # in another order: it goes by the address
    again()
    assert answers(one) == {"c": 20}
    one.words["backends"] = listed([b, c, f'{{ address = "127.0.0.1:{a.port}"; weight = 2; }}'])
    again()
    assert answers(one, 30) == {"a": 20, "c": 10}
    one.words["backends"] = listed([a, c])
    again()
    one.words["backends"] = listed([a, b, c])
    again()
    assert answers(one, 30) == {"a": 10, "b": 10, "c": 10}
    one.wait_log("orders for 1 backends are over: the configuration says otherwise of them", count=2)


def test_a_name_stands_for_its_addresses_and_udp_for_datagrams_alone(usher, named_servers):
    (a,) = named_servers("a")
    one = usher("""
        listen = [ "127.0.0.1:{port}", "udp:127.0.0.1:{port}" ];  workers = 1;  control = "{dir}/control";
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; connect = [ "localhost:{a}", "127.0.0.1:1" ]; } );
        """, a=a.port)
    wait_until(lambda: all(backend["address"] for backend in one.ask(b"backends")), 20, "the name to be found")
    n = sum(backend.get("name") == f"localhost:{a.port}" for backend in one.ask(b"backends"))
    assert order(one, f"localhost:{a.port}", "down") == f"{n} backends: down"
    assert {backend["state"] for backend in one.ask(b"backends") if "name" in backend} == {"down"}
    assert order(one, "udp:127.0.0.1:1", "drain") == "1 backend: drain"
    states = {backend["address"]: backend["state"] for backend in one.ask(b"backends") if "name" not in backend}
    assert states == {"127.0.0.1:1": "up", "udp:127.0.0.1:1": "drain"}


WRONG = [
    (("no", "127.0.0.1:1", "up"), "there is no service `no'"),
    (("go", "127.0.0.1:2", "up"), "service `go' has no backend `127.0.0.1:2', expected one that `usher backends' lists"),
    (("no-connect", "127.0.0.1:1", "up"), "service `no-connect' has no backends"),
    (("go", "127.0.0.1:1", "weight", "257"),
     "expected a service, the address of a backend of it, and drain, down, up or weight N with N from 0 to 256"),
    (("go", "127.0.0.1:1", "weigh", "2"), "expected a service, the address of a backend of it, and drain, down, up or weight N"),
    (("go", "127.0.0.1:1", "sideways"), "expected a service, the address of a backend of it, and drain, down, up or weight N"),
]


@pytest.mark.parametrize("words, complaint", WRONG)
def test_what_is_wrong_with_an_order_is_said(serve, words, complaint):
    one = serve([1], config=CONFIG.replace(
        "services = (", 'services = ( { name = "no-connect"; match = "ssh"; reject = "close"; },'))
    done = command(one, "backend", *words)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert [backend["state"] for backend in one.ask(b"backends")] == ["up"]


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to be another user")
def test_other_users_see_backends_and_change_none(serve, named_servers):
    (a,) = named_servers("a")
    one = serve([a], config=CONFIG.replace('control = "{dir}/control"', 'control = { path = "{dir}/control"; mode = 0666; }'))
    os.chmod(one.dir, 0o755)

    def by_another(*words):
        return subprocess.run([BINARY, words[0], "-s", one.control, *words[1:]], capture_output=True, text=True, timeout=slow(20),
                              check=False, user="nobody", group="nogroup", extra_groups=[])

    assert "up" in by_another("backends").stdout
    denied = by_another("backend", "go", f"127.0.0.1:{a.port}", "down")
    assert denied.returncode == 1 and "only root" in denied.stderr
    assert backends(one)[a.port]["state"] == "up"
