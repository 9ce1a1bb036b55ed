"""What somebody who has taken over a worker finds: a module that tries, from inside one."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest
from harness import BUILD, BINARY, IS_ROOT, free_port, wait_until

PRISONER = BUILD / "tests/modules/prisoner.so"

SANITIZED = b"__asan_init" in BINARY.read_bytes()
pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer's report needs files and programs: see sandbox.c")

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = 5.0;
identifiers = ( { module = "{dir}/prisoner.so"; } );
services = ( { name = "tried"; match = "try"; connect = "{echo}"; },
             {more}
             { name = "other"; connect = "{echo}"; } );
on_unknown = "other";
"""


@pytest.fixture
def prison(usher, place, echo):
    """prison() starts usher with the module in its one worker; .attempt(name) has it try and returns what the log says."""

    def start(more="", **options):
        shutil.copy(PRISONER, place / "prisoner.so")
        (place / "prisoner.so").chmod(0o755)
        return usher(CONFIG.replace("{dir}", str(place)), echo=echo.tcp4, more=more, **options)

    return start


def attempt(one, name, number=0):
    before = len(one.log)
    with one.connect() as client:
        client.sendall(f"try {name} {number}\n".encode())
        said = re.compile(rf"\b{name} (succeeded|failed: \w+)|was killed by signal (.*?) in probe try")

        def found():
            for line in one.log[before:]:
                match = said.search(line.text)
                if match:
                    return match[1] or match[2]
            return None

        return wait_until(found, 5, f"what came of {name}")


# ---- calls that end the worker

REFUSED = {
    "read_file": "openat",
    "read_memory": "openat",
    "write_file": "openat",
    "stat": "newfstatat",
    "unlink": "unlinkat",
    "chdir": "chdir",
    "chroot": "chroot",
    "mount": "mount",
    "execve": "execve",
    "execveat": "execveat",
    "fork": "clone",
    "clone3": "clone3",
    "unshare": "unshare",
    "setns": "setns",
    "ptrace": "ptrace",
    "read_other": "process_vm_readv",
    "kill": "kill",
    "tgkill": "tgkill",
    "pidfd": "pidfd_open",
    "setuid": "setuid",
    "capset": "capset",
    "prctl": "prctl",
    "seccomp": "seccomp",
    "sigaction": "rt_sigaction",
    "netlink": "socket",
    "packet": "socket",
    "udp": "socket",
    "raw": "socket",
    "mptcp": "socket",
    "vsock": "socket",
    "listen": "listen",
    "bind": "bind",
    "map_code": "mmap",
    "become_code": "mprotect",
    "memfd": "memfd_create",
    "bpf": "bpf",
    "perf": "perf_event_open",
    "io_uring": "io_uring_setup",
    "userfaultfd": "userfaultfd",
    "keyctl": "keyctl",
    "ioctl": "ioctl",
    "fcntl": "fcntl",
    "personality": "personality",
    "landlock": "landlock_create_ruleset",
    "connect_fast": "sendto",
    "attach_filter": "setsockopt",
    "nothing": "100000",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_a_worker_does_not_need_ends_it_and_is_named(prison, name):
    one = prison(may_crash=True)
    assert attempt(one, name) == f"31 (Bad system call: {REFUSED[name]})"


def test_others_are_served_after_it(prison):
    one = prison(may_crash=True)
    attempt(one, "execve")
    with one.connect() as client:
        client.sendall(b"hello\n")
        assert client.recv(6) == b"hello\n"


# ---- what may be connected to


def landlock_abi():
    """Of the running kernel; 0: it has none."""
    import ctypes

    abi = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
    return max(abi, 0)


def test_a_port_that_the_policy_does_not_name_is_refused(prison, echo):
    if landlock_abi() < 4:
        pytest.skip("the kernel's Landlock knows nothing of ports")
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        one = prison()
        assert attempt(one, "connect", elsewhere.getsockname()[1]) == "failed: EACCES"
        assert attempt(one, "connect", int(echo.tcp4.rsplit(":")[-1])) == "succeeded"


def test_a_port_that_a_name_goes_with_may_be_connected_to(prison):
    with socket.create_server(("127.0.0.1", 0)) as named:
        port = named.getsockname()[1]
        one = prison(more=f'{{ name = "named"; match = "ssh"; connect = "localhost:{port}"; }},')
        assert attempt(one, "connect", port) == "succeeded"


def test_an_abstract_unix_socket_is_refused(prison):
    if landlock_abi() < 6:
        pytest.skip("the kernel's Landlock knows nothing of abstract sockets")
    with socket.socket(socket.AF_UNIX) as elsewhere:
        number = os.getpid()
        elsewhere.bind(f"\0usher-test-{number}")
        elsewhere.listen()
        assert attempt(prison(), "connect_abstract", number) == "failed: EPERM"


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_a_worker_of_a_transparent_service_may_bind_but_not_listen(prison):
    more = '{ name = "seen"; match = "ssh"; connect = "127.0.0.1:9"; transparent = true; },'
    one = prison(more=more, may_crash=True)
    assert attempt(one, "bind", free_port()) == "succeeded"
    assert attempt(one, "listen") == "31 (Bad system call: listen)"


# ---- what the kernel says of each process


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def limits_of(pid):
    """{name: hard limit}"""
    lines = pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): line[26:].split()[1] for line in lines}


