"""How fast usher relays where a service has a `bandwidth`, and clients that are kept waiting in a tarpit. A limit is seen by the time that
something takes at least."""

import threading
import time

import pytest
from harness import NEVER, connect, read_all, read_exactly, wait_until
from peers import cpu_of, reset

PACED = """
listen = "127.0.0.1:{port}"; workers = 2; control = "{dir}/control";
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = "127.0.0.1:{backend}"; {pace} } );
"""


def pump(server, client, count):
    """So many bytes from one to the other: the seconds that took."""
    def send():
        server.sendall(b"x" * count)

    sender = threading.Thread(target=send)
    begin = time.monotonic()
    sender.start()
    read_exactly(client, count)
    sender.join()
    return time.monotonic() - begin


def session(one, backend):
    client = one.connect(timeout=60)
    client.sendall(b"go")
    server = backend.accept(30)
    server.settimeout(60)
    assert read_exactly(server, 2) == b"go"
    return client, server


def test_each_direction_has_its_own_rate(usher, backend):
    one = usher(PACED, backend=backend.port, pace='bandwidth = { up = "2 MB/s"; };')
    client, server = session(one, backend)
    slowly = pump(client, server, 1_400_000)
    assert slowly >= 0.6  # all but the burst, which is a tenth of a second's bytes
    assert pump(server, client, 1_400_000) < slowly


@pytest.mark.parametrize("rate", ["100 Mbit/s", "200 kB/s"])
def test_what_is_spliced_and_what_is_copied_goes_by_the_rate(usher, backend, rate):
    count, least = {"100 Mbit/s": (10_000_000, 0.7), "200 kB/s": (160_000, 0.7)}[rate]
    one = usher(PACED, backend=backend.port, pace=f'bandwidth = "{rate}";')
    client, server = session(one, backend)
    used = cpu_of(one.workers)
    assert pump(server, client, count) >= least
    assert cpu_of(one.workers) - used < least / 2  # it waits for timers


def test_all_connections_of_a_service_share_a_rate_over_all_workers_and_in_equal_parts(usher, backend):
    one = usher(PACED, backend=backend.port, pace='total_bandwidth = { down = "2 MB/s"; };')
    pairs = [session(one, backend) for _ in range(6)]
    times = []
    threads = [threading.Thread(target=lambda ends=ends: times.append(pump(ends[1], ends[0], 300_000))) for ends in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(times) >= 0.8  # 1.8 MB, all but the burst
    assert min(times) > max(times) / 8  # nobody was alone


def test_a_reload_keeps_the_rate_and_takes_a_new_one(usher, backend):
    one = usher(PACED, backend=backend.port, pace='bandwidth = "1 MB/s";')
    client, server = session(one, backend)
    one.reload()
    slowly = pump(server, client, 700_000)
    assert slowly >= 0.6
    one.words["pace"] = 'bandwidth = "100 GB/s";'
    one.reload(one.config)
    assert pump(server, client, 700_000) < slowly
    one.words["pace"] = 'total_bandwidth = "1 MB/s";'
    one.reload(one.config)
    assert pump(server, client, 700_000) >= 0.6


# ---- a tarpit


TARPIT = """
listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; {more}
services = ( { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{backend}"; },
             { name = "trap"; reject = "tarpit"; tarpit_timeout = {seconds}; {limits} } );
on_unknown = "trap";
"""


def scanner(one, source=None):
    client = connect(("127.0.0.1", one.port), 60, source=source)
    client.sendall(b"\x00\x01\x02 nonsense")
    return client


def kept(one):
    return sum(line["phase"] == "tarpit" for line in one.ask(b"sessions") if "phase" in line)


def test_a_tarpit_keeps_its_clients_sends_nothing_and_closes_in_order_at_last(usher, backend):
    one = usher(TARPIT, backend=backend.port, seconds=1, limits="", more="")
    begin = time.monotonic()
    with scanner(one) as client:
        assert read_all(client) == b""
        assert time.monotonic() - begin >= 1
    (line,) = one.wait_connections(1, 30)
    assert (line["service"], line["end"]) == ("trap", "rejected")


def test_a_tarpit_has_room_for_so_many_and_costs_no_processor_time(usher, backend):
    one = usher(TARPIT, backend=backend.port, seconds=3600, limits="max_connections = 20; per_source = 15;", more="")
    first = [scanner(one) for _ in range(15)]
    wait_until(lambda: kept(one) == 15, 30, "15 are kept")
    with scanner(one) as refused:
        assert read_all(refused) == b""
    others = [scanner(one, ("127.0.0.9", 0)) for _ in range(5)]
    wait_until(lambda: kept(one) == 20, 30, "20 are kept")
    with scanner(one, ("127.0.0.8", 0)) as refused:
        assert read_all(refused) == b""
    assert [line["rule"] for line in one.wait_connections(2, 30, end="refused")] == ["per_source", "max_connections"]
    used = cpu_of(one.workers)
    for client in first:
        client.setblocking(False)
        for _ in range(300):
            try:
                client.send(b"x" * 65536)
            except BlockingIOError:
                break
        else:
            pytest.fail("all that it sent was taken")
    time.sleep(0.3)
    assert cpu_of(one.workers) - used < 0.2
    for client in others:
        client.close()
    wait_until(lambda: kept(one) == 15, 30, "who leaves makes room")
    for client in first:
        reset(client)
    wait_until(lambda: kept(one) == 0, 30, "all are gone")


@pytest.mark.parametrize("how", ["reload", "end"])
def test_nobody_waits_for_those_who_are_kept_waiting(usher, backend, how):
    one = usher(TARPIT, backend=backend.port, seconds=NEVER, limits="", more="")
    client = scanner(one)
    wait_until(lambda: kept(one) == 1, 30, "it is kept")
    if how == "reload":
        one.reload()
    else:
        one.stop()
    client.settimeout(30)
    try:
        assert client.recv(1) == b""
    except ConnectionResetError:
        pass
    client.close()


def test_a_tarpit_makes_room_before_all_others(usher, backend):
    one = usher(TARPIT, backend=backend.port, seconds=NEVER, limits="", more="max_connections = 4; decide_timeout = 0;")
    undecided = one.connect(timeout=60)
    undecided.sendall(b"SS")
    caught = [scanner(one) for _ in range(3)]
    wait_until(lambda: kept(one) == 3, 30, "three are kept")
    with one.connect(timeout=60) as client:
        client.sendall(b"SSH-2.0-x\r\n")
        with backend.accept(30) as server:
            assert read_exactly(server, 11) == b"SSH-2.0-x\r\n"
            (line,) = one.wait_connections(1, 30)
            assert (line["service"], line["end"], line["rule"]) == ("trap", "shed", "max_connections")
            undecided.sendall(b"H-2.0-y\r\n")
            with backend.accept(30) as other:
                assert read_exactly(other, 11) == b"SSH-2.0-y\r\n"
    for client in caught:
        client.close()
