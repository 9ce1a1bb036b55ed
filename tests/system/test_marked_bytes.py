"""Urgent bytes of TCP and bytes with descriptors among a client's first ones: what is decided on is what is delivered."""

import array
import os
import platform
import socket

import pytest
from harness import read_all, read_exactly, connect
from peers import Backend

SSH = b"SSH-2.0-abc\r\n"
HTTP = b"GET / HTTP/1.1\r\nHost: program.example\r\n\r\n"

CONFIG = """
listen = ( "127.0.0.1:{port}", { address = "unix:{dir}/listener"; mode = 0666; },
           { address = "127.0.0.1:{port_proxied}"; accept_proxy = "127.0.0.1"; } );
workers = 1;
decide_timeout = 60;
services = (
  { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{ssh}"; },
  { name = "program"; match = { host = "program.example"; }; exec = [ "/bin/cat" ]; },
  { name = "rest"; connect = "127.0.0.1:{rest}"; } );
on_unknown = "rest";
"""

# An older kernel shows nothing behind an urgent byte of TCP until it is read: the client is unknown there.
SEES_PAST_URGENT_BYTES = tuple(int(x) for x in platform.release().split(".")[:2]) >= (6, 9)


@pytest.fixture
def one(usher):
    with Backend() as ssh, Backend() as rest:
        started = usher(CONFIG, ssh=ssh.port, rest=rest.port)
        started.ssh, started.rest = ssh, rest
        yield started


def urgent(client, byte):
    client.send(byte, socket.MSG_OOB)


def with_descriptor(client, byte):
    with open(os.devnull, "rb") as file:
        client.sendmsg([byte], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))])


def has_urgent_unix():
    a, b = socket.socketpair()
    with a, b:
        try:
            a.send(b"x", socket.MSG_OOB)
        except OSError:
            return False
        return True


WAYS = {"tcp": ("tcp", urgent), "unix": ("unix", urgent), "descriptor": ("unix", with_descriptor)}


def client_of(one, kind):
    return connect(one.dir / "listener") if kind == "unix" else one.connect()


def send_marked(client, data, at, mark):
    """Each part for itself, so that the mark is in the middle of what has come."""
    if at:
        client.sendall(data[:at])
    mark(client, data[at : at + 1])
    if data[at + 1 :]:
        client.sendall(data[at + 1 :])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [0, 1, 3, 7])
def test_a_marked_byte_is_one_of_those_that_are_decided_on(one, way, at):
    kind, mark = WAYS[way]
    if way == "unix" and not has_urgent_unix():
        pytest.skip("this kernel has no urgent bytes on UNIX sockets")
    backend = one.ssh if kind == "unix" or at == 0 or SEES_PAST_URGENT_BYTES else one.rest
    with client_of(one, kind) as client:
        send_marked(client, SSH, at, mark)
        with backend.accept() as server:
            assert read_exactly(server, len(SSH)) == SSH
            server.sendall(b"welcome")
            assert read_exactly(client, 7) == b"welcome"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_marked_byte_makes_of_the_rest_is_not_passed_over(one, way):
    """Without its first byte it would be SSH."""
    kind, mark = WAYS[way]
    if way == "unix" and not has_urgent_unix():
        pytest.skip("this kernel has no urgent bytes on UNIX sockets")
    with client_of(one, kind) as client:
        send_marked(client, b"X" + SSH, 0, mark)
        with one.rest.accept() as server:
            assert read_exactly(server, 1 + len(SSH)) == b"X" + SSH


def test_many_descriptors_among_the_first_bytes_end_the_looking_and_not_the_connection(one):
    with client_of(one, "unix") as client:
        for byte in b"S" * 100:
            with_descriptor(client, bytes([byte]))
        with one.rest.accept() as server:
            assert read_exactly(server, 100) == b"S" * 100


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_has_the_socket_reads_what_was_decided_on(one, way):
    kind, mark = WAYS[way]
    if way == "unix" and not has_urgent_unix() or way == "tcp" and not SEES_PAST_URGENT_BYTES:
        pytest.skip("this kernel shows nothing behind such a byte")
    with client_of(one, kind) as client:
        send_marked(client, HTTP, 18, mark)
        assert read_exactly(client, len(HTTP)) == HTTP
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


@pytest.mark.skipif(not SEES_PAST_URGENT_BYTES, reason="this kernel shows nothing behind an urgent byte")
def test_a_proxys_header_may_have_a_marked_byte(one):
    header = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 22\r\n"
    with connect(one.ports["port_proxied"]) as client:
        send_marked(client, header + SSH, 10, urgent)
        with one.ssh.accept() as server:
            assert read_exactly(server, len(SSH)) == SSH