@pytest.mark.parametrize("name", ["workers", "loggers", "resolvers"])
def test_every_process_but_the_master_is_locked_in(prison, name):
    one = prison(more='{ name = "named"; match = "ssh"; connect = "localhost:9"; },')
    pids = getattr(one, name)
    assert pids
    for pid in pids:
        wait_until(lambda: status_of(pid)["Seccomp"] == "2", 5, "a filter")
        status = status_of(pid)
        assert status["NoNewPrivs"] == "1"
        assert {status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        limits = limits_of(pid)
        assert limits["Max core file size"] == "0"
        assert limits["Max processes"] == "0"
        if IS_ROOT:  # the files of one that is not dumpable belong to root
            assert os.stat(f"/proc/{pid}/mem").st_uid == 0 and status["Uid"].split()[0] != "0"


# ---- the master

CAPABILITIES = {name: bit for bit, name in enumerate(
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service net_broadcast "
    "net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin".split())}


def capabilities(pid, which):
    value = int(status_of(pid)[which], 16)
    return {name for name, bit in CAPABILITIES.items() if value >> bit & 1}


ANY_POLICY = {"chown", "dac_override", "dac_read_search", "fowner", "kill", "setgid", "setuid", "net_admin", "net_bind_service", "net_raw"}
ALWAYS = {"dac_read_search", "kill", "setgid", "setuid"}

PLAIN = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;
services = ( {more} { name = "echo"; connect = "{echo}"; } );
on_unknown = "echo";  on_silence = "echo";
"""

as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root")


@as_root
def test_the_master_has_what_its_policy_needs_and_no_more(usher, echo):
    one = usher(PLAIN, echo=echo.tcp4, more="")
    one.wait_log("privileges of the master")
    assert capabilities(one.pid, "CapEff") == ALWAYS
    assert capabilities(one.pid, "CapPrm") == ANY_POLICY
    assert capabilities(one.pid, "CapBnd") == set(CAPABILITIES)
    assert any("cap_kill, cap_setgid, cap_setuid (workers run as" in line.text for line in one.log)


@as_root
def test_a_reload_puts_other_capabilities_in_force(usher, echo):
    one = usher(PLAIN, echo=echo.tcp4, more="")
    one.wait_log("privileges of the master")
    one.reload(PLAIN.replace("workers = 1;", 'workers = 1; pid_file = "{dir}/pid";'))
    assert capabilities(one.pid, "CapEff") == ALWAYS | {"dac_override", "fowner"}
    one.reload(PLAIN.replace("{more}", '{ name = "seen"; match = "ssh"; connect = "127.0.0.1:9"; transparent = true; },'))
    wait_until(lambda: capabilities(one.pid, "CapEff") == ALWAYS | {"net_raw"}, 5, "what the third file needs")
    assert not any("transparent services will fail" in line.text for line in one.log)
    one.reload(PLAIN)
    wait_until(lambda: capabilities(one.pid, "CapEff") == ALWAYS, 5, "what the last file needs")
    assert (one.dir / "pid").exists() is False


@as_root
def test_a_low_port_comes_with_a_reload(usher, echo):
    port = next(p for p in range(1023, 500, -1) if can_listen(p))
    one = usher(PLAIN, echo=echo.tcp4, more="")
    one.reload(PLAIN.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "127.0.0.1:%d"' % port))
    assert capabilities(one.pid, "CapEff") == ALWAYS | {"net_bind_service"}
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def can_listen(port):
    try:
        socket.create_server(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


@as_root
def test_a_program_that_runs_as_root_has_all_that_root_has(usher, echo):
    more = '{ name = "who"; match = "ssh"; exec = [ "/bin/sh", "-c", "read hello; exec cat /proc/self/status" ]; user = "root"; },'
    one = usher(PLAIN.replace('name = "echo"; connect', 'name = "echo"; match = "http"; connect'), echo=echo.tcp4, more=more)
    one.wait_log("privileges of the master")
    with one.connect() as client:
        client.sendall(b"SSH-2.0-x\r\n")
        status = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    mine = status_of(os.getpid())
    for key in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"):
        assert re.search(rf"^{key}:\s*(\S+)", status, re.M)[1] == mine[key], key


@as_root
def test_who_is_not_root_serves_all_the_same_and_is_told_what_is_missing(usher, echo, place):
    def as_nobody(command):
        return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--bounding-set=-all", *command]

    one = usher(PLAIN, echo=echo.tcp4, more="", wrapper=as_nobody)
    with one.connect() as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    assert status_of(one.workers[0])["Seccomp"] == "2"
    (place / "low.conf").write_text(PLAIN.replace("{port}", "443").replace("{echo}", "127.0.0.1:9").replace(
        "{more}", '{ name = "seen"; match = "ssh"; connect = "127.0.0.1:9"; transparent = true; },'))
    done = subprocess.run(as_nobody([BINARY, "check", "-c", place / "low.conf"]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cap_net_bind_service: listens on 127.0.0.1:443; missing here, root has it" in done.stdout
    assert "cap_net_raw: services are transparent; missing here, root has it" in done.stdout
    assert "not started by root: workers and programs are the user that starts usher" in done.stdout


@as_root
def test_capabilities_that_the_master_was_given_do_not_reach_its_programs(usher, echo):
    def with_one(command):
        return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--inh-caps=+net_bind_service",
                "--ambient-caps=+net_bind_service", *command]

    more = '{ name = "who"; match = "ssh"; exec = [ "/bin/sh", "-c", "read hello; exec cat /proc/self/status" ]; },'
    one = usher(PLAIN.replace('name = "echo"; connect', 'name = "echo"; match = "http"; connect'), echo=echo.tcp4, more=more,
                wrapper=with_one)
    assert capabilities(one.pid, "CapPrm") == {"net_bind_service"}
    with one.connect() as client:
        client.sendall(b"SSH-2.0-x\r\n")
        status = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    for key in ("CapPrm", "CapEff", "CapAmb"):
        assert re.search(rf"^{key}:\s*(\S+)", status, re.M)[1] == "0" * 16, key


@as_root
@pytest.mark.parametrize("user", ["root", "daemon"])
def test_explain_is_never_root_when_it_looks_at_bytes(place, user):
    import pwd

    (place / "usher.conf").write_text(f'listen = "127.0.0.1:1"; user = "{user}"; services = ( {{ name = "a"; match = "ssh"; connect = "127.0.0.1:9"; }} );')
    with subprocess.Popen([BINARY, "explain", "-c", place / "usher.conf", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        wanted = pwd.getpwnam("nobody" if user == "root" else user).pw_uid
        wait_until(lambda: process.poll() is not None or status_of(process.pid)["Uid"].split() == [str(wanted)] * 4, 60,
                   "another identity")
        assert process.poll() is None, process.stderr.read()
        process.stdin.close()


@pytest.mark.parametrize("name", ["read_file", "write_file", "execve", "fork", "udp", "kill", "map_code"])
def test_explain_has_a_sandbox_when_it_looks_at_bytes(place, name):
    shutil.copy(PRISONER, place / "prisoner.so")
    (place / "usher.conf").write_text(CONFIG.replace("{dir}", str(place)).replace("{port}", "1").replace("{echo}", "127.0.0.1:9").replace(
        "{more}", ""))
    done = subprocess.run([BINARY, "explain", "-c", place / "usher.conf", "-"], input=f"try {name} 0\n".encode(), capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == -signal.SIGSYS, done
