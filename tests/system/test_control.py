"""The control socket, over itself and by the commands that ask it."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import BINARY as USHER, IS_ROOT, connect, read_exactly, slow, wait_until

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  decide_timeout = 30;
control = {control};  keep_evidence = 64;  {rest}
services = (
  { name = "echo"; match = "ssh"; connect = "{echo}"; {access} },
  { name = "gone"; match = "tls"; connect = "127.0.0.1:1"; },
  { name = "no"; match = "http"; reject = "close"; } );
"""
HELLO = b"SSH-2.0-test\r\n"


@pytest.fixture
def controlled(usher, named_echoes):
    """controlled(): usher with a control socket in its folder."""
    (server,) = named_echoes("echo")

    def start(workers=1, control='"{dir}/control"', access="", rest="", **more):
        return usher(CONFIG.replace("{control}", control), echo=server.tcp4, workers=workers, access=access, rest=rest,
                     **more)

    return start


def run(one, *words):
    return subprocess.run([USHER, words[0], "-s", one.control, *words[1:]], capture_output=True, text=True,
                          timeout=slow(20), check=False)


def enter(one):
    """A client that is served."""
    client = one.connect()
    client.sendall(HELLO)
    assert read_exactly(client, 5) == b"echo\n"
    assert read_exactly(client, len(HELLO)) == HELLO
    return client


def test_status_counts_what_happened(controlled):
    one = controlled(access="max_connections = 2;")
    clients = [enter(one), enter(one)]
    refused = one.connect()
    refused.sendall(HELLO)
    assert refused.recv(10) == b""
    with one.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(10) == b""
    clients.pop().close()
    one.wait_connections(3)
    wait_until(lambda: one.ask(b"status")[0]["connections"] == 1, 5.0, "one connection")
    (status,) = one.ask(b"status")
    assert status["pid"] == one.process.pid and status["state"] == "serving"
    assert abs(status["since"] - time.time()) < 60
    assert [len(generation["workers"]) for generation in status["generations"]] == [1]
    assert status["generations"][0]["workers"][0]["pid"] == one.workers[0]
    assert status["listeners"][0] == {"address": f"127.0.0.1:{one.port}", "open": 1, "accepted": 4, "shed": 0}
    echo, gone, no = status["services"]
    assert (echo["name"], echo["open"], echo["total"], echo["failed"]) == ("echo", 1, 3, 0)
    assert echo["bytes_up"] == len(HELLO) and echo["bytes_down"] == len(HELLO) + 5
    assert gone["total"] == 0 and no["total"] == 1
    assert status["refused"]["max_connections"] == 1 and sum(status["refused"].values()) == 1
    assert status["ended"]["rejected"] == 1 and status["ended"]["refused"] == 1
    assert status["ended"]["finished"] + status["ended"]["client-reset"] == 1
    for client in clients:
        client.close()


def test_connections_that_are_shed_are_counted(controlled):
    one = controlled(rest="max_connections = 3;")
    clients = [enter(one) for _ in range(3)]
    for _ in range(4):
        try:
            with one.connect() as client:
                assert client.recv(1) == b""
        except ConnectionResetError:
            pass
    (status,) = one.ask(b"status")
    assert status["shed"]["max_connections"] == 4 and status["listeners"][0]["shed"] == 4
    for client in clients:
        client.close()


def test_every_session_is_listed_of_every_worker(controlled):
    one = controlled(workers=2)
    clients = [enter(one) for _ in range(50)]
    silent = one.connect()
    wait_until(lambda: len(one.ask(b"sessions")) == 51, 5.0, "all of them")
    sessions = one.ask(b"sessions")
    assert len({session["id"] for session in sessions}) == 51
    assert {session["worker"] for session in sessions} <= set(one.workers)
    relayed = [session for session in sessions if session["phase"] == "relaying"]
    assert len(relayed) == 50
    assert all(session["service"] == "echo" and session["protocol"] == "ssh" for session in relayed)
    assert all(session["bytes_up"] == len(HELLO) and session["idle_s"] <= session["age_s"] for session in relayed)
    assert {session["client"] for session in relayed} == {"127.0.0.1:%d" % c.getsockname()[1] for c in clients}
    (waiting,) = [session for session in sessions if session["phase"] != "relaying"]
    assert waiting["phase"] == "deciding" and waiting["service"] is None
    for client in [*clients, silent]:
        client.close()


