"""Backends that refuse, hang, are not there yet, and clients that do not wait for them."""

import os
import socket
import time

import pytest
from harness import NEVER, connect, count_fds, dead_port, read_all, slow, wait_until
from peers import Backend, Hanging, how_it_ends, reset

LIST = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  connect_timeout = {timeout};  decide_timeout = 2.0;
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = [ {backends} ]; {fallback} },
             { name = "spare"; connect = "127.0.0.1:{spare}"; },
             { name = "sorry"; exec = [ "/bin/echo", "sorry" ]; } );
on_unknown = "spare";  on_silence = "sorry";
"""


@pytest.fixture
def hanging():
    one = Hanging()
    yield one
    one.close()


@pytest.fixture
def spare():
    with Backend() as one:
        yield one


@pytest.fixture
def lists(usher, spare):
    """lists([port, ...], timeout, fallback): an usher with this list of backends."""

    def start(ports, timeout=2.0, fallback=""):
        backends = ", ".join(
            f'"127.0.0.1:{port}"' if isinstance(port, int) else f'"{port}"' for port in ports
        )
        return usher(
            LIST,
            backends=backends,
            timeout=timeout,
            spare=spare.port,
            fallback=f'fallback = "{fallback}";' if fallback else "",
        )

    return start


def go(one):
    client = one.connect()
    client.sendall(b"go")
    return client


def test_refused_then_the_next_one(lists):
    with Backend() as backend:
        one = lists([dead_port(), dead_port(), backend.port])
        for _ in range(10):
            with go(one) as client, backend.accept() as server:
                assert server.recv(10) == b"go"
                server.close()
                assert client.recv(10) == b""
        assert {line["to"] for line in one.wait_connections(10)} == {f"127.0.0.1:{backend.port}"}


def test_unix_sockets_and_addresses_of_both_families_in_one_list(lists, place):
    (place / "gone.sock").touch()
    with Backend(("::1", 0)) as backend:
        one = lists(
            [f"unix:{place}/nothing.sock", f"unix:{place}/gone.sock", dead_port(), f"[::1]:{backend.port}"]
        )
        with go(one), backend.accept() as server:
            assert server.recv(10) == b"go"


def test_all_refuse_then_the_fallback(lists, spare):
    one = lists([dead_port(), dead_port()], fallback="spare")
    with go(one) as client, spare.accept() as server:
        assert server.recv(10) == b"go"
        server.sendall(b"from the spare one")
        server.close()
        assert read_all(client) == b"from the spare one"
    assert one.wait_connections(1)[0]["service"] == "spare"
    (told,) = one.wait_log("falling back to spare")
    assert "Connection refused" in told.text and "service go failed" in told.text


def test_the_fallback_may_be_a_program(lists):
    one = lists([dead_port()], fallback="sorry")
    with go(one) as client:
        assert client.recv(100) == b"sorry\n"


def test_nobody_is_left_then_the_reason_is_in_the_log(lists):
    one = lists([dead_port(), dead_port()])
    with go(one) as client:
        how_it_ends(client)
    (line,) = one.wait_connections(1)
    assert (
        line["end"] == "delivery-failed" and line["error"] == "Connection refused" and line["service"] == "go"
    )


def test_a_missing_unix_socket_is_the_reason(lists, place):
    one = lists([f"unix:{place}/nothing.sock"])
    with go(one) as client:
        how_it_ends(client)
    assert one.wait_connections(1)[0]["error"] == "No such file or directory"


def test_a_hanging_backend_is_given_up_at_the_connect_timeout(lists, hanging):
    one = lists([hanging.port], timeout=0.6)
    begin = time.monotonic()
    with go(one) as client:
        how_it_ends(client)
    assert time.monotonic() - begin > 0.55
    assert one.wait_connections(1)[0]["error"] == "Connection timed out"


def test_one_timeout_over_the_whole_list(lists, hanging):
    others = [Hanging(), Hanging()]
    three = lists([hanging.port, others[0].port, others[1].port], timeout=2.0, fallback="sorry")
    single = lists([hanging.port], timeout=2.0, fallback="sorry")
    begin = time.monotonic()
    with go(three) as client, go(single) as beside:
        assert beside.recv(100) == b"sorry\n"
        yardstick = time.monotonic() - begin
        assert client.recv(100) == b"sorry\n"
        assert 1.9 < time.monotonic() - begin < 2 * yardstick
    for other in others:
        other.close()


def test_a_hanging_backend_leaves_time_for_the_next(lists, hanging):
    with Backend() as backend:
        one = lists([hanging.port, backend.port], timeout=2.0)
        with go(one), backend.accept() as server:
            assert server.recv(10) == b"go"


def test_a_hanging_backend_holds_nobody_else_up(lists, hanging, spare):
    one = lists([hanging.port], timeout=NEVER)
    stuck = [go(one) for _ in range(50)]
    with one.connect() as client:
        client.sendall(b"other")
        with spare.accept() as server:
            assert server.recv(10) == b"other"
    for client in stuck:
        reset(client)
    one.wait_connections(51)


def test_a_client_that_resets_while_the_backend_connects_leaves_nothing(lists, hanging):
    one = lists([hanging.port], timeout=NEVER)
    (worker,) = one.workers
    before = count_fds(worker)
    clients = [go(one) for _ in range(100)]
    wait_until(lambda: count_fds(worker) == before + 200, 3, "a hundred attempts")
    for client in clients:
        reset(client)
    lines = one.wait_connections(100)
    assert {line["end"] for line in lines} == {"client-reset"}
    wait_until(lambda: count_fds(worker) == before, 2, "no descriptor left")


def test_a_client_that_closes_while_the_backend_connects_is_delivered_or_given_up(lists, hanging):
    """A closed client may be only half-closed: its bytes are owed to the backend, until the timeout."""
    one = lists([hanging.port], timeout=1.0)
    (worker,) = one.workers
    before = count_fds(worker)
    for _ in range(20):
        go(one).close()
    one.wait_connections(20, timeout=4)
    wait_until(lambda: count_fds(worker) == before, 2, "no descriptor left")


def test_a_backend_that_comes_up_late_gets_what_was_sent_meanwhile(lists, hanging):
    one = lists([hanging.port], timeout=20.0)
    with go(one) as client:
        client.sendall(b" and more")
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        hanging.relent()
        data = b""
        while data != b"go and more":
            server, _ = hanging.listener.accept()
            server.settimeout(slow(5))
            data = read_all(server)
        server.sendall(b"at last")
        server.close()
        assert read_all(client) == b"at last"


def test_a_full_unix_backlog_is_tried_again(usher, place):
    path = place / "busy.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    os.chmod(path, 0o777)
    listener.listen(0)
    filler = connect(path)
    one = usher(LIST, backends=f'"unix:{path}"', timeout=5.0, spare=dead_port(), fallback="")
    with go(one) as client:
        time.sleep(0.2)
        listener.settimeout(slow(5))
        listener.accept()[0].close()
        server, _ = listener.accept()
        server.settimeout(slow(5))
        assert server.recv(10) == b"go"
        server.sendall(b"x")
        assert client.recv(1) == b"x"
        server.close()
    filler.close()
    listener.close()


def test_a_backend_by_name(usher):
    """A name of /etc/hosts; the first connections may come before it is known."""
    with Backend() as backend:
        one = usher(LIST, backends=f'"localhost:{backend.port}"', timeout=5.0, spare=dead_port(), fallback="")
        for _ in range(3):
            with go(one), backend.accept() as server:
                assert server.recv(10) == b"go"
        assert {line["to"] for line in one.wait_connections(3)} == {f"localhost:{backend.port}"}


def test_a_name_that_nobody_knows_does_not_keep_usher_from_starting(usher):
    one = usher(
        LIST,
        backends='"no-such-host.invalid:80"',
        timeout=0.5,
        spare=dead_port(),
        fallback='fallback = "sorry";',
    )
    with go(one) as client:
        assert client.recv(100) == b"sorry\n"
    with one.connect() as client:  # the others are served
        client.settimeout(slow(10))
        assert client.recv(100) == b"sorry\n"
