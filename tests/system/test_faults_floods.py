"""Clients that come in great numbers and say nothing: they lose to each other, and never shut out who speaks."""

import json
import os
import re
import signal
import time

import pytest
from harness import connect, read_exactly, run_usher, wait_until
from proxy_header import v2

# Somebody wants those who are silent: else the kernel would keep them to itself at first.
CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  decide_timeout = 60.0;
control = "{dir}/control";  {limits}
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = "{backend}"; } );  on_silence = "go";
"""


@pytest.fixture
def flooded(usher, echo):
    def start(limits, workers=1, config=CONFIG):
        return usher(config, limits=limits, workers=workers, backend=echo.tcp4)

    return start


def silent(one, count, source="127.0.0.1", first=b""):
    clients = [connect(("127.0.0.1", one.port), source=(source, 0)) for _ in range(count)]
    for client in clients:
        if first:
            client.sendall(first)
    return clients


def status(one):
    return json.loads(run_usher("status", "-s", one.dir / "control", "--json").stdout)


def are_reset(clients):
    """Which of them have been reset; nobody else may have got anything."""
    found = []
    for client in clients:
        client.setblocking(False)
        try:
            assert client.recv(1) == b"?", "neither waits nor is reset"
        except ConnectionResetError:
            found.append(client)
        except BlockingIOError:
            pass
    return found


def ask(one, source="127.0.0.1"):
    with connect(("127.0.0.1", one.port), source=(source, 0)) as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"


def shed_all(one, count, **limits):
    """Waits until so many have been shed, under these limits' names."""
    wait_until(lambda: sum(status(one)["shed"].values()) >= count, 5, f"{count} to be shed: {status(one)}")
    now = status(one)
    assert {name: n for name, n in now["shed"].items() if n} == limits
    assert now["ended"]["shed"] == count
    return now


def test_of_one_source_the_oldest_are_shed(flooded):
    one = flooded("max_undecided_per_source = 20;")
    other = silent(one, 3, "127.0.0.9")
    clients = silent(one, 50, "127.0.0.2")
    now = shed_all(one, 30, max_undecided_per_source=30)
    assert now["undecided"] == 23 and now["connections"] == 23
    assert are_reset(clients) == clients[:30] and not are_reset(other)
    ask(one, "127.0.0.2")
    lines = one.wait_connections(31)
    assert sum(line["end"] == "shed" and line["rule"] == "max_undecided_per_source" for line in lines) == 31


@pytest.mark.parametrize("workers", [2, 4])
def test_it_holds_over_all_workers(flooded, workers):
    one = flooded("max_undecided_per_source = 20;", workers)
    clients = silent(one, 60)
    wait_until(lambda: status(one)["listeners"][0]["accepted"] == 60, 5)
    # Workers that see the same one too many at the same time shed one each.
    assert 20 - workers < status(one)["undecided"] < 40

    def one_more():
        clients.append(silent(one, 1)[0])
        return status(one)["undecided"] <= 20

    wait_until(one_more, 10, "each worker to have accepted one more")
    assert len(are_reset(clients)) >= 60 - 20


def test_a_flood_from_one_source_leaves_other_sources_alone(flooded):
    """In all there are too many: the worst source loses, though others have waited longer."""
    one = flooded("max_undecided = 60;  max_undecided_per_source = 0;")
    patient = silent(one, 5, "127.0.0.9")
    flood = silent(one, 100, "127.0.0.2")
    now = shed_all(one, 45, max_undecided=45)
    assert now["undecided"] == 60
    assert not are_reset(patient) and are_reset(flood) == flood[:45]


def test_a_flood_from_many_sources_sheds_who_has_waited_longest(flooded):
    one = flooded("max_undecided = 60;")
    clients = [client for n in range(100) for client in silent(one, 1, f"127.0.1.{n + 1}")]
    shed_all(one, 40, max_undecided=40)
    assert are_reset(clients) == clients[:40]


def test_who_speaks_is_served_while_others_flood(flooded):
    """A byte at a time that never decides, from many sources, several times as many as there is room for."""
    one = flooded("max_undecided = 50;  max_undecided_per_source = 10;", 2)
    clients = []
    for number in range(300):
        clients += silent(one, 1, f"127.0.2.{number % 40 + 1}", b"g")
        if number % 10 == 0:
            ask(one, "127.0.2.1")
    assert len(one.wait_connections(30, end="finished")) == 30
    assert all(line["service"] == "go" for line in one.connections(end="finished"))


def test_where_nobody_wants_the_silent_they_reach_usher_late_and_limited(flooded):
    """For a second they are the kernel's; then they are undecided, and shed as such."""
    one = flooded("max_undecided = 50;", config=CONFIG.replace('on_silence = "go";', ""))
    begin = time.monotonic()
    (first,) = silent(one, 1, "127.0.3.250")
    wait_until(lambda: status(one)["listeners"][0]["accepted"], 5, "the kernel to give it away")
    assert time.monotonic() - begin > 0.9
    first.close()
    one.wait_connections(1)
    clients = [client for n in range(600) for client in silent(one, 1, f"127.0.3.{n % 200 + 1}")]
    ask(one, "127.0.3.1")
    shed_all(one, 550, max_undecided=550)
    assert len(are_reset(clients)) == 550
    ask(one, "127.0.3.1")


