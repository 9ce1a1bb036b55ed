"""Everything on one port at the same time: ssh, sftp, curl, wget and raw clients, all by checksum."""

import concurrent.futures
import hashlib
import random
import socket
import subprocess
import threading

import pytest
from harness import connect, count_fds, slow, wait_until
from servers import digest_of_file, digest_of_output, output_of

CLIENTS = 16
ROUNDS = 3


class Load:
    """What one of the clients can do, each by checksum."""

    def __init__(self, port, sshd, nginx, middle, certificate, place):
        self.port, self.sshd, self.nginx, self.place = port, sshd, nginx, place
        self.file, self.digest = middle
        self.curl = ["curl", "-sS", "--max-time", str(int(slow(60))), "--cacert", certificate[0]]
        self.certificate = certificate[0]
        self.kinds = [self.http, self.http_2_in_the_clear, self.https_one, self.https_two, self.upload,
                      self.ssh_command,
                      self.ssh_down, self.ssh_up, self.sftp, self.echo, self.echo, self.wget, self.many_small]

    def url(self, path, scheme="http", name="127.0.0.1"):
        return f"{scheme}://{name}:{self.port}/{path}"

    def tls(self, name):
        assert digest_of_output([*self.curl, "--resolve", f"{name}:{self.port}:127.0.0.1",
                                 self.url("middle", "https", name)]) == self.digest
        return 1

    def http(self):
        assert digest_of_output([*self.curl, self.url("middle")]) == self.digest
        return 1

    def http_2_in_the_clear(self):
        assert digest_of_output([*self.curl, "--http2-prior-knowledge", self.url("middle")]) == self.digest
        return 1

    def https_one(self):
        return self.tls("one.example")

    def https_two(self):
        return self.tls("b.two.example")

    def upload(self):
        name = f"mixed-{threading.get_ident()}"
        output_of([*self.curl, "-T", self.file, self.url(f"up/{name}")])
        stored = self.nginx.www / "up" / name
        assert digest_of_file(stored) == self.digest
        stored.unlink()
        return 1

    def many_small(self):
        assert output_of([*self.curl, "-H", "Connection: close", self.url("small?[1-20]")]) == b"small\n" * 20
        return 20

    def wget(self):
        url = self.url("middle", "https", "localhost")
        assert digest_of_output(["wget", "-q", "-O", "-", "--tries=1", "--no-config", "--no-hsts",
                                 f"--ca-certificate={self.certificate}", url]) == self.digest
        return 1

    def ssh(self, *command, **more):
        return output_of(["ssh", *self.sshd.options(self.port), "127.0.0.1", *command], timeout=60, **more)

    def ssh_command(self):
        assert self.ssh("echo one; echo two >&2") == b"one\n"
        return 1

    def ssh_down(self):
        assert hashlib.sha256(self.ssh(f"cat {self.file}")).hexdigest() == self.digest
        return 1

    def ssh_up(self):
        with open(self.file, "rb") as file:
            assert self.ssh("sha256sum", stdin=file).split()[0].decode() == self.digest
        return 1

    def sftp(self):
        back = self.place / f"back-{threading.get_ident()}"
        output_of(["sftp", *self.sshd.options(self.port), "-b", "-", "127.0.0.1"], timeout=60,
                  input=f"get {self.file} {back}\n".encode())
        assert digest_of_file(back) == self.digest
        back.unlink()
        return 1

    def echo(self):
        """Writes and reads at once, and ends with a half-close."""
        data = b"echo" + random.randbytes(2_000_000)
        with connect(self.port, timeout=60) as client:
            sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            sender.start()
            digest = hashlib.sha256()
            while piece := client.recv(1 << 18):
                digest.update(piece)
            sender.join()
        assert digest.hexdigest() == hashlib.sha256(data).hexdigest()
        return 1


@pytest.mark.parametrize("exec_sshd", [False, True], ids=["connect", "exec"])
def test_sixteen_clients_of_every_kind_at_once(one_port, sshd, nginx, middle, certificate, place, exec_sshd):
    place.chmod(0o777)
    one = one_port(exec_sshd)
    before = one.fds()
    load = Load(one.port, sshd, nginx, middle, certificate, place)
    todo = [load.kinds[number % len(load.kinds)] for number in range(CLIENTS * ROUNDS)]
    random.Random(16).shuffle(todo)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        connections = sum(pool.map(lambda kind: kind(), todo))
    lines = one.wait_connections(connections, timeout=10)
    assert len(lines) == connections
    assert {line["end"] for line in lines} <= {"finished", "program-started"}, [
        line for line in lines if line["end"] not in ("finished", "program-started")][:3]
    assert {line["service"] for line in lines} == {"ssh", "h2c", "web", "one", "two", "echo"}
    wait_until(lambda: not one.programs(), 10, "all programs to end")
    assert set(before) == {one.pid, *one.workers}, "no process was replaced"
    if None not in before.values():
        # A worker keeps a few pipes to splice through once it has needed them.
        assert count_fds(one.pid) == before[one.pid]
        wait_until(lambda: all(count_fds(pid) <= before[pid] + 32 for pid in one.workers), 5,
                   "descriptors to be closed")


def test_connections_of_all_kinds_that_say_nothing_more_do_not_hinder_the_others(one_port, sshd, middle):
    """A hundred clients in the middle of saying who they are, and everybody else is served as ever."""
    one = one_port(decide_timeout=60.0)
    half = [b"SSH", b"GET ", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP", b"ec", b""]
    clients = []
    for number in range(120):
        clients.append(one.connect())
        clients[-1].sendall(half[number % len(half)])
    assert digest_of_output(["curl", "-sS", f"http://127.0.0.1:{one.port}/middle"]) == middle[1]
    assert sshd.ssh(one.port, "echo served").stdout == b"served\n"
    assert subprocess.run(["curl", "-sSk", f"https://127.0.0.1:{one.port}/small"], capture_output=True,
                          timeout=slow(20)).stdout == b"small\n"
    for client in clients:
        client.close()
    assert len(one.wait_connections(120, end="client-gone")) == 120
