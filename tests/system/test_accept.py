"""usher-accept: servers that know nothing of usher accept clients' own sockets from it."""

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from accepting import (
    USHER_ACCEPT,
    AcceptingSshd,
    Accepting,
    Apache,
    Haproxy,
    Nginx,
    Node,
    PythonHttp,
    Stunnel,
    Waiting,
    run_accept,
    takes_datagrams,
)
from harness import BUILD, IS_ROOT, SOURCE, connect, end_process, free_port, process_stat, read_all, read_exactly, slow, wait_until
from servers import make_file, output_of

CONFIG = """
listen = [ "127.0.0.1:{port}", "[::1]:{port}" ];  workers = {workers};  connect_timeout = {connect_timeout};
decide_timeout = 60.0;  max_undecided_per_source = 2000;  max_undecided = 2000;
protocols = ( { name = "line"; string = "line"; } );
services = ( { name = "web"; match = [ {match} ]; handover = "{path}"; {more} } {others} );
"""


@pytest.fixture
def handing(usher, place):
    def start(path="web.sock", workers=2, connect_timeout=5.0, match='"http", "tls", "line"', more="", others=""):
        return usher(CONFIG, path=place / path, workers=workers, connect_timeout=connect_timeout, match=match, more=more,
                     others=", " + others if others else "")

    return start


@pytest.fixture
def server(place):
    """server(kind, ...) starts one."""
    running = []

    def start(kind, *words, **options):
        running.append(kind(place, *words, **options))
        return running[-1]

    yield start
    for one in reversed(running):
        if one.process and one.process.poll() is None:
            one.signal_all(signal.SIGCONT)
        one.end()


def curl(one, path, *options, source="127.0.0.1", scheme="http", host="127.0.0.1"):
    """The words of the answer."""
    return output_of(["curl", "-sS", "-k", "--fail", "--max-time", "20", "--interface", source, *options,
                      f"{scheme}://{host}:{one.port}{path}"]).decode().split()


def ask(one, path, source=None):
    client = connect(("127.0.0.1", one.port), timeout=30, source=source)
    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return client


def body(client):
    """The words of the answer; [] where there was none."""
    with client:
        try:
            return read_all(client).partition(b"\r\n\r\n")[2].decode().split()
        except ConnectionResetError:
            return []


# ---- the ways to wait for connections


@pytest.mark.parametrize("way", ["blocking", "threads", "select", "poll", "epoll", "epoll-exclusive", "epoll-edge", "reuseport"])
def test_each_way_to_wait_takes_each_connection_once(handing, server, way):
    accepting = server(Waiting, way)
    one = handing()
    clients = []
    for number in range(120):
        clients.append(connect(("127.0.0.1", one.port), timeout=30, source=("127.0.0.2", 0)))
        clients[-1].sendall(f"line {number}\n".encode())
    for number, client in enumerate(clients):
        with client:
            me = list(client.getsockname())
            answer = read_all(client)
            told = json.loads(answer)
        assert told["line"] == f"line {number}\n"
        assert told["peer"] == told["getpeername"] == me
        assert told["inherits"] is False, "python asks for close-on-exec"
        assert told["blocks"] is True
        assert told["client"]["name"] == ["127.0.0.1", one.port]
        assert told["client"]["nodelay"] == 1, "handed down from the listening socket"
        for listener in (told["listener"], told["copy"]):
            assert listener == {"name": ["127.0.0.1", accepting.port], "type": socket.SOCK_STREAM, "domain": socket.AF_INET,
                                "protocol": socket.IPPROTO_TCP, "listens": 1, "nodelay": 1}
        assert told["listener_peer"] == 107  # ENOTCONN
    one.wait_connections(120, end="handed-over")
    assert not accepting.said()


