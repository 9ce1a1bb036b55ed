"""Ending and reloading while connections are open: SIGTERM, SIGINT, SIGHUP."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from harness import NEVER, accepts, connect, count_fds, process_stat, read_all, read_exactly, slow, wait_until
from peers import RELAY, Backend, Receiver, Sender, close_opened, exchange, how_it_ends, join_all, pair


# What ends does not end because drain_timeout has passed.
PATIENT = f"drain_timeout = {NEVER};" + RELAY


@pytest.fixture
def relay(usher, backend):
    return usher(PATIENT, backend=backend.port)


def ends_in(one, least=0, since=None):
    """Waits for the master's end, which takes so many seconds at least since then."""
    begin = since or time.monotonic()
    status = one.process.wait(slow(5))
    assert time.monotonic() - begin >= least
    assert status == 0


# ---- SIGTERM


def test_sigterm_with_nothing_open_ends_at_once(relay):
    relay.send_signal(signal.SIGTERM)
    ends_in(relay)


def test_sigterm_lets_a_long_download_finish(relay, backend):
    client, server = pair(relay, backend)
    got = Receiver(client, 1)
    server.sendall(b"first half")
    relay.send_signal(signal.SIGTERM)
    wait_until(lambda: not accepts(("127.0.0.1", relay.port)), 2, "no new connections")
    time.sleep(0.5)
    assert relay.process.poll() is None
    sender = Sender(server, 30000000, 2)
    join_all(sender, got)
    assert got.size == 30000010
    client.close()
    ends_in(relay)
    assert relay.connections()[0]["end"] == "finished"


def test_sigterm_lets_undecided_clients_decide(relay, backend):
    """Whoever was accepted is served."""
    client = relay.connect()
    client.sendall(b"g")
    time.sleep(0.1)
    relay.send_signal(signal.SIGTERM)
    relay.wait_log("ending: ")
    client.sendall(b"o")
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"
    server.sendall(b"served")
    server.close()
    assert read_all(client) == b"served"
    client.close()
    ends_in(relay)


def test_sigterm_serves_who_waits_to_be_accepted(relay, backend):
    """The connection is made, the worker just had no time yet to take it."""
    (worker,) = relay.workers
    os.kill(worker, signal.SIGSTOP)
    client = relay.connect()
    client.sendall(b"go")
    relay.send_signal(signal.SIGTERM)
    relay.wait_log("ending: ")
    os.kill(worker, signal.SIGCONT)
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"
    server.close()
    assert read_all(client) == b""
    client.close()
    ends_in(relay)


def test_drain_timeout_cuts_what_is_left(usher, backend):
    one = usher("drain_timeout = 0.7;" + RELAY, backend=backend.port)
    client, server = pair(one, backend)
    begin = time.monotonic()
    one.send_signal(signal.SIGTERM)
    ends_in(one, 0.6, begin)
    assert how_it_ends(client) in ("eof", "reset") and how_it_ends(server) in ("eof", "reset")
    assert one.connections()[0]["end"] == "shutdown"


@pytest.mark.parametrize("stdio", ["pipe", "pty"])
def test_drain_timeout_ends_programs_that_usher_carries(usher, stdio):
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 1;  drain_timeout = 0.5;
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; stdio = "{stdio}"; } );
    """,
        stdio=stdio,
    )
    client = one.connect()
    client.sendall(b"go\n")
    assert read_exactly(client, 2) == b"go"
    begin = time.monotonic()
    one.send_signal(signal.SIGTERM)
    ends_in(one, 0.4, begin)
    client.close()


def test_a_program_on_the_socket_itself_outlives_usher(usher):
    """It owns the connection: usher is out of the way."""
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 1;  drain_timeout = {never};
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; } );
    """,
        never=NEVER,
        may_leave=["cat"],
    )
    client = one.connect()
    client.sendall(b"go")
    assert read_exactly(client, 2) == b"go"
    one.send_signal(signal.SIGTERM)
    ends_in(one)
    client.sendall(b"still here")
    assert client.recv(20) == b"still here"
    client.close()


def test_a_second_sigterm_does_not_wait(relay, backend):
    client, _ = pair(relay, backend)
    relay.send_signal(signal.SIGTERM)
    relay.wait_log("ending: ")
    relay.send_signal(signal.SIGTERM)
    ends_in(relay)
    assert how_it_ends(client) in ("eof", "reset")


def test_sigterm_ends_with_a_worker_that_is_stopped(usher, backend):
    """A worker that answers nobody is killed."""
    one = usher("drain_timeout = 0.3;" + RELAY, backend=backend.port, may_crash=True)
    os.kill(one.workers[0], signal.SIGSTOP)
    begin = time.monotonic()
    one.send_signal(signal.SIGTERM)
    ends_in(one, 0.2, begin)


def without_workers(usher, backend):
    """An usher whose only worker has died so often that its successor is made to wait."""
    one = usher(PATIENT, backend=backend.port, may_crash=True)
    for deaths in range(1, 6):
        wait_until(lambda: one.workers, 3, "a worker")
        os.kill(one.workers[0], signal.SIGKILL)
        one.wait_log("was killed by signal", count=deaths)
    assert one.workers == []
    return one


