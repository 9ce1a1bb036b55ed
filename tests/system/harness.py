"""Starts usher under a configuration, watches it, ends it, and holds it to account for what it leaves behind.

Ends only what it started itself, by pid. Everything that takes time is bounded, by bounds that only end hangs.
"""

import ctypes
import itertools
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("USHER") or SOURCE / "build/src/usher")
BUILD = BINARY.resolve().parent.parent
HANG = 60.0  # seconds: what did not come by then does not come, on a slow and busy machine either
NEVER = 600  # a timeout of usher's, in seconds, that does not pass within a test: what happens nevertheless did not wait for it
IS_ROOT = os.geteuid() == 0

# Servers are in folders that only root's login shell searches, and the tests play crowds.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
MOST_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_DESCRIPTORS, MOST_DESCRIPTORS))

PR_SET_CHILD_SUBREAPER = 36
IP_BIND_ADDRESS_NO_PORT = 24

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_stack_use_after_return=1:handle_abort=1:verify_asan_link_order=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=0",
    "LSAN_OPTIONS": "exitcode=99",
}
ENVIRONMENT = {**os.environ, **SANITIZER_OPTIONS}
ENVIRONMENT.pop("RUNTIME_DIRECTORY", None)
CRASHES = re.compile(
    r"Sanitizer|runtime error:|Assertion .* failed|was killed by signal|worker \d+ ended with status"
    r"|event loop failed"
    r"|stack smashing|buffer overflow detected|nobody waits for|(?:logger|resolver) died"
)


def slow(seconds):
    """A bound on what takes `seconds` where nothing else runs. It only ends a hang."""
    return max(3 * seconds, HANG)


