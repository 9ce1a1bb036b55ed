"""External identifiers: programs that are asked what a client's first bytes are, once or kept.

The one of these tests does what the bytes tell it to, and writes down what it was asked.
"""

import ast
import os
import pwd
import re
import signal
import socket
import struct
import time

import pytest
from harness import BUILD, IS_ROOT, NEVER, SOURCE, count_fds, process_stat, slow, wait_until

IDENTIFIER = r'''
import os, struct, sys, threading, time

mode, log = sys.argv[1:3]
os.umask(0)


def note(text):
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(fd, (text + "\n").encode())
    os.close(fd)


def say(data):
    while data:
        data = data[os.write(1, data):]


def answer(number, verdict, name=b""):
    if mode == "once":
        say(name if verdict == 1 else b"NOTFOUND")
        os._exit(0)
    say(struct.pack("!IIB", 5 + len(name), number, verdict) + name)


def serve(number, flags, data):
    note(f"{flags} {data[:200]!r}")
    words = data.split(b"\n")[0].split()
    if b"\n" not in data:
        return answer(number, 2)
    if words[0] == b"is":
        return answer(number, 1, words[1])
    if words[0] == b"late":
        return threading.Timer(float(words[1]), answer, (number, 1, words[2])).start()
    if words[0] == b"who":
        fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1]
        note(f"uid {os.getuid()} groups {sorted({os.getgid(), *os.getgroups()})} fds {fds}")
        return answer(number, 1, b"smtp")
    if words[0] == b"no":
        return answer(number, 0)
    if words[0] == b"die":
        os.kill(os.getpid(), 9)
    if words[0] == b"status":
        if mode == "once":
            say(b"smtp")
        os._exit(3)
    if words[0] == b"babble":
        say(b"smtp, I should think\n" * 100)
        time.sleep(1000)
    if words[0] == b"flood":
        while True:
            say((b"smtp" if mode == "once" else struct.pack("!IIB", 5, number, 0)) * 1000)
    if words[0] == b"close":
        os.close(1)
        time.sleep(1000)
    if words[0] == b"deaf":
        os.close(0)
        time.sleep(1000)
    if words[0] == b"stop":
        time.sleep(1000)
    if words[0] == b"fork":
        if os.fork():
            os._exit(0)
        note(f"forked {os.getpid()}")
        time.sleep(1000)
    if words[0] == b"hang" and mode == "once":
        time.sleep(1000)


def read(n):
    data = b""
    while len(data) < n:
        piece = os.read(0, n - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data


if mode == "once":
    data = b""
    while piece := os.read(0, 4096):
        data += piece
    serve(0, 0, data)
while mode == "stream":
    length, number, flags = struct.unpack("!IIB", read(9))
    serve(number, flags, read(length - 5))
'''

QUICK = ("quick", "quick")
NAMES = (("smtp", "smtp"), ("irc", "irc"))
OTHERS = (("other", None), ("silent", None))
PROTOCOL = '{ name = "quick"; string = "quick"; }'


def match_text(name):
    """smtp and irc have probes of their own; what is asked for here is an identifier's word."""
    return f'{{ identified = "{name}"; }}' if (name, name) in NAMES else f'"{name}"'


def config_text(
    place,
    identifiers,
    services=(QUICK, *NAMES, *OTHERS),
    protocol=PROTOCOL,
    decide_timeout=NEVER,
    workers=1,
    ends='on_unknown = "other"; on_silence = "silent";',
):
    """Services are pairs of a name and what it matches; an echo server of that name is behind each."""
    routes = ", ".join(
        f'{{ name = "{name}"; '
        + (f"match = {match_text(match)}; " if match else "")
        + f'connect = "unix:{place}/{name}.sock"; }}'
        for name, match in services
    )
    return f"""
listen = [ "127.0.0.1:{{port}}" ];  workers = {workers};
decide_timeout = {decide_timeout};  drain_timeout = 60.0;
protocols = ( {protocol} );
identifiers = ( {", ".join(identifiers)} );
services = ( {routes} );
{ends}
"""


