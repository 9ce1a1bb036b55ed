"""Programs that are missing, end at once, never end, or look around."""

import grp
import hashlib
import os
import pwd
import re
import socket
import subprocess
import threading
import time

import pytest
from harness import (
    BINARY,
    ENVIRONMENT,
    HANG,
    IS_ROOT,
    children,
    connect,
    end_process,
    free_port,
    new_directory,
    process_stat,
    read_all,
    read_exactly,
    remove_directory,
    wait_for_server,
    wait_until,
)
from peers import Backend, Receiver, Sender, how_it_ends, join_all

PROGRAM = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  decide_timeout = 1.0;
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; exec = [ {argv} ]; stdio = "{stdio}";
               max_startups = 0; max_startups_per_source = 0; {more} } );
{rest}
"""


@pytest.fixture
def program(usher):
    """program(*argv, stdio=, more=, rest=): an usher that runs this for everything that begins with "go"."""

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
        assert (
            targets["0"] != targets["1"]
            and targets["0"].startswith("pipe:")
            and targets["1"].startswith("pipe:")
        )
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
        (self.directory / "c").write_text(
            f"""
            listen = [ "127.0.0.1:{port}" ];  protocols = ( {{ name = "go"; string = "go"; }} );
            services = ( {{ name = "go"; match = "go"; exec = [ "/bin/ls", "/proc/self/fd" ]; }} );"""
        )
        self.process = subprocess.Popen(
            [BINARY, "run", "-c", self.directory / "c"],
            pass_fds=[self.fd],
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
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
    assert {(line["end"], line["error"]) for line in lines} == {
        ("delivery-failed", "No such file or directory")
    }
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
        one = program(
            path,
            stdio=stdio,
            more=f'fallback = "spare"; }}, {{ name = "spare"; connect = "127.0.0.1:{backend.port}";',
            rest='on_silence = "go";',
        )
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
    wait_until(
        lambda: (place / "got").exists() and (place / "got").read_bytes() == b"go and more", 3, "the input"
    )


def test_a_program_that_ends_lets_a_client_go_that_never_stops(program):
    one = program("/bin/true", stdio="pipe")
    with one.connect() as client:
        client.sendall(b"go")
        begin = time.monotonic()
        assert client.recv(10) == b""
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while time.monotonic() - begin < HANG:
                client.sendall(b"more")
                time.sleep(0.02)
    one.wait_connections(1)


def test_a_client_that_leaves_ends_the_programs_input(program):
    one = program("/bin/cat", stdio="pipe")
    client = one.connect()
    client.sendall(b"go")
    assert read_exactly(client, 2) == b"go"
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
    one = program(
        *shell("tty; ps -o sid=,tpgid= -p $$ | tr -s ' '; echo $$ > /dev/tty; stty -a | head -1"), stdio="pty"
    )
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
    one = program(
        *shell("ulimit -Sn; ulimit -Hn"), wrapper=lambda command: ["prlimit", "--nofile=700:3000", *command]
    )
    assert answer(one) == b"700\n3000\n"


def test_the_environment(program):
    one = program("/usr/bin/env", env={"SECRET": "of usher's", "LANG": "C.UTF-8", "TZ": "Europe/Rome"})
    with one.connect() as client:
        client.sendall(b"go")
        host, port = client.getsockname()
        got = dict(line.split("=", 1) for line in read_all_until_reset(client).decode().splitlines())
    assert (
        got["PROTO"] == "TCP"
        and got["USHER_SERVICE"] == "go"
        and got["USHER_PROTOCOL"] == "go"
        and "USHER_SNI" not in got
    )
    assert got["TCPREMOTEIP"] == got["REMOTE_ADDR"] == host and got["TCPREMOTEPORT"] == got[
        "REMOTE_PORT"
    ] == str(port)
    assert got["TCPLOCALIP"] == "127.0.0.1" and got["TCPLOCALPORT"] == str(one.port)
    assert got["LANG"] == "C.UTF-8" and got["TZ"] == "Europe/Rome" and got["PATH"] and "SECRET" not in got


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")
def test_a_program_runs_as_its_user(program):
    one = program(
        *shell("id -u; id -g; id -G; echo $USER $LOGNAME $HOME; grep NoNewPrivs /proc/self/status"),
        more='user = "daemon";',
    )
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
        assert read_exactly(client, 2) == b"go"
    for client in clients:
        client.close()
    wait_until(lambda: not one.programs(), 5, "all to end")