def test_programs_that_run_are_counted(usher):
    one = usher("""
        listen = [ "127.0.0.1:{port}" ];  workers = 1;  control = "{dir}/control";
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; } );
    """)
    clients = [one.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"
    assert one.ask(b"status")[0]["programs"] == 3
    for client in clients:
        client.close()
    wait_until(lambda: one.ask(b"status")[0]["programs"] == 0, 5.0, "none")


def test_thousands_of_sessions_are_listed(controlled):
    one = controlled(rest="max_undecided_per_source = 0;")
    clients = [one.connect() for _ in range(4000)]
    wait_until(lambda: len(one.ask(b"sessions", slow(20))) == 4000, 20.0, "all of them")
    for client in clients:
        client.close()


def test_no_session_is_an_empty_list(controlled):
    one = controlled()
    done = run(one, "sessions")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["id", "client", "service", "protocol", "phase", "age", "up", "down"]
    done = run(one, "sessions", "--json")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_close_ends_one_connection(controlled):
    one = controlled(workers=2)
    clients = [enter(one) for _ in range(4)]
    (mine,) = [s for s in one.ask(b"sessions") if s["client"].endswith(":%d" % clients[1].getsockname()[1])]
    assert one.ask(b"close %d" % mine["id"]) == [{"done": "closed"}]
    assert clients[1].recv(1) == b""
    assert one.wait_connections(1, end="closed")[0]["id"] == str(mine["id"])
    assert "no such connection" in one.ask(b"close %d" % mine["id"])[0]["error"]
    for client in (clients[0], clients[2], clients[3]):
        client.sendall(b"still here")
        assert read_exactly(client, 10) == b"still here"
        client.close()


def test_reload_says_when_it_serves_and_what_is_wrong(controlled):
    one = controlled()
    (old,) = one.workers
    client = enter(one)
    assert one.ask(b"reload") == [{"done": "reloaded"}]
    wait_until(lambda: len(one.ask(b"status")[0]["generations"]) == 1, 5.0, "the old workers to end")
    (session,) = one.ask(b"sessions")
    assert session["worker"] in one.workers and session["worker"] != old
    path = one.file
    good = path.read_text()
    path.write_text(good + "\nidle_timeout = -1;\nnonsense = 2;\n")
    (answer,) = one.ask(b"reload")
    assert "`idle_timeout' is -1" in answer["error"] and "unknown key `nonsense'" in answer["error"]
    path.write_text(good)
    client.sendall(b"still here")
    assert read_exactly(client, 10) == b"still here"
    client.close()


def test_drain_waits_for_who_is_there(controlled):
    one = controlled()
    client = enter(one)
    assert one.ask(b"drain") == [{"done": "draining"}]

    def is_closed():
        try:
            one.connect().close()
        except OSError:
            return True
        return False

    wait_until(is_closed, 5.0, "the port to be closed")
    client.sendall(b"still here")
    assert read_exactly(client, 10) == b"still here"
    client.close()
    assert one.process.wait(slow(10)) == 0
    assert not os.path.exists(one.control)


def test_log_changes_the_level_until_a_reload(controlled):
    one = controlled()
    assert one.ask(b"log error") == [{"done": "log level set"}]
    time.sleep(0.2)
    enter(one).close()
    assert "echo" in [s["name"] for s in one.ask(b"status")[0]["services"] if s["total"] == 1]
    assert one.connections() == []
    assert one.ask(b"log info") == [{"done": "log level set"}]
    time.sleep(0.2)
    enter(one).close()
    one.wait_connections(1)


def test_reopen_says_when_lines_go_to_the_new_file(usher, echo, place):
    log = place / "log"
    one = usher('listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; log = { to = "{log}"; };'
                'services = ( { name = "web"; match = "ssh"; connect = "{echo}"; } );', log=log, echo=echo.tcp4)
    log.rename(place / "old")
    assert run(one, "reopen").stdout == "log reopened\n"
    assert log.exists()
    log.unlink()
    log.mkdir()
    done = run(one, "reopen")
    assert done.returncode == 1 and "the log cannot be reopened: Is a directory" in done.stderr


def test_status_says_since_when_it_is_ending(controlled):
    one = controlled()
    client = enter(one)
    assert "ending" not in run(one, "status").stdout
    assert run(one, "drain").returncode == 0
    status = one.ask(b"status")[0]
    assert status["state"] == "ending" and status["since"] <= status["ending_since"] <= time.time()
    assert "  ending: no new connections, for " in run(one, "status").stdout
    client.close()


def test_evidence_of_live_and_of_recent_connections(controlled):
    one = controlled()
    with one.connect() as client:
        client.sendall(b"SS")
        wait_until(lambda: one.ask(b"sessions"), 5.0, "it")
        (session,) = one.ask(b"sessions")
        (evidence,) = one.ask(b"evidence %d" % session["id"])
        assert bytes.fromhex(evidence["bytes"]) == b"SS" and evidence["phase"] == "deciding"
        client.sendall(b"H-2.0-test\r\n" + b"x" * 100)
        assert read_exactly(client, 5) == b"echo\n"
        (evidence,) = one.ask(b"evidence %d" % session["id"])
        assert bytes.fromhex(evidence["bytes"])[:12] == b"SSH-2.0-test"
        assert (evidence["service"], evidence["protocol"], evidence["phase"]) == ("echo", "ssh", "relaying")
    one.wait_connections(1)
    wait_until(lambda: one.ask(b"evidence %d" % session["id"])[0].get("phase") == "ended", 5.0, "its end")
    explained = run(one, "explain", "--id", str(session["id"]), "--json")
    assert explained.returncode == 0, explained.stderr
    answer = json.loads(explained.stdout)
    assert (answer["service"], answer["protocol"], answer["verdict"]) == ("echo", "ssh", "yes")
    page = run(one, "explain", "--id", str(session["id"]))
    assert f"Connection {session['id']} came in on 127.0.0.1:{one.port} and is ended; decided for echo as ssh." in page.stdout
    assert run(one, "explain", "--id", "999").returncode == 1


def test_nothing_is_kept_unless_asked_for(controlled):
    one = controlled()
    one.reload(one.file.read_text().replace("keep_evidence = 64", "keep_evidence = 0"))
    client = enter(one)
    assert "keep_evidence" in one.ask(b"evidence %d" % one.ask(b"sessions")[0]["id"])[0]["error"]
    client.close()


def test_commands_print_for_people_and_exit_as_they_should(controlled):
    one = controlled()
    client = enter(one)
    status = run(one, "status")
    assert status.returncode == 0 and f"process {one.process.pid}, serving" in status.stdout
    assert [line for line in status.stdout.splitlines() if line.split()[:3] == ["echo", "1", "1"]]
    assert json.loads(run(one, "status", "--json").stdout)["pid"] == one.process.pid
    sessions = run(one, "sessions").stdout.splitlines()
    assert len(sessions) == 2 and sessions[1].split()[2:5] == ["echo", "ssh", "relaying"]
    number = sessions[1].split()[0]
    assert run(one, "close", number).stdout == "closed\n"
    again = run(one, "close", number)
    assert again.returncode == 1 and "no such connection" in again.stderr
    assert run(one, "close").returncode == 2
    assert run(one, "log", "loud").returncode == 1
    by_file = subprocess.run([USHER, "status", "-c", one.file], capture_output=True, text=True, check=False)
    assert by_file.returncode == 0 and str(one.process.pid) in by_file.stdout
    nobody = subprocess.run([USHER, "status", "-s", one.control + "x"], capture_output=True, text=True, check=False)
    assert nobody.returncode == 1 and "is usher running" in nobody.stderr
    client.close()


@pytest.mark.parametrize("line", [b"what\n", b"close\n", b"x" * 600 + b"\n", b"\0\0\0\n", b"\n"])
def test_rubbish_gets_an_answer(controlled, line):
    one = controlled()
    with connect(one.control) as client:
        client.sendall(line)
        assert b'"error"' in client.recv(4096)
    assert one.ask(b"status")[0]["state"] == "serving"


def test_clients_that_stall_keep_nobody_waiting(controlled):
    one = controlled()
    stalled = [connect(one.control) for _ in range(15)]
    for client in stalled:
        client.sendall(b"stat")
    assert one.ask(b"status")[0]["state"] == "serving"
    for client in stalled:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.settimeout(slow(5))
    one_more = [connect(one.control) for _ in range(3)]
    assert b"try again" in b"".join(client.recv(200) for client in one_more[1:])
    wait_until(lambda: stalled[0].recv(1) == b"", 8.0, "the stalled ones to be closed")
    for client in stalled + one_more:
        client.close()


def test_a_worker_that_hangs_is_not_waited_for_long(controlled):
    one = controlled(workers=2)
    clients = [enter(one) for _ in range(20)]
    hanging = one.workers[0]
    os.kill(hanging, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        answer = one.ask(b"sessions")
        assert time.monotonic() - begin > 9.9
    finally:
        os.kill(hanging, signal.SIGCONT)
    assert "did not answer" in answer[-1]["error"]
    assert {session["worker"] for session in answer[:-1]} <= {one.workers[1]}
    wait_until(lambda: len(one.ask(b"sessions")) == 20, 5.0, "all of them again")
    for client in clients:
        client.close()


def test_what_a_killed_worker_had_open_is_not_counted(controlled):
    one = controlled(may_crash=True)
    clients = [enter(one) for _ in range(5)]
    os.kill(one.workers[0], signal.SIGKILL)
    wait_until(lambda: one.ask(b"status")[0]["listeners"][0]["open"] == 0, 5.0, "nothing open")
    (status,) = one.ask(b"status")
    assert status["services"][0]["open"] == 0 and status["services"][0]["total"] == 5
    for client in clients:
        client.close()


def test_it_answers_when_all_descriptors_are_used_up(controlled):
    one = controlled(rest="max_undecided = 0;  max_undecided_per_source = 0;",
                     wrapper=lambda command: ["prlimit", "--nofile=600:600", *command])
    clients = []
    for _ in range(700):
        try:
            clients.append(one.connect())
        except ConnectionResetError:
            pass  # one that was shed
    wait_until(lambda: "out of descriptors" in one.output() or "as many connections" in one.output(), 10.0, "the limit")
    assert one.ask(b"status")[0]["state"] == "serving"
    for client in clients:
        client.close()


def test_a_second_usher_does_not_take_the_socket(controlled, usher):
    one = controlled()
    other = usher('listen = "127.0.0.1:{port}"; control = "' + one.control + '";'
                  'services = ( { name = "a"; match = "ssh"; reject = "close"; } );')
    assert "another usher answers there" in other.output()
    assert one.ask(b"status")[0]["pid"] == one.process.pid


def test_what_a_killed_usher_left_is_replaced(controlled, usher):
    one = controlled()
    path = one.control
    left = socket.socket(socket.AF_UNIX)
    left.bind(path + "2")
    left.close()
    other = usher('listen = "127.0.0.1:{port}"; control = "' + path + '2";'
                  'services = ( { name = "a"; match = "ssh"; reject = "close"; } );')
    with connect(path + "2") as client:
        client.sendall(b"status\n")
        assert json.loads(client.makefile().readline())["pid"] == other.process.pid


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")
def test_others_may_look_and_not_touch(controlled):
    one = controlled(control='{ path = "{dir}/control"; mode = 0666; }')
    os.chmod(one.dir, 0o755)

    def as_nobody(*words):
        return subprocess.run([USHER, words[0], "-s", one.control, *words[1:]], capture_output=True, text=True,
                              check=False, user="nobody", group="nogroup", extra_groups=[])

    assert as_nobody("status").returncode == 0
    denied = as_nobody("drain")
    assert denied.returncode == 1 and "only root" in denied.stderr
    os.chmod(one.file, 0o644)
    denied = as_nobody("check", "--diff", "-c", one.file)  # a configuration may have more in it than numbers say
    assert denied.returncode == 1 and "only root" in denied.stderr
    assert one.ask(b"status")[0]["state"] == "serving"
    closed = controlled()
    os.chmod(closed.dir, 0o755)
    alone = subprocess.run([USHER, "status", "-s", closed.control], capture_output=True, text=True, check=False,
                           user="nobody", group="nogroup", extra_groups=[])
    assert alone.returncode == 1 and "Permission denied" in alone.stderr


def test_a_socket_that_closes_before_it_is_asked_ends_no_command_by_a_signal(place):
    """As one does at which as many are served as may be: what it says is shown."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "socket"))
    listener.listen(10)

    def serve():
        for _ in range(60):
            client, _ = listener.accept()
            client.sendall(b'{"error": "not now"}\n')
            client.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    for _ in range(60):
        done = subprocess.run([USHER, "status", "-s", place / "socket"], capture_output=True, text=True, timeout=slow(20), check=False)
        assert (done.returncode, done.stderr) in ((1, "usher: not now\n"), (1, f"usher: {place}/socket: Connection reset by peer\n"))
    thread.join(slow(20))
    listener.close()
