"""Somebody has taken over a worker, and attacks the others: the master, the other workers, the logger, who asks at the control
socket. A module plays that, from inside, sandbox and all (tests/modules/intruder.c). Whatever it does, the others go on."""

import contextlib
import os
import re
import shutil
import signal
import socket
import time

import pytest
from datagrams import Server, client, dns_question, exchange, udp_inodes
from harness import BUILD, BINARY, read_exactly, run_usher, slow, wait_until

SANITIZED = b"__asan_init" in BINARY.read_bytes()
pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer's report needs files and programs: see sandbox.c")

CONFIG = """
listen = ( {listen} "127.0.0.1:{port}", "unix:{dir}/listener" );  workers = {workers};  decide_timeout = 30.0;  drain_timeout = 1.0;
control = "{dir}/control";  keep_evidence = 64;  {top}
identifiers = ( {ids} { module = "{dir}/intruder.so"; } );
services = ( { name = "attack"; match = "attack"; connect = "{echo}"; },
             { name = "ran"; match = "http"; exec = [ "/bin/cat" ]; },
             {more}
             { name = "echo"; connect = "{echo}"; } );
on_unknown = "echo";
"""

MINUTE = 60.0


class Prison:
    def __init__(self, one):
        self.one = one
        self.attackers = []

    def attack(self, name, number=0):
        """Starts it; what comes of it stands in the log."""
        client = self.one.connect()
        client.sendall(f"attack {name} {number}\n".encode())
        self.attackers.append(client)
        self.one.wait_log(rf"\b{name} begins", MINUTE)

    def outcome(self, name, count=1):
        """The number that the attack gave, or how the worker ended."""
        said = re.compile(rf"\b{name} gives (-?\d+) ?(\w*)|was killed by signal (.*?) in probe attack|(sent an invalid message or request)")

        def found():
            matches = [match for match in (said.search(line.text) for line in self.one.log) if match]
            return matches[count - 1] if len(matches) >= count else None

        match = wait_until(found, MINUTE, f"what came of {name}:\n{self.one.output()[-2000:]}")
        return match[2] or (int(match[1]) if match[1] else match[3] or match[4])

    def serves(self, clients=8):
        for _ in range(clients):
            wait_until(self._serves_one, MINUTE, "an answer:\n" + self.one.output()[-2000:])

    def _serves_one(self):
        try:
            with self.one.connect(timeout=MINUTE) as client:
                client.sendall(b"hello\n")
                return read_exactly(client, 6) == b"hello\n"
        except (OSError, EOFError):
            return False

    def goes_on(self, upgrade=True):
        """Everything that others have of usher: it serves, answers, reloads, and becomes another image."""
        self.serves()
        assert self.one.ask(b"status", MINUTE)[0]["state"] in ("serving", "reloading")
        self.one.reload(timeout=MINUTE)
        self.serves()
        self.one.ask(b"sessions", MINUTE)
        if upgrade:
            before = self.one.output().count("notice serving: ")
            wait_until(lambda: self.one.ask(b"upgrade", MINUTE)[0].get("done") == "upgraded", MINUTE,
                       "an upgrade")  # a reload of the master's own accord, for a socket that was shut down, is in the way
            wait_until(lambda: self.one.output().count("notice serving: ") > before, MINUTE, "the next image")
            self.serves()
            assert self.one.ask(b"status", MINUTE)[0]["pid"] == self.one.pid


@pytest.fixture
def prison(usher, place, echo):
    started = []

    def start(workers=2, more="", top="", ids="", listen="", **options):
        shutil.copy(BUILD / "tests/modules/intruder.so", place / "intruder.so")
        (place / "intruder.so").chmod(0o755)
        config = CONFIG.replace("{dir}/intruder.so", str(place / "intruder.so")).replace("{more}", more).replace("{top}", top).replace("{ids}", ids).replace("{listen}", listen)
        started.append(Prison(usher(config, echo=echo.tcp4, workers=workers, may_crash=True, stop_timeout=MINUTE, **options)))
        return started[-1]

    yield start
    for one in started:
        for attacker in one.attackers:
            attacker.close()


# ---- shared memory


@pytest.mark.parametrize("byte", [0xFF, 0x7F, 0, 256])
def test_whatever_a_worker_writes_into_shared_memory_the_others_go_on(prison, byte):
    one = prison()
    one.attack("overwrite", byte)
    assert one.outcome("overwrite") == 0  # nothing that it may not write could be made writable
    one.goes_on()


def test_a_worker_cannot_reach_the_slots_of_others(prison):
    one = prison()
    one.attack("grow")
    assert one.outcome("grow") == 0
    one.attack("punch")
    assert one.outcome("punch") == 0
    one.goes_on(upgrade=False)


def test_a_worker_has_the_names_of_its_own_policy_alone_and_cannot_write_them(prison):
    one = prison(more='{ name = "named"; match = "tls"; connect = "localhost:9"; },')
    one.attack("hang")  # the policy before stays
    one.one.reload(timeout=MINUTE)
    one.attack("names", 0)
    assert one.outcome("names") == 1
    one.attack("names", 1)
    assert one.outcome("names", 2) == 0


