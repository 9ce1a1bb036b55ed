"""Workers and masters that are killed."""

import os
import signal
import threading
import time

import pytest
from harness import HANG, children, connect, process_stat, read_exactly, wait_until
from peers import RELAY, SANITIZED, Backend, Receiver, Sender, exchange, how_it_ends, pair


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV if not SANITIZED else signal.SIGXCPU])
def test_a_worker_that_dies_is_replaced(usher, echo, workers, number):
    one = usher(RELAY.replace("workers = 1", f"workers = {workers}"), backend=echo.port4, may_crash=True)
    for _ in range(2):
        before = one.workers
        for pid in before:
            os.kill(pid, number)
        wait_until(lambda: len(set(one.workers) - set(before)) == workers, 5, "new workers")
        assert one.process.poll() is None
        with one.connect() as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
    assert len(one.wait_log(f"was killed by signal {int(number)}", count=2 * workers)) == 2 * workers


def test_queued_connections_survive_the_worker(usher, echo):
    """The worker is stopped, so that they queue up in the listening socket; then it is killed."""
    one = usher(RELAY, backend=echo.port4, may_crash=True)
    (worker,) = one.workers
    os.kill(worker, signal.SIGSTOP)
    clients = [one.connect() for _ in range(50)]
    for client in clients:
        client.sendall(b"go")
    os.kill(worker, signal.SIGKILL)
    for client in clients:
        assert read_exactly(client, 2) == b"go"
        client.close()


def test_the_other_workers_connections_survive(usher, echo):
    one = usher(RELAY.replace("workers = 1", "workers = 2"), backend=echo.port4, may_crash=True)
    clients = {}
    for mine, other in (one.workers, one.workers[::-1]):
        os.kill(other, signal.SIGSTOP)  # so that all of these are the first one's
        clients[mine] = [one.connect() for _ in range(20)]
        for client in clients[mine]:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
        os.kill(other, signal.SIGCONT)
    killed, spared = clients
    os.kill(killed, signal.SIGKILL)
    for client in clients[killed]:
        assert how_it_ends(client) in ("eof", "reset")
        client.close()
    for client in clients[spared]:
        client.sendall(b"still there?")
        assert read_exactly(client, 12) == b"still there?"
        client.close()


def test_workers_killed_under_load_cost_only_their_own_connections(usher, echo):
    one = usher(RELAY.replace("workers = 1", "workers = 2"), backend=echo.port4, may_crash=True)
    stop = threading.Event()
    refused, served, cut = [], [], []

    def load():
        while not stop.is_set():
            try:
                client = one.connect()
            except ConnectionRefusedError as error:
                refused.append(error)
                continue
            except OSError as error:
                cut.append(error)
                continue
            try:
                client.sendall(b"go")
                (served if client.recv(2) == b"go" else cut).append(1)
            except OSError as error:
                cut.append(error)
            client.close()

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.3)
        os.kill(one.workers[0], signal.SIGKILL)
        wait_until(lambda: len(one.workers) == 2, 3, "two workers again")
    stop.set()
    for thread in threads:
        thread.join()
    assert not refused, "the port was closed meanwhile"
    assert len(served) > 100 and len(cut) < 60, (len(served), len(cut))


def test_a_worker_that_keeps_dying_is_restarted_ever_more_slowly(usher, echo):
    one = usher(RELAY, backend=echo.port4, may_crash=True)

    def pause():
        """How long it takes until there is another after one that was killed young."""
        (pid,) = one.workers
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: one.workers_but([pid]), 8, "another worker")
        return time.monotonic() - killed

    wait_until(lambda: pause() > 0.7, 8, "a pause of 0.8 s after those of 0.1, 0.2 and 0.4")
    wait_until(lambda: one.workers, 8, "a worker at last")
    with one.connect() as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"


def test_the_master_is_killed_and_workers_finish_what_they_have(usher):
    with Backend() as backend:
        one = usher(RELAY, backend=backend.port, may_crash=True, status=-signal.SIGKILL)
        client, server = pair(one, backend)
        port = one.port
        below = children(one.pid)
        os.kill(one.pid, signal.SIGKILL)
        wait_until(lambda: not accepts(port), 3, "the port to be free for others")
        exchange(client, server, 1000000, 1000000)
        client.close()
        server.close()
        wait_until(
            lambda: all((process_stat(pid) or ("", "Z"))[1] == "Z" for pid in below), 5, "all of it to end"
        )


def accepts(port):
    try:
        connect(port, timeout=1).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV if not SANITIZED else signal.SIGKILL])
def test_what_a_dying_worker_cuts_is_cut_and_never_wrong(usher, number):
    """Bulk both ways under checksums while workers die: whole, or an error at both ends; and those after them are served."""
    with Backend() as backend:
        one = usher(RELAY.replace("workers = 1", "workers = 2"), backend=backend.port, may_crash=True)
        whole = cut = 0
        for turn in range(12):
            client, server = pair(one, backend)
            threads = [Sender(client, 3000000, turn), Sender(server, 3000000, turn + 50), Receiver(server, 1), Receiver(client, 2)]
            if turn % 3 == 0:
                time.sleep(0.003 * turn)
                os.kill(one.workers[turn % 2], number)
            for thread in threads:
                thread.join(HANG)
                assert not thread.is_alive(), "stuck"
            if threads[2].size == threads[3].size == 3000000 and not threads[2].error and not threads[3].error:
                assert threads[0].digest == threads[2].digest and threads[1].digest == threads[3].digest
                whole += 1
            else:
                cut += 1
            wait_until(lambda: len(one.workers) == 2, 5, "two workers again")
        assert whole >= 8 and whole + cut == 12
