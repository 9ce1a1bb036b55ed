"""What happens to bytes, half-closes, resets and slow readers between two ends that are connected."""

import contextlib
import fcntl
import hashlib
import os
import random
import signal
import socket
import struct
import termios
import threading
import time

import pytest
from harness import read_all, read_exactly, slow, wait_until
from peers import (
    SANITIZED,
    RELAY,
    Backend,
    Receiver,
    Sender,
    cpu_seconds,
    exchange,
    fill,
    how_it_ends,
    join_all,
    kernel_room,
    pair,
    reset,
    rss_kib,
)

MB = 1000 * 1000


# ---- half-close


def test_ten_megabytes_after_the_clients_half_close(relay, backend):
    client, server = pair(relay, backend)
    client.sendall(b"request")
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"request"
    down, got = Sender(server, 10 * MB, 1), Receiver(client, 2)
    join_all(down, got)
    assert got.size == 10 * MB and got.digest == down.digest
    (line,) = relay.wait_connections(1)
    assert line["end"] == "finished" and line["bytes_up"] == "9" and line["bytes_down"] == str(10 * MB)


def test_ten_megabytes_after_the_servers_half_close(relay, backend):
    client, server = pair(relay, backend)
    server.sendall(b"goodbye")
    server.shutdown(socket.SHUT_WR)
    assert read_all(client) == b"goodbye"
    up, got = Sender(client, 10 * MB, 1), Receiver(server, 2)
    join_all(up, got)
    assert got.size == 10 * MB and got.digest == up.digest
    assert relay.wait_connections(1)[0]["end"] == "finished"


def test_both_half_close_at_once_with_everything_under_way(relay, backend):
    for seed in range(10):
        client, server = pair(relay, backend)
        exchange(client, server, 2 * MB + seed, 3 * MB + seed, seed)
        client.close()
        server.close()
    assert {line["end"] for line in relay.wait_connections(10)} == {"finished"}


def test_half_close_waits_for_a_reader_that_is_slow(relay, backend):
    """The end comes behind the last byte, also where that has to wait for room."""
    client, server = pair(relay, backend)
    sender = Sender(client, 20 * MB, 3)
    time.sleep(0.5)  # everything is full: buffers, pipe, and the end is not even sent
    got = Receiver(server, 4)
    join_all(sender, got)
    assert got.size == 20 * MB and got.digest == sender.digest
    server.sendall(b"late answer")
    server.close()
    assert read_all(client) == b"late answer"


@pytest.mark.parametrize("size", [1, 100, 4096, 65536, 65537, 1 << 20])
def test_the_end_right_behind_the_data(relay, backend, size):
    """Data and FIN may come in one packet; the data is delivered first. Both ways, many times."""
    data = random.Random(size).randbytes(size)
    for _ in range(20 if size < 100000 else 5):
        client, server = pair(relay, backend)

        def serve():
            server.sendall(data)
            server.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert read_all(client) == data
        thread.join()
        client.close()
    for _ in range(20 if size < 100000 else 5):
        client = relay.connect()
        thread = threading.Thread(
            target=lambda: (client.sendall(b"go" + data), client.shutdown(socket.SHUT_WR))
        )
        thread.start()
        server = backend.accept()
        assert read_all(server) == b"go" + data
        thread.join()
        server.close()
        assert read_all(client) == b""
        client.close()


def test_a_half_open_connection_is_bounded_by_the_idle_timeout(usher, backend):
    one = usher("idle_timeout = 0.6;" + RELAY, backend=backend.port)
    begin = time.monotonic()
    client, server = pair(one, backend)
    client.shutdown(socket.SHUT_WR)
    assert server.recv(10) == b""
    how_it_ends(client)
    assert time.monotonic() - begin > 0.5
    assert one.wait_connections(1)[0]["end"] == "idle"