def test_clients_of_the_other_family_are_told_as_a_socket_of_its_family_would(handing, place):
    """A listener of ::1 takes clients of IPv4 as v4-mapped ones."""
    class Six(Accepting):
        def command(self):
            self.options = []
            return [sys.executable, "-c", f"""
import socket
listener = socket.create_server(("::1", {self.port}), family=socket.AF_INET6)
while True:
    client, peer = listener.accept()
    client.sendall(repr((peer, listener.getsockname())).encode())
    client.close()
"""]

        def start(self):
            self.launch([USHER_ACCEPT, "--listen", f"[::1]:{self.port}={self.path}", *self.command()], self.dir / "server.log")
            wait_until(lambda: takes_datagrams(self.path), 15, "the server to listen")

    with Six(place) as accepting:
        one = handing()
        for host, expected in (("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")):
            with one.connect(host=host) as client:
                client.sendall(b"line")
                port = client.getsockname()[1]
                told = client.recv(1000).decode()
            assert told == repr(((expected, port, 0, 0), ("::1", accepting.port, 0, 0)))


@pytest.mark.parametrize("kind", [Waiting, Node, Haproxy])
def test_a_server_that_takes_its_socket_from_its_starter(handing, server, kind):
    accepting = server(kind, *(["epoll"] if kind is Waiting else []), options=["--listen-fds"])
    one = handing()
    if kind is Waiting:
        with one.connect() as client:
            client.sendall(b"line 1\n")
            assert json.loads(read_all(client))["listener"]["name"] == ["127.0.0.1", accepting.port]
    else:
        assert curl(one, "/page", source="127.0.0.3")[:2] == ["/page", "127.0.0.3"]


# ---- servers


@pytest.mark.parametrize("options", [{}, {"listen": "reuseport"}, {"listen": "deferred fastopen=10 backlog=50"},
                                     {"events": "accept_mutex on;"}, {"events": "multi_accept on;"}],
                         ids=["plain", "reuseport", "deferred", "mutex", "multi"])
def test_nginx(handing, server, options):
    accepting = server(Nginx, **options)
    one = handing()
    for number in range(2, 30):
        told = curl(one, f"/{number}", source=f"127.0.0.{number}")
        assert told[:2] == [f"/{number}", f"127.0.0.{number}"]
        assert int(told[2]) in accepting.workers()
    wait_until(lambda: len(accepting.requests()) == 28, 5, "the access log")
    assert sorted(accepting.requests()) == sorted([f"127.0.0.{n}", f"/{n}", "200", "127.0.0.1"] for n in range(2, 30))
    assert not accepting.errors()


def test_the_example_configuration(usher, server, place, echo):
    accepting = server(Nginx)
    text = (SOURCE / "examples/accept.conf").read_text()
    for there, here in (("/run/usher", str(place)), ("127.0.0.1:8080", "127.0.0.1:{port}"), ("[::1]:8080", "[::1]:{port}"),
                        ("127.0.0.1:8081", echo.tcp4)):
        assert there in text
        text = text.replace(there, here)
    one = usher(text)
    assert curl(one, "/page", source="127.0.0.4")[:2] == ["/page", "127.0.0.4"]
    accepting.kill()
    with one.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_exactly(client, 18) == b"GET / HTTP/1.0\r\n\r\n", "from the fallback"


def test_nginx_with_tls_and_a_large_file(handing, server, place, certificate):
    tls = f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};"
    files = f"location /files/ {{ alias {place}/; }}"
    digest = make_file(place / "large", 30_000_000)
    accepting = server(Nginx, listen="ssl http2", server=tls + files)
    one = handing()
    assert curl(one, "/hello", scheme="https", source="127.0.0.7")[:2] == ["/hello", "127.0.0.7"]
    with subprocess.Popen(["curl", "-sSk", f"https://127.0.0.1:{one.port}/files/large"], stdout=subprocess.PIPE) as client:
        assert output_of(["sha256sum"], stdin=client.stdout).decode().split()[0] == digest
    told = output_of(["openssl", "s_client", "-connect", f"127.0.0.1:{one.port}", "-servername", "one.example", "-alpn",
                      "http/1.1", "-quiet"], input=b"GET /openssl HTTP/1.0\r\n\r\n")
    assert b"/openssl 127.0.0.1" in told
    assert not accepting.errors()