class Asked:
    """An usher with identifiers, and what these were asked."""

    def __init__(self, place, one):
        self.place, self.usher = place, one

    def notes(self, i=0):
        file = self.place / "notes" / str(i)
        return file.read_text().splitlines() if file.exists() else []

    def notes_clear(self, i=0):
        (self.place / "notes" / str(i)).unlink()

    def questions(self, i=0):
        """The bytes that it was shown, in order."""
        return [ast.literal_eval(line[2:]) for line in self.notes(i) if re.match(r"\d b'", line)]

    def begin(self, *pieces, pause=0.1, half_close=False):
        client = self.usher.connect()
        for i, piece in enumerate(pieces):
            if i:
                time.sleep(pause)
            if half_close and i == len(pieces) - 1:  # the last piece and the end come together
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            client.sendall(piece)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return client

    def where(self, *pieces, pause=0.1):
        """The name of the service that a client with these bytes reaches; "" where it is closed."""
        with self.begin(*pieces, pause=pause) as client:
            return first_line(client)

    def timed(self, *pieces):
        begin = time.monotonic()
        return self.where(*pieces), time.monotonic() - begin

    def identifiers(self):
        """{pid: start} of the processes that identify."""
        found = {}
        for pid in self.usher.programs():
            stat = process_stat(pid)
            if stat and stat[1] != "Z":
                found[pid] = stat[3]
        return found

    def wait_up(self):
        """Until the identifier answers (again)."""
        wait_until(
            lambda: self.where(b"is irc\n") == "irc", 15, "the identifier\n" + self.usher.output()[-2000:]
        )


def first_line(client):
    data = b""
    try:
        while not data.endswith(b"\n") and (piece := client.recv(1)):
            data += piece
    except ConnectionResetError:
        pass
    return data.decode().strip()


def sample(place, program):
    """One of the examples, where unprivileged processes can run it."""
    found = SOURCE / "examples" / program if program.endswith(".py") else BUILD / "examples" / program
    path = place / program
    path.write_bytes(found.read_bytes())
    path.chmod(0o755)
    return path


def identifier_text(place, mode, i=0, timeout=0.5, more=""):
    program = place / "identifier.py"
    if not program.exists():
        program.write_text("#!/usr/bin/python3 -S\n" + IDENTIFIER)
        program.chmod(0o755)
        (place / "notes").mkdir()
        (place / "notes").chmod(0o777)
    return (
        f'{{ program = [ "{program}", "{mode}", "{place}/notes/{i}" ]; mode = "{mode}"; '
        f"timeout = {timeout}; {more} }}"
    )


@pytest.fixture
def asked(usher, place, named_echoes):
    """asked("stream", ...) starts an usher whose identifiers are of these modes."""

    def start(*modes, timeout=0.5, more="", may_crash=False, status=0, **config):
        named_echoes("smtp", "irc", "quick", "other", "silent")
        identifiers = [identifier_text(place, mode, i, timeout, more) for i, mode in enumerate(modes)]
        one = Asked(
            place, usher(config_text(place, identifiers, **config), may_crash=may_crash, status=status)
        )
        kept = config.get("workers", 1) * modes.count("stream")
        wait_until(lambda: len(one.identifiers()) == kept, 5, "the identifiers")
        return one

    return start


BOTH = pytest.mark.parametrize("mode", ["once", "stream"])


# ---- names


@BOTH
def test_names_reach_their_services(asked, mode):
    one = asked(mode, timeout=60)
    for name in ("smtp", "irc", "smtp"):
        assert one.where(b"is " + name.encode() + b"\n") == name
    assert one.questions() == [b"is smtp\n", b"is irc\n", b"is smtp\n"]
    for line, name in zip(one.usher.wait_connections(3), ("smtp", "irc", "smtp")):
        assert (line["protocol"], line["service"]) == (name, name)