# ---- messages to the master


READY, HELD, REPORTED, ASK_ANEW, SPAWN, IDENTIFY, CONNECT, WANT_SOCKETS, WANT_CLIENT, FORWARD = range(10)  # message.h
FROM_THE_MASTER = range(10, 22)


@pytest.mark.parametrize("attack,number", [("say_kind", kind) for kind in (ASK_ANEW, SPAWN, IDENTIFY, CONNECT, WANT_SOCKETS, WANT_CLIENT, FORWARD, *FROM_THE_MASTER, 22, 99,
                                                                             -1)] +
                         [(attack, kind) for kind in range(10) for attack in ("say_cut", "say_stretched", "say_misnumbered")] +
                         [("spawn_wrong", which) for which in range(10)] +
                         [("say_short", 1), ("say_short", 100), ("say_long", 5000), ("say_long", 90000),
                          ("say_with_fds", 1), ("say_with_fds", 8), ("say_with_fds", 253), ("ask_with_fds", 1),
                          ("spawn_with_fds", 2), ("spawn_with_fds", 8), ("spawn_with_fds", 9), ("spawn_with_fds", 253)])
def test_a_worker_that_says_what_none_says_is_ended(prison, attack, number):
    one = prison()
    one.attack(attack, number)
    one.one.wait_log("sent an invalid message or request", MINUTE)
    one.goes_on(upgrade=False)


@pytest.mark.parametrize("which", range(11))
def test_a_flow_is_forwarded_for_the_configuration_alone(prison, which):
    """Without the rules in the kernel, which this usher may not have: a request that is sound gets an error."""
    without = ["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin"] if os.geteuid() == 0 else []
    one = prison(listen='"udp:127.0.0.1:{port_udp}",', wrapper=lambda command: [*without, *command],
                 more='{ name = "forwarded"; match = "dns"; connect = "192.0.2.1:53"; through = "kernel"; },')
    one.attack("forward", which * 65536 + one.one.ports["port_udp"])
    if which == 0:
        one.one.wait_log(r"\bforward gives -[0-9]+", MINUTE)
    else:
        one.one.wait_log("sent an invalid message or request", MINUTE)
    one.goes_on(upgrade=False)


def test_a_message_of_no_bytes_is_as_if_the_worker_was_gone(prison):
    one = prison()
    one.attack("say_short", 0)
    one.one.wait_log("has closed its channel to the master and does not exit", MINUTE)
    one.goes_on(upgrade=False)


@pytest.mark.parametrize("kind", [READY, HELD, REPORTED])
def test_a_worker_may_say_what_it_says_at_any_time(prison, kind):
    one = prison()
    one.attack("say_kind", kind)
    one.outcome("say_kind")
    one.goes_on()


@pytest.mark.parametrize("kind", range(9))
def test_a_flood_of_messages_keeps_the_master_from_nobody(prison, kind):
    one = prison()
    one.attack("flood", kind)
    one.goes_on(upgrade=False)


def test_answers_to_holds_that_were_not_ordered_hold_nothing_and_end_no_upgrade(prison):
    one = prison()
    one.attack("hold_before", 20)
    one.outcome("hold_before")
    one.goes_on()


def test_a_worker_that_answers_for_others_takes_nothing_from_their_answers(prison):
    one = prison(workers=4)
    one.attack("answer_for_others", 80)
    one.outcome("answer_for_others")
    idle = [one.one.connect() for _ in range(20)]
    for held in idle:
        held.sendall(b"hello\n")
        assert read_exactly(held, 6) == b"hello\n"
    for _ in range(10):
        assert sum(session.get("service") == "echo" for session in one.one.ask(b"sessions", MINUTE)) >= 20
    for held in idle:
        held.close()


def test_a_worker_that_goes_on_without_the_master_is_ended(prison):
    one = prison()
    one.attack("leave")
    one.one.wait_log("has closed its channel to the master and does not exit", MINUTE)
    wait_until(lambda: len(one.one.workers) == 2, MINUTE, "another worker")
    one.goes_on()


def test_a_worker_that_does_nothing_any_more_holds_up_nobody(prison):
    one = prison()
    one.attack("hang")
    one.goes_on()


def test_what_a_worker_writes_into_a_report_has_an_end(prison):
    one = prison()
    one.attack("fill_report")
    answer = one.one.ask  # the answer is no JSON
    with pytest.raises(ValueError):
        answer(b"sessions", MINUTE)
    one.one.wait_log(r"the report takes -1 bytes more", MINUTE)  # and what it had is given back
    one.goes_on()


def test_what_a_worker_says_of_first_bytes_reaches_no_terminal_as_it_is_and_names_no_file(prison):
    one = prison(workers=1)
    one.attack("lie_of_evidence")
    done = run_usher("explain", "--id", "1", "-s", one.one.control, timeout=MINUTE)
    said = done.stdout + done.stderr
    assert all(" " <= c <= "~" or c in "\n\t" for c in said.replace("\u2014", "-")), said
    assert "passwd" not in said
    assert "]0;l" in said  # there is no such listener in the configuration that the master names


