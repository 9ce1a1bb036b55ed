"""sslh itself, of the system's package, to compare with; clients that say something and see who answers."""

import os
import subprocess
import time

import harness
import pytest
from harness import end_process, free_port, wait_until
from peers import client_hello
from servers import Echo

SSLH = "/usr/sbin/sslh"
HAVE_SSLH = os.access(SSLH, os.X_OK)
# "1.20-1+deb12u1" of "sslh-fork 1.20-1+deb12u1"
SSLH_VERSION = subprocess.run([SSLH, "-V"], capture_output=True, text=True, check=False).stdout.split()[-1] if HAVE_SSLH else ""


class RealSslh:
    """One that runs under a configuration, in which `{port}` becomes its port; also under a command line."""

    def __init__(self, config, directory, args=(), binary=SSLH):
        self.port = free_port()
        words = [str(arg).replace("{port}", str(self.port)) for arg in args]
        if config is not None:
            file = directory / f"real-{self.port}.cfg"
            file.write_text(config.replace("{port}", str(self.port)))
            words.insert(0, f"-F{file}")
        self.log = directory / f"real-{self.port}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary, "-f", "-n", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: self.process.poll() is not None or harness.Usher._listens(self.port), 10, "sslh to serve")
            assert self.process.poll() is None, self.log.read_text()
        except BaseException:
            self.end()
            raise

    def end(self):
        end_process(self.process)

    def connect(self, timeout=10.0):
        return harness.connect(self.port, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def adb_message(command, data):
    """The header of ADB's transport: command, two arguments, length, checksum, and the command's complement."""
    number = int.from_bytes(command, "little")
    return (command + (0x01000000).to_bytes(4, "little") + (4096).to_bytes(4, "little") + len(data).to_bytes(4, "little") +
            sum(data).to_bytes(4, "little") + (number ^ 0xFFFFFFFF).to_bytes(4, "little") + data)


# What a client of each protocol says first.
SAYS = {
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "http": b"GET / HTTP/1.1\r\nHost: www.example\r\n\r\n",
    "tls": client_hello(),
    "tls im xmpp-client": client_hello("im.example", [b"xmpp-client"]),
    "tls im h2": client_hello("im.example", [b"h2"]),
    "tls mail": client_hello("mail.example"),
    "tls a.b.example": client_hello("a.b.example"),
    "tls other h2": client_hello("other.example", [b"h2", b"http/1.1"]),
    "tls other": client_hello("other.example"),
    # P_CONTROL_HARD_RESET_CLIENT_V2: its length, opcode and key, session, no acknowledgement, packet 0.
    "openvpn": b"\x00\x0e\x38" + bytes(range(1, 9)) + b"\0" + b"\0\0\0\0",
    "xmpp": b"<?xml version='1.0'?><stream:stream to='im.example' xmlns='jabber:client' "
            b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    "socks5": b"\x05\x01\x00",
    "tinc": b"0 client 17.7\n",
    "adb": adb_message(b"CNXN", b"host::\0"),
    "syslog": b"<34>1 2026-11-22T10:00:00Z host app - - - hello\n",
    # TPKT, and an X.224 connection request with a cookie and a negotiation request.
    "rdp": b"\x03\x00\x00\x2d\x28\xe0\x00\x00\x00\x00\x00Cookie: mstshash=someone\r\n\x01\x00\x08\x00\x0b\x00\x00\x00",
    "unknown": b"\x07\x77 nobody knows this protocol, and it is longer than fifty bytes \x07\x77",
    "silent": b"",
}


def name_of(client):
    """Who greets the client: a line of its own; None where nobody does."""
    said = b""
    try:
        while not said.endswith(b"\n"):
            byte = client.recv(1)
            if not byte:
                return None
            said += byte
    except ConnectionResetError:
        return None
    return said[:-1].decode()


def ask(one, data, pieces=1, pause=0.01):
    """Who greets a client that says this, at once or in so many pieces, and says it back; and after how long."""
    begin = time.monotonic()
    with one.connect() as client:
        try:
            step = -(-len(data) // pieces) or 1
            for at in range(0, len(data), step):
                if at:
                    time.sleep(pause)
                client.sendall(data[at : at + step])
            name = name_of(client)
            took = time.monotonic() - begin
            if name is not None:  # without a half-close, which sslh makes a whole one of
                assert harness.read_exactly(client, len(data)) == data, "what the client said did not come through"
        except (ConnectionResetError, BrokenPipeError):
            return None, time.monotonic() - begin
    return name, took


# ---- configurations


def entry(name, server, more=""):
    """An entry of `protocols'; `server` is an Echo."""
    return f'{{ name: "{name}"; host: "localhost"; port: "{server.port4}"; {more} }}'


def listen(more=""):
    return f'listen: ( {{ host: "127.0.0.1"; port: "{{port}}"; {more} }} );\n'


def protocols(*entries):
    return "protocols: (\n  " + ",\n  ".join(entries) + "\n);\n"


def at(server):
    return f"localhost:{server.port4}"


@pytest.fixture(scope="module")
def echoes(tmp_path_factory):
    """echoes("a", "b"): servers that say their name, a newline, and then everything that they hear. They stay for the module."""
    directory = tmp_path_factory.mktemp("echoes")
    running = {}

    def start(*names):
        for name in names:
            if name not in running:
                running[name] = Echo(directory / f"{name}.sock", greeting=f"{name}\n").__enter__()
        return [running[name] for name in names]

    yield start
    for server in running.values():
        server.__exit__(None, None, None)