@BOTH
@pytest.mark.parametrize("name", [b"gopher", b"quick", b"other", b"ssh", b"SMTP", b"smt", b"smtpx"])
def test_a_name_that_nothing_asks_for_counts_as_no_at_once(asked, mode, name):
    one = asked(mode, timeout=60, decide_timeout=NEVER)
    assert one.where(b"is " + name + b"\n") == "other"


@pytest.mark.parametrize("program", ["identifier-once", "identifier-stream", "identifier_stream.py"])
def test_the_samples(place, usher, named_echoes, program):
    mode = "once" if "once" in program else "stream"
    path = sample(place, program)
    named_echoes("smtp", "irc", "other")
    identifier = f'{{ program = [ "{path}" ]; mode = "{mode}"; timeout = 60; }}'
    one = Asked(
        place,
        usher(
            config_text(
                place, [identifier], (*NAMES, OTHERS[0]), ends='on_unknown = "other";', decide_timeout=NEVER
            )
        ),
    )
    assert one.where(b"EHLO there\r\n") == "smtp"
    assert one.where(b"NI", b"CK me\r\n") == "irc"
    assert one.where(b"H", b"E", b"LO x") == "smtp"
    with one.begin(b"QUIT\r\n", half_close=True) as client:  # nothing more will come: no is no
        assert first_line(client) == "other"


# ---- who is asked, and when


def test_identifiers_are_asked_in_order_until_one_knows(asked):
    one = asked("stream", "once", "stream", timeout=60)
    assert one.where(b"is smtp\n") == "smtp"
    assert [len(one.questions(i)) for i in range(3)] == [1, 0, 0]
    assert one.where(b"is nothing\n") == "other"
    assert [len(one.questions(i)) for i in range(3)] == [2, 1, 1]


def test_the_second_is_asked_where_the_first_is_of_no_help(asked):
    one = asked("stream", "once", timeout=0.5)
    os.kill(next(iter(one.identifiers())), signal.SIGSTOP)
    assert one.where(b"is irc\n") == "irc"
    assert (one.questions(0), one.questions(1)) == ([], [b"is irc\n"])
    os.kill(next(iter(one.identifiers())), signal.SIGCONT)


@BOTH
def test_nobody_is_asked_what_the_bytes_tell(asked, mode):
    one = asked(mode)
    assert one.where(b"quick is smtp\n") == "quick"
    assert one.where(b"qui", b"ck\n") == "quick"
    with one.usher.connect() as client:
        client.close()
    assert one.questions() == []


@BOTH
def test_a_service_that_waits_for_bytes_is_waited_for_before_anybody_is_asked(asked, mode):
    one = asked(
        mode,
        timeout=60,
        protocol='{ name = "long"; string = "is smtp but longer"; }',
        services=(("quick", "long"), *NAMES, *OTHERS),
    )
    assert one.where(b"is smtp", b" but longer") == "quick"
    assert one.questions() == []
    assert one.where(b"is smtp", b" but not\n") == "smtp"
    assert one.questions() == [b"is smtp but not\n"]


@BOTH
def test_a_service_behind_waits_for_the_answer_and_one_in_front_does_not(asked, mode):
    one = asked(
        mode, timeout=60, protocol='{ name = "quick"; string = "is"; }', services=(*NAMES, QUICK, *OTHERS)
    )
    assert one.where(b"is smtp\n") == "smtp"
    assert one.where(b"is nothing\n") == "quick"
    assert one.questions() == [b"is smtp\n", b"is nothing\n"]


def test_only_the_first_bytes_are_shown(asked):
    big = b"x" * 20000 + b"\n"
    one = asked("once", "stream", timeout=60)
    assert one.where(big) == "other"
    for shown in one.questions(0), one.questions(1):
        assert shown[-1] == big[:200]
        assert len(shown) <= 3, "the same bytes are not shown again and again"