def test_sigterm_ends_where_no_worker_is_left(usher, backend):
    one = without_workers(usher, backend)
    one.send_signal(signal.SIGTERM)
    ends_in(one)


def test_a_reload_where_no_worker_is_left(usher, backend):
    one = without_workers(usher, backend)
    one.reload()
    exchange(*pair(one, backend), 1000, 1000)
    close_opened()
    one.send_signal(signal.SIGTERM)
    ends_in(one)


def test_sigterm_under_load(usher, echo):
    """Connections that were accepted are served to the end; the status is 0."""
    one = usher(PATIENT.replace("workers = 1", "workers = 2"), backend=echo.port4)
    served, refused, broken = [], [], []

    def load():
        while not refused:
            try:
                client = one.connect()
            except OSError:
                refused.append(1)
                return
            try:
                client.sendall(b"go")
                (served if client.recv(2) == b"go" else broken).append(1)
            except OSError as error:
                broken.append(error)
            client.close()

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    one.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(slow(10))
    ends_in(one)
    assert len(served) > 100
    # Between the last accept and the closing of the port a connection may be made that nobody will take.
    assert len(broken) <= 6, broken


# ---- SIGINT


def test_sigint_ends_at_once(relay, backend):
    client, server = pair(relay, backend)
    relay.send_signal(signal.SIGINT)
    ends_in(relay)
    assert how_it_ends(client) in ("eof", "reset") and how_it_ends(server) in ("eof", "reset")
    assert relay.connections()[0]["end"] == "shutdown"


def test_interrupt_of_the_whole_group_as_the_terminal_sends_it(usher, backend):
    """Workers and logger take no notice of it; they do as the master says, and the last lines are written."""
    one = usher(PATIENT, backend=backend.port, wrapper=lambda command: ["setsid", *command])
    client, _ = pair(one, backend)
    group = os.getpgid(one.workers[0])
    assert group == one.pid
    os.killpg(group, signal.SIGINT)
    ends_in(one)
    assert one.connections()[0]["end"] == "shutdown"
    assert how_it_ends(client) in ("eof", "reset")