# ---- reset


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("pending", ["nothing", "from it", "to it", "both ways"])
def test_a_reset_arrives_as_a_reset(relay, backend, who, pending):
    client, server = pair(relay, backend)
    breaker, other = (client, server) if who == "client" else (server, client)
    if pending in ("from it", "both ways"):
        assert fill(breaker, 0.3) > 100000
    if pending in ("to it", "both ways"):
        assert fill(other, 0.3) > 100000
    reset(breaker)
    if pending in ("from it", "both ways"):
        # The other end reads nothing for a while; the reset must not wait for it either.
        assert relay.wait_connections(1)[0]["end"] == f"{who}-reset"
    assert how_it_ends(other) == "reset"
    assert relay.wait_connections(1)[0]["end"] == f"{who}-reset"


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("before", ["client", "server"])
def test_a_reset_after_a_half_close_arrives_as_a_reset(relay, backend, who, before):
    client, server = pair(relay, backend)
    (client if before == "client" else server).shutdown(socket.SHUT_WR)
    assert (server if before == "client" else client).recv(10) == b""
    breaker, other = (client, server) if who == "client" else (server, client)
    reset(breaker)
    if before == who:
        # The other has had this side's end already: its next read can say nothing new. But writing fails.
        def refused():
            try:
                other.send(b"x")
            except (ConnectionResetError, BrokenPipeError):
                return True

        wait_until(refused, 3, "the reset to be felt")
    else:
        assert how_it_ends(other) == "reset"
    assert relay.wait_connections(1)[0]["end"] == f"{who}-reset"


@pytest.mark.parametrize("who", ["client", "server"])
def test_what_was_said_before_a_reset_arrives(relay, backend, who):
    """Both are seen at once: what is held back for a FIN must not wait for one here."""
    client, server = pair(relay, backend)
    breaker, other = (client, server) if who == "client" else (server, client)
    workers = list(relay.workers)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    breaker.sendall(b"last words")
    reset(breaker)
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    assert read_exactly(other, 10) == b"last words"
    assert how_it_ends(other) == "reset"


def test_a_reset_while_data_flows_at_full_speed(relay, backend):
    """The reset gets through while both directions are spliced."""
    for who in ("client", "server") * 5:
        client, server = pair(relay, backend)
        ends = {"client": client, "server": server}
        breaker = ends.pop(who)
        (other,) = ends.values()
        sender, got = Sender(other, 1 << 40, 1), Receiver(other, 2)
        read_exactly(breaker, 20 * MB)
        reset(breaker)
        sender.join(slow(5))
        got.join(slow(5))
        assert not sender.is_alive() and not got.is_alive()
        # One of the two hears ECONNRESET, the later one may find the pipe broken.
        assert isinstance(got.error, ConnectionResetError) or isinstance(
            sender.error, (ConnectionResetError, BrokenPipeError)
        )
        other.close()


def test_a_reset_of_one_connection_leaves_the_others_alone(relay, backend):
    pairs = [pair(relay, backend) for _ in range(20)]
    for client, _ in pairs[::2]:
        reset(client)
    for client, server in pairs[1::2]:
        exchange(client, server, 10000, 20000)


# ---- slow readers


@pytest.mark.parametrize("slow_one", ["client", "server"])
def test_a_slow_reader_throttles_the_source_and_costs_bounded_memory(usher, backend, slow_one):
    one = usher(RELAY, backend=backend.port)
    (worker,) = one.workers
    before = rss_kib(worker)
    sent = []
    pairs = []
    for _ in range(8):
        client, server = pair(one, backend, buffer=16384)
        pairs.append((client, server))
        sent.append(fill(server if slow_one == "client" else client, 0.05))
    # What the kernel keeps in sockets and pipes is all that a source gets rid of.
    assert max(sent) < kernel_room(), sent
    grown = rss_kib(worker) - before
    assert grown < 8 * 64 + 512 + (8192 if SANITIZED else 0), f"{grown} KiB for 8 slow readers"
    spent = cpu_seconds(worker)
    time.sleep(1)
    assert cpu_seconds(worker) - spent < 0.1, "a worker spins while nobody reads"
    # Then some read after all, and nothing is missing.
    for (client, server), size in list(zip(pairs, sent))[::3]:
        source, sink = (server, client) if slow_one == "client" else (client, server)
        source.shutdown(socket.SHUT_WR)
        got = Receiver(sink, 1)
        join_all(got)
        assert got.size == size


def test_a_slow_reader_does_not_slow_down_the_others(relay, backend):
    stuck = pair(relay, backend, buffer=16384)
    fill(stuck[1], 0.1)
    client, server = pair(relay, backend)
    for _ in range(200):
        client.sendall(b"x")
        server.sendall(read_exactly(server, 1))
        assert client.recv(1) == b"x"


