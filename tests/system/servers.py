"""Real servers on free ports, each with files of its own and none of the machine's: sshd, nginx, openssl
s_server, and an echo server. Each is a context manager and ends what it started, by pid."""

import getpass
import hashlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import threading

from harness import IS_ROOT, end_process, free_port, slow, wait_for_server

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SFTP_SERVER = "/usr/lib/openssh/sftp-server"

NAMES = ("one.example", "two.example", "*.two.example", "rev.example", "localhost")


class Server:
    """A process with a log; `address` is where it accepts."""

    process = None

    def launch(self, command, log, **options):
        self.log_path = pathlib.Path(log)
        with open(log, "ab") as output:
            self.process = subprocess.Popen(command, stdin=options.pop("stdin", subprocess.DEVNULL),
                                            stdout=output,
                                            stderr=output, **options)

    def wait(self, *addresses):
        for address in addresses:
            try:
                wait_for_server(address)
            except AssertionError as error:
                self.end()
                raise AssertionError(f"{error}:\n{self.log_path.read_text(errors='replace')}") from None

    def end(self):
        if self.process:
            end_process(self.process)
            self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Process(Server):
    """A program; its output is in the log."""

    def __init__(self, command, log, **options):
        self.launch([str(word) for word in command], log, **options)

    def said(self, text):
        return text in self.log_path.read_text(errors="replace")


def listening(address, backlog=4096):
    """A listening socket for servers in threads of the test: (host, port), 0 for any port, or a path."""
    if isinstance(address, (str, os.PathLike)):
        path = os.fspath(address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
        os.chmod(path, 0o777)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    sock.listen(backlog)
    return sock


class Echo(Server):
    """Over TCP4, TCP6 and UNIX at once; .tcp4, .tcp6, .unix as usher's configuration has them."""

    def __init__(self, path, greeting=""):
        sockets = [listening(("127.0.0.1", 0)), listening(("::1", 0)), listening(path)]
        self.port4, self.port6 = sockets[0].getsockname()[1], sockets[1].getsockname()[1]
        self.path = pathlib.Path(path)
        self.tcp4 = f"127.0.0.1:{self.port4}"
        self.tcp6 = f"[::1]:{self.port6}"
        self.unix = f"unix:{path}"
        self.greeting = greeting
        fds = [sock.fileno() for sock in sockets]
        program = pathlib.Path(__file__).with_name("echo_server.py")
        self.launch([sys.executable, "-S", str(program), greeting, *map(str, fds)], f"{path}.log",
                    pass_fds=fds)
        for sock in sockets:
            sock.close()


def make_certificate(directory):
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    names = ",".join(f"DNS:{name}" for name in NAMES) + ",IP:127.0.0.1,IP:::1"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "30", "-subj", "/CN=usher test", "-addext", f"subjectAltName={names}", "-keyout", key,
         "-out", certificate],
        check=True, capture_output=True)
    return certificate, key


NGINX_CONFIG = """
daemon off; master_process off; worker_processes 1; {user}
pid {dir}/nginx.pid; error_log {dir}/error.log warn;
events {{ worker_connections 4096; }}
http {{
	access_log off; sendfile on; keepalive_timeout 65; client_max_body_size 0;
	default_type application/octet-stream;
	client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
	ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
	server {{ listen 127.0.0.1:{http}; listen unix:{dir}/http.sock; server_name _; root {dir}/www;
		location /who {{ return 200 "plain $request_method $host $server_protocol\\n"; }}
		location /up/ {{ dav_methods PUT; }} }}
	server {{ listen 127.0.0.1:{h2c} http2; server_name _; root {dir}/www;
		location /who {{ return 200 "h2c $request_method $host $server_protocol\\n"; }} }}
	server {{ listen 127.0.0.1:{https_one} ssl http2; server_name _; root {dir}/www;
		location /who {{ return 200 "one $ssl_server_name $server_protocol $ssl_protocol\\n"; }}
		location /up/ {{ dav_methods PUT; }} }}
	server {{ listen 127.0.0.1:{https_two} ssl http2; server_name _; root {dir}/www;
		location /who {{ return 200 "two $ssl_server_name $server_protocol $ssl_protocol\\n"; }} }}
}}
"""


