"""Servers that know nothing of usher, started by usher-accept: what they would accept on their port comes from usher."""

import getpass
import os
import signal
import socket
import subprocess
import sys

from harness import BUILD, IS_ROOT, SOURCE, children, descendants, free_port, process_stat, wait_until
from servers import NGINX, Server, Sshd

USHER_ACCEPT = BUILD / "lib/usher-accept"
HAPROXY = "/usr/sbin/haproxy"
APACHE = "/usr/sbin/apache2"
NODE = "/usr/bin/node"
STUNNEL = "/usr/bin/stunnel4"


def takes_datagrams(path):
    """Is there a process with a socket bound at the path?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class Accepting(Server):
    """A server under usher-accept; what it would accept on .port comes over .path."""

    def __init__(self, directory, port=None, options=()):
        self.dir = directory
        self.port = port or free_port()
        self.path = directory / "web.sock"
        self.options = list(options)
        self.start()

    def start(self):
        self.launch([USHER_ACCEPT, "--listen", f"127.0.0.1:{self.port}={self.path}", *self.options, "--", *self.command()],
                    self.dir / "server.log", **self.settings())
        try:
            wait_until(lambda: takes_datagrams(self.path), 15, "the server to listen")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.said()}") from None

    def settings(self):
        return {}

    def said(self):
        return (self.dir / "server.log").read_text(errors="replace")

    def pids(self):
        return [self.process.pid, *descendants(self.process.pid)]

    def signal_all(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        if number == signal.SIGSTOP:
            wait_until(lambda: all(process_stat(pid)[1] in "TZ" for pid in self.pids()), 5, "all to stop")

    def kill(self):
        """All of it at once."""
        self.signal_all(signal.SIGSTOP)
        everybody = self.pids()
        self.signal_all(signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(process_stat(pid) and process_stat(pid)[1] != "Z" for pid in everybody), 5, "their end")

    def requests(self):
        """Lines of the access log: [client, what was asked for, status]."""
        try:
            return [line.split() for line in (self.dir / "access.log").read_text().splitlines()]
        except OSError:
            return []


NGINX_CONFIG = """
daemon {daemon}; master_process on; worker_processes {workers}; {user} worker_rlimit_nofile 4096; {more}
pid {dir}/nginx.pid; error_log {dir}/error.log info;
events {{ worker_connections 2048; {events} }}
http {{
	log_format brief '$remote_addr $request_uri $status $server_addr'; access_log {dir}/access.log brief;
	client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
	server {{ listen 127.0.0.1:{port} {listen}; {server} keepalive_timeout 0;
		location / {{ return 200 "$request_uri $remote_addr $pid {word}\\n"; }} }}
}}
"""


class Nginx(Accepting):
    def __init__(self, directory, workers=4, listen="", server="", events="", more="", daemon="off", **options):
        self.config = {"workers": workers, "listen": listen, "server": server, "events": events, "more": more, "daemon": daemon,
                       "word": "first"}
        super().__init__(directory, **options)

    def configure(self):
        user = f"user {getpass.getuser()};" if IS_ROOT else ""
        (self.dir / "nginx.conf").write_text(NGINX_CONFIG.format(dir=self.dir, port=self.port, user=user, **self.config))

    def command(self):
        self.configure()
        return [NGINX, "-p", str(self.dir), "-c", str(self.dir / "nginx.conf"), "-e", str(self.dir / "error.log")]

    def workers(self):
        return [pid for pid in children(self.process.pid)]

    def errors(self):
        """But for nginx 1.25's about `listen ... http2', which 1.22 needs."""
        return [line for line in (self.dir / "error.log").read_text().splitlines()
                if any(f"[{level}]" in line for level in ("warn", "error", "alert", "crit", "emerg"))
                and '"listen ... http2" directive is deprecated' not in line]


APACHE_CONFIG = """
ServerRoot {dir}
ServerName localhost
PidFile {dir}/apache.pid
Listen 127.0.0.1:{port}
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
{user}
StartServers 3
ErrorLog {dir}/error.log
LogLevel info
LogFormat "%a %U %>s" brief
CustomLog {dir}/access.log brief
DocumentRoot {dir}/www
KeepAlive Off
MaxRequestWorkers 100
"""


class Apache(Accepting):
    def __init__(self, directory, mpm):
        self.mpm = mpm
        (directory / "www").mkdir()
        super().__init__(directory)

    def settings(self):
        return {"start_new_session": True}

    def command(self):
        for name in "abcdefgh":
            (self.dir / "www" / name).write_text(f"page {name}\n")
        user = "User nobody\nGroup nogroup" if IS_ROOT else ""
        (self.dir / "apache.conf").write_text(APACHE_CONFIG.format(dir=self.dir, port=self.port, mpm=self.mpm, user=user))
        return [APACHE, "-f", str(self.dir / "apache.conf"), "-D", "FOREGROUND"]


HAPROXY_CONFIG = """
global
	nbthread 2
	log stderr local0
