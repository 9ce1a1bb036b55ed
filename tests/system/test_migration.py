"""A reload gives live connections to the new workers: nobody notices, and the old workers are gone at once."""

import pathlib
import socket
import subprocess
import time

import proxy_header
import pytest
from harness import read_all, read_exactly, wait_until
from migrations import SERVICES, WORDS, load_and_nobody_notices, move
from peers import RELAY, Backend, Receiver, Sender, cpu_of, exchange, fill, how_it_ends, join_all, pair, reset


@pytest.fixture
def quiet():
    with Backend() as one:
        yield one


@pytest.fixture
def served(usher, backend, quiet):
    def start(**options):
        return usher(SERVICES, **{**WORDS, "backend": backend.port, "quiet": quiet.port, **options})

    return start


# ---- one connection


def test_bytes_go_on_both_ways_and_the_connection_keeps_its_name(served, backend):
    one = served()
    client, server = pair(one, backend)
    (before,) = one.ask(b"sessions")
    for _ in range(3):
        move(one)
    (after,) = one.ask(b"sessions")
    same = ("id", "client", "listener", "service", "protocol", "phase", "bytes_up")
    assert [after[key] for key in same] == [before[key] for key in same]
    assert after["age_s"] > before["age_s"] and after["worker"] in one.workers
    exchange(client, server, 3_000_000, 3_000_000)
    line = one.wait_connections(1)[0]
    assert (line["id"], line["end"], line["service"], line["delivery"]) == (str(before["id"]), "finished", "go", "connect")
    assert line["to"] == f"127.0.0.1:{backend.port}"
    assert (int(line["bytes_up"]), int(line["bytes_down"])) == (3_000_002, 3_000_000)
    assert len(one.connections()) == 1


def test_a_client_in_the_middle_of_its_first_bytes_is_decided_by_the_new_policy(served, backend, quiet):
    one = served()
    client = one.connect()
    client.sendall(b"g")
    time.sleep(0.1)
    move(one, SERVICES.replace('"127.0.0.1:{backend}"', '"127.0.0.1:{quiet}"'))
    client.sendall(b"o")
    server = quiet.accept()
    assert read_exactly(server, 2) == b"go"
    exchange(client, server, 1000, 1000)
    assert one.wait_connections(1)[0]["end"] == "finished"


def test_a_client_whose_listener_is_gone_is_decided_where_it_is(served, backend):
    one = served()
    client = one.connect()
    client.sendall(b"g")
    time.sleep(0.1)
    (old,) = one.workers
    one.reload(SERVICES.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port_b}"'))
    time.sleep(0.3)
    assert old in one.workers
    client.sendall(b"o")
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"
    wait_until(lambda: old not in one.workers, 5, "the decided connection to move")
    exchange(client, server, 1000, 1000)


@pytest.mark.parametrize("closer", ["client", "server"])
def test_a_half_closed_connection_stays_half_closed(served, backend, closer):
    one = served()
    client, server = pair(one, backend)
    first, second = (client, server) if closer == "client" else (server, client)
    first.sendall(b"last words")
    first.shutdown(socket.SHUT_WR)
    assert read_all(second) == b"last words"
    for _ in range(2):
        move(one)
    second.sendall(b"still here")
    assert read_exactly(first, 10) == b"still here"
    second.close()
    assert read_all(first) == b""
    assert one.wait_connections(1)[0]["end"] == "finished"


@pytest.mark.parametrize("resetter", ["client", "server"])
def test_a_reset_is_a_reset_after_the_move(served, backend, resetter):
    one = served()
    client, server = pair(one, backend)
    move(one)
    first, second = (client, server) if resetter == "client" else (server, client)
    reset(first)
    assert how_it_ends(second) == "reset"
    assert one.wait_connections(1)[0]["end"] == resetter + "-reset"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_what_a_slow_reader_has_not_taken_arrives_once_and_whole(served, backend, direction):
    """Kept back in a buffer or in a pipe: both move."""
    one = served()
    client, server = pair(one, backend, buffer=4096)
    source, sink = (client, server) if direction == "up" else (server, client)
    sender = Sender(source, 60_000_000, 5, largest=1 << 20)
    for _ in range(4):
        time.sleep(0.2)
        move(one)
    got = Receiver(sink, 6)
    time.sleep(0.1)
    for _ in range(3):
        move(one)
    join_all(sender, got)
    assert (got.size, got.digest) == (60_000_000, sender.digest)


def test_both_readers_stand_still_for_several_reloads(served, backend):
    one = served()
    client, server = pair(one, backend, buffer=4096)
    up, down = fill(client), fill(server)
    for _ in range(3):
        move(one)
    client.shutdown(socket.SHUT_WR)
    server.shutdown(socket.SHUT_WR)
    assert len(read_all(server)) == up
    assert len(read_all(client)) == down
    line = one.wait_connections(1)[0]
    assert (line["end"], int(line["bytes_up"]), int(line["bytes_down"])) == ("finished", up + 2, down)


