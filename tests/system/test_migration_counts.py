"""Connections that move to another worker count all the while: in `usher status`, and for every limit, also where the new worker does
not get to reading what the old one has sent."""

import contextlib
import os
import signal

import pytest
from harness import count_fds, process_stat, read_exactly, wait_until
from migrations import SERVICES, WORDS
from peers import Backend, exchange, how_it_ends, pair


@pytest.fixture
def quiet():
    with Backend() as one:
        yield one


@pytest.fixture
def served(usher, backend, quiet):
    def start(config=SERVICES, **options):
        return usher(config, **{**WORDS, "backend": backend.port, "quiet": quiet.port, **options})

    return start


class Halted:
    """A worker that stands still: .go_on()."""

    def __init__(self, pid):
        self.pid = pid
        os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def on_their_way(one):
    """(old, new): the one worker has given all that it could to the first of two new ones, which stands still meanwhile."""
    (old,) = one.workers
    before = one.fds()[old]
    halted = [Halted(old)]
    try:
        one.words["workers"] = 2
        one.reload(one.config)
        (status,) = one.ask(b"status")
        (serving,) = (each for each in status["generations"] if each["state"] == "serving")
        new, other = (worker["pid"] for worker in serving["workers"])
        wait_until(lambda: count_fds(new) == count_fds(other) + 1 and process_stat(new)[1] == "S", 5,
                   "the new worker to have the channel, and to have said what it listens on")
        halted.append(Halted(new))
        halted[0].go_on()
        wait_until(lambda: one.fds().get(old, 0) < before, 5, "the first connections to be sent")
        yield old, halted[1]
    finally:
        for each in halted:
            each.go_on()


def gone(one, old):
    wait_until(lambda: old not in one.workers, 5, "the old worker to end")


def counted(one):
    """(in all, undecided, of the listener, of the service)"""
    (status,) = one.ask(b"status")
    (listener,) = status["listeners"]
    service = next(each for each in status["services"] if each["name"] == "go")
    return status["connections"], status["undecided"], listener["open"], service["open"]


def test_status_shows_each_connection_once_while_it_moves(served, backend):
    """More than can be on their way at a time, so that some are still in the old worker."""
    one = served()
    pairs = [pair(one, backend) for _ in range(100)]
    undecided = [one.connect() for _ in range(3)]
    for client in undecided:
        client.sendall(b"g")
    wait_until(lambda: counted(one) == (103, 3, 103, 100), 5, "all to be counted")
    with on_their_way(one) as (old, new):
        assert counted(one) == (103, 3, 103, 100)
        new.go_on()
        while old in one.workers:
            seen = counted(one)
            assert all(0 <= now - then <= 2 for now, then in zip(seen, (103, 3, 103, 100))), "one more in each of two instants"
    assert counted(one) == (103, 3, 103, 100)
    for client, server in pairs:
        exchange(client, server, 10, 10)
    for client in undecided:
        client.close()
    one.wait_connections(103)
    assert counted(one) == (0, 0, 0, 0)


LIMITS = {
    "service": ("max_connections = 3;", "", ""),
    "source": ("per_source = 3;", "", ""),
    "listener": ("", "max_connections = 3;", ""),
    "all": ("", "", "max_connections = 3;"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_no_limit_is_exceeded_while_connections_move(served, backend, limit):
    access, of_listener, top = LIMITS[limit]
    config = SERVICES.replace('[ "127.0.0.1:{port}" ]', '( { address = "127.0.0.1:{port}"; {of_listener} } )')
    one = served(config, access=access, of_listener=of_listener, top=top)
    pairs = [pair(one, backend) for _ in range(3)]
    with on_their_way(one) as (old, new):
        more = [one.connect() for _ in range(3)]  # the kernel may wake the worker that stands still for the first
        for client in more[1:]:
            with contextlib.suppress(OSError):
                client.sendall(b"go")
            assert how_it_ends(client) in ("eof", "reset")
        new.go_on()
        gone(one, old)
        more[0].close()
    for client, server in pairs:
        exchange(client, server, 10, 10)
    one.wait_connections(3, end="finished")
    exchange(*pair(one, backend), 10, 10)


def test_what_was_on_its_way_to_a_worker_that_dies_counts_no_more(served, backend):
    one = served(access="max_connections = 3;")
    one.may_crash = True
    pairs = [pair(one, backend) for _ in range(3)]
    with on_their_way(one) as (old, new):
        os.kill(new.pid, signal.SIGKILL)
        gone(one, old)
        for client, _ in pairs:
            assert how_it_ends(client) in ("eof", "reset")
    assert counted(one) == (0, 0, 0, 0)
    for _ in range(3):
        pair(one, backend)


def test_what_a_worker_has_sent_before_it_dies_counts_where_it_arrives(served, backend):
    one = served(access="max_connections = 3;")
    one.may_crash = True
    pairs = [pair(one, backend) for _ in range(3)]
    with on_their_way(one) as (old, new):
        os.kill(old, signal.SIGKILL)
        gone(one, old)
        new.go_on()
        wait_until(lambda: counted(one) == (3, 0, 3, 3), 5, "all to have arrived")
    with one.connect() as more:
        more.sendall(b"go")
        assert how_it_ends(more) == "eof"
    for client, server in pairs:
        exchange(client, server, 10, 10)


def test_a_second_reload_finds_connections_on_their_way(served, backend):
    """What is left in the first of the workers goes to the third generation once the second has read what was sent to it."""
    one = served()
    pairs = [pair(one, backend) for _ in range(100)]
    with on_their_way(one) as (old, new):
        one.reload()
        assert counted(one) == (100, 0, 100, 100)
        assert old in one.workers and new.pid in one.workers
        new.go_on()
        gone(one, old)
        gone(one, new.pid)
    assert counted(one) == (100, 0, 100, 100)
    for client, server in pairs:
        client.sendall(b"ping")
        assert read_exactly(server, 4) == b"ping"
