"""Where calls of the kernel, files in /dev and /proc or capabilities are missing, as on old kernels and in containers: usher serves
all the same, or ends and says which call failed, as whom, and what would help."""

import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest
from harness import BINARY, BUILD, IS_ROOT, read_all, wait_until, write_config
from peers import cpu_seconds

REFUSE = BUILD / "tests/faults/refuse"
ERRORS = {"ENOSYS": 38, "EPERM": 1}

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  drain_timeout = 1;  control = "{dir}/control";
protocols = ( { name = "go"; string = "go"; }, { name = "fds"; string = "fds"; } );
services = ( { name = "go"; match = "go"; connect = "{echo}"; },
             { name = "fds"; match = "fds"; exec = [ "/usr/bin/python3", "-c", "{list_fds}" ]; } );
"""

# Without /proc: what a program finds open, asked of each number.
LIST_FDS = (
    "import os\\nos.read(0, 9)\\nfor n in range(64):\\n try: os.fstat(n); os.write(1, b'%d ' % n)\\n except OSError: pass"
)


def refusing(error, *calls):
    return lambda command: [str(REFUSE), str(ERRORS[error]), *calls, "--", *command]


def start(usher, echo, wrapper, **options):
    return usher(CONFIG, echo=echo.tcp4, list_fds=LIST_FDS, wrapper=wrapper, **options)


def ended(one):
    """What it said, once it has ended by itself."""
    wait_until(lambda: one.process.poll() is not None, 30, "usher to end")
    assert one.process.returncode == 1
    return one.output()


def check_serves(one):
    for said, answered in ((b"go on", b"go on"), (b"fds", b"0 1 2 ")):
        with one.connect(timeout=30) as client:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == answered


# ---- calls

@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "call",
    ["close_range", "faccessat2", "pidfd_open", "pidfd_send_signal", "landlock_create_ruleset", "clone3", "rseq", "statx",
     "sched_getaffinity", "membarrier", "getsockopt", "splice", "sigaltstack"],
)
def test_it_serves_without_a_call_that_it_can_do_without(usher, echo, call, error):
    one = start(usher, echo, refusing(error, call))
    check_serves(one)
    one.reload()
    check_serves(one)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "call, said",
    [
        ("memfd_create", "cannot start: .*memfd_create"),
        ("epoll_create1", "cannot start: .*epoll_create1"),
        ("signalfd4", "cannot start: .*signalfd"),
        ("getrandom", "cannot start: .*getrandom"),
        ("socketpair", "socketpair"),
        ("pipe2", "pipe2"),
        ("prctl=38", r"cannot start: .*prctl\(PR_SET_NO_NEW_PRIVS\)"),
        ("capset", "capset"),
        ("landlock_restrict_self", "cannot enter the sandbox: landlock_restrict_self"),
        ("prlimit64", "getrlimit"),
        ("clone", "fork"),
        ("madvise", r"madvise\(MADV_DONTFORK\)"),
    ],
)
def test_it_ends_and_names_the_call_that_it_needs(usher, echo, call, said, error):
    one = start(usher, echo, refusing(error, call), serving=False, status=1)
    output = ended(one)
    why = {"ENOSYS": "Function not implemented", "EPERM": "Operation not permitted"}[error]
    assert re.search(f"^usher: .*{said}: {why}$", output, re.M), output
    assert "cannot log" not in output


def test_it_ends_where_no_sandbox_can_be_had_and_says_what_it_takes(usher, echo):
    one = start(usher, echo, refusing("EPERM", "seccomp", "prctl=22"), serving=False, status=1)
    assert "needs a kernel and a container that allow seccomp filters): seccomp" in ended(one)


def test_a_listener_on_which_nothing_can_be_accepted_says_so_and_does_not_spin(usher, echo):
    one = start(usher, echo, refusing("EPERM", "accept4"))
    with one.connect() as client:
        client.sendall(b"go")
        one.wait_log(r"warning .*cannot accept \(accept4\): Operation not permitted, tried again in 100 ms", 30)
        (worker,) = one.workers
        used = cpu_seconds(worker)
        one.wait_log(r"cannot accept", 30, count=3)  # a line a second at the most
        assert cpu_seconds(worker) - used < 1, "it spins"


# ---- who it is

@pytest.mark.skipif(not IS_ROOT, reason="needs root")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv")
def test_root_without_capabilities_is_told_which_it_lacks(usher, echo):
    def powerless(command):
        return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *command]

    one = start(usher, echo, powerless, serving=False, status=1)
    assert re.search(
        r"uid 0 cannot become uid \d+ and gid \d+ \(needs CAP_SETUID and CAP_SETGID, or usher started as the user that it is to"
        r" be\): setgroups: Operation not permitted", ended(one))


# ---- places

def in_namespace(change):
    """A wrapper: the command runs where mounts were changed by a line of shell."""
    def wrapper(command):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{change}; exec "$@"', "sh", *command]

    return wrapper


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
@pytest.mark.parametrize("error", [None, "EPERM"])
def test_it_serves_without_proc(usher, echo, error):
    def wrapper(command):
        inner = refusing(error, "close_range")(command) if error else command
        return in_namespace("umount -l /proc")(inner)

    check_serves(start(usher, echo, wrapper))


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_without_dev_null_it_says_so(usher, echo):
    one = start(usher, echo, in_namespace("exec 3>/dev/null; mount -t tmpfs none /dev"), serving=False, status=1)
    assert "cannot open /dev/null, which every process needs: No such file or directory" in ended(one)


# ---- quotas

@pytest.fixture
def half_a_processor():
    """The cgroup.procs of a control group that has half a processor."""
    for root, name, quota in (("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000"), ("/sys/fs/cgroup", "cpu.max", "50000 100000")):
        group = pathlib.Path(root) / f"usher-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(quota)
            yield group / "cgroup.procs"
            return
        except OSError:
            continue
        finally:
            wait_until(lambda: not (group / "cgroup.procs").read_text(), 30, "the group to be empty")
            group.rmdir()
    pytest.skip("no control group can be made here")


def test_a_container_with_half_a_processor_has_one_worker(half_a_processor, place):
    config = write_config(place, 'listen = "127.0.0.1:1"; services = ( { name = "all"; match = "ssh"; reject = "close"; } );')
    check = [str(BINARY), "check", "-c", str(config)]
    inside = subprocess.run(["sh", "-c", f'echo $$ >{half_a_processor} && exec "$@"', "sh", *check],
                            capture_output=True, text=True, check=False)
    assert "Workers   1, as" in inside.stdout, inside