def test_one_fast_flow_does_not_starve_the_others(relay, backend):
    """While one connection moves as much as it can, little of it goes by between a question and an answer of another."""
    fast_client, fast_server = pair(relay, backend)
    sender, got = Sender(fast_server, 1 << 40, 1, largest=1 << 20), Receiver(fast_client, 2)
    client, server = pair(relay, backend)
    went_by = []
    for _ in range(100):
        before = got.size
        client.sendall(b"x")
        server.sendall(read_exactly(server, 1))
        client.recv(1)
        went_by.append(got.size - before)
    wait_until(lambda: got.size > 100 * MB, 60, "the fast one to move")
    reset(fast_client)
    sender.join(slow(5))
    got.join(slow(5))
    assert sorted(went_by)[50] < 100 * MB, sorted(went_by)[50]


# ---- everything arrives


def test_a_hundred_megabytes_both_ways_at_once(relay, backend):
    client, server = pair(relay, backend)
    exchange(client, server, 100 * MB + 1, 100 * MB + 17, seed=42)
    (line,) = relay.wait_connections(1)
    assert line["bytes_up"] == str(100 * MB + 3) and line["bytes_down"] == str(100 * MB + 17)


def test_a_hundred_megabytes_over_unix_sockets(usher, place):
    with Backend(place / "backend.sock") as backend:
        one = usher(
            """
            listen = [ "unix:{dir}/in.sock" ];  workers = 1;
            protocols = ( { name = "go"; string = "go"; } );
            services = ( { name = "go"; match = "go"; connect = "unix:{backend}"; } );
        """,
            backend=place / "backend.sock",
        )
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(slow(10))
        client.connect(str(one.dir / "in.sock"))
        client.sendall(b"go")
        server = backend.accept()
        assert read_exactly(server, 2) == b"go"
        exchange(client, server, 100 * MB, 50 * MB)


def test_sixteen_at_once_with_random_pieces(usher, backend):
    one = usher(RELAY.replace("workers = 1", "workers = 2"), backend=backend.port)
    pairs = [pair(one, backend) for _ in range(16)]
    threads = []
    for number, (client, server) in enumerate(pairs):
        size = 4 * MB + number * 1001
        threads.append((Sender(client, size, number, largest=1 << 14 + number % 6), Receiver(server, number)))
        threads.append((Sender(server, size * 2, number + 100, largest=1 << 20), Receiver(client, number)))
    join_all(*[thread for both in threads for thread in both], timeout=60)
    assert all(sender.digest == receiver.digest for sender, receiver in threads)
    assert {line["end"] for line in one.wait_connections(16)} == {"finished"}


def test_many_tiny_messages_keep_their_order(relay, backend):
    client, server = pair(relay, backend)
    words = b"".join(b"%d," % number for number in range(30000))

    def send():
        for at in range(0, len(words), 7):
            client.sendall(words[at : at + 7])
        client.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    assert read_all(server) == words
    thread.join()


def test_bulk_then_small_then_bulk(relay, backend):
    """The way that bytes take changes with the flow, there and back, in the middle of a connection."""
    client, server = pair(relay, backend)
    for _ in range(3):
        sender = Sender(client, 5 * MB, 1, half_close=False, largest=1 << 20)
        data = read_exactly(server, 5 * MB)
        sender.join()
        for number in range(50):
            client.sendall(b"%04d" % number)
            assert read_exactly(server, 4) == b"%04d" % number
        del data
    exchange(client, server, MB, MB)


def test_urgent_data_does_no_harm(relay, backend):
    client, server = pair(relay, backend)
    client.send(b"a", socket.MSG_OOB)
    client.sendall(b"b" * 1000)
    client.shutdown(socket.SHUT_WR)
    assert read_all(server).replace(b"a", b"") == b"b" * 1000


# ---- idle


def test_idle_timeout_ends_a_quiet_connection_and_spares_a_busy_one(usher, backend):
    one = usher("idle_timeout = 3;" + RELAY, backend=backend.port)
    begin = time.monotonic()
    quiet_client, quiet_server = pair(one, backend)
    busy_client, busy_server = pair(one, backend)
    quiet_client.setblocking(False)

    def has_ended():
        busy_server.sendall(b".")
        assert busy_client.recv(1) == b"."
        try:
            return quiet_client.recv(1) == b""
        except BlockingIOError:
            return False

    wait_until(has_ended, 3, "the end of the quiet one")
    assert time.monotonic() - begin > 2.9
    assert how_it_ends(quiet_server) in ("eof", "reset")
    assert one.wait_connections(1)[0]["end"] == "idle"
    assert busy_client.send(b"x") and busy_server.recv(1) == b"x"


