"""The processes that the master starts: it signals those that are its own alone, and ends with all of them."""

import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from harness import BINARY, BUILD, IS_ROOT, read_all, read_exactly, wait_until
from migrations import SERVICES
from test_master_files import NOBODY, as_nobody, users_folder
from test_upgrade import refused, replace

STRANGERS = {"LD_PRELOAD": str(BUILD / "tests/faults/faults-strangers.so")}
ASKING = """
listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; pid_file = "{dir}/pid"; log = { to = "{dir}/log"; };
identifiers = ( { program = [ "{asked}" ]; mode = "once"; timeout = 5; } );
services = ( { name = "asks"; match = { identified = "it"; }; connect = "{echo}"; },
             { name = "all"; match = "http"; connect = "{echo}"; access = [ "{judge}" ]; } );
on_unknown = "all";
"""


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def test_signals_go_to_own_children_alone(usher, echo, place):
    """Identifiers, access programs, trials and loggers that ended, killed ones too, with what they left behind."""
    one = usher(ASKING, echo=echo.tcp4, env=STRANGERS, may_crash=True, judge=script(place / "judge", "sleep 100 &\n"),
                asked=script(place / "asked", "sleep 100 >/dev/null &\necho it\n"))
    for request in (b"GET / HTTP/1.0\r\n\r\n", b"what is this?\n"):
        with one.connect() as client:
            client.sendall(request)
            assert read_exactly(client, len(request)) == request
    os.kill(one.loggers[0], signal.SIGKILL)
    wait_until(lambda: one.loggers, 20, "another logger")
    assert one.ask(b"upgrade", 25) == [{"done": "upgraded"}]
    assert one.ask(b"reload") == [{"done": "reloaded"}]
    wait_until(lambda: one.workers, 20, "a worker")
    os.kill(one.workers[0], signal.SIGKILL)
    wait_until(lambda: one.workers, 20, "another worker")
    one.stop()
    assert "to a stranger" not in one.output()

def test_a_parent_that_ignores_the_end_of_children_changes_nothing(usher, echo):
    """What it ignores is inherited: children would be gone unseen."""
    ignoring = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    one = usher('listen = "127.0.0.1:{port}"; workers = 1; services = ( { name = "all"; connect = "{echo}"; } ); '
                'on_unknown = "all";', echo=echo.tcp4, may_crash=True,
                wrapper=lambda command: [sys.executable, "-c", ignoring, *command])
    (worker,) = wait_until(lambda: one.workers, 20, "a worker")
    os.kill(worker, signal.SIGKILL)
    one.wait_log(f"worker {worker} was killed", timeout=20)
    with one.connect() as client:
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"hello"


# ---- without CAP_KILL, as in many a container

HANGING = """
listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control";
identifiers = ( { program = [ "/bin/sleep", "1000" ]; mode = "once"; timeout = 0.1; } );
services = ( { name = "odd"; match = { identified = "odd"; }; reject = "close"; },
             { name = "all"; match = "http"; connect = "localhost:{backend}"; access = [ "/bin/sleep", "1000" ]; },
             { name = "rest"; connect = "localhost:{backend}"; } );
on_unknown = "rest";
"""

without_kill = pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")


@pytest.fixture
def powerless(usher, backend):
    """powerless(): an usher that may not signal other users' processes."""
    return lambda **options: usher(HANGING, backend=backend.port, **options,
                                   wrapper=lambda command: ["setpriv", "--bounding-set=-kill", *command])


@without_kill
def test_programs_that_hang_end_without_the_right_to_kill(powerless):
    one = powerless()
    one.wait_log("privileges that the master lacks, .*cap_kill")
    for request in (b"GET / HTTP/1.0\r\n\r\n", b"what is this?\n"):
        with one.connect() as client:
            client.sendall(request)
            wait_until(one.programs, 20, "the program")
            wait_until(lambda: not one.programs(), 20, f"its end: {one.programs()}")


@without_kill
def test_reloads_leave_no_resolver_without_the_right_to_kill(powerless):
    one = powerless()
    for _ in range(3):
        one.reload()
    wait_until(lambda: len(one.resolvers) == 1, 20, "the others to end")


@without_kill
def test_a_worker_that_hangs_ends_without_the_right_to_kill(powerless):
    one = powerless()
    os.kill(one.workers[0], signal.SIGSTOP)
    one.stop(signal.SIGINT)


@without_kill
def test_the_resolver_ends_with_a_master_that_was_killed(powerless):
    one = powerless(status=-9)
    wait_until(lambda: one.resolvers, 20, "the resolver")
    one.stop(signal.SIGKILL)  # and looks for what is left