def test_no_time_is_spent_on_connections_that_moved_and_do_nothing(served, backend):
    one = served()
    pairs = [pair(one, backend) for _ in range(20)]
    fill(pairs[0][0], 0.3)
    move(one)
    time.sleep(0.3)
    before = cpu_of(one.workers)
    time.sleep(1)
    assert cpu_of(one.workers) - before < 0.1


# ---- time


def test_silence_is_measured_from_when_the_client_came(served, quiet):
    one = served(decide=4)
    began = time.monotonic()
    client = one.connect()
    time.sleep(3)
    move(one)
    later = one.connect()
    server = quiet.accept()
    first_ended = time.monotonic()
    assert first_ended - began > 3.95
    server.sendall(b"hello")
    assert read_exactly(client, 5) == b"hello"
    quiet.accept().close()
    assert time.monotonic() - first_ended > 1, "the first had no new time"
    later.close()


def test_idleness_is_measured_from_the_last_byte(served, backend):
    one = served(idle=6)
    began = time.monotonic()
    client, server = pair(one, backend)
    for _ in range(2):
        time.sleep(2)
        move(one)
    later, _ = pair(one, backend)
    assert read_all(client) == b""
    assert time.monotonic() - began > 5.9
    later.setblocking(False)
    with pytest.raises(BlockingIOError):
        later.recv(1)
    assert one.wait_connections(1)[0]["end"] == "idle"


# ---- what else goes along


def test_counters_go_on(served, backend):
    one = served()
    pairs = [pair(one, backend) for _ in range(5)]
    for _ in range(2):
        move(one)
    (status,) = one.ask(b"status")
    (listener,) = status["listeners"]
    service = next(s for s in status["services"] if s["name"] == "go")
    assert (listener["open"], listener["accepted"]) == (5, 5)
    assert (service["open"], service["total"]) == (5, 5)
    for client, server in pairs:
        exchange(client, server, 100, 200)
    one.wait_connections(5)
    (status,) = one.ask(b"status")
    service = next(s for s in status["services"] if s["name"] == "go")
    assert (service["open"], service["total"]) == (0, 5)
    assert (service["bytes_up"], service["bytes_down"]) == (5 * 102, 5 * 200)


@pytest.mark.parametrize("limit", ["per_source = 2;", "max_connections = 2;"])
def test_limits_count_who_moved(served, backend, limit):
    one = served(access=limit)
    pairs = [pair(one, backend) for _ in range(2)]
    move(one)
    third = one.connect()
    third.sendall(b"go")
    assert how_it_ends(third) == "eof"
    assert one.wait_connections(1)[0]["end"] == "refused"
    pairs[0][0].close()
    pairs[0][1].close()
    one.wait_connections(1, end="finished")
    pair(one, backend)


def test_a_listener_s_limit_counts_who_moved(usher, backend):
    one = usher(RELAY.replace('[ "127.0.0.1:{port}" ]', '( { address = "127.0.0.1:{port}"; max_connections = 2; } )'),
                backend=backend.port)
    for _ in range(2):
        pair(one, backend)
    move(one)
    with one.connect() as third:
        assert how_it_ends(third) in ("eof", "reset")


def test_evidence_stays_with_its_connection(served, backend):
    one = served()
    client, server = pair(one, backend, first=b"go on")
    (session,) = one.ask(b"sessions")
    question = b"evidence %d" % session["id"]
    move(one)
    (live,) = one.ask(question)
    exchange(client, server, 10, 10)
    one.wait_connections(1)
    (ended,) = one.ask(question)
    for answer in (live, ended):
        assert bytes.fromhex(answer["bytes"]) == b"go on" and answer["service"] == "go" and answer["protocol"] == "go"


def test_a_service_that_is_gone_keeps_its_name_in_the_log(served, backend):
    one = served(name="old-name")
    client, server = pair(one, backend)
    one.words["name"] = "new-name"
    move(one)
    assert one.ask(b"sessions")[0]["service"] == "old-name"
    exchange(client, server, 10, 20)
    line = one.wait_connections(1)[0]
    assert (line["service"], line["bytes_down"]) == ("old-name", "20")


def test_the_operator_closes_one_that_moved(served, backend):
    one = served()
    client, server = pair(one, backend)
    move(one)
    (session,) = one.ask(b"sessions")
    assert one.ask(b"close %d" % session["id"]) == [{"done": "closed"}]
    assert how_it_ends(client) == "eof"


def test_half_a_proxy_header_is_read_on(usher, backend):
    one = usher(RELAY.replace('[ "127.0.0.1:{port}" ]',
                              '( { address = "127.0.0.1:{port}"; accept_proxy = [ "127.0.0.0/8" ]; } )'), backend=backend.port)
    header = proxy_header.v1(("192.0.2.7", 1234), ("192.0.2.1", 443)) + b"go"
    client = one.connect()
    client.sendall(header[:20])
    time.sleep(0.1)
    move(one)
    client.sendall(header[20:])
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"
    move(one)
    exchange(client, server, 10, 10)
    line = one.wait_connections(1)[0]
    assert line["client"] == "192.0.2.7:1234" and line["via"].startswith("127.0.0.1:")


