"""Servers that are started when the first client comes (`start`), and ended when nobody uses them."""

import pathlib
import pwd
import signal
import time

import pytest
from harness import IS_ROOT, SOURCE, free_port, read_all, wait_until

CONFIG = """
listen = "127.0.0.1:{port}"; workers = 2; control = "{dir}/control"; connect_timeout = 0.5;
services = ( { name = "web"; match = "http"; connect = "127.0.0.1:{backend}"; start = [ {command} ]; {more} } );
"""
# It listens after a while, and says which process it is, as whom it runs and for whom.
SERVER = """
import http.server, os, pathlib, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(f"{os.getpid()} {os.getuid()} {os.environ.get('USHER_SERVICE')}".encode())
    def log_message(self, *args): pass
time.sleep(float(sys.argv[2]))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def serve(usher):
    def start(after=0.7, more="", command=None, **options):
        backend = free_port()
        command = command or ["/usr/bin/python3", "-c", SERVER.replace("\n", "\\n").replace('"', '\\"'), str(backend), str(after)]
        listed = ", ".join(f'"{word}"' for word in command)
        return usher(CONFIG, backend=backend, command=listed, more=more, **options)

    return start


def ask(one):
    with one.connect(timeout=60) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        try:
            return read_all(client).rpartition(b"\r\n\r\n")[2].split()
        except ConnectionResetError:  # closed over what it had sent
            return []


def test_the_first_client_starts_the_server_and_waits_for_it_and_all_use_the_same(serve):
    one = serve()
    pid, _, service = ask(one)
    assert service == b"web"
    assert {ask(one)[0] for _ in range(5)} == {pid}
    assert f"service web: its server is started: /usr/bin/python3, process {pid.decode()}" in one.output()
    assert "is down" not in one.output()
    one.stop()
    wait_until(lambda: not pathlib.Path(f"/proc/{pid.decode()}").exists(), 30, "it ends with usher")


def test_a_server_that_nobody_uses_is_ended_and_the_next_client_starts_another(serve):
    one = serve(after=0, more="stop_after = 1;")
    first = ask(one)[0]
    one.wait_log("has ended", 30)
    assert ask(one)[0] != first


def test_a_server_that_is_used_is_not_ended(serve):
    one = serve(after=0, more="stop_after = 1;")
    pid = ask(one)[0]
    with one.connect(timeout=60) as client:
        client.sendall(b"GET / HT")
        client.sendall(b"TP/1.0\r\n")
        time.sleep(3)
        client.sendall(b"\r\n")
        assert read_all(client).split()[-3] == pid


def test_reload_and_upgrade_keep_it_and_a_service_that_is_gone_does_not(serve):
    one = serve(after=0)
    pid = ask(one)[0]
    one.reload()
    assert ask(one)[0] == pid
    one.send_signal(signal.SIGUSR2)
    one.wait_log("notice serving: ", 60, count=3)
    assert ask(one)[0] == pid
    one.reload('listen = "127.0.0.1:{port}"; services = ( { name = "other"; match = "ssh"; connect = "127.0.0.1:{backend}"; } );')
    one.wait_log("has ended", 30)


def test_one_that_does_not_live_is_not_started_again_at_once(serve):
    one = serve(command=["/bin/false"], more="start_timeout = 5;")
    for _ in range(3):
        assert ask(one) == []
    assert len(one.wait_log("ended by itself", 30)) <= 3
    (line, *_) = one.wait_connections(3, 30)
    assert line["end"] == "delivery-failed"


def test_clients_wait_no_longer_than_start_timeout(serve):
    one = serve(command=["/bin/sleep", "1000"], more="start_timeout = 1;")
    begin = time.monotonic()
    assert ask(one) == []
    assert time.monotonic() - begin >= 1


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to run as another user")
def test_it_runs_as_the_user_of_the_service(serve):
    one = serve(after=0, more='user = "daemon"; group = "daemon";')
    assert int(ask(one)[1]) == pwd.getpwnam("daemon").pw_uid


def test_the_example_starts_a_real_server(usher, place):
    text = (SOURCE / "examples/on-demand.conf").read_text()
    (place / "index.html").write_text("from the real one")
    for was, now in (("0.0.0.0:80", "127.0.0.1:{port}"), ("8081", str(free_port())), ("/var/www/docs", str(place))):
        assert was in text
        text = text.replace(was, now)
    one = usher(text)
    with one.connect(timeout=60) as client:
        client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        assert read_all(client).endswith(b"from the real one")
