"""Ten thousand who are idle, ten thousand who speak a byte at a time, and one who wants to log in. Crowds are processes of
their own: one here has only so many descriptors."""

import resource
import select
import subprocess
import sys
import time

import pytest
from harness import end_process, slow
from peers import SANITIZED, cpu_of, rss_kib

IDLE, SLOW = 10000, 10000
MOST = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

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
    ready, _, _ = select.select([process.stdout], [], [], slow(40))
    assert ready and process.stdout.readline() == word + "\n", f"{word}: in vain"


def login_seconds(sshd, port, times):
    """The quickest of so many real logins, each with a command: what a busy machine adds is not usher's."""
    took = []
    for _ in range(times):
        begin = time.monotonic()
        assert sshd.ssh(port, "echo in").stdout == b"in\n"
        took.append(time.monotonic() - begin)
    return min(took)


def logins_seconds(sshd, port, times):
    """In turns past usher, which a machine that others keep busy holds up as well, and through it."""
    both = [(login_seconds(sshd, sshd.port, 1), login_seconds(sshd, port, 1)) for _ in range(times)]
    return [min(seconds) for seconds in zip(*both)]


CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 3;  decide_timeout = 300.0;  log = { level = "notice"; };
max_undecided = 14000;  max_undecided_per_source = 0;
protocols = ( { name = "echo"; string = "echo"; }, { name = "slow"; regex = "^Z{100}"; within = 200; } );
services = ( { name = "echo"; match = "echo"; connect = "{echo}"; },
             { name = "slow"; match = "slow"; reject = "close"; },
             { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{sshd}"; } );
"""


@pytest.mark.skipif(MOST < 12000, reason="a process may not have 12,000 descriptors here")
def test_ten_thousand_idle_and_as_many_slow_ones_do_not_keep_an_ssh_login_waiting(usher, echo, sshd, crowds):
    one = usher(CONFIG, echo=echo.tcp4, sshd=sshd.port, wrapper=lambda command: ["prlimit", f"--nofile={MOST}:{MOST}", *command])
    usual = login_seconds(sshd, one.port, 4)
    before = sum(rss_kib(pid) for pid in one.workers)

    idle = crowds("idle", one.port, IDLE)
    grown = (sum(rss_kib(pid) for pid in one.workers) - before) / IDLE
    print(f"{grown:.2f} KiB for each idle connection")
    if not SANITIZED:
        assert grown < 2, f"{grown:.2f} KiB for each idle connection"
    spent = cpu_of([one.pid, *one.workers])
    time.sleep(1.5)
    spent = cpu_of([one.pid, *one.workers]) - spent
    assert spent < 0.02, f"{spent} s of CPU in 1.5 s with {IDLE} idle connections"
    past_idle, among_idle = logins_seconds(sshd, one.port, 3)

    crowds("slow", one.port, SLOW)
    past_slow, among_slow = logins_seconds(sshd, one.port, 4)
    print(f"a login takes {usual * 1000:.0f} ms, among the idle {among_idle * 1000:.0f}, the slow too {among_slow * 1000:.0f}")
    assert among_idle < max(usual, past_idle) + slow(0.1), (usual, past_idle, among_idle)
    assert among_slow < max(usual, past_slow) + slow(0.1), (usual, past_slow, among_slow)

    for process in idle:
        process.stdin.write("x")
        process.stdin.flush()
    for process in idle:
        says(process, "served")
    assert not one.connections(end="shed")


@pytest.mark.skipif(MOST < 12000, reason="a process may not have 12,000 descriptors here")
def test_ten_thousand_slow_ones_past_the_limit_lose_to_each_other(usher, echo, sshd, crowds):
    """As it comes, without a word of limits in the configuration."""
    one = usher(CONFIG.replace("max_undecided = 14000;  max_undecided_per_source = 0;", ""), echo=echo.tcp4, sshd=sshd.port)
    usual = login_seconds(sshd, one.port, 3)
    flood = [subprocess.Popen([sys.executable, "-S", "-c", FLOOD, str(one.port), str(number)], stdin=subprocess.DEVNULL)
             for number in (1, 2)]
    try:
        one.wait_log("max_undecided reached", 20)
        took = login_seconds(sshd, one.port, 5)
        assert took < usual + slow(0.1), (usual, took)
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