@BOTH
def test_more_than_is_ever_looked_at_is_asked_about(asked, mode):
    one = asked(mode, timeout=60, decide_timeout=NEVER)
    for _ in range(5):
        assert one.where(b"is smtp\n" + bytes(60000)) == "smtp"
        assert one.where(b"is nothing\n" + bytes(60000)) == "other"


# ---- in pieces


@BOTH
def test_a_hello_in_two_segments(asked, mode):
    one = asked(mode, timeout=60)
    assert one.where(b"is sm", b"tp\n", pause=0.3) == "smtp"
    assert one.questions() == [b"is sm", b"is smtp\n"]


def test_a_hello_cut_anywhere(asked):
    one = asked("stream", timeout=60, decide_timeout=NEVER)
    hello = b"is irc\n"
    for cut in range(1, len(hello)):
        assert one.where(hello[:cut], hello[cut:], pause=0.01) == "irc"
    assert one.where(*(hello[i : i + 1] for i in range(len(hello))), pause=0.005) == "irc"


@BOTH
def test_bytes_that_come_while_it_thinks_are_shown_afterwards(asked, mode):
    one = asked(mode, timeout=60)
    with one.begin(b"is sm") as client:
        client.sendall(b"tp")
        client.sendall(b"\n")
        assert first_line(client) == "smtp"


@BOTH
def test_with_the_end_in_sight_more_is_no(asked, mode):
    one = asked(mode, timeout=60, decide_timeout=NEVER)
    with one.begin(b"is smtp", half_close=True) as client:
        assert first_line(client) == "other"
    one.notes_clear()
    with one.begin(b"is smtp") as client:
        wait_until(one.questions, 5, "the question")
        time.sleep(0.3)  # for the answer
        client.shutdown(socket.SHUT_WR)
        assert first_line(client) == "other", "whether the end comes with the bytes or behind them"
    if mode == "stream":
        assert [line[0] for line in one.notes()] == [
            "0",
            "1",
        ], "the program is told that there will be no more"


# ---- on_silence, on_unknown


@BOTH
def test_silence_is_not_asked_about(asked, mode):
    one = asked(mode, decide_timeout=0.3)
    assert one.where() == "silent"
    assert one.questions() == []


def test_no_goes_to_on_unknown_at_once(asked):
    one = asked("stream", decide_timeout=NEVER, timeout=60)
    assert one.where(b"no\n") == "other"


@BOTH
def test_more_waits_for_more_until_the_deadline(asked, mode):
    one = asked(mode, decide_timeout=1, timeout=0.9)
    where, seconds = one.timed(b"is sm")
    assert where == "silent" and seconds > 0.9
    assert one.questions() == [b"is sm"]


def test_once_what_is_not_found_may_be_found_with_more_bytes(asked):
    one = asked("once", decide_timeout=1.5, timeout=1)
    where, seconds = one.timed(b"no\n")
    assert where == "silent" and seconds > 1.4
    assert one.where(b"x" * 1000) == "other", "more than it is shown cannot help"


@BOTH
def test_the_deadline_does_not_wait_for_an_answer(asked, mode):
    one = asked(mode, decide_timeout=0.5, timeout=60)
    one.wait_up()
    assert one.where(b"hang\n") == "silent"
    assert float(one.usher.wait_connections(1, service="silent")[0]["decided_ms"]) < 60000


@BOTH
def test_without_on_unknown_who_is_not_named_is_closed(asked, mode):
    one = asked(mode, ends="", services=(QUICK, *NAMES), timeout=60)
    assert one.where(b"is nothing\n") == ""
    assert one.usher.wait_connections(1)[0]["end"] == "no-service"


# ---- what goes wrong


def assert_quick(one):
    """Who needs no identifier is served meanwhile."""
    for _ in range(10):
        assert one.where(b"quick\n") == "quick"