class Crowd:
    """Many clients at once: all connect, then all ask, each for a page of its own."""

    def __init__(self, one, n, pause=0.0, page="/{}"):
        self.answers = {}
        self.poll = selectors.DefaultSelector()
        clients = [connect(("127.0.0.1", one.port), timeout=30) for _ in range(n)]
        for number, client in enumerate(clients):
            client.sendall(f"GET {page.format(number)} HTTP/1.0\r\n\r\n".encode())
            client.setblocking(False)
            self.answers[number] = b""
            self.poll.register(client, selectors.EVENT_READ, number)
            if pause:
                time.sleep(pause)

    def finish(self, timeout=30):
        end = time.monotonic() + slow(timeout)
        while self.poll.get_map():
            assert time.monotonic() < end, f"{len(self.poll.get_map())} had no answer"
            for key, _ in self.poll.select(1):
                try:
                    piece = key.fileobj.recv(65536)
                except ConnectionResetError:
                    piece = b""
                self.answers[key.data] += piece
                if not piece:
                    self.poll.unregister(key.fileobj)
                    key.fileobj.close()
        return {number: answer.partition(b"\r\n\r\n")[2].decode().split() for number, answer in self.answers.items()}


def test_a_thousand_at_once_none_lost_and_none_twice(handing, server):
    accepting = server(Nginx)
    one = handing(connect_timeout=30)
    answers = Crowd(one, 1000).finish()
    assert [words[0] for words in answers.values()] == [f"/{number}" for number in range(1000)]
    assert len({words[2] for words in answers.values()}) > 1, "one worker served all"
    wait_until(lambda: len(accepting.requests()) == 1000, 5, "the access log")
    assert len({words[1] for words in accepting.requests()}) == 1000
    one.wait_connections(1000, end="handed-over")
    assert not accepting.errors()


def test_nginx_reloads_under_load(handing, server):
    accepting = server(Nginx)
    one = handing(connect_timeout=30)
    before = set(accepting.workers())
    crowds = [Crowd(one, 100)]
    for number in range(3):
        accepting.config["word"] = f"reload{number}"
        accepting.configure()
        accepting.process.send_signal(signal.SIGHUP)
        crowds.append(Crowd(one, 100, pause=0.001))
    for crowd in crowds:
        assert [words[0] for words in crowd.finish().values()] == [f"/{number}" for number in range(100)]
    wait_until(lambda: curl(one, "/x")[3] == "reload2", 10, "the new configuration")
    wait_until(lambda: not before & set(accepting.workers()), 10, "the old workers' end")
    assert len(accepting.requests()) >= 400
    assert not accepting.errors()


def test_nginx_upgrades_its_binary(handing, server):
    """It starts itself again with an environment of its own making, and finds its socket there."""
    accepting = server(Nginx, daemon="on")
    one = handing(connect_timeout=30)
    file = accepting.dir / "nginx.pid"
    wait_until(file.exists, 5, "nginx in the background")
    masters = [int(file.read_text())]
    try:
        for _ in range(2):
            old = masters[-1]
            accepting.config["word"] = f"after{old}"
            accepting.configure()
            crowd = Crowd(one, 100)
            os.kill(old, signal.SIGUSR2)
            masters.append(wait_until(lambda: file.exists() and int(file.read_text() or old) != old and int(file.read_text()),
                                      10, "the new binary"))
            os.kill(old, signal.SIGQUIT)
            assert len([words for words in crowd.finish().values() if words]) == 100
            wait_until(lambda: curl(one, "/x")[3] == f"after{old}", 10, "the new one to serve")
            wait_until(lambda: not process_stat(old) or process_stat(old)[1] == "Z", 10, "the old one's end")
            answers = Crowd(one, 100).finish()
            assert [words[0] for words in answers.values()] == [f"/{number}" for number in range(100)]
    finally:
        os.kill(masters[-1], signal.SIGQUIT)
    wait_until(lambda: not takes_datagrams(accepting.path), 10, "the end of the last one")
    assert not accepting.errors()


@pytest.mark.parametrize("mpm", ["prefork", "event"])
def test_apache(handing, server, mpm):
    accepting = server(Apache, mpm)
    one = handing(connect_timeout=30)
    for number, name in enumerate("abcdefgh"):
        assert curl(one, f"/{name}", source=f"127.0.0.{number + 2}") == ["page", name]
    wait_until(lambda: len(accepting.requests()) >= 8, 5, "the access log")
    assert sorted(accepting.requests()) == [[f"127.0.0.{number + 2}", f"/{name}", "200"] for number, name in enumerate("abcdefgh")]
    answers = Crowd(one, 200, page="/a?{}").finish()
    assert all(words == ["page", "a"] for words in answers.values())
    old = set(accepting.pids())
    accepting.process.send_signal(signal.SIGUSR1)  # graceful
    answers = Crowd(one, 200, page="/b?{}", pause=0.002).finish()
    assert all(words == ["page", "b"] for words in answers.values())
    wait_until(lambda: len(old & set(accepting.pids())) == 1, 20, "the old children's end")
    wait_until(lambda: len(accepting.requests()) == 408, 5, "the access log")


