"""The contenders: the server behind all of them, and every way to reach it.

A contender is a template in peers/ and a command line. Each measurement gets a fresh process, so that
none inherits the memory or the queues of the previous one.
"""

import contextlib
import dataclasses
import grp
import http.client
import os
import pathlib
import pwd
import random
import re
import resource

import processes

HERE = pathlib.Path(__file__).parent
BODY = "the same small answer for everyone, sixty-four bytes of it: ok."
PATTERN_BYTES = 65521  # a prime: a piece that is lost, doubled or out of place by any power of two shows
LARGE_BYTES = 256 << 20
START_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    about: str
    command: tuple = ()        # @CONFIG@ and @USHER@ are filled in; empty: no mux
    template: str = ""
    package: str = ""          # of Debian
    file: str = ""             # by which the package is known to be there
    values: dict = dataclasses.field(default_factory=dict)
    idle_max: int = 1_000_000  # connections that it can hold at all
    receiver: tuple = ()       # a server of its own, that the mux hands connections to
    needs: str = ""            # a program of the build that must be there


USHER_COMMAND = ("@USHER@", "run", "-c", "@CONFIG@")
HAPROXY_COMMAND = (os.environ.get("HAPROXY", "/usr/sbin/haproxy"), "-db", "-f", "@CONFIG@")
NGINX_COMMAND = (os.environ.get("NGINX", "/usr/sbin/nginx"), "-c", "@CONFIG@", "-p", "@DIR@")
SSLH_COMMAND = (os.environ.get("SSLH_SELECT", "/usr/sbin/sslh-select"), "-F@CONFIG@")
SSLH_EV_COMMAND = (os.environ.get("SSLH_EV") or "/usr/sbin/sslh-ev", "-F@CONFIG@")
# The server again, as it is, but what it accepts comes from usher.
RECEIVER_COMMAND = ("@BUILD@/lib/usher-accept", "--mode", "0666", "--listen", "127.0.0.1:@RECEIVER_PORT@=@DIR@/handed.sock", "--",
                    "/usr/sbin/nginx", "-c", "@RECEIVER_CONFIG@", "-p", "@DIR@")

CONTENDERS = (
    Contender("direct", "no mux: the load generators talk to the server itself; the limit of this machine"),
    Contender("usher", "usher, relay to the server's TCP port",
              USHER_COMMAND, "usher.conf.in", values={"BACKEND": "127.0.0.1:@SERVER_PORT@"}),
    Contender("usher-unix", "usher, relay to the server's UNIX socket",
              USHER_COMMAND, "usher.conf.in", values={"BACKEND": "unix:@DIR@/server.sock"}),
    Contender("usher-handover", "usher, handed over to the same server under usher-accept: then it talks to the client itself",
              USHER_COMMAND, "usher-handover.conf.in", receiver=RECEIVER_COMMAND, needs="lib/usher-accept"),
    Contender("bare", "the least that a relay can do: bytes and ends, no decision, no limits, no time-outs, no sandbox",
              ("@BUILD@/bench/bare", "@PORT@", "@SERVER_PORT@"), needs="bench/bare"),
    Contender("sslh", "sslh-select; select() holds 1024 descriptors, so its idle figure is taken at 450",
              SSLH_COMMAND, "sslh.cfg.in", "sslh", SSLH_COMMAND[0], idle_max=450),
    Contender("haproxy", "HAProxy in TCP mode with inspect-delay",
              HAPROXY_COMMAND, "haproxy.cfg.in", "haproxy", HAPROXY_COMMAND[0], {"SPLICE": ""}),
    Contender("haproxy-splice", "the same with option splice-request and splice-response",
              HAPROXY_COMMAND, "haproxy.cfg.in", "haproxy", HAPROXY_COMMAND[0],
              {"SPLICE": "option splice-request\n\toption splice-response"}),
    Contender("nginx", "nginx stream with ssl_preread",
              NGINX_COMMAND, "nginx-stream.conf.in", "libnginx-mod-stream",
              "/usr/lib/nginx/modules/ngx_stream_module.so"),
)


# Debian 12 has none: only where there is one, or the environment names one.
SSLH_EV = Contender("sslh-ev", "sslh-ev", SSLH_EV_COMMAND, "sslh.cfg.in", "sslh", SSLH_EV_COMMAND[0])


@dataclasses.dataclass(frozen=True)
class Target:
    """Something to measure: where it listens, and the process that is the mux (None for direct)."""
    port: int
    pid: int | None


