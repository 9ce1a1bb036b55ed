"""A log that nobody reads, a logger that dies, a disk that is full."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
from harness import (
    BINARY,
    ENVIRONMENT,
    IS_ROOT,
    children,
    connect,
    end_process,
    free_port,
    new_directory,
    process_stat,
    read_exactly,
    remove_directory,
    run_usher,
    slow,
    wait_for_server,
    wait_until,
)
from peers import RELAY, cpu_of


class Deaf:
    """An usher whose stderr is a pipe that nobody reads."""

    def __init__(self, config, port):
        self.directory = new_directory()
        (self.directory / "c").write_text(config)
        self.read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [BINARY, "run", "-c", self.directory / "c"],
            stderr=write_end,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        os.close(write_end)
        self.port = port

    def __enter__(self):
        wait_for_server(("127.0.0.1", self.port))
        return self

    def __exit__(self, *_):
        below = children(self.process.pid) if self.process.poll() is None else []
        os.close(self.read_end)
        end_process(self.process)
        for pid in below:
            wait_until(lambda: (process_stat(pid) or ("", "Z"))[1] == "Z", 5, f"process {pid} to end")
        remove_directory(self.directory)


@pytest.fixture
def deaf(echo):
    port = free_port()
    config = RELAY.replace("{port}", str(port)).replace("{backend}", str(echo.port4))
    with Deaf(config, port) as one:
        yield one


def serve_many(port, count):
    for _ in range(count):
        with connect(port) as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"


def test_a_log_that_nobody_reads_stalls_nothing_and_loss_is_told(deaf):
    # A line is about 200 bytes: 64 KiB of stderr and 1 MiB of usher's own pipe are full after some 6000.
    serve_many(deaf.port, 8000)
    pids = [deaf.process.pid, *children(deaf.process.pid)]
    before = cpu_of(pids)
    time.sleep(1)
    assert cpu_of(pids) - before < 0.1, "something spins"
    lines = bytearray()
    os.set_blocking(deaf.read_end, False)
    end = time.monotonic() + slow(5)
    while time.monotonic() < end:
        try:
            lines += os.read(deaf.read_end, 1 << 16)
        except BlockingIOError:
            if b"log-dropped" in lines:
                break
            serve_many(deaf.port, 1)
            time.sleep(0.01)
    text = lines.decode()
    assert re.search(r"warning log-dropped lines=\d+", text), text[-500:]
    lost = sum(int(number) for number in re.findall(r"log-dropped lines=(\d+)", text))
    written = text.count(" info connection ")
    assert written + lost >= 8000 and lost > 500, (written, lost)


def test_a_log_that_nobody_reads_does_not_keep_usher_from_ending(deaf):
    serve_many(deaf.port, 2000)
    deaf.process.send_signal(signal.SIGTERM)
    assert deaf.process.wait(slow(6)) == 0


def test_a_logger_that_dies_is_started_again(usher, echo):
    one = usher(RELAY, backend=echo.port4, may_crash=True)
    (logger,) = one.loggers
    os.kill(logger, signal.SIGKILL)
    wait_until(lambda: one.loggers and one.loggers != [logger], 3, "another logger")
    serve_many(one.port, 5)
    assert one.wait_log("the logger died and was started again")
    one.wait_connections(5)


def test_a_log_on_a_full_disk_stalls_nothing(usher, echo):
    """/dev/full says that there is no space."""
    one = usher(RELAY + 'log = { to = "/dev/full"; };', backend=echo.port4)
    serve_many(one.port, 300)
    assert one.process.poll() is None and pathlib.Path(f"/proc/{one.loggers[0]}").exists()


def free_the_disk(one, path):
    """In its mount namespace; the file goes on where it was opened for appending."""
    os.truncate(f"/proc/{one.loggers[0]}/root{path}", 0)


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to mount")
def test_a_log_on_a_disk_that_fills_up_goes_on_when_there_is_room_again(usher, echo, place):
    """A real file system of 64 KiB, full after some 300 connections."""
    mount = f"mount -t tmpfs -o size=64k,mode=755 small {place}; touch {place}/log; chmod 666 {place}/log"
    one = usher(RELAY + f'log = {{ to = "{place}/log"; }};', backend=echo.port4,
                wrapper=lambda command: ["unshare", "-m", "sh", "-ec", mount + '; exec "$@"', "sh", *command])
    serve_many(one.port, 1500)
    log = pathlib.Path(f"/proc/{one.loggers[0]}/root{place}/log")
    wait_until(lambda: 65000 < log.stat().st_size <= 65536, 3, "a full disk")
    assert one.process.poll() is None
    free_the_disk(one, f"{place}/log")
    serve_many(one.port, 20)
    wait_until(lambda: log.read_text().count(" info connection ") >= 20, 5, "the lines of the last ones")
    text = log.read_text()
    lost = sum(int(number) for number in re.findall(r'log-lost lines=(\d+) why="No space left on device"', text))
    assert lost > 800, text[:500]


def test_lines_that_a_slow_reader_costs_are_counted_in_the_status(echo):
    port, directory = free_port(), new_directory()
    config = f'control = "{directory}/control"; ' + RELAY.replace("{port}", str(port)).replace("{backend}", str(echo.port4))
    with Deaf(config, port):
        serve_many(port, 8000)
        status = json.loads(run_usher("status", "-s", directory / "control", "--json").stdout)
        assert status["lost"]["log_queue"] > 500, status["lost"]
        assert "lost:    log_queue " in run_usher("status", "-s", directory / "control").stdout
    remove_directory(directory)
