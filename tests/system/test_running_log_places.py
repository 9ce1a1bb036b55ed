"""Where the log may go besides a plain file: standard streams by their names in /dev, other descriptors, symbolic links."""

import os
import re
import signal
import socket
import threading

import pytest
from harness import IS_ROOT, read_exactly, wait_until
from peers import RELAY


def one_connection(one):
    with one.connect() as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"


def logging_to(usher, echo, path, **options):
    return usher(RELAY + 'log = { to = "{path}"; };', backend=echo.port4, path=path, **options)


def redirected(redirections):
    return lambda command: ["sh", "-c", f'exec "$@" {redirections}', "sh", *command]


@pytest.mark.parametrize(
    "path, stream",
    [("/dev/stdout", "2>/dev/null >>"), ("/dev/stderr", ">/dev/null 2>>"), ("/dev/fd/7", ">/dev/null 2>&1 7>>"),
     ("/proc/self/fd/1", "2>/dev/null >>")],
)
def test_the_log_goes_to_a_descriptor_that_the_path_names(usher, echo, place, path, stream):
    """Over a reopening, a reload and an upgrade, too."""
    written = place / "written"

    def text():
        return written.read_text() if written.exists() else ""

    one = logging_to(usher, echo, path, wrapper=redirected(f"{stream}{written}"), serving=False)
    wait_until(lambda: "serving: " in text(), 30, "usher to serve")
    for number, act in enumerate((None, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2), 1):
        serving = text().count("serving: ")
        if act:
            one.send_signal(act)
        if act in (signal.SIGHUP, signal.SIGUSR2):
            wait_until(lambda: text().count("serving: ") > serving, 30, "usher to serve again")
        one_connection(one)
        wait_until(lambda: text().count(" connection id=") == number, 30, "its line in " + text())


def test_the_log_goes_to_a_standard_stream_that_is_a_pipe(usher, echo, place):
    reader, writer = os.pipe()
    one = logging_to(usher, echo, "/dev/stdout",
                     wrapper=redirected(f">/proc/{os.getpid()}/fd/{writer}"))
    os.close(writer)
    one_connection(one)
    seen = b""
    while b" connection id=1 " not in seen:
        seen += os.read(reader, 65536)
    one.stop()
    os.close(reader)


def test_a_link_to_a_standard_stream_is_followed(usher, echo, place):
    """As in container images, whose /var/log/... leads to /dev/stdout."""
    (place / "log").symlink_to("link")
    (place / "link").symlink_to("/dev/stderr")
    one = logging_to(usher, echo, place / "log")
    one_connection(one)
    one.wait_connections(1, 30)


def test_a_link_to_another_folder_is_followed(usher, echo, place):
    (place / "disk").mkdir()
    (place / "log").symlink_to("disk/log")
    one = logging_to(usher, echo, place / "log")
    one_connection(one)
    wait_until(lambda: "connection id=1" in (place / "disk/log").read_text(), 30, "its line")
    (place / "disk/log").rename(place / "disk/old")
    one.send_signal(signal.SIGUSR1)
    wait_until((place / "disk/log").exists, 30, "the file to be made anew")


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_a_link_of_somebody_else_is_refused(usher, echo, place):
    (place / "log").symlink_to(place / "elsewhere")
    os.chown(place / "log", 65534, 65534, follow_symlinks=False)
    one = logging_to(usher, echo, place / "log", serving=False, status=1)
    wait_until(lambda: one.process.poll() is not None, 30, "usher to end")
    assert f"cannot log to {place}/log: Too many levels of symbolic links" in one.output()
    assert not (place / "elsewhere").exists()


def test_links_in_a_circle_are_refused(usher, echo, place):
    (place / "log").symlink_to("other")
    (place / "other").symlink_to("log")
    one = logging_to(usher, echo, place / "log", serving=False, status=1)
    wait_until(lambda: one.process.poll() is not None, 30, "usher to end")
    assert f"cannot log to {place}/log: Too many levels of symbolic links" in one.output()


def test_a_descriptor_that_is_not_open_is_refused(usher, echo, place):
    one = logging_to(usher, echo, "/dev/fd/77", serving=False, status=1)
    wait_until(lambda: one.process.poll() is not None, 30, "usher to end")
    assert "cannot log to /dev/fd/77: Bad file descriptor" in one.output()


@pytest.mark.parametrize("path", ["stderr", "/dev/stderr"])
def test_lines_for_the_journal_have_a_priority_and_no_time(usher, echo, place, path):
    """systemd says in JOURNAL_STREAM which stream it has made, by device and inode."""
    stream = place / "stream"
    stream.write_text("")
    status = stream.stat()
    one = logging_to(usher, echo, path, wrapper=redirected(f"2>>{stream}"), serving=False,
                     env={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    wait_until(lambda: "serving: " in stream.read_text(), 30, "usher to serve")
    one_connection(one)
    wait_until(lambda: "connection id=" in stream.read_text(), 30, "its line")
    lines = stream.read_text().splitlines()
    assert [line for line in lines if re.match("<5>notice serving: ", line)], lines
    assert [line for line in lines if re.match("<6>info connection id=1 ", line)], lines


class LogServer:
    """One over UDP and one over TCP (RFC 6587, octet counting); `messages` are those that have come."""

    def __init__(self):
        self.messages = []
        self.datagrams, self.listener = socket.socket(type=socket.SOCK_DGRAM), socket.create_server(("127.0.0.1", 0))
        self.datagrams.bind(("127.0.0.1", 0))
        self.udp = f"udp:127.0.0.1:{self.datagrams.getsockname()[1]}"
        self.tcp = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        for serve in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def serve_udp(self):
        while message := self.datagrams.recv(4096):
            self.messages.append(message.decode())

    def serve_tcp(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve_stream, args=(stream.makefile("rb"),), daemon=True).start()

    def serve_stream(self, file):
        length = b""
        while digit := file.read(1):
            length += digit
            if digit == b" ":
                self.messages.append(file.read(int(length)).decode())
                length = b""

    def wait_for(self, pattern, times=1):
        wait_until(lambda: sum(bool(re.search(pattern, message)) for message in self.messages) == times, 60,
                   f"{pattern} in {self.messages}")


def test_a_log_server_gets_each_line_over_udp_then_tcp_and_after_an_upgrade(usher, echo):
    """RFC 5424: facility 3 (daemon) and level 6 make <30>."""
    server = LogServer()
    one = logging_to(usher, echo, server.udp, serving=False)
    head = rf"^<30>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z \S+ usher {one.process.pid} - - info connection id="
    server.wait_for("serving: ")
    one_connection(one)
    server.wait_for(head + "1 ")
    one.write(one.config.replace(server.udp, server.tcp))
    one.send_signal(signal.SIGHUP)
    server.wait_for("serving: ", 2)
    one_connection(one)
    server.wait_for(head + "2 ")
    one.send_signal(signal.SIGUSR2)
    server.wait_for("serving: ", 3)
    one_connection(one)
    server.wait_for(head + "3 ")
    one.stop()