def test_who_has_said_everything_is_looked_at_before_it_is_shed(flooded):
    """Accepted all at once, with room for two: all have spoken, and nobody is undecided."""
    one = flooded("max_undecided = 2;  max_undecided_per_source = 1;")
    (worker,) = one.workers
    os.kill(worker, signal.SIGSTOP)
    clients = silent(one, 50, first=b"go")
    os.kill(worker, signal.SIGCONT)
    for client in clients:
        assert read_exactly(client, 2) == b"go"
        client.close()
    assert not sum(status(one)["shed"].values())


def test_who_is_decided_is_not_shed(flooded):
    one = flooded("max_undecided = 5;")
    with connect(one.port) as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"
        waiting = silent(one, 40)
        shed_all(one, 35, max_undecided=35)
        assert are_reset(waiting) == waiting[:35]
        client.sendall(b"still there")
        assert read_exactly(client, 11) == b"still there"


def test_it_is_told_once_a_second_with_the_limit_and_who_came(flooded):
    one = flooded("max_undecided = 5;")
    kept = silent(one, 400, "127.0.0.7")
    shed_all(one, 395, max_undecided=395)
    lines = one.wait_log("max_undecided reached")
    assert len(lines) <= 3 and lines[0].level == "warning"
    assert re.search(r"max_undecided reached \(5\): 1 undecided connections shed, the last when 127\.0\.0\.7:\d+ connected",
                     lines[0].text)
    assert len(kept) == 400


def test_who_waits_makes_room_where_max_connections_is_reached(flooded):
    one = flooded("max_connections = 20;")
    kept = silent(one, 30)
    wait_until(lambda: status(one)["shed"]["max_connections"] == 10, 5)
    for _ in range(10):
        ask(one)
    reset = are_reset(kept)  # a place is free only once usher has seen the end of who had it
    assert reset == kept[: len(reset)] and 11 <= len(reset) <= 20
    one.wait_log("an undecided connection made room")


PROXIED = """
listen = ( { address = "127.0.0.1:{port}"; accept_proxy = "127.0.0.0/8"; } );  workers = {workers};
control = "{dir}/control";  decide_timeout = 60.0;  {limits}
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = "{backend}"; } );  on_silence = "go";
"""


def test_who_is_not_announced_yet_counts_in_all_and_then_for_the_client(flooded):
    one = flooded("max_undecided = 30;  max_undecided_per_source = 10;", config=PROXIED)
    waiting = silent(one, 40)
    shed_all(one, 10, max_undecided=10)
    assert are_reset(waiting) == waiting[:10], "no limit for the proxy, but that in all"
    for client in waiting:
        client.close()
    wait_until(lambda: status(one)["undecided"] == 0, 5)
    named = silent(one, 15, first=v2(("192.0.2.1", 7), ("192.0.2.99", 443)))
    others = silent(one, 5, first=v2(("192.0.2.2", 7), ("192.0.2.99", 443)))
    wait_until(lambda: status(one)["shed"]["max_undecided_per_source"] == 5, 5, str(status(one)))
    assert len(are_reset(named)) == 5 and not are_reset(others)


def test_the_room_that_there_is_is_told_at_the_start(usher, echo):
    one = usher(CONFIG, limits="", workers=2, backend=echo.tcp4,
                wrapper=lambda command: ["prlimit", "--nofile=1000:1000", *command])
    # 32 + 1 listener + 128 for pipes are reserved, the rest in twos.
    (line,) = one.wait_log("room: ")
    assert line.event == ("room: 1000 descriptors a process, 161 of a worker's own: 419 connections a worker, "
                          "838 in all, of these 419 undecided, 512 of one source")
    room = status(one)["room"]
    assert room == {"worker": 419, "in_all": 838, "undecided": 419, "undecided_per_source": 512}


def test_there_is_room_for_as_many_as_is_said(usher, echo):
    """With few descriptors: as many connections as said, each relayed, with others past it refused and counted."""
    one = usher(CONFIG, limits="", workers=1, backend=echo.tcp4,
                wrapper=lambda command: ["prlimit", "--nofile=400:400", *command])
    room = status(one)["room"]["worker"]
    assert room == (400 - 161) // 2
    clients = []
    for _ in range(room):
        clients += silent(one, 1, first=b"go")
        assert read_exactly(clients[-1], 2) == b"go"
    for client in clients:
        client.sendall(b"x" * 300000)  # those that move much want pipes
    for client in clients:
        assert read_exactly(client, 300000) == b"x" * 300000
    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            silent(one, 1)[0].recv(1)
    wait_until(lambda: status(one)["shed"]["descriptors"] == 5, 3)
    assert "out of descriptors" not in one.output()