def test_a_worker_has_so_many_identifiers_started_and_no_more(prison):
    ids = '{ program = [ "/bin/sleep", "600" ]; mode = "once"; timeout = 5.0; },'
    more = '{ name = "slow"; match = { identified = "slowly"; }; connect = "{echo}"; },'
    one = prison(ids=ids, more=more)
    one.attack("start_identifiers", 300)
    most = 0

    def asked():
        nonlocal most
        most = max(most, list(one.one.programs().values()).count("sleep"))
        return any("start_identifiers asked for" in line.text for line in one.one.log) and most >= 32

    wait_until(asked, MINUTE, "three hundred requests")
    for _ in range(50):
        asked()
    assert most <= 64, most
    one.serves()


def test_what_a_worker_gives_the_next_generation_harms_none_of_its_workers(prison):
    one = prison()
    one.attack("migrate", 1000)
    one.one.reload(timeout=MINUTE)
    one.serves()
    one.one.wait_log("migrate sent 1000", MINUTE)
    one.goes_on()
    assert not any("was killed by" in line.text for line in one.one.log)


# ---- descriptors


def test_listening_sockets_that_a_worker_shuts_down_are_opened_again(prison):
    one = prison()
    for way in (0, 1):
        one.attack("shut_listeners", way)
        one.one.wait_log(r"listener 127\.0\.0\.1:\d+ was shut down", MINUTE, count=way + 1)
        one.serves()
    one.goes_on()


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])
def test_udp_sockets_that_a_worker_shuts_down_are_bound_anew_in_their_places(prison, how):
    with contextlib.closing(Server()) as server:
        one = prison(workers=1, more=f'{{ name = "datagrams"; match = "dns"; connect = "{server.text()}"; }},',
                     listen='"udp:127.0.0.1:{port}",')
        one.one.wait_log("serving: ", MINUTE)
        for count in (1, 2):
            one.attack("shut_datagrams", how)
            assert one.outcome("shut_datagrams", count) == 16

            def answered():
                with client(one.one.port) as c:
                    c.settimeout(0.5)  # what was lost meanwhile is asked again
                    try:
                        return exchange(c, dns_question())
                    except OSError:
                        return None

            for _ in range(32):  # of each place of the group, more or less
                wait_until(answered, MINUTE, "an answer:\n" + one.one.output()[-2000:])
            one.one.wait_log(r"listener udp:127\.0\.0\.1:\d+ was shut down", MINUTE, count=count)
        one.goes_on()
        assert len(udp_inodes(one.one.port)) == 16


def test_a_unix_listener_that_a_worker_shuts_down_is_bound_anew(prison):
    one = prison()
    path = one.one.dir / "listener"
    one.attack("shut_listeners")
    one.one.wait_log(r"listener .*/listener was shut down", MINUTE)

    def serves():
        import harness
        try:
            with harness.connect(path, MINUTE) as client:
                client.sendall(b"hello\n")
                return read_exactly(client, 6) == b"hello\n"
        except (OSError, EOFError):
            return False

    wait_until(serves, MINUTE, "the UNIX listener:\n" + one.one.output()[-2000:])
    one.goes_on()


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_nothing_that_a_worker_writes_reaches_a_terminal_past_the_logger(prison, fd):
    one = prison()
    one.attack("write_to", fd)
    one.outcome("write_to")
    one.serves()
    assert "\033" not in one.one.output()
    assert ("intruder? was here" in one.one.output()) == (fd == 2)


def test_lines_of_a_worker_keep_nobody_from_working(prison):
    one = prison()
    one.attack("flood_log", 200000)
    one.goes_on()
    one.outcome("flood_log")
    assert "\033" not in one.one.output()


@pytest.mark.parametrize("attack,number,call", [
    ("wait_on_log", 0, "ioctl"), ("wait_on_log", 1, "fcntl"), ("shrink_log", 4096, "fcntl"), ("linger", 100000, "setsockopt"),
    ("linger", 0, "setsockopt"), ("socketpair", 30, "socketpair"), ("notifications", 0, "pipe2")])
def test_calls_that_would_harm_others_end_the_worker(prison, attack, number, call):
    one = prison()
    one.attack(attack, number)
    assert one.outcome(attack) == f"31 (Bad system call: {call})"
    one.goes_on(upgrade=False)


def test_with_handovers_a_worker_makes_only_itself_wait_for_the_log(prison):
    one = prison(more='{ name = "handed"; match = "tls"; handover = "unix:{dir}/receiver"; },')
    one.attack("wait_on_log", 1)
    assert one.outcome("wait_on_log") == 0
    logger = one.one.loggers[0]
    os.kill(logger, signal.SIGSTOP)
    try:
        one.attackers.clear()
        deadline = time.monotonic() + slow(MINUTE)
        for _ in range(3000):  # more than the pipe holds lines of
            with one.one.connect(timeout=MINUTE) as client:
                client.sendall(b"hello\n" * 50)
                client.recv(1)
            assert time.monotonic() < deadline
        assert one.one.ask(b"status", MINUTE)[0]["state"] == "serving"
    finally:
        os.kill(logger, signal.SIGCONT)
    one.serves()
