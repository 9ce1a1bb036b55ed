"""What listeners and services say of their sockets: keepalive, how many at a time, addresses that are not there yet; and how
loud a service is in the log."""

import re
import signal
import socket
import subprocess

import pytest
from harness import connect, read_exactly, slow, wait_until

RELAY = """
listen = ( {{ address = "127.0.0.1:{{port}}"; {listener} }}, "127.0.0.1:{{port_other}}" );  workers = {workers};
protocols = ( {{ name = "go"; string = "go"; }}, {{ name = "no"; string = "no"; }}, {{ name = "dead"; string = "dead"; }} );
services = ( {{ name = "go"; match = "go"; connect = "127.0.0.1:{{backend}}"; {service} }},
             {{ name = "dead"; match = "dead"; connect = "127.0.0.1:{{port_dead}}"; {service} }},
             {{ name = "no"; match = "no"; connect = "127.0.0.1:{{backend}}"; deny = "127.0.0.0/8"; {service} }} );
"""


def relay(listener="", service="", workers=1):
    return RELAY.format(listener=listener, service=service, workers=workers)


def timers(port):
    """What the kernel would do next for the established connections that this port of 127.0.0.1 is the near end of."""
    done = subprocess.run(["ss", "-Htno", "state", "established", "src", f"127.0.0.1:{port}"], capture_output=True, text=True,
                          check=True, timeout=slow(10))
    return [re.sub(r".*?(timer:\(keepalive,(\S+?),.*)?$", r"\2", line) for line in done.stdout.splitlines()]


def seconds(text):
    """ "1min16sec", "59sec", "4.320ms", or "" where there is no timer."""
    if not text:
        return 0
    found = re.fullmatch(r"(?:(\d+)min)?(?:(\d+)sec)?(?:[\d.]+ms)?", text)
    return 60 * int(found.group(1) or 0) + int(found.group(2) or 0)


def keepalives(one, backend):
    """Seconds to the first question: of the client's connection, and of the backend's."""
    with one.connect() as client:
        client.sendall(b"go")
        server = backend.accept()
        with server:
            assert read_exactly(server, 2) == b"go"
            return seconds(timers(one.port)[-1]), seconds(timers(server.getpeername()[1])[0])


SYSTEM = 7200


@pytest.mark.parametrize("listener, service, expected", [
    ("", "", (SYSTEM, 0)), ("keepalive = true;", "keepalive = true;", (SYSTEM, SYSTEM)),
    ("keepalive = false;", "keepalive = true;", (0, SYSTEM)), ("", "keepalive = false;", (SYSTEM, 0)),
    ("keepalive = 300;", "keepalive = 60;", (300, 60))])
def test_keepalive(usher, backend, listener, service, expected):
    with open("/proc/sys/net/ipv4/tcp_keepalive_time", encoding="ascii") as file:
        system = int(file.read())
    one = usher(relay(listener, service), backend=backend.port)
    for found, wanted in zip(keepalives(one, backend), expected):
        wanted = system if wanted == SYSTEM else wanted
        assert max(0, wanted - slow(65)) <= found <= wanted, "ss leaves out the seconds of hours"


def test_keepalive_of_a_listener_that_stays_changes_with_a_reload(usher, backend):
    one = usher(relay("keepalive = 300;"), backend=backend.port)
    for listener, least, most in (("keepalive = false;", 0, 0), ("keepalive = 60;", 50, 60), ("", 61, 10**6)):
        one.reload(relay(listener))
        assert least <= keepalives(one, backend)[0] <= most, listener


# ---- who says nothing


def waiting_for_bytes(port):
    """Clients that the kernel has answered and reports to nobody yet."""
    done = subprocess.run(["ss", "-Htn", "state", "syn-recv", "src", f"127.0.0.1:{port}"], capture_output=True, text=True,
                          check=True, timeout=slow(10))
    return len(done.stdout.splitlines())


def test_where_silence_leads_nowhere_the_kernel_waits_for_the_first_bytes(usher, backend):
    one = usher("decide_timeout = 0.5;" + relay(), backend=backend.port)
    with one.connect() as silent, one.connect() as client:
        assert waiting_for_bytes(one.port) == 2
        client.sendall(b"go")
        with backend.accept() as server:
            assert read_exactly(server, 2) == b"go"
            server.sendall(b"went")
            assert read_exactly(client, 4) == b"went"
        assert waiting_for_bytes(one.port) <= 1
        assert silent.recv(1) == b"", "let in after a second, and closed at the deadline"
    assert [line["end"] for line in one.wait_connections(2)].count("no-service") == 1