FAULTS = ["hang", "die", "status", "babble", "flood", "close", "deaf", "stop", "fork", "late 1000 smtp"]


@BOTH
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_only_who_waits(asked, mode, fault):
    one = asked(mode, timeout=1, decide_timeout=NEVER)
    one.wait_up()
    with one.begin(fault.encode() + b"\n") as client:
        assert_quick(one)
        assert first_line(client) == "other"
    if mode == "stream" and fault == "stop":
        return  # takes its time: below
    one.wait_up()
    assert_quick(one)
    wait_until(
        lambda: len(one.identifiers()) == (mode == "stream"), 5, f"an end to them: {one.identifiers()}"
    )


@pytest.mark.parametrize(
    "fault, words",
    [
        ("die", "it ended"),
        ("status", "it ended"),
        ("babble", "what it says is no answer"),
        ("flood", "it answers a question that was not asked"),
        ("close", "it ended"),
        ("deaf", None),
        ("fork", "it ended"),
    ],
)
def test_a_kept_process_is_started_again_with_a_growing_pause(asked, fault, words):
    one = asked("stream", timeout=1, decide_timeout=NEVER)
    for pause in (100, 200, 400):
        one.wait_up()
        one.where(fault.encode() + b"\n")
        if fault == "deaf":
            one.where(b"no\n")  # finds it so
            words = "it does not read any more"
        line = one.usher.wait_log(
            rf"identifier 1 \(.*identifier.py\): {words}; " rf"it is started again in {pause} ms"
        )[-1]
        assert line.level == "warning"


@pytest.mark.parametrize(
    "fault, words",
    [
        ("hang", "a process was killed: Killed"),
        ("status", "a process ended with status 3"),
        ("flood", "a process says more than a name"),
    ],
)
def test_what_is_wrong_with_a_process_that_runs_once_is_in_the_log_but_not_each_time(asked, fault, words):
    one = asked("once", timeout=1, decide_timeout=NEVER)
    for _ in range(3):
        assert one.where(fault.encode() + b"\n") == "other"
    lines = one.usher.wait_log(r"identifier 1 \(.*identifier.py\): " + words)
    assert len(lines) == 1 and lines[0].level == "warning"


def test_a_process_that_neither_reads_nor_answers_is_ended_and_started_again(asked):
    one = asked("stream", timeout=0.3, decide_timeout=NEVER)
    (first,) = one.identifiers().items()
    one.where(b"stop\n")
    end = time.monotonic() + slow(20)
    while not re.search("it does not answer", one.usher.output()) and time.monotonic() < end:
        assert one.where(b"is smtp\n") == "other"
        time.sleep(0.2)
    one.wait_up()
    wait_until(
        lambda: len(one.identifiers()) == 1 and first not in one.identifiers().items(),
        5,
        f"the end of the one that hung: {first}, {one.identifiers()}",
    )


def test_a_late_answer_is_nobodys(asked):
    one = asked("stream", timeout=0.3, decide_timeout=NEVER)
    one.wait_up()
    before = one.identifiers()
    assert one.where("late 0.6 smtp\n".encode()) == "other"
    time.sleep(0.5)
    for _ in range(5):
        assert one.where(b"is irc\n") == "irc"
    assert one.identifiers() == before


def test_one_question_that_hangs_holds_up_no_other(asked):
    one = asked("stream", timeout=8, decide_timeout=NEVER)
    with one.begin(b"hang\n") as waiting, one.begin(b"late 1 smtp\n") as later:
        for _ in range(10):
            assert one.where(b"is irc\n") == "irc"
        assert first_line(later) == "smtp"
        assert first_line(waiting) == "other"


def test_a_flood_of_hanging_processes_is_bounded(asked):
    one = asked("once", timeout=3, decide_timeout=NEVER)
    clients = [one.begin(b"hang\n") for _ in range(60)]
    for client in clients[:40]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    most = 0
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        most = max(most, len(one.identifiers()))
        assert one.where(b"quick\n") == "quick"
    assert 1 < most <= 32
    for client in clients[40:]:
        assert first_line(client) == "other"
        client.close()
    wait_until(lambda: not one.identifiers(), 10, "the end of the processes")
    one.wait_up()


