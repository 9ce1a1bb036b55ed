"""Descriptors, memory, and processor time where they run out or must not grow. Clients and backends with
thousands of connections are processes of their own: a process here has only so many descriptors."""

import pathlib
import resource
import socket
import subprocess
import time

import pytest
from harness import IS_ROOT, connect, count_fds, dead_port, read_exactly, wait_until
from peers import RELAY, SANITIZED, Backend, HandedUsher, cpu_of, exchange, how_it_ends, pair, reset, rss_kib

needs_root = pytest.mark.skipif(
    not IS_ROOT, reason="needs root: to look at the descriptors of an unprivileged worker"
)


def set_limit(pid, soft):
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def set_limit_of_worker(pid, soft):
    """As its own user: another's limits are not even root's to change, without the capability for it."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    uid, gid = (int(status.split(name + ":")[1].split()[0]) for name in ("Uid", "Gid"))
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"] if IS_ROOT else []
    subprocess.run([*become, "prlimit", f"--pid={pid}", f"--nofile={soft}:"], check=True)


def burst(port, count, data=b"go", at_once=100):
    """So many connections, one answer each."""
    for _ in range(count // at_once):
        clients = [connect(port) for _ in range(at_once)]
        for client in clients:
            client.sendall(data)
        for client in clients:
            assert read_exactly(client, 2) == b"go"
            client.close()


# ---- nothing is left over


@needs_root
def test_descriptors_after_ten_thousand_connections(usher, echo):
    one = usher(
        RELAY.replace("workers = 1", "workers = 2; log = { level = \"notice\"; }"), backend=echo.port4
    )
    before = one.fds()
    assert len(before) == 3 and all(before.values())
    burst(one.port, 200)
    memory = {pid: rss_kib(pid) for pid in before}
    burst(one.port, 10000)
    wait_until(lambda: one.fds() == before, 5, f"descriptors as before ({before}); now {one.fds()}")
    grown = {pid: rss_kib(pid) - memory[pid] for pid in before}
    assert max(grown.values()) < (65536 if SANITIZED else 1024), grown


@needs_root
@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_descriptors_after_a_thousand_programs(usher, stdio):
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 2;
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; stdio = "{stdio}"; max_startups_per_source = 0;
                       exec = [ "/bin/sh", "-c", "trap '' HUP; head -n 1; exit 0" ]; } );
    """,
        stdio=stdio,
    )
    count = 300
    before = one.fds()
    for number in range(count):
        client = one.connect()
        client.sendall(b"go\n")
        if number % 10:
            assert read_exactly(client, 2) == b"go"
        client.close()
    one.wait_connections(count)
    wait_until(lambda: not one.programs(), 5, "every program to be gone and buried")
    wait_until(lambda: one.fds() == before, 5, f"descriptors as before ({before}); now {one.fds()}")


@needs_root
def test_descriptors_after_every_way_to_fail(usher, place):
    (place / "program").write_text("#!/bin/sh\nexit 0\n")
    (place / "program").chmod(0o755)
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = 0.2;  connect_timeout = 0.5;
        protocols = ( { name = "refused"; string = "r"; }, { name = "missing"; string = "m"; },
                      { name = "no"; string = "n"; },
                      { name = "unreachable"; string = "u"; } );
        services = ( { name = "refused"; match = "refused"; connect = "127.0.0.1:{dead}"; },
                     { name = "unreachable"; match = "unreachable"; handover = "{place}/nobody.sock"; },
                     { name = "missing"; match = "missing"; exec = "{place}/program"; fallback = "refused"; },
                     { name = "no"; match = "no"; reject = "reset"; } );
    """,
        dead=dead_port(),
        place=place,
    )
    (place / "program").unlink()
    before = one.fds()
    clients = []
    for number in range(400):
        client = one.connect()
        client.sendall([b"r", b"m", b"n", b"u", b"?"][number % 5])
        clients.append(client)
    one.wait_connections(400)
    for client in clients:
        client.close()
    wait_until(lambda: one.fds() == before, 3, f"descriptors as before ({before}); now {one.fds()}")


# ---- those who wait


def test_silent_clients_cost_nothing_while_they_wait(usher):
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = 600.0;  log = { level = "notice"; };
        max_undecided_per_source = 0;
        services = ( { name = "ssh"; match = "ssh"; reject = "close"; } );
    """
    )
    (worker,) = one.workers
    few = one.fds()[worker]
    clients = [one.connect() for _ in range(900)]
    # Clients that say nothing the kernel keeps to itself for a second.
    wait_until(lambda: one.fds()[worker] >= few + 900, 5, "all of them to be accepted")
    time.sleep(0.3)
    before = cpu_of([worker])
    time.sleep(1)
    assert cpu_of([worker]) - before < 0.1
    for client in clients:
        client.close()


# ---- none are left


def test_out_of_descriptors_it_waits_and_recovers(usher, echo):
    """The worker has far fewer than it was told: never an exit, never a spin, and those who wait are served in the end."""
    one = usher(RELAY, backend=echo.port4)
    (worker,) = one.workers
    set_limit_of_worker(worker, 64)  # fewer than it was sized for
    clients = [one.connect() for _ in range(150)]
    for client in clients:
        client.sendall(b"go")
    one.wait_log("out of descriptors")
    before = cpu_of([worker])
    time.sleep(2)
    spent = cpu_of([worker]) - before
    assert spent < 0.3, f"{spent} s of CPU in 2 s without descriptors"
    assert len([line for line in one.log if "out of descriptors" in line.text]) <= 5, "the log is flooded"
    assert one.workers == [worker] and one.process.poll() is None
    answered = 0
    for client in clients:
        try:
            answered += client.recv(2) == b"go"
        except OSError:
            pass
        client.close()
    assert answered > 10, answered
    wait_until(lambda: len(one.connections()) == 150, 10, "all of them to be done with")
    burst(one.port, 20, at_once=5)
    assert one.workers == [worker]