def test_idle_timeout_also_ends_a_connection_that_is_stuck(usher, backend):
    """A reader that reads nothing at all is idle, however much waits for it."""
    one = usher("idle_timeout = 0.7;" + RELAY, backend=backend.port)
    client, server = pair(one, backend, buffer=8192)
    fill(server, 0.2)
    assert one.wait_connections(1, timeout=3)[0]["end"] == "idle"
    assert how_it_ends(server) in ("eof", "reset")


def test_nothing_is_watched_or_kept_once_both_are_gone(relay, backend):
    (worker,) = relay.workers
    before = relay.fds()
    for number in range(200):
        client, server = pair(relay, backend)
        if number % 4 == 0:
            reset(client)
            server.close()
        elif number % 4 == 1:
            reset(server)
            client.close()
        else:
            client.shutdown(socket.SHUT_WR)
            server.close()
            client.close()
    relay.wait_connections(200)
    wait_until(lambda: relay.fds() == before, 3, f"as many descriptors as before: {before}")
    assert os.path.exists(f"/proc/{worker}")


# ---- reads that stop early


@pytest.mark.parametrize("ends", [False, True])
def test_descriptors_beside_bytes_cost_no_bytes(usher, backend, ends):
    """A read of a UNIX socket stops behind what they came with. They go no further."""
    one = usher(RELAY.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "unix:{dir}/in.sock"'), backend=backend.port)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(one.dir / "in.sock"))
        client.sendall(b"go")
        server = backend.accept()
        assert read_exactly(server, 2) == b"go"
        with stopped(one.workers):
            socket.send_fds(client, [b"A" * 10], [0])
            client.sendall(b"B" * 1000)
            if ends:
                client.shutdown(socket.SHUT_WR)
        assert read_exactly(server, 1010) == b"A" * 10 + b"B" * 1000
        if ends:
            assert server.recv(1) == b""
        server.sendall(b"answer")
        assert read_exactly(client, 6) == b"answer"
        server.close()


@contextlib.contextmanager
def stopped(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# ---- urgent bytes


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("ends", [False, True])
def test_urgent_bytes_stay_in_their_place(relay, backend, upwards, ends):
    """Reads stop before each, so all is there at once when the worker looks, and no later event helps it on."""
    client, server = pair(relay, backend)
    sender, receiver = (client, server) if upwards else (server, client)
    with stopped(relay.workers):
        sender.send(b"before!", socket.MSG_OOB)
        sender.send(b"after")
        if ends:
            sender.shutdown(socket.SHUT_WR)
        wait_until(lambda: kernel_has_sent(sender), what="everything acknowledged")
    assert read_exactly(receiver, 12) == b"before!after"
    if ends:
        assert receiver.recv(1) == b""
    receiver.sendall(b"answer")
    assert read_exactly(sender, 6) == b"answer"


def kernel_has_sent(sock):
    (unsent,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return unsent == 0


def test_urgent_bytes_in_the_middle_of_bulk(relay, backend):
    """Splicing never gets past one."""
    client, server = pair(relay, backend)
    got, sent = Receiver(server, 2), hashlib.sha256()
    piece = random.Random(3).randbytes(MB)
    for _ in range(16):
        client.sendall(piece)
        client.send(b"!", socket.MSG_OOB)
        sent.update(piece + b"!")
    client.shutdown(socket.SHUT_WR)
    join_all(got)
    assert got.size == 16 * (MB + 1) and got.digest == sent.hexdigest()


@pytest.mark.parametrize("upwards", [True, False])
def test_an_urgent_byte_at_the_end_of_bulk(relay, backend, upwards):
    """Splicing says "end" before it where the end is behind it."""
    size = 3 << 20
    for _ in range(60):
        client, server = pair(relay, backend)
        sender, receiver = (client, server) if upwards else (server, client)
        got = Receiver(receiver, 2)
        sender.sendall(bytes(size - 1000))
        sender.send(b"!" * 1000, socket.MSG_OOB)
        sender.shutdown(socket.SHUT_WR)
        join_all(got)
        assert got.size == size
        client.close()
        server.close()