@BOTH
def test_a_program_that_is_missing_counts_as_no(asked, place, mode):
    one = asked(mode, timeout=60, decide_timeout=NEVER)
    program, away = place / "identifier.py", place / "away.py"
    program.rename(away)
    for pid in one.identifiers():
        os.kill(pid, signal.SIGKILL)
    if mode == "stream":
        for pause in (200, 400):
            one.usher.wait_log(rf"No such file or directory; it is started again in {pause} ms")
    for _ in range(3):
        assert one.where(b"is smtp\n") == "other"
    if mode == "once":
        assert len(one.usher.wait_log("it cannot be started: No such file or directory")) == 1
    assert_quick(one)
    away.rename(program)
    one.wait_up()


@BOTH
def test_clients_that_go_while_they_wait_leave_nothing(asked, mode):
    one = asked(mode, timeout=2, decide_timeout=NEVER)
    one.wait_up()
    n = len(one.usher.wait_connections(1))
    before = one.usher.fds()
    for i in range(40):
        with one.begin(b"hang\n") as client:
            if i % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.usher.wait_connections(n + 40)
    wait_until(lambda: one.usher.fds() == before, 5, f"{before}, {one.usher.fds()}")
    wait_until(lambda: len(one.identifiers()) == (mode == "stream"), 5, "the end of the processes")
    one.wait_up()


# ---- who it is


@BOTH
def test_it_runs_as_the_workers_do_with_0_1_2_alone(asked, mode):
    one = asked(mode, timeout=60)
    with one.usher.connect() as other:
        other.sendall(b"qu")  # something that could leak
        assert one.where(b"who\n") == "smtp"
    line = next(line for line in one.notes() if line.startswith("uid"))
    uid, groups, fds = re.fullmatch(r"uid (\d+) groups \[(.*)\] fds \[(.*)\]", line).groups()
    status = dict(
        line.split(":\t", 1) for line in open(f"/proc/{one.usher.workers[0]}/status") if ":\t" in line
    )
    assert {uid} == set(status["Uid"].split())
    assert fds == "0, 1, 2"
    if IS_ROOT:
        assert uid != "0" and "0" not in groups.split(", ")


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become another user")
@BOTH
def test_it_may_be_somebody_else(asked, mode):
    user = pwd.getpwnam("games")
    one = asked(mode, timeout=60, more='user = "games"; group = "daemon";')
    assert one.where(b"who\n") == "smtp"
    line = next(line for line in one.notes() if line.startswith("uid"))
    assert line.startswith(f"uid {user.pw_uid} ")
    assert f"[{user.pw_gid}]" not in line and " 0" not in line.split("groups")[1].split("fds")[0]


# ---- its end


