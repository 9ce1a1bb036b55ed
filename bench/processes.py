"""Processes of the benchmark: start them on a core, stop them by their id, read what they cost.

A mux may be several processes (a master, a worker, children), so cost is always the sum over the whole
tree.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import time

PROC = pathlib.Path("/proc")
STOP_SECONDS = 5


class Failed(Exception):
    """A measurement that cannot be trusted, why, and the figures it had all the same."""

    def __init__(self, reason, values=None):
        super().__init__(reason)
        self.values = values or {}


class Cores:
    """Where things run: the mux alone on one core and all else on the others, or everything anywhere."""

    def __init__(self, pin):
        cores = sorted(os.sched_getaffinity(0))
        self.all = set(cores)
        self.pinned = pin and len(cores) >= 2
        self.mux = {cores[0]} if self.pinned else self.all
        self.server = {cores[1]} if self.pinned else self.all
        self.load = {cores[-1]} if self.pinned else self.all

    def anywhere(self):
        """Nothing that is started inside is kept to its core."""
        return self.placed(self.all)

    def together(self):
        """All that is started inside shares the first core, so that the mux never waits for another one."""
        return self.placed(self.mux)

    @contextlib.contextmanager
    def placed(self, cores):
        kept = self.mux, self.server, self.load
        self.mux = self.server = self.load = cores
        try:
            yield
        finally:
            self.mux, self.server, self.load = kept

    @contextlib.contextmanager
    def inherited(self, cores):
        """What is started inside runs on these cores."""
        os.sched_setaffinity(0, cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.all)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(argv, log):
    """A process in a session of its own, out of reach of Ctrl-C; ended with its tree on the way out."""
    with open(log, "wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   start_new_session=True)
    try:
        yield process
    finally:
        stop(process)


def stop(process):
    family = tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        process.wait()


def tree(root):
    """The process and all that descend from it."""
    children = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(stat_fields(entry)[1], []).append(int(entry.name))
    family = [root]
    for pid in family:
        family.extend(children.get(pid, []))
    return family


def stat_fields(process):
    """State, parent, ... of /proc/PID/stat, after the name, which may hold blanks and brackets."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return [fields[0]] + [int(field) for field in fields[1:]]


def cpu_seconds(root):
    """CPU time of the tree: that of its living threads to the nanosecond, and of children already reaped."""
    return sum(cpu_seconds_of_each(root))


def cpu_seconds_of_each(root):
    """The same, process by process."""
    seconds = []
    for pid in tree(root):
        process = PROC / str(pid)
        with contextlib.suppress(OSError):
            threads_ns = sum(thread_ns(thread) for thread in (process / "task").iterdir())
            reaped_ticks = sum(stat_fields(process)[13:15])
            seconds.append(threads_ns / 1e9 + reaped_ticks / os.sysconf("SC_CLK_TCK"))
    return seconds


def thread_ns(thread):
    return int((thread / "schedstat").read_text().split()[0])


def memory_bytes(root):
    """Proportional set size of the tree: pages shared by n processes count 1/n to each."""
    return sum(pss_bytes(pid) for pid in tree(root))


def pss_bytes(pid):
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError as error:
        raise Failed(f"memory of process {pid}: {error.strerror}") from error
    raise Failed(f"memory of process {pid}: no Pss")


def machine_seconds():
    """CPU seconds that all cores have worked, for all processes; time stolen by the host is left out."""
    ticks = [int(field) for field in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4] - ticks[7]) / os.sysconf("SC_CLK_TCK")


def kernel_bytes(kind="SUnreclaim"):
    """What the kernel has allocated for its own objects: sockets, descriptors, their wait queues; with "Slab", inodes too."""
    for line in (PROC / "meminfo").read_text().splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024
    raise Failed(f"/proc/meminfo has no {kind}")


def machine_busy(seconds):
    """The part of all cores that is in use now, by all processes."""
    before = machine_ticks()
    time.sleep(seconds)
    idle, total = (after - then for after, then in zip(machine_ticks(), before))
    return 1 - idle / total if total else 0.0


def machine_ticks():
    """Ticks that all cores were idle, and all ticks."""
    ticks = [int(field) for field in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def wait_until(ready, seconds, what):
    """Polls until ready() is true."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"{what} after {seconds} seconds")
        time.sleep(0.02)
