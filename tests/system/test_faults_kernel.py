"""A kernel under pressure: system calls of the workers fail as the real ones do, by a library that is preloaded
(tests/faults). What can succeed does, whole; what cannot costs that one connection."""

import datetime
import json
import re
import time

import pytest
from harness import BUILD, read_exactly, run_usher, slow
from peers import SANITIZED, Backend, Receiver, Sender, cpu_of, exchange, how_it_ends, pair

INJECT = BUILD / "tests/faults/faults-inject.so"
MEMORY = BUILD / "tests/faults/faults-memory.so"

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  control = "{dir}/control";  {more}
protocols = ( { name = "go"; string = "go"; }, { name = "spare"; string = "spare"; } );
services = ( { name = "go"; match = "go"; connect = [ {backends} ]; {fallback} },
             { name = "spare"; match = "spare"; exec = [ "/bin/echo", "spare" ];
               max_startups = 0; max_startups_per_source = 0; } );
"""


@pytest.fixture
def pressed(usher):
    """pressed(backends, faults): an usher whose workers' system calls fail so."""

    def start(backends, faults="", workers=1, fallback="", more="", env=None):
        preload = {"LD_PRELOAD": str(INJECT), "USHER_FAULTS": faults} if faults else {}
        return usher(CONFIG, backends=backends, workers=workers, fallback=fallback, more=more, env={**preload, **(env or {})})

    return start


def at(backend):
    return f'"127.0.0.1:{backend.port}"'


# ---- row 14: nothing lost, nothing twice


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("faults", ["interrupt=0.3", "refuse=0.3", "short=0.6", "interrupt=0.1 refuse=0.2 short=0.5"])
def test_bytes_are_whole_whatever_is_interrupted_refused_or_cut_short(pressed, backend, faults, seed):
    one = pressed(at(backend), f"seed={seed} {faults}")
    pairs = [pair(one, backend) for _ in range(4)]
    threads = []
    for number, (client, server) in enumerate(pairs):
        threads += [(Sender(client, 3000000, seed + number), Receiver(server, number))]
        threads += [(Sender(server, 3000000, seed + number + 50), Receiver(client, number + 9))]
    for sender, receiver in threads:
        sender.join(slow(15))
        receiver.join(slow(15))
        assert receiver.size == 3000000 and receiver.digest == sender.digest, (receiver.size, receiver.error)
    lines = one.wait_connections(4)
    assert all(line["end"] == "finished" and line["bytes_down"] == "3000000" for line in lines)
    assert all(line["bytes_up"] == "3000002" for line in lines)
    one.stop()
    # How many calls there are depends on how much each moves; with none there was no test.
    assert int(re.search(r"injected (\d+) faults", one.output()).group(1)) > 5


def test_pieces_that_wait_for_answers_do_not_stall(pressed, echo):
    """Each answer must come before the next question: an edge that was taken for granted would be missed here."""
    one = pressed(f'"{echo.tcp4}"', "seed=9 interrupt=0.2 refuse=0.2 short=0.5", workers=2)
    for number in range(20):
        with one.connect() as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
            for size in (1, 100, 5000, 70000, 3):
                client.sendall(bytes([number]) * size)
                assert read_exactly(client, size) == bytes([number]) * size


# ---- row 3: no descriptor for who comes


def test_accepting_waits_and_serves_everybody_in_the_end(pressed, echo):
    one = pressed(f'"{echo.tcp4}"', "seed=5 accept=0.3")
    clients = [one.connect() for _ in range(60)]
    for client in clients:
        client.sendall(b"go")
    assert json.loads(run_usher("status", "-s", one.dir / "control", "--json").stdout)["state"] == "serving"
    for client in clients:
        assert read_exactly(client, 2) == b"go"
        client.close()
    assert one.wait_log("out of descriptors or memory")
    assert len(one.wait_connections(60)) == 60


def test_accepting_that_always_fails_neither_spins_nor_floods_the_log(pressed, echo):
    one = pressed(f'"{echo.tcp4}"', "seed=5 accept=1")
    clients = [one.connect() for _ in range(20)]
    time.sleep(0.3)
    before = cpu_of(one.workers)
    time.sleep(1.5)
    assert cpu_of(one.workers) - before < 0.2
    assert len([line for line in one.log if "out of descriptors" in line.text]) <= 4
    assert json.loads(run_usher("status", "-s", one.dir / "control", "--json").stdout)["state"] == "serving"
    for client in clients:
        client.close()


# ---- row 4: none for the other side


def test_without_pipes_bulk_is_copied(pressed, backend):
    one = pressed(at(backend), "seed=3 pipe=1")
    exchange(*pair(one, backend), 20000000, 20000000)


def test_without_a_socket_for_the_backend_the_fallback_takes_over(pressed, backend):
    one = pressed(at(backend), "seed=3 socket=1", fallback='fallback = "spare";')
    for _ in range(5):
        with one.connect() as client:
            client.sendall(b"go")
            assert read_exactly(client, 6) == b"spare\n"
    assert len(one.wait_log("service go failed .*, falling back to spare")) >= 1
    assert backend.nobody_comes(0.1)


