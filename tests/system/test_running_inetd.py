"""-i: one connection, on descriptor 0."""

import os
import socket
import subprocess
import threading

import pytest
from harness import BINARY, ENVIRONMENT, IS_ROOT, accepts, connect, free_port, read_all, run_usher, slow, write_config

SERVICES = """
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; } );
"""


def inetd(place, config, stderr_too=True):
    """(our end, the process) of `usher run -i` on a socket."""
    ours, its = socket.socketpair()
    path = write_config(place, config)
    process = subprocess.Popen(
        [BINARY, "run", "-i", "-c", path],
        stdin=its,
        stdout=its,
        stderr=its if stderr_too else subprocess.PIPE,
        env=ENVIRONMENT,
    )
    its.close()
    ours.settimeout(slow(10))
    return ours, process


def test_one_connection_on_descriptor_0(place):
    port = free_port()
    client, process = inetd(place, f'listen = [ "127.0.0.1:{port}" ];' + SERVICES)
    client.sendall(b"go and come back")
    assert client.recv(100) == b"go and come back"
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b""
    assert process.wait(slow(5)) == 0
    assert not accepts(("127.0.0.1", port)), "with -i it listens nowhere"
    client.close()


def test_inetd_relays_half_closes_and_all(place, echo):
    client, process = inetd(
        place,
        f"""listen = [ "127.0.0.1:1" ];  protocols = ( {{ name = "go"; string = "go"; }} );
        services = ( {{ name = "go"; match = "go"; connect = "{echo.tcp4}"; }} );""",
    )
    data = b"go" + os.urandom(3000000)
    thread = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
    thread.start()
    assert read_all(client) == data
    thread.join()
    assert process.wait(slow(5)) == 0
    client.close()


def test_inetd_over_tcp(place):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = connect(listener.getsockname()[1])
        server, _ = listener.accept()
    path = write_config(
        place,
        'listen = [ "127.0.0.1:1" ];  protocols = ( { name = "go"; string = "go"; } );'
        'services = ( { name = "go"; match = "go"; exec = [ "/usr/bin/env" ]; } );',
    )
    process = subprocess.Popen(
        [BINARY, "-i", "-c", path], stdin=server, stdout=server, stderr=server, env=ENVIRONMENT
    )
    address = server.getsockname()
    server.close()
    client.sendall(b"go")
    client.shutdown(socket.SHUT_WR)
    got = bytearray()
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    assert (
        f"TCPLOCALPORT={address[1]}\n".encode() in got
        and f"REMOTE_PORT={client.getsockname()[1]}\n".encode() in got
    )
    assert process.wait(slow(5)) == 0
    client.close()


WARNING = 'user = "root";' if IS_ROOT else ""
WARNED = """
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; },
             { name = "never"; match = "go"; reject = "close"; } );
"""
QUIET = {
    "it works": SERVICES,
    "a warning": WARNED + WARNING,
    "an error": SERVICES + "nonsense = 1;",
    "two errors": "nonsense = 1; rubbish = 2;" + SERVICES,
    "a syntax error": SERVICES + "}",
    "a bad log": SERVICES + 'log = { to = "/no/such/directory/log"; };',
    "debug": SERVICES + 'log = { level = "debug"; };',
}


@pytest.mark.parametrize("case", QUIET)
def test_inetd_says_nothing_of_its_own_to_the_client(place, case):
    """Although descriptor 2 is the client as well."""
    client, process = inetd(place, 'listen = [ "127.0.0.1:1" ];' + QUIET[case])
    got = bytearray()
    try:
        client.sendall(b"go")
        client.shutdown(socket.SHUT_WR)
        while piece := client.recv(65536):
            got += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    status = process.wait(slow(5))
    assert bytes(got) in (b"", b"go"), got
    assert (status == 2) == ("error" in case), status
    client.close()


def test_inetd_without_a_config_file_says_nothing_to_the_client(place):
    ours, its = socket.socketpair()
    process = subprocess.Popen(
        [BINARY, "-i", "-c", place / "missing"], stdin=its, stdout=its, stderr=its, env=ENVIRONMENT
    )
    its.close()
    ours.settimeout(slow(5))
    assert read_all(ours) == b"" and process.wait(slow(5)) == 2
    ours.close()


def test_inetd_errors_reach_a_person_who_tries_it(place):
    """Where descriptor 2 is something else than the client, it may be used."""
    client, process = inetd(place, 'listen = [ "127.0.0.1:1" ]; nonsense = 1;' + SERVICES, stderr_too=False)
    assert b"unknown key `nonsense'" in process.stderr.read()
    assert process.wait(slow(5)) == 2
    process.stderr.close()
    client.close()


def test_inetd_on_what_is_no_socket(place):
    path = write_config(place, 'listen = [ "127.0.0.1:1" ];' + SERVICES)
    done = run_usher("run", "-i", "-c", path, input="go")
    assert done.returncode == 1 and "socket" in done.stderr and done.stdout == ""


def test_inetd_a_silent_client_gets_on_silence(place):
    client, process = inetd(
        place,
        'listen = [ "127.0.0.1:1" ];  decide_timeout = 0.3;'
        'services = ( { name = "hi"; exec = [ "/bin/echo", "hello" ]; } );  on_silence = "hi";',
    )
    assert read_all(client) == b"hello\n"
    assert process.wait(slow(5)) == 0
    client.close()


def test_inetd_a_client_that_leaves_ends_it(place):
    """However soon: the worker may be done before the master has heard that it was ready."""
    statuses = []
    for _ in range(40):
        client, process = inetd(place, 'listen = [ "127.0.0.1:1" ];' + SERVICES)
        client.close()
        statuses.append(process.wait(slow(5)))
    assert statuses == [0] * 40


@pytest.mark.parametrize("kind", ["datagram", "sequenced", "listening"])
def test_what_is_no_connection_is_refused(place, kind):
    """A datagram socket never ends; one that listens is for who accepts."""
    if kind == "listening":
        its = socket.create_server(("127.0.0.1", 0))
    else:
        ours, its = socket.socketpair(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_SEQPACKET)
    ended = subprocess.run([BINARY, "run", "-i", "-c", write_config(place, 'listen = [ "127.0.0.1:1" ];' + SERVICES)],
                           stdin=its, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=slow(20), check=False)
    assert ended.returncode == 1
    assert b"descriptor 0 is no connection" in ended.stderr
    its.close()