def wait_until(condition, timeout=5.0, what="something"):
    """What `condition()` returns once that is true; fails after a bound for `timeout` seconds, see slow(). `what`: a text, or who says it then."""
    end = time.monotonic() + slow(timeout)
    pause = 0.002
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {slow(timeout):g} s in vain for {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


# ---- places and ports


def new_directory(prefix="usher-"):
    """A directory that usher's unprivileged workers can enter, with a short name for UNIX sockets."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    directory.chmod(0o755)
    return directory


def remove_directory(directory):
    shutil.rmtree(directory, ignore_errors=True)


_given_ports = set()


def free_port():
    """A port that is free now on all addresses of both families, and given to nobody else by this process.

    For bind() the kernel picks from another half of its range than for connect(), so that it stays free.
    """
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as four:
            four.bind(("0.0.0.0", 0))
            port = four.getsockname()[1]
            if port in _given_ports:
                continue
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as six:
                six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    six.bind(("::", port))
                except OSError:
                    continue
        _given_ports.add(port)
        return port
    raise AssertionError("no free port")


def dead_port():
    """A port on which nobody listens: connections to it are refused."""
    return free_port()


def accepts(address):
    """Does anybody accept at this address: (host, port) or the path of a UNIX socket?"""
    try:
        connect(address, timeout=1).close()
        return True
    except OSError:
        return False


def connect(address, timeout=10.0, source=None):
    """A connected socket; `address` is (host, port), a port of 127.0.0.1, or the path of a UNIX socket."""
    if isinstance(address, int):
        address = ("127.0.0.1", address)
    if isinstance(address, (str, os.PathLike)):
        family, address = socket.AF_UNIX, os.fspath(address)
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    client.settimeout(slow(timeout))
    try:
        if source:
            if source[1] == 0:
                client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)  # those of bind() are free_port()'s
            client.bind(source)
        client.connect(address)
        if family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        client.close()
        raise
    return client


def wait_for_server(address, timeout=10.0):
    wait_until(lambda: accepts(address), timeout, f"a server at {address}")


def ready(sock, seconds, events=select.POLLIN):
    """Can it be read (or written), within so many seconds? Descriptors may have any number here, other than for select()."""
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(1000 * seconds))


def read_all(client):
    """Everything up to the end of the stream; an RST raises ConnectionResetError."""
    pieces = []
    while True:
        piece = client.recv(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def read_exactly(client, n):
    """n bytes; EOFError where the stream ends before."""
    data = bytearray()
    while len(data) < n:
        piece = client.recv(min(n - len(data), 1 << 20))
        if not piece:
            raise EOFError(f"{len(data)} of {n} bytes came: {bytes(data[-200:])!r}")
        data += piece
    return bytes(data)


# ---- processes


def become_reaper():
    """Processes whose parent dies become our children: so that none can slip away unseen."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def process_stat(pid):
    """(name, state, parent, start time), or None when the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    fields = rest.split()
    return name, fields[0], int(fields[1]), int(fields[19])


def process_title(pid):
    """What ps shows, such as "usher: worker"; empty when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0")
    except OSError:
        return ""


def children(pid):
    found = []
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    except OSError:
        pass  # it ended in between
    return found


def descendants(pid):
    found, queue = [], [pid]
    while queue:
        for child in children(queue.pop()):
            found.append(child)
            queue.append(child)
    return found


def ushers_below():
    """{(pid, start time): title} of the ushers that we started, or what we started did: orphans are our children (become_reaper())."""
    found = {}
    for pid in descendants(os.getpid()):
        stat = process_stat(pid)
        title = process_title(pid)
        if stat and stat[1] != "Z" and os.path.basename(title.split("\0")[0].split(":")[0]) == "usher":
            found[pid, stat[3]] = title.replace("\0", " ")
    return found


def end_left(known=()):
    """Fails where ushers run that are not among those known, and ends them."""
    def left():
        return {process: title for process, title in ushers_below().items() if process not in known}

    try:
        wait_until(lambda: not left(), 3.0)
    except AssertionError:
        found = left()
        for pid, _ in found:
            os.kill(pid, signal.SIGKILL)
        raise AssertionError(f"ushers are left behind: {found}") from None


class Seen:
    """Processes that were seen below one process, told from later ones with the same number."""

    def __init__(self, root):
        self.root = root
        self.started = {}

    def look(self):
        for pid in [self.root, *descendants(self.root)]:
            stat = process_stat(pid)
            if stat and pid not in self.started:
                self.started[pid] = stat[3]

    def alive(self):
        """{pid: name} of those that still run; orphans that ended are buried on the way."""
        found = {}
        for pid, started in self.started.items():
            stat = process_stat(pid)
            if not stat or stat[3] != started:
                continue
            if stat[1] != "Z":
                found[pid] = stat[0]
            elif stat[2] == os.getpid() and pid != self.root:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
        return found


def count_fds(pid):
    """Open descriptors; None once it has ended. A test that asks for a worker's needs root."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        pytest.skip("needs root: to look at the descriptors of an unprivileged worker")
    except OSError:
        return None


def end_process(process, timeout=5.0, signal_number=signal.SIGTERM):
    """Ends a Popen that we started, by force if it must be."""
    if process.poll() is None:
        process.send_signal(signal_number)
        try:
            process.wait(slow(timeout))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    return process.returncode


# ---- the log

_PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)')
_HEAD = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z) (error|warning|notice|info|debug) (.*)", re.S)


class Line(dict):
    """A line of the log in text form: its keys and values, with .time, .level, .event and the whole as .text.

    A message has its words as .event and no keys. What stood in quotation marks keeps its escapes.
    """

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.time, self.level, rest = "", "", text
        head = _HEAD.match(text)
        if head:
            self.time, self.level, rest = head.groups()
        event, _, pairs = rest.partition(" ")
        if pairs and re.match(r"[a-z_]+=", pairs) and re.fullmatch(r"[a-z-]+", event):
            self.event = event
            for key, value in _PAIR.findall(pairs):
                self[key] = value[1:-1] if value.startswith('"') else value
        else:
            self.event = rest

    def __repr__(self):
        return self.text


# ---- the configuration


def config_text(value, top=True):
    """libconfig text of a dict: lists become ( ), dicts { }."""
    if isinstance(value, dict):
        settings = " ".join(f"{key} = {config_text(item, False)};" for key, item in value.items())
        return settings if top else "{ " + settings + " }"
    if isinstance(value, (list, tuple)):
        return "( " + ", ".join(config_text(item, False) for item in value) + " )"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Usher:
    """One running usher.

    The configuration is text or a dict. In it `{port}`, `{port_x}` ... stand for free ports, `{dir}` for a
    directory that its workers can reach, any other `{word}` for the keyword argument of that name.
    """

    def __init__(self, config, args=(), env=None, directory=None, wrapper=None, stop_timeout=10.0,
                 may_crash=False, may_leave=(), status=0, **words):
        self.own_directory = directory is None
        self.dir = pathlib.Path(directory) if directory else new_directory()
        self.config = config
        self.args = [str(arg) for arg in args]
        self.env = {**ENVIRONMENT, **(env or {})}
        self.wrapper = wrapper          # builds the command line from usher's own
        self.stop_timeout = stop_timeout
        self.may_crash = may_crash      # a test that kills workers
        self.may_leave = tuple(may_leave)  # names of programs that may outlive usher
        self.status = status            # expected of the master
        self.words = words
        self.ports = {}
        self.process = None
        self.seen = None
        self.stopped = False

    # -- starting

    def text(self, config=None):
        config = self.config if config is None else config
        text = config if isinstance(config, str) else config_text(config)

        def word(match):
            name = match.group(1)
            if name == "dir":
                return str(self.dir)
            if name in self.words:
                return str(self.words[name])
            if not name.startswith("port"):
                raise KeyError(f"{{{name}}} in the configuration has no value")
            if name not in self.ports:
                self.ports[name] = free_port()
            return str(self.ports[name])

        return re.sub(r"\{([a-z][a-z0-9_]*)\}", word, text)

    def write(self, config=None):
        """Writes the configuration, or another for a reload; ports keep their numbers."""
        self.file = self.dir / "usher.conf"
        temporary = self.dir / "usher.conf.new"
        temporary.write_text(self.text(config))
        temporary.rename(self.file)
        return self.file

    def command(self):
        return [str(BINARY), "run", "-c", str(self.file), *self.args]

    def launch(self):
        """Starts it without waiting until it serves. Its log is its own, also where others ran in the same folder."""
        self.write()
        self.log_path = next(path for n in itertools.count(1) if not (path := self.dir / f"stderr-{n}").exists())
        command = self.command()
        if self.wrapper:
            command = self.wrapper(command)
        with open(self.log_path, "xb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.env)
        self.seen = Seen(self.process.pid)
        return self

    def start(self):
        for attempt in itertools.count(1):
            self.launch()
            try:
                wait_until(self._serves_or_ended, 15.0, lambda: "usher to serve:\n" + self.output())
            except AssertionError:
                end_process(self.process, signal_number=signal.SIGKILL)
                raise
            if self.process.poll() is None:
                self.seen.look()
                return self
            # Somebody else was given the same port in between: once more with others.
            if attempt == 3 or "Address already in use" not in self.output() or not self.ports:
                self.stopped = True
                raise AssertionError(f"usher ended with {self.process.returncode}:\n{self.output()}")
            self.ports.clear()
            self.log_path.unlink()

    def _serves_or_ended(self):
        if self.process.poll() is not None or "notice serving: " in self.output():
            return True
        quiet = re.search(r'level\s*=\s*"(error|warning)"|\bto\s*=\s*"(?!stderr)|format\s*=\s*"json"',
                          self.text())
        if not quiet:
            return False
        if '"text":"serving: ' in self.output():
            return True
        return bool(self.ports) and "port" in self.ports and self._listens(self.ports["port"])

    @staticmethod
    def _listens(port):
        """Without connecting: that would be a connection in its log."""
        wanted = f":{port:04X}"
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table, encoding="ascii") as lines:
                if any(line.split()[1].endswith(wanted) and line.split()[3] == "0A"
                       for line in list(lines)[1:]):
                    return True
        return False

    # -- looking

    @property
    def port(self):
        """The port that `{port}` became, or the only one there is."""
        if "port" in self.ports:
            return self.ports["port"]
        (port,) = self.ports.values()
        return port

    @property
    def pid(self):
        return self.process.pid

    def _named(self, name):
        return sorted(pid for pid in children(self.pid) if process_title(pid).endswith(": " + name))

    @property
    def workers(self):
        return self._named("worker")

    def workers_but(self, gone):
        """The workers, where none of `gone` is among them; else none. One look: of two, a process could end in between."""
        workers = self.workers
        return [] if set(workers) & set(gone) else workers

    @property
    def loggers(self):
        return self._named("logger")

    @property
    def resolvers(self):
        return self._named("resolver")

    def programs(self):
        """{pid: name} of the programs that it runs."""
        ours = {*self.workers, *self.loggers, *self.resolvers}
        found = {pid: (process_stat(pid) or ("",))[0] for pid in children(self.pid) if pid not in ours}
        return {pid: name for pid, name in found.items() if name and not name.startswith("usher")}

    def fds(self):
        """{pid: open descriptors} of the master and its workers."""
        return {pid: count_fds(pid) for pid in [self.pid, *self.workers]}

    def output(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def log(self):
        """The whole lines of its log so far, in text form."""
        text = self.output()
        return [Line(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def connections(self, **fields):
        """The log lines of connections that ended, those with these fields, by when they were accepted."""
        found = [line for line in self.log if line.event == "connection" and fields.items() <= line.items()]
        return sorted(found, key=lambda line: int(line["id"]))

    def wait_connections(self, count=1, timeout=5.0, **fields):
        """These log lines, once there are `count` of them."""
        found = []

        def enough():
            found[:] = self.connections(**fields)
            return len(found) >= count

        try:
            wait_until(enough, timeout, f"{count} connections with {fields}")
        except AssertionError as error:
            raise AssertionError(
                f"{error}; there are {len(found)}. The log:\n{self.output()[-4000:]}") from None
        return found

    def wait_log(self, text, timeout=5.0, count=1):
        """The lines that contain `text` (a regular expression), once there are `count`."""
        def found():
            lines = [line for line in self.log if re.search(text, line.text)]
            return lines if len(lines) >= count else None

        return wait_until(found, timeout, lambda: f"{text!r} in the log:\n{self.output()[-4000:]}")

    def connect(self, port=None, host="127.0.0.1", timeout=10.0):
        return connect((host, port or self.port), timeout)

    @property
    def control(self):
        """Where its control socket is, in configurations that have one as `{dir}/control`."""
        return str(self.dir / "control")

    def ask(self, line, timeout=10.0):
        """The control socket's answer, its objects."""
        with connect(self.control, timeout) as client:
            client.sendall(line + b"\n")
            return [json.loads(line) for line in read_all(client).splitlines()]

    # -- ending

    def send_signal(self, number):
        self.seen.look()
        self.process.send_signal(number)

    def reload(self, config=None, timeout=10.0):
        """Another configuration, SIGHUP, and the news that it serves."""
        before = self.output().count("notice serving: ")
        if config is not None:
            self.write(config)
        self.send_signal(signal.SIGHUP)
        wait_until(lambda: self.output().count("notice serving: ") > before, timeout,
                   lambda: "the reload:\n" + self.output()[-2000:])
        self.seen.look()

    def stop(self, signal_number=signal.SIGTERM):
        """Ends it and checks: its status, that nothing of it is left, and that nothing in it broke."""
        if self.stopped or not self.process:
            return
        self.stopped = True
        self.seen.look()
        problems = []
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        end = time.monotonic() + slow(self.stop_timeout)
        while self.process.poll() is None and time.monotonic() < end:
            self.seen.look()
            time.sleep(0.005)
        if self.process.poll() is None:
            problems.append(f"it did not end within {slow(self.stop_timeout):g} s after signal "
                            f"{signal_number}: {self.seen.alive()}")
            self.process.kill()
            self.process.wait()
        elif self.process.returncode != self.status:
            problems.append(f"it ended with status {self.process.returncode}, not {self.status}")
        problems += self._bury()
        broken = [line for line in self.output().splitlines() if CRASHES.search(line)]
        if broken and not self.may_crash:
            problems += ["something broke:", *broken]
        if self.may_crash and "Sanitizer" in self.output():
            problems.append("a sanitizer complained")
        if problems:
            output = self.output()[-8000:]
            raise AssertionError("usher: " + "\n".join(problems) + "\n\nits output:\n" + output)

    def _bury(self):
        """Nothing of it may be left; what is, is ended here."""
        def left():
            return {pid: name for pid, name in self.seen.alive().items() if name not in self.may_leave}

        try:
            wait_until(lambda: not left(), 3.0)
            return []
        except AssertionError:
            return [f"processes are left: {left()}"]
        finally:
            for pid in self.seen.alive():
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda: pid not in self.seen.alive(), 3.0)

    def clean(self):
        if self.own_directory:
            remove_directory(self.dir)


def write_config(place, text, name="usher.conf"):
    (place / name).write_text(text)
    return place / name


def end_ushers(started):
    """All of them, the last first; fails with what was wrong with any."""
    problems = []
    for one in reversed(started):
        try:
            one.stop()
        except AssertionError as problem:
            problems.append(str(problem))
        finally:
            one.clean()
    assert not problems, "\n\n".join(problems)


def run_usher(*args, input=None, timeout=20.0, env=None, **options):
    """Runs a subcommand that ends by itself; stdout and stderr are text."""
    return subprocess.run([str(BINARY), *map(str, args)], input=input, capture_output=True, text=True,
                          timeout=slow(timeout), env={**ENVIRONMENT, **(env or {})},
                          **options)
