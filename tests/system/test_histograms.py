"""Histograms of services, as `usher status --json` has them: what they count, over streams and flows, and what they outlive."""

import os
import signal
import socket
import time

import pytest
from harness import read_exactly, wait_until

HELLO = b"SSH-2.0-x\r\n"
CONFIG = """
listen = [ "127.0.0.1:{port}", "udp:127.0.0.1:{port_udp}" ];
workers = %d;
control = "{dir}/control";
services = (
    { name = "echo"; match = { protocol = "ssh"; }; connect = "127.0.0.1:{backend}"; },
    { name = "dns"; match = { protocol = "dns"; }; connect = "127.0.0.1:{dns}"; },
    { name = "no"; match = { protocol = "tls"; }; reject = "close"; }
);
"""
QUERY = bytes.fromhex("123401000001000000000000076578616d706c6503636f6d0000010001")


@pytest.fixture
def backend():
    """Answers after half a second, so that the answer has another bucket than the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    data = client.recv(100)
                    time.sleep(0.5)
                    client.sendall(data)
                    client.recv(100)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def dns():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield server


def histograms(one, service):
    (status,) = one.ask(b"status")
    (found,) = [each for each in status["services"] if each["name"] == service]
    return status["histogram_bounds"], found.get("histograms")


def count(histogram):
    return sum(histogram["buckets"])


def echo(one):
    with one.connect() as client:
        client.sendall(HELLO)
        assert read_exactly(client, len(HELLO)) == HELLO


def test_each_session_is_in_each_histogram_of_its_service_once(usher, backend, dns):
    one = usher(CONFIG % 1, backend=backend, dns=dns.getsockname()[1])
    bounds, seen = histograms(one, "echo")
    assert seen is None
    assert all(len(list_) == 16 and list_ == sorted(list_) for list_ in bounds.values())
    echo(one)
    one.wait_connections(1)
    bounds, seen = histograms(one, "echo")
    assert set(seen) == set(bounds) == {"decision", "connect", "answer", "session", "bytes"}
    for name, histogram in seen.items():
        assert count(histogram) == 1 and len(histogram["buckets"]) == 17, name
    assert seen["bytes"]["sum"] == 2 * len(HELLO)
    assert seen["bytes"]["buckets"][0] == 1
    assert seen["decision"]["sum_s"] <= seen["answer"]["sum_s"] + seen["decision"]["sum_s"] <= seen["session"]["sum_s"] + 0.01
    assert seen["answer"]["sum_s"] > 0.4 and seen["session"]["sum_s"] > 0.4
    assert sum(seen["answer"]["buckets"][:bounds["answer"].index(0.25) + 1]) == 0
    assert histograms(one, "no")[1] is None


def test_a_session_that_is_answered_is_seen_before_it_ends(usher, backend, dns):
    one = usher(CONFIG % 1, backend=backend, dns=dns.getsockname()[1])
    with one.connect() as client:
        client.sendall(HELLO)
        read_exactly(client, len(HELLO))
        _, seen = histograms(one, "echo")
        assert [count(seen[name]) for name in ("decision", "connect", "answer", "session", "bytes")] == [1, 1, 1, 0, 0]


def test_a_rejected_session_has_a_decision_and_a_length(usher, backend, dns):
    one = usher(CONFIG % 1, backend=backend, dns=dns.getsockname()[1])
    with one.connect() as client:
        client.sendall(bytes.fromhex("16030100050100000100") * 3)
        assert client.recv(1) == b""
    one.wait_connections(1)
    _, seen = histograms(one, "no")
    if seen:
        assert [count(seen[name]) for name in ("decision", "connect", "answer", "session", "bytes")] == [1, 0, 0, 1, 0]


def test_flows_are_measured_like_connections(usher, backend, dns):
    one = usher(CONFIG % 1, backend=backend, dns=dns.getsockname()[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", one.ports["port_udp"]))
        client.settimeout(20)
        client.send(QUERY)
        query, peer = dns.recvfrom(2000)
        dns.sendto(query, peer)
        assert client.recv(2000) == QUERY
        wait_until(lambda: histograms(one, "dns")[1] and count(histograms(one, "dns")[1]["answer"]) == 1, 20.0, "the answer")
    _, seen = histograms(one, "dns")
    assert count(seen["decision"]) == 1


def test_what_was_measured_outlives_workers_reloads_and_upgrades(usher, backend, dns):
    one = usher(CONFIG % 2, backend=backend, dns=dns.getsockname()[1], may_crash=True)
    for _ in range(4):
        echo(one)
    one.wait_connections(4)
    before = histograms(one, "echo")
    for pid in one.workers:
        os.kill(pid, signal.SIGKILL)
    one.wait_log("killed by signal 9", count=2, timeout=20.0)
    assert histograms(one, "echo") == before
    with one.connect() as client:
        client.sendall(HELLO)
        read_exactly(client, len(HELLO))
        one.reload()
        before = histograms(one, "echo")[1]
        assert count(before["answer"]) == 5
        one.send_signal(signal.SIGUSR2)
        one.wait_log("serving", count=3, timeout=30.0)
        assert count(histograms(one, "echo")[1]["answer"]) == 5
    # The session began two generations before, and ends in this one.
    wait_until(lambda: count(histograms(one, "echo")[1]["session"]) == 5, 20.0, "its end")
    assert count(histograms(one, "echo")[1]["bytes"]) == 5