def test_out_of_descriptors_connections_that_are_open_go_on(usher):
    with Backend() as backend:
        one = usher(RELAY, backend=backend.port)
        set_limit_of_worker(one.workers[0], 48)
        client, server = pair(one, backend)
        others = [one.connect() for _ in range(60)]
        one.wait_log("out of descriptors")
        for number in range(20):
            client.sendall(b"%08d" % number)
            assert read_exactly(server, 8) == b"%08d" % number
        exchange(client, server, 5000000, 5000000)  # what needs pipes must do without
        for other in (*others, client, server):
            other.close()


def is_answered(client):
    client.setblocking(False)
    try:
        return client.recv(2, socket.MSG_PEEK) == b"go"
    except OSError:
        return False


def test_out_of_descriptors_with_programs_on_pipes(usher):
    """An answer of the master whose descriptors find no place costs that connection, not the worker."""
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 1;
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; stdio = "pipe";
                       max_startups = 0; max_startups_per_source = 0; } );
    """
    )
    (worker,) = one.workers
    set_limit_of_worker(worker, 100)
    clients = [one.connect() for _ in range(60)]
    for client in clients:
        client.sendall(b"go")
    wait_until(lambda: sum(map(is_answered, clients)) > 10, 10, "more than ten programs")
    for client in clients:
        client.close()
    burst(one.port, 20, at_once=5)
    assert one.workers == [worker] and one.process.poll() is None
    wait_until(lambda: not one.programs(), 5, "programs to end")


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to change the master's limits")
@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_a_master_without_descriptors_fails_that_program_only(usher, stdio):
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 1;
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; stdio = "{stdio}";
                       max_startups = 0; max_startups_per_source = 0; } );
    """,
        stdio=stdio,
    )
    full = count_fds(one.pid)
    for room in range(3):
        set_limit(one.pid, full + room)
        with one.connect(timeout=3) as client:
            client.sendall(b"go\n")
            data = b"?"
            try:
                data = client.recv(10)
            except ConnectionResetError:
                data = b""
            assert data in (b"", b"go\n") or data.startswith(b"go\r\n"), data
        set_limit(one.pid, 1000)
        with one.connect(timeout=3) as client:
            client.sendall(b"go\n")
            assert read_exactly(client, 2) == b"go"
    assert any(line.get("error") == "Too many open files" for line in one.wait_connections(6))
    wait_until(lambda: count_fds(one.pid) == full, 2, f"{full} descriptors again")


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to change the master's limits")
def test_a_reload_without_descriptors_changes_nothing(usher, echo):
    """Refused, the new port closed again, the old service as it was; and usher still ends when told."""
    one = usher(RELAY, backend=echo.port4)
    full = count_fds(one.pid)
    one.write(RELAY.replace("listen = [", 'listen = [ "127.0.0.1:{port_new}",'))
    for room in range(1, 4):
        told = one.output().count("reload refused")
        served = one.output().count("notice serving")
        set_limit(one.pid, full + room)
        one.send_signal(1)
        wait_until(
            lambda: one.output().count("reload refused") > told
            or one.output().count("notice serving") > served,
            5,
            "news",
        )
        set_limit(one.pid, 1000)
        if one.output().count("notice serving") > served:
            break
        with pytest.raises(ConnectionRefusedError):
            connect(one.ports["port_new"])
        assert count_fds(one.pid) == full
        burst(one.port, 10, at_once=2)
    one.stop()


def test_more_than_max_connections_are_closed_and_told(usher, echo):
    one = usher("max_connections = 20;" + RELAY, backend=echo.port4)
    inside = [one.connect() for _ in range(20)]
    for client in inside:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"
    for _ in range(30):
        with one.connect() as client:
            client.sendall(b"go")
            assert how_it_ends(client) in ("eof", "reset")
    lines = one.wait_log("max_connections")
    assert len(lines) <= 3
    inside.pop().close()
    wait_until(lambda: len(one.connections()) == 1, 3)
    burst(one.port, 1, at_once=1)
    for client in inside:
        client.close()


def test_a_flood_of_connections_that_reset_at_once(usher, echo):
    one = usher(RELAY, backend=echo.port4)
    for _ in range(1500):
        reset(one.connect())
    burst(one.port, 20, at_once=5)
    assert one.process.poll() is None


def test_a_listening_socket_that_was_shut_down_listens_again_and_does_not_make_usher_spin():
    """Whoever handed a socket over still has it, and may shut it down."""
    with socket.create_server(("127.0.0.1", 0)) as handed:
        port = handed.getsockname()[1]
        one = HandedUsher(
            [handed],
            f"""
            listen = [ "127.0.0.1:{port}" ];  workers = 1;
            protocols = ( {{ name = "go"; string = "go"; }} );
            services = ( {{ name = "go"; match = "go"; exec = [ "/bin/cat" ]; }} );
        """,
        ).start()
        with connect(port) as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
        handed.shutdown(socket.SHUT_RDWR)
        one.wait_log("was shut down by a worker, or the program that handed it over, and listens again")
        with connect(port) as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
        before = cpu_of(one.workers)
        time.sleep(1)
        assert cpu_of(one.workers) - before < 0.1
        one.stop()
        one.clean()