def test_sigpipe_and_sigusr2_and_sigwinch_do_no_harm(relay, backend):
    for number in (signal.SIGPIPE, signal.SIGWINCH):
        os.kill(relay.pid, number)
        os.kill(relay.workers[0], number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(relay.workers[0], number)
        os.kill(relay.loggers[0], number) if number != signal.SIGUSR1 else None
    client, server = pair(relay, backend)
    exchange(client, server, 1000, 1000)


# ---- reload


def test_reload_takes_the_new_services_and_keeps_the_old_sessions(usher, backend):
    one = usher(RELAY, backend=backend.port)
    client, server = pair(one, backend)
    old = one.workers
    with Backend() as other:
        one.reload(RELAY.replace("{backend}", str(other.port)))
        new_client = one.connect()
        new_client.sendall(b"go")
        new_server = other.accept()
        assert read_exactly(new_server, 2) == b"go"
        wait_until(lambda: not set(old) & set(one.workers), 3, "the old worker to end without its session")
        assert len(one.workers) == 1
        exchange(client, server, 5000000, 5000000)
        client.close()
        server.close()
        exchange(new_client, new_server, 1000, 1000)


def test_reload_with_other_listeners(usher, echo):
    one = usher(RELAY, backend=echo.port4)
    first = one.port
    one.reload(
        RELAY.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "127.0.0.1:{port_b}", "unix:{dir}/in"')
    )
    for address in (("127.0.0.1", first), ("127.0.0.1", one.ports["port_b"]), one.dir / "in"):
        with connect(address) as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
    one.reload(RELAY.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port_b}"'))
    wait_until(lambda: not accepts(("127.0.0.1", first)), 3, "the old port to close")
    assert not (one.dir / "in").exists()
    with connect(one.ports["port_b"]) as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"


def test_reload_under_load_loses_no_connection(usher, echo):
    one = usher(RELAY.replace("workers = 1", "workers = 2"), backend=echo.port4)
    stop = threading.Event()
    served, broken = [], []

    def load():
        while not stop.is_set():
            try:
                with one.connect() as client:
                    client.sendall(b"go")
                    assert read_exactly(client, 2) == b"go"
                    served.append(1)
            except (OSError, AssertionError) as error:
                broken.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        one.reload()
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert not broken, broken[:3]
    assert len(served) > 100
    wait_until(lambda: len(one.workers) == 2, 5, "the old workers to end")


def test_reload_many_times_leaves_nothing(usher, echo):
    one = usher(RELAY, backend=echo.port4)
    one.reload()
    wait_until(lambda: len(one.workers) == 1, 3)
    before = count_fds(one.pid)
    for _ in range(20):
        one.reload()
    wait_until(lambda: len(one.workers) == 1, 5, "one worker")
    # Not more: of the worker that had just ended the master may still have held its end when they were counted.
    wait_until(lambda: count_fds(one.pid) <= before, 5, "as many descriptors as before")


@pytest.mark.parametrize(
    "bad,line,words",
    [
        ('nonsense = 1;\n' + RELAY, 1, "unknown key `nonsense'"),
        (RELAY + "services = ;", 5, ""),
        (RELAY.replace('string = "go"', 'regex = "("'), 3, "does not compile"),
        (RELAY.replace('connect = "127.0.0.1:{backend}";', ""), 4, "no delivery"),
        (RELAY.replace("{backend}", "{port}"), 4, "usher's own listener"),
    ],
    ids=["unknown key", "syntax", "regex", "no delivery", "loop"],
)
def test_a_bad_file_changes_nothing(usher, backend, bad, line, words):
    one = usher(RELAY, backend=backend.port)
    client, server = pair(one, backend)
    workers = one.workers
    one.write(bad)
    one.send_signal(signal.SIGHUP)
    one.wait_log("reload refused: the running configuration stays")
    errors = [entry.text for entry in one.log if entry.level == "error"]
    assert any(f"{one.file}:{line}: " in text and words in text for text in errors), errors
    assert one.workers == workers
    exchange(client, server, 1000, 1000)
    exchange(*pair(one, backend), 1000, 1000)
    one.reload(RELAY)  # and a good one is taken again
    exchange(*pair(one, backend), 1000, 1000)


def test_a_missing_file_changes_nothing(relay, backend):
    relay.file.unlink()
    relay.send_signal(signal.SIGHUP)
    relay.wait_log("reload refused")
    assert any(
        f"{relay.file}: cannot be read: No such file or directory" in line.text for line in relay.log
    ), relay.output()
    exchange(*pair(relay, backend), 1000, 1000)


def test_a_new_listener_that_is_taken_changes_nothing(relay, backend):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        relay.write(
            RELAY.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "unix:{dir}/in", "127.0.0.1:%d"' % port)
        )
        relay.send_signal(signal.SIGHUP)
        relay.wait_log("reload refused")
        assert any(
            f"cannot listen on 127.0.0.1:{port}: Address already in use, held by" in line.text
            for line in relay.log
        )
    assert not (relay.dir / "in").exists()
    exchange(*pair(relay, backend), 1000, 1000)
    relay.reload()  # now it is free
    wait_until(lambda: accepts(("127.0.0.1", port)), 3)


def test_two_reloads_in_a_row_end_with_the_second_file(usher, echo):
    one = usher(RELAY, backend=echo.port4)
    one.write(RELAY.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "127.0.0.1:{port_b}"'))
    one.send_signal(signal.SIGHUP)
    time.sleep(0.002)
    one.write(RELAY.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "127.0.0.1:{port_c}"'))
    one.send_signal(signal.SIGHUP)
    wait_until(lambda: accepts(("127.0.0.1", one.ports["port_c"])), 3, "the second file's port")
    wait_until(lambda: not accepts(("127.0.0.1", one.ports["port_b"])), 3)


def test_sigterm_during_a_reload_ends(usher, echo):
    for _ in range(5):
        one = usher(PATIENT, backend=echo.port4)
        one.send_signal(signal.SIGHUP)
        time.sleep(0.001)
        one.send_signal(signal.SIGTERM)
        ends_in(one)


def test_reload_reaches_the_log_settings(usher, backend):
    one = usher(RELAY, backend=backend.port)
    exchange(*pair(one, backend), 10, 10)
    one.wait_connections(1)
    one.write(RELAY + 'log = { format = "json"; };')
    one.send_signal(signal.SIGHUP)
    wait_until(lambda: '"text":"serving: ' in one.output(), 3, "the reload")
    exchange(*pair(one, backend), 10, 10)
    found = wait_until(
        lambda: [
            line for line in one.output().splitlines() if line.startswith("{") and '"connection"' in line
        ],
        3,
    )
    assert json.loads(found[0])["service"] == "go"
    one.write(RELAY + 'log = { format = "json"; to = "{dir}/log"; };')
    one.send_signal(signal.SIGHUP)
    path = one.dir / "log"
    wait_until(lambda: path.exists() and '"text":"serving: ' in path.read_text(), 3, "the reload")
    exchange(*pair(one, backend), 10, 10)
    wait_until(lambda: path.exists() and '"connection"' in path.read_text(), 3, "the log to move to the file")


def test_the_master_sleeps(relay):
    """With nothing to do nobody wakes up."""

    def switches():
        total = 0
        for pid in [relay.pid, *relay.workers, *relay.loggers]:
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                total += sum(
                    int(line.split()[1])
                    for line in file
                    if "voluntary_ctxt_switches" in line and "non" not in line
                )
        return total

    time.sleep(0.3)
    before = switches()
    time.sleep(1.5)
    assert switches() - before <= 3
    assert process_stat(relay.pid)[1] == "S"