@pytest.mark.parametrize("stdio", ["pipe", "pty"])
def test_a_program_goes_on_talking(usher, stdio):
    one = usher("""
        listen = [ "127.0.0.1:{port}" ];
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "cat"; match = "go"; exec = [ "/bin/sh", "-c", "stty -echo 2>/dev/null; echo ready; exec cat" ];
                       stdio = "{stdio}"; } );
        """, stdio=stdio)
    client = one.connect()
    client.sendall(b"go\n")
    end = b"\r\n" if stdio == "pty" else b"\n"
    said = b""
    while not said.endswith(b"ready" + end + b"go" + end):
        said += read_exactly(client, 1)
    (program,) = one.programs()
    for _ in range(2):
        move(one)
    client.sendall(b"more\n")
    assert read_exactly(client, 4 + len(end)) == b"more" + end
    assert list(one.programs()) == [program]
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b""
    assert one.wait_connections(1)[0]["end"] == "finished"


def test_who_is_being_connected_moves_as_soon_as_that_is_done(usher):
    """To a UNIX socket whose queue is full."""
    with Backend("/tmp/usher-slow-%d.sock" % time.monotonic_ns(), 0) as slow_one:
        path = slow_one.listener.getsockname()
        pathlib.Path(path).chmod(0o666)
        fillers = []
        try:
            one = usher(RELAY.replace("127.0.0.1:{backend}", "unix:" + path) + "connect_timeout = 20.0;")
            for _ in range(10):
                filler = socket.socket(socket.AF_UNIX)
                filler.setblocking(False)
                fillers.append(filler)
                try:
                    filler.connect(path)
                except BlockingIOError:
                    break
            client = one.connect()
            client.sendall(b"go")
            time.sleep(0.2)
            (old,) = one.workers
            one.reload()
            time.sleep(0.3)
            assert old in one.workers
            for _ in fillers[:-1]:
                slow_one.accept().close()
            server = slow_one.accept()
            while (got := server.recv(2)) != b"go":
                assert got == b""
                server = slow_one.accept()
            wait_until(lambda: old not in one.workers, 5, "the old worker to end")
            server.sendall(b"served")
            assert read_exactly(client, 6) == b"served"
            client.close()
            server.close()
        finally:
            for filler in fillers:
                filler.close()
            pathlib.Path(path).unlink()


# ---- many


def test_two_thousand_connections_move_within_seconds(served, backend):
    one = served(workers=2)
    pairs = [pair(one, backend) for _ in range(2000)]
    fds = sum(one.fds()[pid] for pid in one.workers)
    move(one)
    wait_until(lambda: abs(sum(one.fds()[pid] for pid in one.workers) - fds) < 20, 5, "as many descriptors as before")
    for client, server in pairs:
        client.sendall(b"x")
    for client, server in pairs:
        assert server.recv(1) == b"x"


def test_reloads_faster_than_connections_can_move(served, backend):
    one = served(workers=2)
    pairs = [pair(one, backend) for _ in range(300)]
    old = set(one.workers)
    for _ in range(6):
        one.reload()
    wait_until(lambda: len(one.workers_but(old)) == 2, 10, "only the last generation")
    for client, server in pairs:
        exchange_few(client, server)


def exchange_few(client, server):
    client.sendall(b"ping")
    assert read_exactly(server, 4) == b"ping"
    server.sendall(b"pong")
    assert read_exactly(client, 4) == b"pong"


def test_more_and_fewer_workers(served, backend):
    one = served(workers=1)
    pairs = [pair(one, backend) for _ in range(60)]
    for workers in (3, 1, 2):
        one.words["workers"] = workers
        move(one, SERVICES)
        assert len(one.workers) == workers
    for client, server in pairs:
        exchange_few(client, server)


def test_a_new_worker_that_is_killed_meanwhile_costs_only_what_it_had(served, backend):
    """Who had not moved yet is served where it is; usher serves on."""
    one = served(workers=1)
    one.may_crash = True
    pairs = [pair(one, backend) for _ in range(500)]
    old = set(one.workers)
    one.reload()
    for pid in set(one.workers) - old:
        subprocess.run(["kill", "-9", str(pid)], check=True)
    time.sleep(0.5)
    lost = 0
    for client, server in pairs:
        try:
            exchange_few(client, server)
        except (OSError, EOFError):
            lost += 1
    lines = one.connections()
    assert lost + sum(1 for _ in lines) <= 2 * 500
    client, server = pair(one, backend)
    exchange(client, server, 1000, 1000)


# ---- under load


def test_ten_reloads_under_load_and_nobody_notices(one_port, sshd):
    load_and_nobody_notices(one_port, sshd)
