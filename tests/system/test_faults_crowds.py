"""Ten thousand who are idle (fewer where a process may not have enough descriptors), as many who speak a byte at a time, and one who
wants to log in. Crowds are processes of
their own: one here has only so many descriptors."""

import subprocess
import sys
import time

import pytest
from harness import MOST_DESCRIPTORS, end_process, ready, slow
from peers import SANITIZED, cpu_of, rss_kib

IDLE = SLOW = min(10000, MOST_DESCRIPTORS // 4)  # the echo server has as many descriptors, a worker twice as many

CROWD = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kind, port, count, source = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
clients = []
for number in range(count):
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    client.bind((f"127.0.{source}.{number % 20 + 1}", 0))
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    client.sendall(b"echo" if kind == "idle" else b"Z")
    clients.append(client)
if kind == "idle":
    for client in clients:
        assert client.recv(4) == b"echo"
print("there", flush=True)
if kind == "slow":  # each another byte, all in turn, for some 40 seconds
    for byte in b"Z" * 40:
        for number, client in enumerate(clients):
            client.sendall(bytes([byte]))
            if number % 100 == 0:
                time.sleep(0.01)
sys.stdin.read(1)
for number, client in enumerate(clients):
    client.sendall(b"%06d" % number)
for number, client in enumerate(clients):
    assert client.recv(6) == b"%06d" % number
print("served", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def crowds():
    """crowds(kind, port, count): processes with so many connections together, all there; .stdin, .stdout drive them."""
    running = []

    def start(kind, port, count, processes=2):
        mine = []
        for number in range(processes):
            words = [kind, str(port), str(count // processes), str(len(running) + 1)]
            mine.append(subprocess.Popen([sys.executable, "-S", "-c", CROWD, *words], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True))
            running.append(mine[-1])
        for process in mine:
            says(process, "there")
        return mine

    yield start
    for process in running:
        process.kill()
        end_process(process)


def says(process, word):
    assert ready(process.stdout, slow(40)) and process.stdout.readline() == word + "\n", f"{word}: in vain"


def log_in(sshd, port, times):
    """So many real logins, each with a command."""
    for _ in range(times):
        assert sshd.ssh(port, "echo in").stdout == b"in\n"


CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 3;  decide_timeout = 600.0;  log = { level = "notice"; };
max_undecided = 14000;  max_undecided_per_source = 0;
protocols = ( { name = "echo"; string = "echo"; }, { name = "slow"; regex = "^Z{100}"; within = 200; } );
services = ( { name = "echo"; match = "echo"; connect = "{echo}"; },
             { name = "slow"; match = "slow"; reject = "close"; },
             { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{sshd}"; } );
"""


def test_a_crowd_of_idle_and_slow_ones_keeps_nobody_from_logging_in(usher, echo, sshd, crowds):
    one = usher(CONFIG, echo=echo.tcp4, sshd=sshd.port, wrapper=lambda command: ["prlimit", f"--nofile={MOST_DESCRIPTORS}:{MOST_DESCRIPTORS}", *command])
    before = sum(rss_kib(pid) for pid in one.workers)

    idle = crowds("idle", one.port, IDLE)
    grown = (sum(rss_kib(pid) for pid in one.workers) - before) / IDLE
    print(f"{grown:.2f} KiB for each idle connection")
    if not SANITIZED:
        assert grown < 2, f"{grown:.2f} KiB for each idle connection"
    spent = cpu_of([one.pid, *one.workers])
    time.sleep(1.5)
    spent = cpu_of([one.pid, *one.workers]) - spent
    assert spent < 0.2, f"{spent} s of CPU in 1.5 s with {IDLE} idle connections"
    log_in(sshd, one.port, 3)

    crowds("slow", one.port, SLOW)
    log_in(sshd, one.port, 4)

    for process in idle:
        process.stdin.write("x")
        process.stdin.flush()
    for process in idle:
        says(process, "served")
    assert not one.connections(end="shed")


def test_a_crowd_of_slow_ones_past_the_limit_loses_to_each_other(usher, echo, sshd, crowds):
    """As it comes, without a word of limits in the configuration."""
    one = usher(CONFIG.replace("max_undecided = 14000;  max_undecided_per_source = 0;", ""), echo=echo.tcp4, sshd=sshd.port)
    flood = [subprocess.Popen([sys.executable, "-S", "-c", FLOOD, str(one.port), str(number)], stdin=subprocess.DEVNULL)
             for number in (1, 2)]
    try:
        one.wait_log("max_undecided reached", 20)
        log_in(sshd, one.port, 5)
        assert all(process.poll() is None for process in flood)
    finally:
        for process in flood:
            process.kill()
            process.wait()


FLOOD = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
clients, number = [], 0
while True:
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)
    client.bind((f"127.1.{sys.argv[2]}.{number % 250 + 1}", 0))
    client.settimeout(60)
    client.connect(("127.0.0.1", int(sys.argv[1])))
    try:
        client.sendall(b"Z")
    except OSError:
        pass
    clients.append(client)
    number += 1
    if len(clients) > 5000:
        clients.pop(0).close()
        time.sleep(0.001)  # the machine is everybody's: some 900 a second, each
"""
