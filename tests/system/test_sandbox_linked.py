"""What the sandbox lets a worker and `usher explain` call, beside what they are linked with: a call that no linked function makes, or an
option that no code sets, is not in the lists of src/helper/sandbox.c."""

import re
import subprocess

import pytest
from harness import BUILD, SOURCE

# Of a function of the C library, the calls that it makes, on some machine or in some version.
MEMORY = {"brk", "mmap", "mmap2", "munmap", "madvise", "mremap", "mprotect", "futex", "futex_time64"}
STREAM = {"write", "lseek", "_llseek", "close"}
END = {"rt_sigprocmask", "getpid", "gettid", "tgkill", "exit", "exit_group", "write", "writev"}
FILE = {"fstat", "fstat64", "newfstatat", "fstatat64", "statx"}  # a stream without a buffer of its own asks what it writes to
MAKES = {
    "malloc": MEMORY, "calloc": MEMORY, "free": MEMORY, "munmap": MEMORY, "madvise": MEMORY,
    "read": {"read"}, "write": {"write"}, "writev": {"writev"}, "close": {"close"},
    "recv": {"recv", "recvfrom"}, "recvmsg": {"recvmsg"}, "send": {"send", "sendto"}, "sendmsg": {"sendmsg"},
    "recvmmsg": {"recvmmsg", "recvmmsg_time64"}, "sendmmsg": {"sendmmsg"},
    "getsockopt": {"getsockopt"}, "setsockopt": {"setsockopt"}, "getsockname": {"getsockname"}, "getpeername": {"getpeername"},
    "shutdown": {"shutdown"}, "socket": {"socket"}, "socketpair": {"socketpair"}, "bind": {"bind"}, "connect": {"connect"},
    "accept4": {"accept4"}, "splice": {"splice"}, "pipe2": {"pipe2"}, "fcntl": {"fcntl", "fcntl64"}, "ioctl": {"ioctl"},
    "tcgetattr": {"ioctl"}, "poll": {"poll", "ppoll", "ppoll_time64", "restart_syscall"},
    "epoll_ctl": {"epoll_ctl"}, "epoll_wait": {"epoll_wait", "epoll_pwait"},
    "clock_gettime": {"clock_gettime", "clock_gettime64"}, "time": {"time", "clock_gettime", "clock_gettime64"},
    "getrandom": {"getrandom"}, "getpid": {"getpid"}, "qsort": {"sysinfo"}, "isatty": {"ioctl"},
    "fclose": STREAM, "fdopen": {"fcntl", "fcntl64"}, "abort": END, "_exit": END, "assert_fail": END,
    "fwrite": STREAM, "fputs": STREAM, "printf": STREAM | FILE, "fprintf": STREAM | FILE, "fread": STREAM | FILE | {"read"},
    "puts": STREAM | FILE, "json_dumpf": STREAM | FILE, "exit": END | STREAM,
    "alarm": {"alarm"}, "nanosleep": {"nanosleep", "clock_nanosleep"}, "sigaction": {"rt_sigreturn", "sigreturn"},
}

# The rooms, and of base and decide the files, that run in a worker's loop.
WORKER = ("session", "request", "stream", "datagram", "deliver", "migrate", "shared", "decide", "worker", "base")
NOT_IN_THE_LOOP = {
    "base": {"cpus", "file", "kill_as", "landlock", "nsswitch", "path", "paths", "pidfile", "process", "region", "shared_memory",
             "socket_file", "spawn"},
    "decide": {"module_inspect"},
}
EXPLAIN = ("explain", "decide", "base", "policy")


def linked(rooms, apart):
    """The functions of others that these rooms' files call, without what the C library adds to their names."""
    found = set()
    for room in rooms:
        library = BUILD / f"src/{room}/lib{room}.a"
        if not library.exists():
            continue
        said = subprocess.run(["nm", "-u", library], capture_output=True, text=True, check=True).stdout
        for name, symbols in re.findall(r"(\w+)\.c\.o:\n((?: +[Uw] \S+\n)*)", said):
            if name not in apart.get(room, ()):
                found |= {re.sub(r"^_*(?=[a-z])|_chk$|64$", "", symbol) for symbol in re.findall(r"[Uw] (\S+)", symbols)}
                found |= {symbol for symbol in re.findall(r"[Uw] (\S+)", symbols)}
    return found


LISTS = (SOURCE / "src/helper/sandbox.c").read_text()


def listed(name):
    body = re.search(rf"\b{name}\[\] = {{(.*?)}};", LISTS, re.S)
    return set(re.findall(r'"(\w+)"', body[1]))


def made_by(functions):
    return set().union(*(MAKES[function] for function in functions if function in MAKES))


@pytest.mark.parametrize("process,lists,rooms,apart", [
    ("worker", ("common_calls", "worker_calls"), WORKER, NOT_IN_THE_LOOP),
    ("explain", ("common_calls", "explain_calls"), EXPLAIN, {}),
])
def test_a_call_that_nothing_linked_makes_is_not_allowed(process, lists, rooms, apart):
    functions = linked(rooms, apart)
    assert {"malloc", "close"} <= functions, "the libraries were not read"
    allowed = set().union(*map(listed, lists))
    assert len(allowed) > 30
    # What both processes may do is in one list: what a worker alone does there, `usher explain' may do without harm.
    if process == "explain":
        functions |= linked(WORKER, NOT_IN_THE_LOOP)
    assert not allowed - made_by(functions), "allowed, and made by nothing that is linked (or MAKES does not know the function)"


def test_no_call_is_in_a_list_twice():
    for name in ("common_calls", "library_calls", "worker_calls", "logger_calls", "explain_calls", "exporter_calls", "resolver_calls", "names_calls"):
        body = re.search(rf"\b{name}\[\] = {{(.*?)}};", LISTS, re.S)
        calls = re.findall(r'"(\w+)"', body[1])
        assert len(calls) == len(set(calls)), name
    for name in ("worker_calls", "logger_calls", "explain_calls", "exporter_calls", "resolver_calls", "library_calls"):
        assert not listed(name) & listed("common_calls"), name


def code(rooms, apart):
    files = [path for room in rooms for path in (SOURCE / "src" / room).glob("**/*.c") if path.stem not in apart.get(room, ())]
    return "\n".join(path.read_text() for path in files)


# By the functions of the C library that use them.
BY_FUNCTION = {"TCGETS": "tcgetattr", "F_GETFL": "fdopen"}


def test_an_option_that_no_code_sets_is_not_allowed_to_a_worker():
    text = code(WORKER, NOT_IN_THE_LOOP)
    options = re.search(r"\bworker_options\[\] = {(.*?)};", LISTS, re.S)[1]
    names = re.findall(r"{ \w+, (\w+) }", options)
    assert len(names) >= 8
    for name in ("descriptor_commands", "worker_requests"):
        names += re.findall(r"\b([A-Z_]+)\b", re.search(rf"\b{name}\[\] = {{(.*?)}};", LISTS, re.S)[1])
    assert "TIOCGPTN" in names and "F_SETFD" in names
    for name in names:
        assert re.search(rf"\b{BY_FUNCTION.get(name, name)}\b", text), f"{name} is allowed, and no code of a worker's loop uses it"
