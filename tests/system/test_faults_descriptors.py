"""Whoever writes to a UNIX socket can send descriptors along, and usher closes them. A socket that lingers makes whoever closes it last
wait until its peer has taken what is in it: usher must not be that one. The senders close their own copies while usher is stopped."""

import array
import os
import signal
import socket
import struct

import pytest
from harness import connect, read_exactly, slow, wait_until
from servers import listening

CONFIG = """
listen = [ "127.0.0.1:{port}", "unix:{dir}/in.sock" ];  workers = 1;  control = "{dir}/control";
services = ( { name = "there"; match = "ssh"; connect = "unix:{back}"; },
             { name = "echo"; connect = "{echo}"; } );
on_unknown = "echo";
"""
HELLO = b"SSH-2.0-test\r\n"
MINUTE = 60.0


def lingering_socket():
    """It has more to say than its peer takes, and says it for a hundred thousand seconds. With the peer, to be kept."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 100000))
    one.setblocking(False)
    try:
        while True:
            one.send(bytes(1 << 20))
    except BlockingIOError:
        return one, peer


class Stopped:
    """usher, all of it, is stopped meanwhile: what was sent is in its queues, and only there."""

    def __init__(self, one):
        self.pids = [one.pid, *one.workers]

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def send_along(sender, data, one):
    """Returns the peer, or None: the kernel lets nobody send descriptors there."""
    lingering, peer = lingering_socket()
    with Stopped(one):
        try:
            sender.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lingering.fileno()]))])
        except PermissionError:
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            lingering.close()
            peer.close()
            return None
        lingering.close()
    return peer


@pytest.fixture
def one(usher, place, echo):
    with listening(str(place / "back.sock")) as back:
        os.chmod(place / "back.sock", 0o777)
        started = usher(CONFIG, echo=echo.tcp4, back=place / "back.sock")
        started.back = back
        yield started


def answers(one):
    with one.connect(timeout=MINUTE) as client:
        client.sendall(b"hello\n")
        return read_exactly(client, 6) == b"hello\n" and one.ask(b"status", MINUTE)[0]["state"] == "serving"


@pytest.mark.parametrize("early", [True, False])
def test_a_client_that_sends_a_socket_that_lingers_makes_no_worker_wait(one, early):
    with connect(one.dir / "in.sock", MINUTE) as client:
        if not early:
            client.sendall(b"hello\n")
            assert read_exactly(client, 6) == b"hello\n"
        peer = send_along(client, b"more\n", one)
        assert answers(one)
        assert read_exactly(client, 5) == b"more\n"
    peer.close()


def test_a_backend_that_sends_one_makes_no_worker_wait(one):
    with one.connect(timeout=MINUTE) as client:
        client.sendall(HELLO)
        one.back.settimeout(slow(MINUTE))
        server, _ = one.back.accept()
        with server:
            assert read_exactly(server, len(HELLO)) == HELLO
            peer = send_along(server, b"more\n", one)
            assert answers(one)
            assert read_exactly(client, 5) == b"more\n"
    peer.close()


@pytest.mark.parametrize("said", [b"status\n", b"sta", b"status\nand more\n"])
def test_who_sends_one_to_the_control_socket_makes_the_master_wait_for_nothing(one, said):
    with connect(one.control, MINUTE) as client:
        peer = send_along(client, said, one)
        assert answers(one)
    assert answers(one)
    if peer:
        peer.close()


def test_many_are_closed_as_well_as_one(one):
    sockets = [lingering_socket() for _ in range(20)]
    with connect(one.dir / "in.sock", MINUTE) as client:
        before = len(os.listdir(f"/proc/{one.workers[0]}/fd")) if os.geteuid() == 0 else None
        with Stopped(one):
            client.sendmsg([b"hello\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                          array.array("i", [each.fileno() for each, _ in sockets]))])
            for each, _ in sockets:
                each.close()
        assert read_exactly(client, 6) == b"hello\n"
        assert answers(one)
        if before:
            wait_until(lambda: len(os.listdir(f"/proc/{one.workers[0]}/fd")) <= before + 2, MINUTE, "descriptors closed again")
    for _, peer in sockets:
        peer.close()