class Ground:
    """The server, its files, and what templates are filled with. Everything lives in one directory."""

    def __init__(self, directory, build, cores):
        self.directory = pathlib.Path(directory)
        self.cores = cores
        self.port = processes.free_port()
        self.receiver_port = processes.free_port()
        self.values = {
            "BUILD": str(build),
            "BODY": BODY,
            "NAME": "server",
            "DIR": str(self.directory),
            "FILES": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
            "GROUP": grp.getgrgid(os.getgid()).gr_name,
            "SERVER_PORT": str(self.port),
            "RECEIVER_PORT": str(self.receiver_port),
            "USHER": str(build / "src" / "usher"),
            "USER": pwd.getpwuid(os.getuid()).pw_name,
            "USHER_USER": 'user = "nobody";' if may_change_user() else "",
            "WORKERS": "1",
        }

    @property
    def pattern_file(self):
        return self.directory / "pattern"

    def fill(self, text, values=None):
        """Fills in @NAME@, in values too; an unknown name is an error of the bench."""
        known = self.values | (values or {})
        while re.search("@[A-Z_]+@", text):
            text = re.sub("@([A-Z_]+)@", lambda match: known[match[1]], text)
        return text

    def configure(self, template, name, values=None):
        path = self.directory / name
        path.write_text(self.fill((HERE / "peers" / template).read_text(), values))
        return path

    def make_files(self):
        """The pattern, and a large file that is the pattern repeated."""
        self.directory.chmod(0o755)  # a worker may have another user
        files = self.directory / "files"
        files.mkdir()
        pattern = random.Random(1).randbytes(PATTERN_BYTES)
        self.pattern_file.write_bytes(pattern)
        with open(files / "large", "wb") as large:
            for _ in range(LARGE_BYTES // PATTERN_BYTES):
                large.write(pattern)

    @contextlib.contextmanager
    def server(self):
        self.make_files()
        config = self.configure("server.conf.in", "server.conf")
        argv = [self.fill(word, {"CONFIG": str(config)}) for word in NGINX_COMMAND]
        with self.started("server", argv, self.cores.server, self.port):
            yield

    @contextlib.contextmanager
    def running(self, contender, more=None, ready=None):
        """The contender, freshly started and answering, as a Target; `more` values for its template. `ready` asks a port for an answer."""
        if not contender.command:
            yield Target(self.port, None)
            return
        values = contender.values | {"PORT": str(processes.free_port())} | (more or {})
        port = int(values["PORT"])
        if contender.template:
            values["CONFIG"] = str(self.configure(contender.template, contender.name + ".conf", values))
        argv = [self.fill(word, values) for word in contender.command]
        with self.receiving(contender), self.started(contender.name, argv, self.cores.mux, port, ready) as process:
            yield Target(port, process.pid)

    @contextlib.contextmanager
    def receiving(self, contender):
        """The server that the contender hands connections to, if it has one of its own. No part of the mux."""
        if not contender.receiver:
            yield
            return
        values = {"SERVER_PORT": str(self.receiver_port), "NAME": "receiver"}
        values["RECEIVER_CONFIG"] = str(self.configure("server.conf.in", "receiver.conf", values))
        argv = [self.fill(word, values) for word in contender.receiver]
        with self.cores.inherited(self.cores.server), processes.running(argv, self.directory / "receiver.log") as process:
            socket_file = self.directory / "handed.sock"
            processes.wait_until(socket_file.exists, START_SECONDS, "the receiver has no socket")
            yield process
        socket_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def started(self, name, argv, cores, port, ready=None):
        """A process on these cores, once it answers on the port."""
        with contextlib.ExitStack() as stack:
            log = self.directory / (name + ".log")
            with self.cores.inherited(cores):
                process = stack.enter_context(processes.running(argv, log))
            wait_for_answer(name, port, process, log, ready or answers)
            yield process


def wait_for_answer(name, port, process, log, answers_at):
    def ready():
        if process.poll() is not None:
            raise processes.Failed(f"{name} ended with status {process.returncode}: {last_words(log)}")
        return answers_at(port)
    processes.wait_until(ready, START_SECONDS, f"{name} gives no right answer")


def last_words(log):
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def may_change_user():
    """Root, and not merely of a user namespace that knows one user."""
    mapped = int(pathlib.Path("/proc/self/uid_map").read_text().split()[2])
    return os.getuid() == 0 and mapped > 1


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/small")
        return connection.getresponse().read() == BODY.encode()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def available(build):
    """All that can be measured here: usher-accept is not built everywhere."""
    more = (SSLH_EV,) if os.environ.get("SSLH_EV") or os.path.exists(SSLH_EV_COMMAND[0]) else ()
    return [contender for contender in CONTENDERS + more if (build / contender.needs).exists()]


def missing_packages(chosen):
    """Debian packages of what is not there."""
    wanted = {"wrk": "/usr/bin/wrk", "nginx-light": "/usr/sbin/nginx"}
    wanted |= {contender.package: contender.file for contender in chosen if contender.package}
    return sorted(package for package, path in wanted.items() if not os.path.exists(path))
