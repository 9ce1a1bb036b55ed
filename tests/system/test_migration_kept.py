"""Bytes that a relay keeps back in a buffer cross to the new workers: where there is no pipe for them, where urgent bytes came, on
a program's pipes and on its terminal, both ways, and also what is left of a buffer that was delivered in part."""

import hashlib
import os
import select
import signal
import socket

import pytest
from harness import BUILD, SANITIZER_OPTIONS, read_all, read_exactly, ready, wait_until
from migrations import move
from peers import RELAY, SANITIZED, Backend, Receiver, Sender, join_all, pair

INJECT = BUILD / "tests/faults/faults-inject.so"
MB = 1_000_000

PROGRAM = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; exec = [ "/bin/sh", "-c", "{script}" ]; stdio = "{stdio}"; } );
"""


@pytest.fixture
def faulty(usher, backend):
    """faulty(config, faults): an usher whose workers' system calls fail so."""

    def start(config, faults):
        preload = {"LD_PRELOAD": str(INJECT), "USHER_FAULTS": faults}
        if SANITIZED:
            preload["ASAN_OPTIONS"] = SANITIZER_OPTIONS["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        return usher(config, backend=backend.port, env=preload)

    return start


@pytest.fixture
def without_pipes(faulty):
    return faulty(RELAY, "seed=3 pipe=1")


def stuck(source):
    """Waits until nothing more goes out: all buffers on the way are full."""
    wait_until(lambda: not ready(source, 0.3, select.POLLOUT), 20, "full buffers")


def moves_stuck(one, sender, source, sink, seed=6):
    """Everything stands still; the connection moves, the reader takes a part, it moves again; then all of it arrives."""
    stuck(source)
    for _ in range(2):
        move(one)
    taken = read_exactly(sink, 20_000)
    move(one)
    taken += read_exactly(sink, 5_000)
    move(one)
    got = Receiver(sink, seed, before=taken)
    join_all(sender, got)
    assert (got.size, got.digest) == (sender.size, sender.digest)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_kept_bytes_move_where_there_is_no_pipe(without_pipes, backend, direction):
    client, server = pair(without_pipes, backend, buffer=4096)
    source, sink = (client, server) if direction == "up" else (server, client)
    moves_stuck(without_pipes, Sender(source, 30 * MB, 5, largest=1 << 20), source, sink)


def test_kept_bytes_of_both_directions_move_at_once(without_pipes, backend):
    client, server = pair(without_pipes, backend, buffer=4096)
    up, down = Sender(client, 30 * MB, 1, largest=1 << 20), Sender(server, 30 * MB, 2, largest=1 << 20)
    stuck(client)
    stuck(server)
    for _ in range(3):
        move(without_pipes)
    at_server, at_client = Receiver(server, 3), Receiver(client, 4)
    join_all(up, down, at_server, at_client)
    assert (at_server.size, at_server.digest) == (up.size, up.digest)
    assert (at_client.size, at_client.digest) == (down.size, down.digest)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_urgent_bytes_stay_in_the_stream_over_a_move(relay, backend, direction):
    """The reader has them in line as well, so that all are counted and in order."""
    client, server = pair(relay, backend, buffer=4096)
    source, sink = (client, server) if direction == "up" else (server, client)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    source.send(b"!", socket.MSG_OOB)
    sender = Sender(source, 30 * MB, 8, half_close=False)
    stuck(source)
    move(relay)
    assert read_exactly(sink, 1) == b"!"
    got = Receiver(sink, 9)
    sender.join(60)
    assert sender.error is None
    move(relay)
    source.send(b"?", socket.MSG_OOB)
    move(relay)
    source.sendall(b"the end")
    source.shutdown(socket.SHUT_WR)
    join_all(got)
    assert got.size == 30 * MB + len(b"?the end")


def wait_for(client, end):
    """A terminal may have echoed something before it is told not to."""
    said = b""
    while not said.endswith(end):
        said += read_exactly(client, 1)


@pytest.mark.parametrize("stdio", ["pipe", "pty"])
def test_kept_bytes_move_on_the_way_to_a_program(usher, place, stdio):
    """It reads only once it may, and writes what it read to where the test looks for it."""
    raw = "stty raw -echo; " if stdio == "pty" else ""
    (place / "out").mkdir()
    (place / "out").chmod(0o777)
    size = 30 * MB if stdio == "pipe" else 60_000
    script = f"{raw}echo up; until test -e {place}/read; do sleep 0.05; done; head -c {size + 2} > {place}/out/got; echo done"
    one = usher(PROGRAM, script=script, stdio=stdio)
    with one.connect() as client:
        client.sendall(b"go")
        wait_for(client, b"up\n")
        sender = Sender(client, size, 3, half_close=False)
        if stdio == "pipe":
            stuck(client)
        else:
            join_all(sender)
        for _ in range(3):
            move(one)
        (place / "read").touch()
        assert read_exactly(client, 5) == b"done\n"
        join_all(sender)
    got = (place / "out/got").read_bytes()
    assert got[:2] == b"go" and len(got) == size + 2
    assert hashlib.sha256(got[2:]).hexdigest() == sender.digest


@pytest.mark.parametrize("stdio", ["pipe", "pty"])
def test_kept_bytes_move_on_the_way_from_a_program(usher, place, stdio):
    data = place / "data"
    data.write_bytes(bytes(range(256)) * 30_000)
    raw = "stty raw -echo; " if stdio == "pty" else ""
    one = usher(PROGRAM, script=f"{raw}cat {data}", stdio=stdio)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", one.port))
    with client:
        client.sendall(b"go")
        taken = read_exactly(client, 10_000)
        for _ in range(3):
            move(one)
            taken += read_exactly(client, 7_000)
        while piece := client.recv(1 << 16):
            taken += piece
    assert taken.removeprefix(b"go") == data.read_bytes(), "but for what the terminal echoed at the start"


def test_a_header_that_is_still_to_be_sent_is_not_counted_as_the_clients(faulty, backend):
    """The socket refuses nearly everything, so that connections move before it has taken the PROXY header."""
    one = faulty(RELAY.replace('{backend}"', '{backend}"; send_proxy = 1'), "seed=5 refuse=0.9999")
    clients = []
    for _ in range(3):
        for _ in range(6):
            clients.append(one.connect())
            clients[-1].sendall(b"go on")
        move(one)
    for client in clients:
        client.shutdown(socket.SHUT_WR)
    for _ in clients:
        with backend.accept() as server:
            assert read_all(server).endswith(b"\r\ngo on")
    for client in clients:
        assert read_all(client) == b""
        client.close()
    assert {line["bytes_up"] for line in one.wait_connections(len(clients))} == {"5"}


def test_descriptors_beside_bytes_hold_nothing_up_after_a_move(usher, place):
    """A read of a UNIX socket ends behind a message with a descriptor, though there is more."""
    with Backend(place / "backend.sock") as backend:
        one = usher(RELAY.replace("127.0.0.1:{backend}", f"unix:{place}/backend.sock"))
        client, server = pair(one, backend)
        move(one)
        (worker,) = one.workers
        os.kill(worker, signal.SIGSTOP)
        try:
            for piece in (b"one ", b"two ", b"three"):
                socket.send_fds(server, [piece], [server.fileno()])
        finally:
            os.kill(worker, signal.SIGCONT)
        assert read_exactly(client, 13) == b"one two three"