def test_who_gets_no_socket_is_closed_with_the_reason_and_leaves_others_alone(pressed, backend):
    one = pressed(at(backend), "seed=11 socket=0.4")
    client = server = None
    served = failed = 0
    for _ in range(40):
        one_client = one.connect()
        one_client.sendall(b"go")
        one_server = backend.accept_unless_ended(one_client)
        if one_server:
            served += 1
            client, server = client or one_client, server or one_server
        else:
            failed += 1
            assert how_it_ends(one_client) in ("eof", "reset")
    assert served > 5 and failed > 5
    client.settimeout(slow(10))
    assert read_exactly(server, 2) == b"go"
    exchange(client, server, 300000, 300000)
    reasons = {line["error"] for line in one.wait_connections(failed, end="delivery-failed")}
    assert reasons <= {"Too many open files", "Too many open files in system", "No buffer space available",
                       "Cannot allocate memory"} and len(reasons) > 1


# ---- row 30: no port to come from


def test_without_a_port_to_come_from_the_next_backend_is_tried_and_the_reason_is_told(pressed):
    backend = Backend(("0.0.0.0", 0))
    one = pressed(", ".join(f'"127.0.0.{i}:{backend.port}"' for i in (1, 2, 3)), "seed=2 connect=0.5")
    served = failed = 0
    for _ in range(40):
        with one.connect() as client:
            client.sendall(b"go")
            server = backend.accept_unless_ended(client)
            if server:
                served += 1
                server.close()
            else:
                failed += 1
    assert served > 25 and failed >= 1, "of three tries one in eight fails"
    lines = one.wait_connections(failed, end="delivery-failed")
    assert {line["error"] for line in lines} <= {"Cannot assign requested address", "No buffer space available"}


# ---- row 5: no memory


def transfers(one, backend, count):
    """How many of so many connections were whole; the others must have ended, and none may be stuck."""
    whole = 0
    for number in range(count):
        try:
            client = one.connect(timeout=5)
        except ConnectionResetError:
            continue
        try:
            client.sendall(b"go")
        except ConnectionError:
            assert how_it_ends(client) in ("eof", "reset")
            continue
        server = backend.accept_unless_ended(client)
        if not server:
            assert how_it_ends(client) in ("eof", "reset")
            continue
        up, down = Sender(client, 400000, number), Receiver(server, number)
        up.join(slow(5))
        down.join(slow(5))
        assert not up.is_alive() and not down.is_alive(), "stuck"
        if down.error is None and up.error is None and down.size == 400002:
            whole += 1
        else:
            assert down.error is not None or down.size < 400002
        client.close()
        server.close()
    return whole


@pytest.mark.parametrize("faults", ["break=0.02", "watch=0.1", "break=0.01 watch=0.05 socket=0.05 accept=0.05 pipe=0.5 short=0.3"])
def test_what_the_kernel_has_no_memory_for_fails_alone(pressed, backend, faults):
    one = pressed(at(backend), "seed=8 " + faults, workers=2)
    workers = one.workers
    whole = transfers(one, backend, 60)
    assert 5 < whole < 60, whole
    assert one.workers == workers, "a worker died of it"


@pytest.mark.skipif(SANITIZED, reason="a sanitizer brings an allocator of its own")
def test_allocations_that_fail_cost_their_connection_alone(pressed, backend):
    one = pressed(at(backend), env={"LD_PRELOAD": str(MEMORY), "USHER_NO_MEMORY": "0.3"}, workers=2)
    workers = one.workers
    whole = transfers(one, backend, 60)
    assert whole > 5, whole
    assert one.workers == workers, "a worker died of it"


# ---- row 19: the wall clock


def test_a_wall_clock_that_jumps_is_noticed_by_nobody(pressed, backend):
    """By up to a day, back and forth, at each reading. Timeouts are the same, and sessions go on."""
    one = pressed(at(backend), "seed=4 clock=1", more="decide_timeout = 1.0;  idle_timeout = 6.0;")
    (worker,) = one.workers
    client, server = pair(one, backend)
    begin = time.monotonic()
    silent = one.connect()
    assert how_it_ends(silent) == "eof"
    assert time.monotonic() - begin > 0.9
    for _ in range(4):
        time.sleep(0.4)
        begin = time.monotonic()
        client.sendall(b"x")
        assert read_exactly(server, 1) == b"x"
    assert how_it_ends(client) == "eof"
    assert time.monotonic() - begin > 5.7
    exchange(*pair(one, backend), 1000000, 1000000)
    lines = one.wait_connections(3)
    assert [line["end"] for line in lines] == ["idle", "no-service", "finished"]
    assert float(lines[1]["total_ms"]) > 900
    times = sorted(datetime.datetime.fromisoformat(line.time.rstrip("Z")) for line in one.log if line.time)
    assert times[-1] - times[0] > datetime.timedelta(hours=1), "the clock that is printed did jump"
    assert one.workers == [worker]