def test_a_program_on_which_its_owner_holds_a_lease_is_not_waited_for(usher, place):
    """The kernel would hold up whoever executes it for 45 seconds, and the master with it."""
    folder = users_folder(place)
    hold = ("import fcntl, signal, sys; signal.signal(signal.SIGIO, signal.SIG_IGN); "
            "open(sys.argv[1], 'w').write('#!/bin/sh\\ncat\\n'); import os; os.chmod(sys.argv[1], 0o755); "
            "f = open(sys.argv[1], 'r+'); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK); print('held', flush=True); "
            "sys.stdin.read()")
    as_nobody("import os, sys; open(sys.argv[1], 'w').write('#!/bin/sh\\ncat\\n'); os.chmod(sys.argv[1], 0o755)",
              folder / "program")
    one = usher('listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; '
                'services = ( { name = "run"; exec = [ "{dir}/users/program" ]; } ); on_unknown = "run";', directory=place)
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if IS_ROOT else {}
    with subprocess.Popen([sys.executable, "-c", hold, str(folder / "program")], cwd="/", stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **identity) as holder:
        if holder.stdout.readline() != b"held\n":
            holder.communicate()
            pytest.skip("no leases here")
        with one.connect() as client:
            client.sendall(b"hello")
            with pytest.raises(ConnectionResetError):  # as where the program is not there
                read_all(client)
        assert one.ask(b"status", 60)[0]["state"] == "serving"
        locks = pathlib.Path("/proc/locks").read_text()
        assert re.search(rf"LEASE .* {holder.pid} ", locks), "the kernel has not taken the lease away yet:\n" + locks
        holder.stdin.close()
    with one.connect() as client:
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"hello"


# ---- upgrades


@pytest.mark.parametrize("text", ["exit 0", "cat", "echo $USHER_TRIAL", "head -c 60", "sed 's/.*proof\":\"//; s/\".*/ /'"],
                         ids=["exits", "repeats", "knows-the-variable", "prints-the-beginning", "nearly"])
def test_a_binary_that_does_not_prove_its_trial_is_refused(copied, backend, text):
    one = copied()
    replace(one, f"#!/bin/sh\n{text}\nexit 0\n")
    refused(one, backend, "without proof of a trial")


def test_a_binary_that_was_replaced_after_its_trial_is_refused(copied, backend):
    one = copied()
    replace(one, f"#!/bin/sh\n(printf '#!/bin/sh\\nexit 0\\n' >{one.binary}.2; chmod 755 {one.binary}.2; "
                 f"mv {one.binary}.2 {one.binary})\nexec {BINARY} \"$@\"\n")
    refused(one, backend, "replaced by another after its trial")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("pause", [0, 0.02, 0.05, 0.1, 0.2, 0.3])
def test_an_end_during_an_upgrade_leaves_no_file(copied, signal_number, pause):
    one = copied(SERVICES.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "unix:{dir}/in"') + 'pid_file = "{dir}/pid";')
    one.send_signal(signal.SIGUSR2)
    time.sleep(pause)
    one.stop(signal_number)
    assert not {"pid", "in", "control"} & {path.name for path in one.dir.iterdir()}


def test_an_end_while_a_configuration_is_waited_for_leaves_no_file(copied):
    """It was right in the trial, and is wrong in the image that took over."""
    one = copied(SERVICES.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "unix:{dir}/in"') + 'pid_file = "{dir}/pid";')
    replace(one, f"#!/bin/sh\n[ -n \"$USHER_TRIAL\" ] || echo nonsense >>{one.file}\nexec {BINARY} \"$@\"\n")
    one.send_signal(signal.SIGUSR2)
    wait_until(lambda: "nonsense" in one.file.read_text(), 20, "the next image")
    one.stop()
    assert not {"pid", "in", "control"} & {path.name for path in one.dir.iterdir()}


# ---- the logger


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")
def test_the_user_of_the_logger_follows_a_reload(usher):
    config = ('listen = "127.0.0.1:{port}"; user = "%s"; workers = 1; control = "{dir}/control"; log = { to = "{dir}/log"; }; '
              'services = ( { name = "r"; reject = "close"; } ); on_unknown = "r"; on_silence = "r";')
    one = usher(config % "nobody")
    wait_until(pathlib.Path(one.control).exists, 20, "the control socket")  # with such a log, it may not serve yet
    before = one.loggers
    one.write(config % "games")
    assert one.ask(b"reload") == [{"done": "reloaded"}]
    wait_until(lambda: one.loggers and not set(before) & set(one.loggers), 20, "another logger")
    games = str(pwd.getpwnam("games").pw_uid)
    for pid in one.workers + one.loggers:
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        assert status.split("Uid:")[1].split()[:4] == [games] * 4


# ---- who is told of it


def test_who_is_told_of_the_state_and_does_not_read_is_not_waited_for(usher, place):
    """NOTIFY_SOCKET: what there was no room for is said later."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        told.bind(str(place / "notify"))
        told.settimeout(60)
        one = usher('listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; '
                    'services = ( { name = "r"; reject = "close"; } ); on_unknown = "r"; on_silence = "r";',
                    env={"NOTIFY_SOCKET": str(place / "notify")})
        assert told.recv(100) == b"READY=1"
        filler.connect(str(place / "notify"))
        filler.setblocking(False)
        filled = 0
        try:
            while True:
                filler.send(b"full")
                filled += 1
        except BlockingIOError:
            pass
        assert one.ask(b"reload", 60) == [{"done": "reloaded"}]
        assert one.ask(b"status", 60)[0]["state"] == "serving"
        assert [told.recv(100) for _ in range(filled)] == [b"full"] * filled
        assert told.recv(100) == b"READY=1"