defaults
	mode http
	timeout client 20s
	timeout server 20s
	timeout connect 5s
frontend web
	bind {bind}
	http-request return status 200 content-type text/plain lf-string "%[path] %[src]\\n"
"""


class Haproxy(Accepting):
    def command(self):
        bind = "fd@3" if "--listen-fds" in self.options else f"127.0.0.1:{self.port}"
        (self.dir / "haproxy.cfg").write_text(HAPROXY_CONFIG.format(bind=bind))
        return [HAPROXY, "-W", "-f", str(self.dir / "haproxy.cfg")]


STUNNEL_CONFIG = """
foreground = yes
pid =
debug = info
[web]
accept = 127.0.0.1:{port}
connect = {backend}
cert = {certificate}
key = {key}
"""


class Stunnel(Accepting):
    def __init__(self, directory, backend, certificate):
        self.backend, self.certificate = backend, certificate
        super().__init__(directory)

    def command(self):
        (self.dir / "stunnel.conf").write_text(STUNNEL_CONFIG.format(
            port=self.port, backend=self.backend, certificate=self.certificate[0], key=self.certificate[1]))
        return [STUNNEL, str(self.dir / "stunnel.conf")]


NODE_SERVER = """
const cluster = require('cluster'), http = require('http');
const [port, workers] = process.argv.slice(2);
if (workers > 0 && cluster.isPrimary) {
	for (let i = 0; i < workers; i++) cluster.fork();
} else {
	http.createServer((request, response) => {
		response.setHeader('connection', 'close');
		response.end(request.url + ' ' + request.socket.remoteAddress + ' ' + process.pid + '\\n');
	}).listen(port === 'fd' ? { fd: 3 } : { host: '127.0.0.1', port: Number(port) });
}
"""


class Node(Accepting):
    def __init__(self, directory, workers=0, **options):
        self.n_workers = workers
        super().__init__(directory, **options)

    def command(self):
        (self.dir / "server.js").write_text(NODE_SERVER)
        port = "fd" if "--listen-fds" in self.options else self.port
        return [NODE, str(self.dir / "server.js"), str(port), str(self.n_workers)]


class PythonHttp(Accepting):
    def command(self):
        (self.dir / "www").mkdir(exist_ok=True)
        for name in "abcdefgh":
            (self.dir / "www" / name).write_text(f"page {name}\n")
        return [sys.executable, "-u", "-m", "http.server", "-b", "127.0.0.1", "-d", str(self.dir / "www"), str(self.port)]


class Waiting(Accepting):
    """tests/system/accept_server.py: some processes that wait for connections in one way."""

    def __init__(self, directory, way, processes=3, **options):
        self.way, self.processes = way, processes
        super().__init__(directory, **options)

    def command(self):
        where = "fd" if "--listen-fds" in self.options else str(self.port)
        return [sys.executable, str(SOURCE / "tests/system/accept_server.py"), self.way, where, str(self.processes)]


class AcceptingSshd(Sshd):
    """sshd, with .path for its port."""

    def __init__(self, directory):
        self.path = directory / "ssh.sock"
        super().__init__(directory)

    def launch(self, command, log, **options):
        super().launch([USHER_ACCEPT, "--listen", f"127.0.0.1:{self.port}={self.path}", "--", *command], log, **options)

    def wait(self, *addresses):
        wait_until(lambda: takes_datagrams(self.path), 15, "sshd to listen")


def run_accept(*words, **options):
    """usher-accept to its end."""
    return subprocess.run([str(word) for word in (USHER_ACCEPT, *words)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False, **options)
