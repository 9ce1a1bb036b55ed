"""The end of usher with flows open: by SIGTERM, and where the master is gone."""

import contextlib
import os
import signal
import time

import pytest
from datagrams import Server, client, exchange
from harness import NEVER, slow, wait_until

CONFIG = """
listen = "udp:127.0.0.1:{port}"; workers = 2; control = "{dir}/control"; drain_timeout = {never};
services = ( { name = "echo"; connect = "{echo}"; idle_timeout = {never}; {more} } );
on_unknown = "echo";
"""


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()


@pytest.fixture
def relay(usher, server):
    def make(more="", **options):
        return usher(CONFIG, echo=server.text(), more=more, never=NEVER, **options)

    return make


def test_at_the_end_flows_that_are_silent_are_not_waited_for(relay):
    one = relay()
    with client(one.port) as c:
        exchange(c, b"one")
        one.send_signal(signal.SIGTERM)
        one.process.wait(slow(30))
    assert [line["end"] for line in one.connections()] == ["idle"]


def test_at_the_end_a_flow_in_which_something_passes_goes_on(relay):
    one = relay()
    with client(one.port) as c:
        exchange(c, b"before")
        one.send_signal(signal.SIGTERM)
        one.wait_log("ending: ")
        end = time.monotonic() + 7
        while time.monotonic() < end:
            assert exchange(c, b"more") == b"more"
            time.sleep(0.1)
        assert one.process.poll() is None
        one.process.wait(slow(30))


def test_at_the_end_a_shorter_answer_timeout_holds(relay, server):
    server.answer = lambda datagram: []
    one = relay("answer_timeout = 0.2;")
    with client(one.port) as c:
        c.send(b"one")
        wait_until(lambda: server.got, what="the datagram")
        one.send_signal(signal.SIGTERM)
        one.process.wait(slow(30))


def test_flows_without_a_master_end_and_another_usher_has_the_port(usher, relay):
    one = relay(may_crash=True, status=-signal.SIGKILL)
    with contextlib.ExitStack() as open_:
        clients = [open_.enter_context(client(one.port)) for _ in range(8)]
        for c in clients:
            exchange(c, b"one")
        one.seen.look()
        os.kill(one.pid, signal.SIGKILL)
        one.process.wait()
        wait_until(lambda: not one.seen.alive(), slow(20), "the end of the workers")
        usher(one.text())
        for c in clients:
            assert exchange(c, b"two") == b"two"
