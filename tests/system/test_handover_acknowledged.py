"""A handover is over when the receiver says so: what it was sent and had not taken when it died, hung or misbehaved is
sent again, to the next one or to the fallback, and nobody is served twice."""

import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time

import pytest
from harness import BUILD, IS_ROOT, SOURCE, end_process, read_exactly, wait_for_server, wait_until
from receivers import Receiver, SilentReceiver, example

HANDOVER = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  connect_timeout = {connect_timeout};  {top}
services = ( { name = "web"; match = "http"; handover = "{path}"; {more} } {others} );
"""
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
GREETING = re.compile(rb"connection (\d+) of service web\n")
PLAIN = '{{ name = "plain"; connect = "{}"; }}'


@pytest.fixture
def handing(usher, place):
    def start(workers=2, more="", others="", connect_timeout=5.0, top="", **options):
        return usher(HANDOVER, path=place / "web.sock", workers=workers, connect_timeout=connect_timeout,
                     more=more, others=", " + others if others else "", top=top, **options)

    return start


@pytest.fixture(params=["receiver", "receiver.py"])
def program(request, place):
    """program() starts one of the example receivers; the one before must be dead."""
    path = place / "web.sock"
    command = [BUILD / "examples/receiver", path]
    if request.param == "receiver.py":
        command = ["/usr/bin/python3", SOURCE / "examples/receiver.py", path]
    elif not command[0].exists():
        pytest.skip("the examples are not built")
    running = []

    def start():
        running.append(subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, umask=0))
        wait_for_server(path)
        path.chmod(0o777)
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        end_process(process)


def kill(process):
    process.kill()
    process.wait()


def hang(process):
    def stopped():
        tasks = pathlib.Path(f"/proc/{process.pid}/task").iterdir()
        return all(" T " in (task / "stat").read_text() for task in tasks)

    process.send_signal(signal.SIGSTOP)
    wait_until(stopped, 5, "every thread of it to stop")


def ask(one):
    client = one.connect(timeout=30)
    client.sendall(REQUEST)
    return client


def answer(client):
    """All that came; receivers that close over the unread request end it by a reset."""
    pieces = []
    with client:
        try:
            while piece := client.recv(65536):
                pieces.append(piece)
        except ConnectionResetError:
            pass
    return b"".join(pieces)


def greeted(clients):
    """The ids by which the clients were greeted: each once, and nothing else."""
    matches = [GREETING.fullmatch(answer(client)) for client in clients]
    assert all(matches), f"{matches.count(None)} of {len(matches)} were not served, or more than once"
    ids = [int(match[1]) for match in matches]
    assert len(set(ids)) == len(ids)
    return ids


def settle():
    """Time for connections to be decided and sent on: their receiver does not show it."""
    time.sleep(0.5)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_what_a_killed_receiver_held_unread_is_served_by_the_next(handing, program, known):
    """200 clients: 150 come while it hangs, 50 while it is dead."""
    first = program()
    one = handing()
    before = greeted([ask(one) for _ in range(10)]) if known else []
    hang(first)
    clients = [ask(one) for _ in range(150)]
    settle()
    assert len(one.connections()) == len(before), "what nobody took is not handed over"
    kill(first)
    clients += [ask(one) for _ in range(50)]
    settle()
    program()
    ids = greeted(clients)
    lines = one.wait_connections(200 + len(before), end="handed-over")
    assert sorted(int(line["id"]) for line in lines) == sorted(ids + before)
    assert len(one.connections()) == len(lines)
    again = [line for line in lines if "sent" in line]
    assert 0 < len(again) <= 150 and {line["sent"] for line in again} == {"2"}


def test_receivers_killed_at_any_moment_lose_only_what_they_had_taken(handing, program):
    """Whom a receiver had taken and not answered when it was killed, nobody can answer: at most one a thread of it."""
    one = handing(workers=2, connect_timeout=30)
    process = program()
    chance = random.Random(1)
    clients, kills = [], 0
    for number in range(200):
        clients.append(ask(one))
        time.sleep(chance.random() * 0.01)
        if number % 25 == 24:
            kill(process)
            kills += 1
            process = program()
    answers = [answer(client) for client in clients]
    served = [GREETING.fullmatch(text) for text in answers if text]
    assert all(served), [text for text in answers if text and not GREETING.fullmatch(text)]
    ids = [int(match[1]) for match in served]
    assert len(set(ids)) == len(ids)
    assert len(ids) >= 200 - 2 * kills
    lines = one.wait_connections(200, end="handed-over")
    assert {int(line["id"]) for line in lines} >= set(ids)


def test_a_receiver_that_hangs_loses_to_the_fallback_and_serves_nobody_twice(handing, program, echo):
    process = program()
    one = handing(connect_timeout=4, workers=1, more='fallback = "plain";', others=PLAIN.format(echo.tcp4))
    greeted([ask(one)])
    hang(process)
    clients = [ask(one) for _ in range(20)]
    for client in clients:
        assert read_exactly(client, len(REQUEST)) == REQUEST
    process.send_signal(signal.SIGCONT)
    greeted([ask(one) for _ in range(10)])
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        assert answer(client) == b"", "the receiver wrote to a client that was taken from it"
    assert len(one.wait_connections(20, service="plain", end="finished")) == 20
    assert len(one.wait_connections(11, service="web", end="handed-over")) == 11


def test_a_receiver_that_hangs_holds_no_client_past_the_timeout(handing, program):
    process = program()
    one = handing(connect_timeout=4, workers=1)
    greeted([ask(one)])
    hang(process)
    clients = [ask(one) for _ in range(20)]
    for client in clients:
        assert answer(client) == b""
    failed = one.wait_connections(20, end="delivery-failed")
    assert {line["error"] for line in failed} == {"Connection timed out"}
    process.send_signal(signal.SIGCONT)
    greeted([ask(one) for _ in range(10)])
    assert len(one.wait_connections(11, end="handed-over")) == 11


class Untaken(example.Channel):
    """Reads, and does not acknowledge until it is told to."""

    def acknowledge(self):
        self.taken += 1


class UntakenReceiver(Receiver):
    kind = Untaken


def acknowledge(sock, count):
    sock.sendall(b"USHR\x01\x02\x00\x10" + count.to_bytes(8, "big"))


@pytest.fixture
def receiver(place):
    running = []

    def start(kind):
        running.append(kind(place / "web.sock"))
        return running[-1]

    yield start
    for one in running:
        one.close()


def test_one_that_reads_and_never_acknowledges_costs_the_timeout(handing, receiver, echo):
    taking = receiver(UntakenReceiver)
    one = handing(connect_timeout=0.5, workers=1, more='fallback = "plain";', others=PLAIN.format(echo.tcp4))
    fds = one.fds()
    clients = [ask(one) for _ in range(300)]
    for client in clients:
        assert read_exactly(client, len(REQUEST)) == REQUEST
        client.close()
    one.wait_connections(300, service="plain")
    while not taking.taken.empty():
        taken = taking.taken.get()[0]
        if taken:
            taken.close()
    if IS_ROOT:
        # One channel at the most is kept.
        wait_until(lambda: all(one.fds()[pid] <= count + 1 for pid, count in fds.items()), 5, "descriptors")


def test_places_are_counted_until_it_is_acknowledged(handing, receiver):
    taking = receiver(UntakenReceiver)
    one = handing(workers=1, connect_timeout=30, more="max_connections = 2;")
    clients = [ask(one) for _ in range(2)]
    for _ in clients:
        taking.next()[0].close()
    assert answer(ask(one)) == b""
    assert one.wait_connections(1)[0].items() >= {"end": "refused", "rule": "max_connections"}.items()
    acknowledge(taking.channels[0], 1)
    one.wait_connections(1, end="handed-over")
    with ask(one):
        taking.next()[0].close()
        acknowledge(taking.channels[0], 3)
        one.wait_connections(3, end="handed-over")
    for client in clients:
        client.close()


@pytest.mark.parametrize("rubbish", [b"thank you", b"USHR\x01\x02\x00\x10" + bytes(8), b"USHR\x01\x02\x00\x10" + b"\xff" * 8])
def test_one_that_breaks_the_format_keeps_what_it_may_have(handing, receiver, echo, rubbish):
    taking = receiver(UntakenReceiver)
    one = handing(workers=1, more='fallback = "plain";', others=PLAIN.format(echo.tcp4))
    with ask(one) as client:
        taken, _ = taking.next()
        taking.channels[0].sendall(rubbish)
        (line,) = one.wait_connections(1)
        assert line.items() >= {"service": "web", "end": "delivery-failed", "error": "Protocol error"}.items()
        taken.sendall(b"still served")
        taken.close()
        assert answer(client) == b"still served"
    with ask(one):  # on a channel of its own
        taking.next()[0].close()
        acknowledge(taking.channels[1], 1)
        one.wait_connections(1, end="handed-over")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_a_generation_waits_for_the_acknowledgement(handing, receiver, number):
    taking = receiver(UntakenReceiver)
    one = handing(workers=1, connect_timeout=30)
    with ask(one) as client:
        taken, _ = taking.next()
        old = one.workers
        if number == signal.SIGHUP:
            one.reload()
        else:
            one.send_signal(number)
        settle()
        assert set(old) <= set(one.workers) and not one.connections()
        acknowledge(taking.channels[0], 1)
        one.wait_connections(1, end="handed-over")
        wait_until(lambda: not set(old) & set(one.workers), 5, "the old worker's end")
        taken.sendall(b"served")
        taken.close()
        assert answer(client) == b"served"


def test_an_end_at_once_takes_back_what_was_not_acknowledged(handing, receiver):
    taking = receiver(UntakenReceiver)
    one = handing(workers=1, connect_timeout=30)
    with ask(one) as client:
        taken, _ = taking.next()
        one.stop(signal.SIGINT)
        assert one.connections()[0]["end"] == "shutdown"
        with pytest.raises(BrokenPipeError):
            acknowledge(taking.channels[0], 1)
        taken.close()  # which is what it has to do
        assert answer(client) == b""


def test_what_a_silent_receiver_was_sent_is_its_own(handing, receiver):
    """It says nothing and never reads: nobody may be asked twice, so it keeps what it has, as it always did."""
    silent = receiver(SilentReceiver)
    one = handing(workers=1, connect_timeout=0.5)
    with ask(one) as client:
        taken, _ = silent.next()
        one.wait_connections(1, end="handed-over")
        taken.sendall(b"served")
        taken.close()
        assert answer(client) == b"served"


def test_one_that_is_never_accepted_keeps_what_it_was_sent(handing, place):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "web.sock"))
    os.chmod(place / "web.sock", 0o777)
    listener.listen()
    one = handing(workers=1, connect_timeout=0.5)
    with ask(one) as client:
        (line,) = one.wait_connections(1, timeout=5)
        assert line["end"] == "handed-over" and float(line["total_ms"]) > 400
        channel = example.Channel(listener.accept()[0])
        taken, told = channel.receive()
        assert told["service"] == "web"
        taken.setblocking(True)
        taken.sendall(b"late, but served")
        taken.close()
        assert answer(client) == b"late, but served"
        channel.sock.close()
    listener.close()


def test_a_program_that_stops_in_order_serves_what_it_was_sent(handing, place):
    """usher_stop(): the old one drains and acknowledges while the new one listens already."""
    path = place / "web.sock"
    old = socket.socket(socket.AF_UNIX)
    old.bind(str(path))
    os.chmod(path, 0o777)
    old.listen()
    one = handing(workers=1, connect_timeout=20)
    clients = [ask(one) for _ in range(20)]
    channel = example.Channel(old.accept()[0])
    settle()
    path.unlink()
    new = Receiver(path)
    channel.sock.shutdown(socket.SHUT_RD)
    old.close()
    clients.append(ask(one))
    taken, _ = new.next()
    taken.sendall(b"new")
    taken.close()
    assert answer(clients.pop()) == b"new"
    for client in clients:
        taken, _ = channel.receive()
        taken.setblocking(True)
        taken.sendall(b"old")
        taken.close()
        assert answer(client) == b"old"
    one.wait_connections(21, end="handed-over")
    channel.sock.close()
    new.close()