class Nginx(Server):
    """Ports: .http (HTTP/1), .h2c (HTTP/2 in the clear), .https_one and .https_two (TLS, both versions); a
    UNIX socket .unix (HTTP/1). `/who` says which of them answered; PUT below /up/ stores into .www/up."""

    def __init__(self, directory, certificate):
        self.dir = directory
        self.www = directory / "www"
        (self.www / "up").mkdir(parents=True)
        self.http, self.h2c, self.https_one, self.https_two = (free_port() for _ in range(4))
        self.unix = f"unix:{directory}/http.sock"
        (self.www / "small").write_bytes(b"small\n")
        user = f"user {getpass.getuser()};" if IS_ROOT else ""
        config = directory / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(
            dir=directory, user=user, certificate=certificate[0], key=certificate[1], http=self.http,
            h2c=self.h2c, https_one=self.https_one, https_two=self.https_two))
        self.launch([NGINX, "-p", str(directory), "-c", str(config), "-e", str(directory / "error.log")],
                    directory / "nginx.log")
        self.wait(("127.0.0.1", self.http), ("127.0.0.1", self.https_two), directory / "http.sock")
        (directory / "http.sock").chmod(0o777)

def make_file(path, size):
    """Bytes that do not compress and do not repeat at any round distance; the digest."""
    digest = hashlib.sha256()
    generator = random.Random(size)
    block = generator.randbytes((1 << 20) + 4099)
    with open(path, "wb") as file:
        while size > 0:
            file.write(block[:size])
            digest.update(block[:size])
            size -= len(block)
    path.chmod(0o644)
    return digest.hexdigest()


SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {dir}/host_key
AuthorizedKeysFile {dir}/client_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 100
UseDNS no
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
# Not the shell start-up files of whoever runs the tests.
SetEnv HOME={dir}
Subsystem sftp internal-sftp
"""


class Sshd(Server):
    """sshd on .port of 127.0.0.1; .inetd is the command line that serves one connection on descriptor 0, and
    .client(port) the options with which ssh reaches either through usher at that port."""

    def __init__(self, directory):
        self.dir = directory
        directory.mkdir()
        self.port = free_port()
        self.user = getpass.getuser()
        if IS_ROOT:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        for key in ("host_key", "client_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
        config = directory / "sshd_config"
        config.write_text(SSHD_CONFIG.format(port=self.port, dir=directory))
        host_key = (directory / "host_key.pub").read_text().split()
        (directory / "known_hosts").write_text(f"usher-test {host_key[0]} {host_key[1]}\n")
        self.inetd = [SSHD, "-i", "-f", str(config)]
        self.launch([SSHD, "-D", "-e", "-f", str(config)], directory / "sshd.log")
        self.wait(("127.0.0.1", self.port))

    def options(self, port):
        """Options that ssh, sftp and scp share."""
        settings = {
            "Port": port, "User": self.user, "IdentityFile": self.dir / "client_key", "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.dir / "known_hosts", "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": "usher-test", "StrictHostKeyChecking": "yes", "BatchMode": "yes",
            "LogLevel": "ERROR", "ConnectTimeout": int(slow(20)),
        }
        words = ["-F", "/dev/null"]
        for key, value in settings.items():
            words += ["-o", f"{key}={value}"]
        return words

    def ssh(self, port, *command, host="127.0.0.1", options=(), timeout=30, **more):
        """Runs ssh to its end."""
        return run(["ssh", *self.options(port), *options, host, *command], timeout=timeout, **more)


class SServer(Server):
    """`openssl s_server -rev`: gives each line back reversed."""

    def __init__(self, certificate, options=()):
        self.port = free_port()
        self.launch(["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", certificate[0],
                     "-key", certificate[1], "-rev", "-quiet", *options],
                    certificate[0].parent / f"s_server.{self.port}")
        self.wait(("127.0.0.1", self.port))


def have(program):
    return shutil.which(program) is not None


def run(command, timeout=30, **more):
    """Runs a client to its end, with nothing on its standard input unless told otherwise."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([str(word) for word in command], timeout=slow(timeout), check=False, **options)


def output_of(command, timeout=30, **more):
    """What it wrote; it must have ended with status 0."""
    done = run(command, timeout, **more)
    said = (done.stdout or b"")[:500]
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stderr!r}\n{said!r}"
    return done.stdout


def digest_of_stream(stream):
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def digest_of_file(path):
    with open(path, "rb") as file:
        return digest_of_stream(file)


def digest_of_output(command, timeout=60, **more):
    """SHA-256 of what it writes; it must end with status 0."""
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                          stdin=more.pop("stdin", subprocess.DEVNULL), **more) as process:
        alarm = threading.Timer(slow(timeout), process.kill)
        alarm.start()
        digest = digest_of_stream(process.stdout)
        status = process.wait()
        alarm.cancel()
    assert status == 0, f"{command}: status {status}"
    return digest