@BOTH
def test_no_descriptor_and_no_process_is_left_after_1000_identifications(place, usher, named_echoes, mode):
    named_echoes("smtp", "irc", "other")
    identifier = (
        f'{{ program = "{sample(place, "identifier-" + mode)}"; mode = "{mode}"; timeout = 60; }}'
    )
    one = Asked(
        place,
        usher(
            config_text(
                place,
                [identifier],
                (*NAMES, OTHERS[0]),
                ends='on_unknown = "other";',
                decide_timeout=NEVER,
                workers=2,
            )
        ),
    )
    assert one.where(b"EHLO x\n") == "smtp"
    wait_until(lambda: len(one.identifiers()) == (2 if mode == "stream" else 0), 5, "the identifiers")
    one.usher.wait_connections(1)
    before, kept = one.usher.fds(), one.identifiers()
    for i in range(1000 // 20):
        clients = [one.begin(b"EHLO x\n" if k % 2 else b"NICK x\n") for k in range(20)]
        for k, client in enumerate(clients):
            assert first_line(client) == ("smtp" if k % 2 else "irc")
            client.close()
    wait_until(lambda: one.usher.fds() == before, 10, f"descriptors: {before}, {one.usher.fds()}")
    assert one.identifiers() == kept
    for pid in kept:
        assert count_fds(pid) == 3
    one.usher.stop()  # looks for processes that are left


@BOTH
def test_sigterm_lets_who_waits_be_named(asked, mode):
    one = asked(mode, timeout=60, decide_timeout=NEVER)
    one.wait_up()
    with one.begin(b"late 1 smtp\n") as client:
        wait_until(lambda: any(b"late" in question for question in one.questions()), 5, "the question")
        one.usher.send_signal(signal.SIGTERM)
        assert first_line(client) == "smtp"
    one.usher.stop()


@BOTH
def test_sigterm_ends_processes_that_hang(asked, mode):
    one = asked(mode, timeout=60, decide_timeout=0)
    with one.begin(b"stop\n") as client:
        wait_until(lambda: one.questions(), 5, "the question")
        (pid,) = one.identifiers()
        one.usher.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        one.usher.send_signal(signal.SIGTERM)
        one.usher.stop()
        assert first_line(client) == ""
    assert process_stat(pid) is None


def test_a_reload_takes_other_identifiers_and_ends_the_old_ones(asked):
    one = asked("stream", timeout=60, workers=2)
    before = one.identifiers()
    with one.begin(b"late 1 smtp\n") as waiting:
        wait_until(lambda: one.questions(), 5, "the question")
        one.usher.reload()
        assert one.where(b"is irc\n") == "irc"
        assert first_line(waiting) == "smtp"
    wait_until(
        lambda: len(one.identifiers()) == 2 and not before.items() & one.identifiers().items(),
        5,
        f"the old ones' end: {before}, {one.identifiers()}",
    )


def test_a_worker_that_dies_takes_its_identifiers_along(asked):
    one = asked("stream", "once", timeout=60, decide_timeout=NEVER, may_crash=True)
    (kept,) = one.identifiers().items()
    with one.begin(b"hang\n"):
        wait_until(lambda: one.questions(0), 5, "the question")
        os.kill(one.usher.workers[0], signal.SIGKILL)
    wait_until(
        lambda: kept not in one.identifiers().items() and len(one.identifiers()) == 1,
        5,
        f"another one than {kept}: {one.identifiers()}",
    )
    one.wait_up()


@pytest.mark.parametrize("mode, name", [("once", "other"), ("stream", "smtp")])
def test_without_a_master_nobody_waits_for_processes_that_will_not_come(asked, mode, name):
    one = asked(mode, timeout=60, decide_timeout=NEVER, status=-signal.SIGKILL)
    one.wait_up()
    kept = one.identifiers()
    with one.begin(b"is sm") as client, one.begin(b"is sm") as other:
        wait_until(lambda: one.questions().count(b"is sm") == 2, 5, "the questions")
        time.sleep(0.3)  # for the answers
        one.usher.send_signal(signal.SIGKILL)
        one.usher.process.wait()
        for waiting in client, other:
            waiting.sendall(b"tp\n")
            assert first_line(waiting) == name
    one.usher.stop()
    assert all(process_stat(pid) is None or process_stat(pid)[1] == "Z" for pid in kept)


@pytest.mark.parametrize("mode, count", [("once", 60), ("stream", 400)])
def test_many_at_the_same_moment(asked, mode, count):
    one = asked(mode, timeout=60, decide_timeout=NEVER)
    clients = [one.usher.connect() for _ in range(count)]
    padding = b" " * 400
    for i, client in enumerate(clients):
        client.sendall((b"is smtp" if i % 2 else b"is irc") + padding + b"\n")
    for i, client in enumerate(clients):
        assert first_line(client) == ("smtp" if i % 2 else "irc")
        client.close()
