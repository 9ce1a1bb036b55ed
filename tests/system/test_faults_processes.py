"""Workers that are killed, programs that are missing, end at once or look around, and a log that nobody reads."""

import grp
import hashlib
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import (BINARY, IS_ROOT, SANITIZER_OPTIONS, children, connect, end_process, free_port, new_directory, process_stat, read_all,
                     read_exactly, remove_directory, slow, wait_for_server, wait_until)
from peers import RELAY, Backend, Receiver, Sender, close_opened, cpu_of, exchange, how_it_ends, join_all, pair

PROGRAM = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  decide_timeout = 0.3;
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; exec = [ {argv} ]; stdio = "{stdio}"; {more} } );
{rest}
"""


@pytest.fixture(autouse=True)
def closed(usher):
    yield
    close_opened()


@pytest.fixture
def program(usher):
    """program(argv, stdio, more, rest): an usher that runs this program for everything that begins with "go"."""

    def start(*argv, stdio="socket", more="", rest="", workers=1, **options):
        words = ", ".join('"' + str(word).replace("\\", "\\\\").replace('"', '\\"') + '"' for word in argv)
        return usher(PROGRAM, argv=words, stdio=stdio, more=more, rest=rest, workers=workers, **options)

    return start


def shell(script):
    return "/bin/sh", "-c", script


def read_all_until_reset(client):
    """A program that leaves input unread resets by ending; what it wrote has come before."""
    data = bytearray()
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return bytes(data)


def answer(one, data=b"go\n", half_close=True):
    """All that a client gets that sends this."""
    with one.connect() as client:
        client.sendall(data)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return read_all_until_reset(client)


# ---- workers


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_replaced(usher, echo, workers, number):
    one = usher(RELAY.replace("workers = 1", f"workers = {workers}"), backend=echo.port4, may_crash=True)
    for _ in range(2):
        before = one.workers
        for pid in before:
            os.kill(pid, number)
        wait_until(lambda: len(one.workers) == workers and not set(one.workers) & set(before), 5, "new workers")
        assert one.process.poll() is None
        with one.connect() as client:
            client.sendall(b"go")
            assert client.recv(2) == b"go"
    assert len(one.wait_log(f"was killed by signal {int(number)}", count=2 * workers)) == 2 * workers


def test_queued_connections_survive_the_worker(usher, echo):
    """The worker is stopped, so that they queue up in the listening socket; then it is killed."""
    one = usher(RELAY, backend=echo.port4, may_crash=True)
    (worker,) = one.workers
    os.kill(worker, signal.SIGSTOP)
    clients = [one.connect() for _ in range(50)]
    for client in clients:
        client.sendall(b"go")
    os.kill(worker, signal.SIGKILL)
    for client in clients:
        assert client.recv(2) == b"go"
        client.close()


def test_the_other_workers_connections_survive(usher, echo):
    one = usher(RELAY.replace("workers = 1", "workers = 2"), backend=echo.port4, may_crash=True)
    clients = []
    for _ in range(60):
        client = one.connect()
        client.sendall(b"go")
        assert client.recv(2) == b"go"
        clients.append(client)
    os.kill(one.workers[0], signal.SIGKILL)
    alive = 0
    for client in clients:
        try:
            client.sendall(b"still there?")
            alive += client.recv(12) == b"still there?"
        except OSError:
            pass
        client.close()
    assert 0 < alive < 60, alive


def test_workers_killed_under_load_cost_only_their_own_connections(usher, echo):
    one = usher(RELAY.replace("workers = 1", "workers = 2"), backend=echo.port4, may_crash=True)
    stop = threading.Event()
    refused, served, cut = [], [], []

    def load():
        while not stop.is_set():
            try:
                client = one.connect()
            except ConnectionRefusedError as error:
                refused.append(error)
                continue
            except OSError as error:
                cut.append(error)
                continue
            try:
                client.sendall(b"go")
                (served if client.recv(2) == b"go" else cut).append(1)
            except OSError as error:
                cut.append(error)
            client.close()

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.3)
        os.kill(one.workers[0], signal.SIGKILL)
        wait_until(lambda: len(one.workers) == 2, 3, "two workers again")
    stop.set()
    for thread in threads:
        thread.join()
    assert not refused, "the port was closed meanwhile"
    assert len(served) > 100 and len(cut) < 60, (len(served), len(cut))


def test_a_worker_that_keeps_dying_is_restarted_ever_more_slowly(usher, echo):
    one = usher(RELAY, backend=echo.port4, may_crash=True)
    end = time.monotonic() + 2
    kills = 0
    while time.monotonic() < end:
        for pid in one.workers:
            os.kill(pid, signal.SIGKILL)
            kills += 1
        time.sleep(0.01)
    assert 2 <= kills <= 12, kills
    wait_until(lambda: one.workers, 8, "a worker at last")
    with one.connect() as client:
        client.sendall(b"go")
        assert client.recv(2) == b"go"


def test_the_master_is_killed_and_workers_finish_what_they_have(usher):
    with Backend() as backend:
        one = usher(RELAY, backend=backend.port, may_crash=True, status=-signal.SIGKILL)
        client, server = pair(one, backend)
        port = one.port
        below = children(one.pid)
        os.kill(one.pid, signal.SIGKILL)
        wait_until(lambda: not accepts(port), 3, "the port to be free for others")
        exchange(client, server, 1000000, 1000000)
        client.close()
        server.close()
        wait_until(lambda: all((process_stat(pid) or ("", "Z"))[1] == "Z" for pid in below), 5, "all of it to end")


def accepts(port):
    try:
        connect(port, timeout=1).close()
        return True
    except OSError:
        return False


# ---- programs


@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_a_program_has_descriptors_0_1_2_and_no_more(program, stdio):
    one = program(*shell("exec ls -l /proc/self/fd/"), stdio=stdio)
    with one.connect() as other:  # something that could leak
        other.sendall(b"g")
        out = answer(one, half_close=False).decode()
    fds = sorted(int(number) for number in re.findall(r" (\d+) -> ", out))
    assert fds[:3] == [0, 1, 2] and len(fds) == 4, out  # the fourth is ls's own: the directory
    targets = dict(re.findall(r" (\d+) -> (\S+)", out))
    if stdio == "socket":
        assert targets["0"] == targets["1"] and targets["0"].startswith("socket:")
    elif stdio == "pipe":
        assert targets["0"] != targets["1"] and targets["0"].startswith("pipe:") and targets["1"].startswith("pipe:")
    else:
        assert targets["0"] == targets["1"] == targets["2"] and targets["0"].startswith("/dev/pts/")


def test_descriptors_that_usher_inherited_do_not_reach_programs(usher):
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    with new_usher_with_fd(write_end) as (port, _):
        with connect(port) as client:
            client.sendall(b"go\n")
            client.shutdown(socket.SHUT_WR)
            listed = read_all_until_reset(client).split()
    os.close(read_end)
    os.close(write_end)
    assert sorted(int(number) for number in listed)[:3] == [0, 1, 2] and len(listed) == 4, listed


class new_usher_with_fd:
    """An usher that was started with one more descriptor than it should have."""

    def __init__(self, fd):
        self.fd = fd

    def __enter__(self):
        self.directory = new_directory()
        port = free_port()
        (self.directory / "c").write_text(f"""
            listen = [ "127.0.0.1:{port}" ];  protocols = ( {{ name = "go"; string = "go"; }} );
            services = ( {{ name = "go"; match = "go"; exec = [ "/bin/ls", "/proc/self/fd" ]; }} );""")
        self.process = subprocess.Popen([BINARY, "run", "-c", self.directory / "c"], pass_fds=[self.fd], stderr=subprocess.DEVNULL,
                                        env={**os.environ, **SANITIZER_OPTIONS})
        wait_for_server(("127.0.0.1", port))
        return port, self.process

    def __exit__(self, *_):
        end_process(self.process)
        remove_directory(self.directory)


@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
def test_a_program_that_is_missing_when_it_is_wanted(program, place, stdio):
    path = place / "program"
    path.write_text("#!/bin/sh\ncat\n")
    path.chmod(0o755)
    one = program(path, stdio=stdio)
    path.unlink()
    for _ in range(3):
        with one.connect() as client:
            client.sendall(b"go")
            how_it_ends(client)
    lines = one.wait_connections(3)
    assert {(line["end"], line["error"]) for line in lines} == {("delivery-failed", "No such file or directory")}
    path.write_text("#!/bin/sh\ncat\n")
    path.chmod(0o755)
    assert answer(one).replace(b"\r", b"").startswith(b"go\n")


@pytest.mark.parametrize("stdio", ["socket", "pipe", "pty"])
@pytest.mark.parametrize("silent", [False, True])
def test_the_fallback_of_a_missing_program_works_and_blocks_nobody(program, place, stdio, silent):
    """The fallback relays the very socket that the program would have had."""
    path = place / "program"
    path.write_text("#!/bin/sh\ncat\n")
    path.chmod(0o755)
    with Backend() as backend:
        one = program(path, stdio=stdio, more=f'fallback = "spare"; }}, {{ name = "spare"; connect = "127.0.0.1:{backend.port}";',
                      rest='on_silence = "go";')
        path.unlink()
        with one.connect() as client:
            if not silent:
                client.sendall(b"go")
            with backend.accept() as server:
                server.sendall(b"hello")  # the server speaks first, and the client has nothing to say
                assert client.recv(5) == b"hello"
                with one.connect() as second:  # nobody waits for the silent one
                    second.sendall(b"go")
                    backend.accept().close()
                client.sendall(b" bye")
                expected = b" bye" if silent else b"go bye"
                assert read_exactly(server, len(expected)) == expected


def test_a_program_that_is_no_program(program, place):
    path = place / "program"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    one = program(path)
    with one.connect() as client:
        client.sendall(b"go")
        how_it_ends(client)
    assert one.wait_connections(1)[0]["error"] == "No such file or directory"


@pytest.mark.parametrize("stdio", ["pipe", "pty"])
@pytest.mark.parametrize("size", [10, 100000, 3000000])
def test_output_is_whole_when_the_program_ends_at_once(program, place, stdio, size):
    """The client goes on sending, and reads slowly: nothing of what the program wrote may be lost."""
    data = place / "data"
    data.write_bytes(b"0123456789abcde\n" * (size // 16 + 1))
    if stdio == "pty":
        script = f"stty raw -echo; cat {data}"
    else:
        script = f"exec cat {data}"
    one = program(*shell(script), stdio=stdio)
    client = one.connect()
    client.sendall(b"go\n")
    stop = threading.Event()

    def keep_sending():
        try:
            while not stop.is_set():
                client.send(b"x" * 1000)
                time.sleep(0.002)
        except OSError:
            pass

    sender = threading.Thread(target=keep_sending)
    sender.start()
    time.sleep(0.5)
    got = bytearray()
    while piece := client.recv(65536):
        got += piece
        if len(got) < 300000:
            time.sleep(0.001)
    stop.set()
    sender.join()
    client.close()
    assert bytes(got).endswith(data.read_bytes()), (len(got), data.stat().st_size)


@pytest.mark.parametrize("stdio", ["pipe", "pty"])
def test_a_program_gets_all_input_and_its_end(program, stdio):
    one = program(*shell("sha256sum"), stdio=stdio, more="")
    lines = b"go\n" + b"".join(b"line %d\n" % number for number in range(3000))
    out = answer(one, lines).decode()
    assert hashlib.sha256(lines).hexdigest() in out


@pytest.mark.parametrize("stdio", ["socket", "pipe"])
def test_ten_megabytes_through_a_program(program, stdio):
    one = program("/bin/cat", stdio=stdio)
    client = one.connect()
    client.sendall(b"go")
    assert read_exactly(client, 2) == b"go"
    sender, got = Sender(client, 10000000, 1), Receiver(client, 2)
    join_all(sender, got)
    assert got.size == 10000000 and got.digest == sender.digest
    client.close()


def test_a_program_that_closes_its_input_still_answers(program):
    one = program(*shell("exec <&-; sleep 0.3; echo done"), stdio="pipe")
    with one.connect() as client:
        client.sendall(b"go" + b"x" * 200000)
        assert read_all(client) == b"done\n"


def test_a_program_that_closes_its_output_still_gets_input(program, place):
    place.chmod(0o777)
    one = program(*shell(f"exec >&-; cat > {place}/got"), stdio="pipe")
    with one.connect() as client:
        client.sendall(b"go")
        assert client.recv(10) == b""
        client.sendall(b" and more")
    wait_until(lambda: (place / "got").exists() and (place / "got").read_bytes() == b"go and more", 3, "the input")


def test_a_program_that_ends_lets_a_client_go_that_never_stops(program):
    one = program("/bin/true", stdio="pipe")
    with one.connect() as client:
        client.sendall(b"go")
        begin = time.monotonic()
        assert client.recv(10) == b""
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while time.monotonic() - begin < slow(10):
                client.sendall(b"more")
                time.sleep(0.02)
        assert time.monotonic() - begin < slow(5)
    one.wait_connections(1)


def test_a_client_that_leaves_ends_the_programs_input(program):
    one = program("/bin/cat", stdio="pipe")
    client = one.connect()
    client.sendall(b"go")
    assert client.recv(2) == b"go"
    wait_until(one.programs, 2, "the program")
    client.close()
    wait_until(lambda: not one.programs(), 3, "its end")


def test_a_terminal_is_hung_up_when_the_client_leaves(program):
    one = program("/bin/sleep", "1000", stdio="pty")
    client = one.connect()
    client.sendall(b"go\n")
    wait_until(one.programs, 2, "the program")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    wait_until(lambda: not one.programs(), 3, "SIGHUP to end it")


def test_a_terminal_is_a_controlling_one_in_a_session_of_its_own(program):
    one = program(*shell("tty; ps -o sid=,tpgid= -p $$ | tr -s ' '; echo $$ > /dev/tty; stty -a | head -1"), stdio="pty")
    lines = answer(one, half_close=False).decode().replace("\r", "").split("\n")
    terminal = next(line for line in lines if line.startswith("/dev/pts/"))
    assert terminal
    numbers = [line.split() for line in lines if re.fullmatch(r"[ \d]+", line) and line.strip()]
    session, pid = numbers[0], numbers[1]
    assert session[0] == session[1] == pid[0], lines


def test_programs_are_reaped_and_their_clients_closed_when_they_crash(program):
    one = program(*shell("kill -SEGV $$"), stdio="pipe")
    for _ in range(20):
        assert answer(one) == b""
    wait_until(lambda: not children_of_state(one.pid, "Z"), 3, "the dead to be buried")


def children_of_state(pid, state):
    return [child for child in children(pid) if (process_stat(child) or ("", ""))[1] == state]


def test_signals_are_at_their_defaults(program):
    one = program("/bin/cat", "/proc/self/status")
    status = dict(line.split(":\t", 1) for line in answer(one).decode().splitlines())
    assert [int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_the_descriptor_limit_is_the_one_that_usher_was_started_with(program):
    one = program(*shell("ulimit -Sn; ulimit -Hn"), wrapper=lambda command: ["prlimit", "--nofile=700:3000", *command])
    assert answer(one) == b"700\n3000\n"


def test_the_environment(program):
    one = program("/usr/bin/env", env={"SECRET": "of usher's", "LANG": "C.UTF-8", "TZ": "Europe/Rome"})
    with one.connect() as client:
        client.sendall(b"go")
        host, port = client.getsockname()
        got = dict(line.split("=", 1) for line in read_all_until_reset(client).decode().splitlines())
    assert got["PROTO"] == "TCP" and got["USHER_SERVICE"] == "go" and got["USHER_PROTOCOL"] == "go" and "USHER_SNI" not in got
    assert got["TCPREMOTEIP"] == got["REMOTE_ADDR"] == host and got["TCPREMOTEPORT"] == got["REMOTE_PORT"] == str(port)
    assert got["TCPLOCALIP"] == "127.0.0.1" and got["TCPLOCALPORT"] == str(one.port)
    assert got["LANG"] == "C.UTF-8" and got["TZ"] == "Europe/Rome" and got["PATH"] and "SECRET" not in got


@pytest.mark.skipif(not IS_ROOT, reason="becoming somebody else needs root")
def test_a_program_runs_as_its_user(program):
    one = program(*shell("id -u; id -g; id -G; echo $USER $LOGNAME $HOME; grep NoNewPrivs /proc/self/status"), more='user = "daemon";')
    lines = answer(one).decode().split("\n")
    entry = pwd.getpwnam("daemon")
    groups = {entry.pw_gid} | {group.gr_gid for group in grp.getgrall() if "daemon" in group.gr_mem}
    assert lines[0] == str(entry.pw_uid) and lines[1] == str(entry.pw_gid)
    assert set(map(int, lines[2].split())) == groups
    assert lines[3] == f"daemon daemon {entry.pw_dir}"


def test_two_hundred_programs_at_once(program):
    one = program("/bin/cat", stdio="pipe", workers=2)
    clients = [one.connect() for _ in range(200)]
    for client in clients:
        client.sendall(b"go")
    for client in clients:
        assert client.recv(2) == b"go"
    for client in clients:
        client.close()
    wait_until(lambda: not one.programs(), 5, "all to end")


# ---- the log


class Deaf:
    """An usher whose stderr is a pipe that nobody reads."""

    def __init__(self, config, port):
        self.directory = new_directory()
        (self.directory / "c").write_text(config)
        self.read_end, write_end = os.pipe()
        self.process = subprocess.Popen([BINARY, "run", "-c", self.directory / "c"], stderr=write_end, stdin=subprocess.DEVNULL,
                                        env={**os.environ, **SANITIZER_OPTIONS})
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
    slowest = 0
    for _ in range(count):
        begin = time.monotonic()
        with connect(port) as client:
            client.sendall(b"go")
            assert client.recv(2) == b"go"
        slowest = max(slowest, time.monotonic() - begin)
    return slowest


def test_a_log_that_nobody_reads_stalls_nothing_and_loss_is_told(deaf):
    # A line is about 200 bytes: 64 KiB of stderr and 1 MiB of usher's own pipe are full after some 6000 of them.
    assert serve_many(deaf.port, 8000) < slow(2)
    pids = [deaf.process.pid, *children(deaf.process.pid)]
    before = cpu_of(pids)
    time.sleep(0.5)
    assert cpu_of(pids) - before < slow(0.05), "something spins"
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
    assert serve_many(one.port, 300) < slow(1)
    assert one.process.poll() is None and pathlib.Path(f"/proc/{one.loggers[0]}").exists()