def test_sshd(handing, place):
    with AcceptingSshd(place / "sshd") as sshd:
        one = handing("sshd/ssh.sock", match='"ssh"', more="", workers=1)
        words = sshd.options(one.port) + ["-o", "BindAddress=127.0.0.5"]
        told = output_of(["ssh", *words, "127.0.0.1", "env; echo $SSH_CONNECTION"]).decode()
        assert "127.0.0.5 " in told.splitlines()[-1] and f" 127.0.0.1 {one.port}" in told.splitlines()[-1]
        assert "LD_PRELOAD" not in told and "USHER_ACCEPT" not in told, "sessions are no business of ours"
        clients = [subprocess.Popen(["ssh", *words, "127.0.0.1", f"echo {n}"], stdout=subprocess.PIPE,
                                    stdin=subprocess.DEVNULL) for n in range(8)]
        assert [int(client.communicate(timeout=slow(60))[0]) for client in clients] == list(range(8))
        old = sshd.process.pid
        sshd.process.send_signal(signal.SIGHUP)  # starts itself again, and binds again
        for _ in range(3):
            assert output_of(["ssh", *words, "127.0.0.1", "echo again"]) == b"again\n"
        assert sshd.process.pid == old and sshd.process.poll() is None


def test_pythons_http_server(handing, server):
    accepting = server(PythonHttp)
    one = handing()
    for number, name in enumerate("abcdefgh"):
        assert curl(one, f"/{name}", source=f"127.0.0.{number + 2}") == ["page", name]
    for number, name in enumerate("abcdefgh"):
        assert f'127.0.0.{number + 2} - - ' in accepting.said()
    assert f"Serving HTTP on 127.0.0.1 port {accepting.port}" in accepting.said()


@pytest.mark.parametrize("workers", [0, 2])
def test_node(handing, server, workers):
    server(Node, workers)
    one = handing(connect_timeout=30)
    for number in range(2, 10):
        assert curl(one, f"/{number}", source=f"127.0.0.{number}")[:2] == [f"/{number}", f"127.0.0.{number}"]
    answers = Crowd(one, 300).finish()
    assert [words[0] for words in answers.values()] == [f"/{number}" for number in range(300)]
    if workers:
        assert len({words[2] for words in answers.values()}) == workers


def test_stunnel(handing, server, nginx, certificate):
    accepting = server(Stunnel, f"127.0.0.1:{nginx.http}", certificate)
    one = handing()
    for _ in range(5):
        assert curl(one, "/small", scheme="https", source="127.0.0.6") == ["small"]
    wait_until(lambda: accepting.said().count("accepted connection from 127.0.0.6:") == 5, 5, "stunnel's log")


def test_haproxy(handing, server):
    server(Haproxy)
    one = handing(connect_timeout=30)
    for number in range(2, 10):
        assert curl(one, f"/{number}", source=f"127.0.0.{number}")[:2] == [f"/{number}", f"127.0.0.{number}"]
    answers = Crowd(one, 300).finish()
    assert [words[0] for words in answers.values()] == [f"/{number}" for number in range(300)]


# ---- faults


def test_what_a_killed_server_had_not_accepted_is_served_by_the_next(handing, server):
    """Row 25: killed with 150 in its queue and in usher's line, and 50 more while it is dead."""
    accepting = server(Nginx)
    one = handing(connect_timeout=30)
    accepting.signal_all(signal.SIGSTOP)
    first = Crowd(one, 150)
    time.sleep(0.5)
    assert not one.connections(), "what nobody took is not handed over"
    accepting.kill()
    second = Crowd(one, 50, page="/late{}")
    time.sleep(0.5)
    accepting.start()
    assert [words[0] for words in first.finish().values()] == [f"/{number}" for number in range(150)]
    assert [words[0] for words in second.finish().values()] == [f"/late{number}" for number in range(50)]
    wait_until(lambda: len(accepting.requests()) == 200, 5, "the access log")
    assert len({words[1] for words in accepting.requests()}) == 200
    assert {line.get("sent") for line in one.wait_connections(200, end="handed-over")} <= {None, "2", "3"}