def test_whoever_only_looks_whether_the_port_is_open_is_seen(usher, backend):
    one = usher(relay(), backend=backend.port)
    one.connect().close()
    assert one.wait_connections(1)[0]["end"] == "client-gone"


@pytest.mark.parametrize("before, service", [('on_silence = "go"; decide_timeout = 0.1;', ""),
                                             ("banner_timeout = 0.1;", "banner = true;")])
def test_where_silence_leads_somewhere_it_does_not(usher, backend, before, service):
    """Of a socket that stays, too."""
    one = usher(relay(), backend=backend.port)
    with one.connect():
        assert waiting_for_bytes(one.port) == 1
    one.reload(before + relay(service=service))
    with one.connect() as client:
        assert waiting_for_bytes(one.port) == 0
        with backend.accept() as server:
            server.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"
    one.reload(relay())
    with one.connect():
        assert waiting_for_bytes(one.port) == 1


def test_a_reload_that_fails_changes_nothing_of_the_sockets(usher, backend):
    one = usher('on_silence = "go";' + relay(), backend=backend.port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one.write(relay().replace("listen = (", 'listen = ( "127.0.0.1:%d",' % taken.getsockname()[1]))
        one.send_signal(signal.SIGHUP)
        one.wait_log("cannot listen")
    with one.connect():
        assert waiting_for_bytes(one.port) == 0


def test_so_many_of_one_listener_over_all_workers(usher, echo):
    one = usher(relay("max_connections = 5;", workers=4), backend=echo.port4)
    inside = []
    for _ in range(5):
        inside.append(one.connect())
        inside[-1].sendall(b"go")
        assert read_exactly(inside[-1], 2) == b"go"
    for _ in range(6):
        with one.connect() as client:
            assert client.recv(1) == b"", "closed in order"
    with connect(one.ports["port_other"]) as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go", "another listener has room"
    one.wait_log(r"127\.0\.0\.1:\d+: max_connections of this listener reached, connection closed")
    inside.pop().close()
    one.wait_connections(2)

    one.reload()
    with one.connect() as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"
        with one.connect() as another:
            assert another.recv(1) == b"", "those of the old workers count as well"
    for client in inside:
        client.close()


def test_a_worker_that_dies_leaves_the_places_of_its_listener(usher, echo):
    one = usher(relay("max_connections = 3;"), backend=echo.port4, may_crash=True)
    inside = [one.connect() for _ in range(3)]
    for client in inside:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"
    (worker,) = one.workers
    subprocess.run(["kill", "-9", str(worker)], check=True)
    wait_until(lambda: one.workers not in ([], [worker]), 10, "another worker")

    def three():
        clients = [one.connect() for _ in range(3)]
        try:
            for client in clients:
                client.sendall(b"go")
            return all(client.recv(2) == b"go" for client in clients)
        except OSError:
            return False
        finally:
            for client in clients:
                client.close()

    wait_until(three, 10, "three places")
    for client in inside:
        client.close()


def test_an_address_that_is_not_there_yet(usher, backend):
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    text = relay().replace('"127.0.0.1:{port_other}"', '{ address = "192.0.2.1:{port_other}"; freebind = true; }')
    one = usher(text, backend=backend.port)
    listening = subprocess.run(["ss", "-Htln"], capture_output=True, text=True, check=True, timeout=slow(10)).stdout
    assert f"192.0.2.1:{one.ports['port_other']}" in listening
    without = usher(text.replace("freebind = true;", ""), backend=backend.port, serving=False, status=1)
    without.process.wait(slow(10))
    assert "Cannot assign requested address" in without.output()


@pytest.mark.parametrize("service, seen", [("", {"go", "dead", "no"}), ('log_level = "debug";', {"dead", "no"}),
                                           ('log_level = "notice";', {"go", "dead", "no"})])
def test_a_service_may_be_quiet_about_what_goes_well(usher, echo, service, seen):
    one = usher(relay(service=service), backend=echo.port4)
    for word in (b"go", b"dead", b"no"):
        with one.connect() as client:
            client.sendall(word)
            try:
                assert client.recv(4) == (b"go" if word == b"go" else b"")
            except ConnectionResetError:
                assert word != b"go"
    one.stop()
    assert {line["service"] for line in one.connections()} == seen
    levels = {line["service"]: line.level for line in one.connections()}
    assert levels.get("go") in (None, "notice" if "notice" in service else "info")
    assert levels["dead"] == levels["no"] == "info"
