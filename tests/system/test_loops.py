"""A service that leads back to usher's own listener: refused where the file shows it, cut where only the running usher can see it."""

import os
import socket

import pytest
from harness import count_fds, free_port, run_usher, wait_until, write_config
from peers import how_it_ends

CUT = "Leads back to usher itself"

UNIX_LISTENER = """
listen = ( { address = "unix:%(dir)s/real/listener"; mode = 0666; } );
services = ( { name = "ssh"; match = "ssh"; %(to)s; } );
"""


@pytest.fixture
def folder(place):
    """real/ with room for a socket, and ways to it by links: of a folder, of the socket, one by another, across."""
    os.makedirs(place / "real" / "deep")
    os.symlink(place / "real", place / "folder-link")
    os.symlink(place / "real" / "listener", place / "socket-link")
    os.symlink("socket-link", place / "link-of-a-link")
    os.symlink("../../real/listener", place / "real" / "deep" / "up-again")
    return place


SPELLINGS = [
    "real/./listener", "real//listener", "./real/listener", "real/deep/../listener", "absent/../real/listener", "folder-link/listener",
    "folder-link/deep/../listener", "socket-link", "link-of-a-link", "real/deep/up-again",
]


@pytest.mark.parametrize("delivery, spelling", [*(("connect", one) for one in SPELLINGS), ("handover", SPELLINGS[0])])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_listeners_path_by_another_spelling_is_refused(folder, delivery, spelling, is_there):
    if is_there:
        with socket.socket(socket.AF_UNIX) as somebody:
            somebody.bind(str(folder / "real" / "listener"))
    prefix = "unix:" if delivery == "connect" else ""
    text = UNIX_LISTENER % {"dir": folder, "to": f'{delivery} = "{prefix}{folder}/{spelling}"'}
    result = run_usher("check", "-c", write_config(folder, text))
    assert result.returncode == 2, result.stdout
    assert "is usher's own listener" in result.stderr and "usher.conf:3: `" in result.stderr


@pytest.mark.parametrize("spelling", ["real/other", "real/deep/listener", "absent/listener", "real/listener2", "listener"])
def test_another_path_is_not_a_loop(folder, spelling):
    text = UNIX_LISTENER % {"dir": folder, "to": f'connect = "unix:{folder}/{spelling}"'}
    result = run_usher("check", "-c", write_config(folder, text))
    assert result.returncode == 0, result.stderr


def one_client_is_cut(one, client, errors=(CUT,)):
    """Nothing is left of it but one connection that leads back, which says nothing."""
    (worker,) = one.workers
    before = count_fds(worker)
    with client:
        client.sendall(b"SSH-2.0-x\r\n")
        assert how_it_ends(client) in ("eof", "reset")
    wait_until(lambda: one.connections(end="delivery-failed"), 60, "the connection is given up")
    (line,) = one.connections(end="delivery-failed")
    assert line["error"] in errors, line
    wait_until(lambda: count_fds(worker) <= before + 1, 60, "the descriptors are back")
    assert len(one.connections()) <= 6  # a name is looked up anew, and tried again


LOOP = """
listen = ( "127.0.0.1:{port}", { address = "unix:{dir}/listener"; mode = 0666; } );
workers = 1;
decide_timeout = 60;
services = ( { name = "ssh"; match = "ssh"; connect = "unix:{dir}/server"; } );
"""


@pytest.mark.parametrize("way", ["link", "hard link", "renamed"])
def test_a_path_that_leads_back_later_is_cut(usher, way):
    one = usher(LOOP)
    if way == "link":
        os.symlink(one.dir / "listener", one.dir / "server")
    elif way == "hard link":
        os.link(one.dir / "listener", one.dir / "server")
    else:
        os.rename(one.dir / "listener", one.dir / "server")
    one_client_is_cut(one, one.connect())


def test_a_path_that_leads_back_only_for_a_while_is_a_server_again(usher, named_echoes):
    (echo,) = named_echoes("echo")
    one = usher(LOOP.replace('"unix:{dir}/server"', '[ "unix:{dir}/server", "{echo}" ]'), echo=echo.tcp4)
    os.symlink(one.dir / "listener", one.dir / "server")
    with one.connect() as client:  # the next backend has it
        client.sendall(b"SSH-2.0-x\r\n")
        assert client.recv(5) == b"echo\n"


def names_of(address):
    """Names that the hosts file gives it, and `check` does not know."""
    with open("/etc/hosts", encoding="ascii", errors="replace") as hosts:
        lines = [line.split("#")[0].split() for line in hosts]
    return [name for line in lines if line and line[0] == address for name in line[1:]
            if name != "localhost" and not name.endswith(".localhost")]


BY_NAME = """
listen = ( "{listener}:{port}" );
workers = 1;
decide_timeout = 60;
services = ( { name = "ssh"; match = "ssh"; connect = "{name}:{port}"; } );
"""


HOSTS = {"127.0.0.1": "0.0.0.0", "127.0.1.1": "0.0.0.0", "::1": "[::]"}
NAMED = [(name, address, wildcard) for address, wildcard in HOSTS.items() for name in names_of(address)[:1]]


@pytest.mark.skipif(not NAMED, reason="the hosts file has no further name of this machine")
@pytest.mark.parametrize("on_all", [False, True])
def test_a_name_that_leads_back_is_cut(usher, on_all):
    name, address, wildcard = NAMED[0]
    one = usher(BY_NAME, listener=wildcard if on_all else f"[{address}]" if ":" in address else address, name=name)
    # What is said is what came last: a name is looked up anew first, and that may take until the deadline.
    one_client_is_cut(one, one.connect(host=address), (CUT, "Connection timed out"))


def test_a_server_on_a_listeners_port_of_another_address_is_no_loop(usher):
    """The port alone is not what makes one."""
    port = free_port()
    with socket.create_server(("127.0.0.2", port)) as server:
        one = usher('listen = "127.0.0.1:%d"; services = ( { name = "ssh"; match = "ssh"; connect = "127.0.0.2:%d"; } );' % (port, port))
        with one.connect(port) as client:
            client.sendall(b"SSH-2.0-x\r\n")
            there, _ = server.accept()
            with there:
                there.sendall(b"hello")
                assert client.recv(5) == b"hello"