def test_workers_killed_at_any_moment_lose_only_what_they_had_accepted(handing, server):
    accepting = server(Nginx)
    one = handing(connect_timeout=30)
    clients, kills = [], 0
    for number in range(300):
        clients.append(ask(one, f"/{number}"))
        if number % 30 == 29:
            os.kill(accepting.workers()[0], signal.SIGKILL)
            kills += 1
            time.sleep(0.02)
    answers = [body(client) for client in clients]
    served = [words[0] for words in answers if words]
    assert served == [f"/{number}" for number, words in enumerate(answers) if words]
    assert len(served) >= 300 - 3 * kills
    one.wait_connections(300, end="handed-over")
    # One that was killed may have answered without a line in the access log.
    wait_until(lambda: len(accepting.requests()) >= len(served) - kills, 5, "the access log")
    assert len({words[1] for words in accepting.requests()}) == len(accepting.requests()), "served twice"


def test_a_server_that_hangs_loses_to_the_fallback_and_serves_nobody_twice(handing, server, echo):
    """Row 24: all of it hangs; what it finds in its queue later is not its own any more."""
    accepting = server(Nginx)
    one = handing(connect_timeout=1, more='fallback = "plain";', others=f'{{ name = "plain"; connect = "{echo.tcp4}"; }}')
    assert curl(one, "/before")[0] == "/before"
    accepting.signal_all(signal.SIGSTOP)
    clients = [ask(one, f"/{number}") for number in range(60)]
    for number, client in enumerate(clients):
        request = f"GET /{number} HTTP/1.0\r\n\r\n".encode()
        assert read_exactly(client, len(request)) == request
    accepting.signal_all(signal.SIGCONT)
    answers = Crowd(one, 50, page="/after{}").finish()
    assert [words[0] for words in answers.values()] == [f"/after{number}" for number in range(50)]
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"", "the server wrote to a client that was taken from it"
        client.close()
    one.wait_connections(60, service="plain", end="finished")
    assert len(accepting.requests()) == 51


def test_without_room_for_a_descriptor_a_client_waits(handing, server):
    """EMFILE costs nobody the connection: without a receipt it is sent again."""
    accepting = server(Waiting, "epoll", processes=1)
    one = handing(workers=1, connect_timeout=30)
    (pid,) = [pid for pid in accepting.pids() if pid != accepting.process.pid]
    def limit(n):
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={n}:4096"], check=True)

    used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
    limit(used + 1)  # the client's, but not the receipt's
    client = connect(("127.0.0.1", one.port), timeout=30)
    client.sendall(b"line\n")
    time.sleep(0.5)
    assert not one.connections()
    limit(1024)
    told = json.loads(read_all(client))
    client.close()
    assert told["line"] == "line\n"
    assert int(one.wait_connections(1, end="handed-over")[0]["sent"]) > 1


def test_a_second_server_is_told_that_the_address_is_taken(place, server):
    accepting = server(PythonHttp)
    done = run_accept("--listen", f"127.0.0.1:{accepting.port}={accepting.path}", "--", sys.executable, "-m", "http.server",
                      "-b", "127.0.0.1", str(accepting.port))
    assert done.returncode == 1 and "Address already in use" in done.stderr


def test_other_addresses_and_datagrams_are_left_alone(place, server):
    """Of two listeners one is usher's; so is not a UDP socket on the same port, nor a UNIX socket."""
    program = """
import socket, sys
port = int(sys.argv[1])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", port))
tcp = socket.socket(); tcp.bind(("127.0.0.2", port)); tcp.listen()
unix = socket.socket(socket.AF_UNIX); unix.bind(sys.argv[2]); unix.listen()
ours = socket.socket(); ours.bind(("127.0.0.1", port)); ours.listen()
assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_DGRAM
assert unix.getsockname() == sys.argv[2] and unix.family == socket.AF_UNIX
assert tcp.getsockname() == ("127.0.0.2", port)
for listener, address in ((tcp, ("127.0.0.2", port)), (unix, sys.argv[2])):
    with socket.socket(listener.family) as client:
        client.connect(address)
        listener.accept()[0].close()
with socket.socket() as client:
    assert client.connect_ex(("127.0.0.1", port)) == 111, "nobody listens there over TCP"
print("fine")
"""
    port = 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = run_accept("--listen", f"127.0.0.1:{port}={place}/web.sock", sys.executable, "-c", program, port, place / "other.sock")
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


