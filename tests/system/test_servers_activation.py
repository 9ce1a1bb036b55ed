"""Listening sockets that systemd opened (sd_listen_fds(3)), played by a launcher."""

import os
import pathlib
import socket
import sys

import pytest
from harness import BINARY, accepts, connect, free_port, read_exactly, run_usher

HAS_SYSTEMD = BINARY.exists() and "libsystemd" in run_usher("--version").stdout
pytestmark = pytest.mark.skipif(not HAS_SYSTEMD, reason="built without libsystemd")

LAUNCHER = pathlib.Path(__file__).with_name("systemd_launcher.py")

CONFIG = """
listen = [ "127.0.0.1:{port}", "[::1]:{port}", "unix:{place}/in.sock" ];
services = ( { name = "all"; connect = "{echo}"; } );  on_unknown = "all";
"""


def launched_with(*addresses):
    return lambda command: [sys.executable, str(LAUNCHER), *addresses, "--", *command]


def says(address):
    with connect(address) as client:
        client.sendall(b"hello")
        return read_exactly(client, 5) == b"hello"


def count_listening(port):
    """How many IPv4 sockets listen on the port."""
    lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return len([fields for fields in lines if fields[1].endswith(f":{port:04X}") and fields[3] == "0A"])


def test_handed_sockets_serve_and_the_others_are_opened(usher, echo, place):
    port = free_port()
    path = place / "in.sock"
    config = CONFIG.replace("{port}", str(port))
    one = usher(config, wrapper=launched_with(f"127.0.0.1:{port}", str(path)), place=place, echo=echo.tcp4)
    assert says(("127.0.0.1", port)) and says(("::1", port)) and says(path)
    assert path.stat().st_mode & 0o777 == 0o640, "the handed socket's own mode"
    assert count_listening(port) == 1
    one.stop()
    assert path.exists(), "it is systemd's socket: not ours to remove"


def test_a_handed_socket_that_no_listener_names_is_not_served(usher, echo, place):
    port, stray = free_port(), free_port()
    usher(CONFIG.replace("{port}", str(port)), place=place, echo=echo.tcp4,
          wrapper=launched_with(f"127.0.0.1:{stray}", f"127.0.0.1:{port}"))
    assert says(("127.0.0.1", port))
    assert not accepts(("127.0.0.1", stray))


class Keeper:
    """Has the handed sockets as well, as systemd does."""

    def __init__(self, place):
        self.path = f"{place}/keeper"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.fds = []

    def take(self):
        with self.listener.accept()[0] as client:
            _, self.fds, _, _ = socket.recv_fds(client, 1, 8)

    def close(self):
        self.listener.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def keeper(place):
    one = Keeper(place)
    yield one
    one.close()


@pytest.mark.parametrize("when", ["start", "reload"])
def test_clients_of_a_handed_socket_that_nobody_serves_are_refused(usher, echo, place, keeper, when):
    """It would take them for ever: systemd keeps it open."""
    port, stray = free_port(), free_port()
    config = CONFIG.replace("{port}", str(port))
    both = config.replace("listen = [", f'listen = [ "127.0.0.1:{stray}",')
    one = usher(config if when == "start" else both, place=place, echo=echo.tcp4,
                wrapper=launched_with("@" + keeper.path, f"127.0.0.1:{stray}", f"127.0.0.1:{port}"))
    keeper.take()
    if when == "reload":
        assert says(("127.0.0.1", stray))
        one.reload(config)
    (warning,) = one.wait_log("that was handed over for")
    assert f"127.0.0.1:{stray}" in warning.text and warning.level == "warning"
    with pytest.raises(ConnectionRefusedError):
        connect(stray).close()
    assert says(("127.0.0.1", port))
    if when == "reload":
        one.reload(both)
        assert says(("127.0.0.1", stray)), "bound by usher itself now"
    one.stop()
    connect(port).close()  # it is systemd's, and goes on


def test_two_handed_sockets_of_one_address_are_both_served(usher, echo, place, keeper):
    port = free_port()
    address = f"127.0.0.1:{port}"
    one = usher(CONFIG.replace("{port}", str(port)), place=place, echo=echo.tcp4,
                wrapper=launched_with("@" + keeper.path, address, address))
    keeper.take()
    assert count_listening(port) == 2
    assert all(says(("127.0.0.1", port)) for _ in range(40))
    one.reload()
    assert count_listening(port) == 2
    assert all(says(("127.0.0.1", port)) for _ in range(40))


def test_programs_do_not_inherit_the_notice_or_the_sockets(usher, place):
    port = free_port()
    one = usher("""
        listen = [ "127.0.0.1:%d" ];
        services = ( { name = "all"; exec = [ "/bin/sh", "-c", "read x; env; ls /proc/self/fd" ]; } );
        on_unknown = "all";
    """ % port, wrapper=launched_with(f"127.0.0.1:{port}"))
    with connect(port) as client:
        client.sendall(b"x\n")
        text = client.makefile().read()
    assert "LISTEN_" not in text
    fds = [line for line in text.splitlines() if line.isdigit()]
    assert set(fds) <= {"0", "1", "2", "3"}, "3 is the directory that ls reads"
    one.wait_connections(1)


def test_a_reload_keeps_the_handed_sockets(usher, echo, place):
    port = free_port()
    config = CONFIG.replace("{port}", str(port))
    one = usher(config, wrapper=launched_with(f"127.0.0.1:{port}", str(place / "in.sock")), place=place,
                echo=echo.tcp4)
    one.reload()
    assert says(("127.0.0.1", port)) and says(place / "in.sock")