# ---- usher-accept itself


def test_it_becomes_the_server_and_leaves_it_no_children(place):
    process = subprocess.Popen([str(USHER_ACCEPT), "--listen", f"127.0.0.1:1={place}/x.sock", "sh", "-c",
                                "echo $$; echo $USHER_ACCEPT; ps -o pid= --ppid $$ | wc -l; exit 7"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=slow(20))
    assert process.returncode == 7
    pid, variable, n_children = out.split()
    assert (int(pid), variable, err) == (process.pid, f"0660,127.0.0.1:1={place}/x.sock", "")
    assert int(n_children) == 2  # ps and wc, or the subshell of both


@pytest.mark.parametrize("words, error", [
    ([], "usage: usher-accept --listen"),
    (["--listen", "127.0.0.1:8443=/run/x.sock"], "usage: usher-accept --listen"),
    (["true"], "usage: usher-accept --listen"),
    (["--listen", "127.0.0.1=/run/x.sock", "true"], "127.0.0.1=/run/x.sock is not ADDRESS:PORT=PATH"),
    (["--listen", "127.0.0.1:0=/run/x.sock", "true"], "is not ADDRESS:PORT=PATH"),
    (["--listen", "127.0.0.1:65536=/run/x.sock", "true"], "is not ADDRESS:PORT=PATH"),
    (["--listen", "localhost:80=/run/x.sock", "true"], "is not ADDRESS:PORT=PATH"),
    (["--listen", "::1:80=/run/x.sock", "true"], "is not ADDRESS:PORT=PATH"),
    (["--listen", "[::1:80=/run/x.sock", "true"], "is not ADDRESS:PORT=PATH"),
    (["--listen", "127.0.0.1:80=x.sock", "true"], "is not ADDRESS:PORT=PATH"),
    (["--listen", "127.0.0.1:80=/run/a,b", "true"], "is not ADDRESS:PORT=PATH"),
    (["--listen", "127.0.0.1:80=/" + "x" * 107, "true"], "has a path longer than 107 bytes"),
    (["--listen", "127.0.0.1:80=/run/x", "--listen", "127.0.0.1:81=/run/x", "true"], "for the second time"),
    (["--listen", "127.0.0.1:80=/run/x", "--listen", "127.0.0.1:80=/run/y", "true"], "for the second time"),
    (["--mode", "999", "--listen", "127.0.0.1:80=/run/x", "true"], "999 is not a mode"),
    (["--listen-fds", "--listen", "127.0.0.1:80=/nowhere/x", "true"], "/nowhere/x No such file or directory"),
])
def test_what_it_is_told_wrong(words, error):
    done = run_accept(*words)
    assert done.returncode == 2 and error in done.stderr, done.stderr


def test_a_program_that_is_not_there():
    listen = ["--listen", "127.0.0.1:80=/run/x.sock"]
    done = run_accept(*listen, "no-such-program", env={"PATH": "/usr/bin:/nowhere"})
    assert (done.returncode, done.stderr) == (127, "usher-accept: no-such-program No such file or directory\n")
    assert run_accept(*listen, "/etc/passwd").returncode == 126


PROGRAM = "int main(void) { return 0; }"
GO_NOTE = """__asm__(".section .note.go.buildid,\\"a\\",@note\\n.long 4, 4, 4\\n.ascii \\"Go\\\\0\\\\0\\"\\n.long 0\\n.previous");"""


def compiled(place, text, *options):
    (place / "program.c").write_text(text)
    subprocess.run(["gcc", "-o", place / "program", place / "program.c", *options], check=True)
    return place / "program"


def refused(program, **options):
    done = run_accept("--listen", "127.0.0.1:80=/run/x.sock", program, **options)
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_programs_that_it_cannot_work_in_are_refused(place):
    program = compiled(place, PROGRAM, "-static")
    assert refused(program) == f"usher-accept: {program} is linked statically: it loads no library\n"
    program = compiled(place, GO_NOTE + PROGRAM)
    assert refused(program) == f"usher-accept: {program} was written in Go, which makes its system calls itself\n"
    program = compiled(place, PROGRAM, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
    assert "is linked with another C library than this library is" in refused(program)
    program = compiled(place, PROGRAM)
    assert run_accept("--listen", "127.0.0.1:80=/run/x.sock", program).returncode == 0
    script = place / "script"
    script.write_text(f"#! {compiled(place, PROGRAM, '-static')} -x\n")
    script.chmod(0o755)
    assert "is linked statically" in refused(script)
    elf = bytearray(compiled(place, PROGRAM).read_bytes())
    elf[4] ^= 3  # the other of 32 and 64 bits
    (place / "program").write_bytes(elf)
    assert "is for another kind of machine than this library is" in refused(place / "program")


IO_URING = r"""
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct io_uring_params p = { 0 };
	int ring = syscall(SYS_io_uring_setup, 1, &p), fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (ring < 0)
		return puts("no io_uring") < 0;
	char *sq = mmap(0, p.sq_off.array + 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	char *cq = mmap(0, p.cq_off.cqes + 2 * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqe = mmap(0, sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 5))
		return 1;
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_ACCEPT, .fd = fd };
	*(unsigned *)(sq + p.sq_off.array) = 0;
	++*(unsigned *)(sq + p.sq_off.tail);
	syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0);
	puts(strerror(-((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res));
}
"""


def test_a_server_that_accepts_by_io_uring_is_told_by_the_kernel(place):
    program = compiled(place, IO_URING)
    port = free_port()
    done = run_accept("--listen", f"127.0.0.1:{port}={place}/x.sock", program, port)
    if done.stdout == "no io_uring\n":
        pytest.skip("no io_uring here")
    assert (done.returncode, done.stdout) == (0, "Operation not supported\n")


@pytest.mark.skipif(not IS_ROOT, reason="needs root: only root makes such programs")
def test_programs_with_rights_of_their_own_are_refused(place):
    program = compiled(place, PROGRAM)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    program.chmod(0o4755)
    assert refused(program, **nobody) == \
        f"usher-accept: {program} is set-user-ID or set-group-ID: it loads no library of ours\n"
    program.chmod(0o2755)
    assert "set-group-ID" in refused(program, **nobody)
    program.chmod(0o755)
    if shutil.which("setcap"):
        subprocess.run(["setcap", "cap_net_bind_service=ep", program], check=True)
        assert "has file capabilities" in refused(program, **nobody)


def test_a_server_that_does_not_listen_is_warned_of(place):
    path = place / "web.sock"
    process = subprocess.Popen([str(USHER_ACCEPT), "--listen", f"127.0.0.1:1={path}", "sleep", "60"], stderr=subprocess.PIPE,
                               text=True)
    line = process.stderr.readline()
    end_process(process)
    assert line == (f"usher-accept: warning: after 5 s sleep still does not listen for {path}: does it use that address, and the "
                    "C library's bind()?\n")


def test_the_library_shows_only_what_it_wraps():
    names = output_of(["nm", "-D", "--defined-only", USHER_ACCEPT.parent / "libusher-accept.so"]).decode().split()[2::3]
    assert sorted(names) == ["accept", "accept4", "bind", "execve", "getsockname", "getsockopt", "listen", "setsockopt"]


def test_every_function_behind_the_library_s_own_is_found_when_it_is_loaded():
    """Later it would take a lock that in the child of a process with threads may be held for ever."""
    done = subprocess.run(["/bin/true"], env={**os.environ, "LD_PRELOAD": str(BUILD / "lib/libusher-accept.so"), "LD_DEBUG": "symbols"}, capture_output=True,
                          text=True, timeout=slow(60), check=True)
    for name in ("bind", "listen", "accept", "accept4", "getsockname", "getsockopt", "setsockopt", "execve"):
        assert f"symbol={name};  lookup in file=" in done.stderr, name
