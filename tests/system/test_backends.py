"""Which of its backends a service's client gets: by balancer, by weight, by how many each may have, and by who is down."""

import collections
import contextlib
import os
import re
import signal
import socket
import threading

import pytest
from harness import NEVER, dead_port, read_all, run_usher, slow, wait_until
from peers import Backend, Named, pair

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  connect_timeout = {timeout};
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; connect = ( {backends} ); {more} } );
"""


@pytest.fixture
def serve(usher):
    def start(backends, more="", workers=2, timeout=5.0, **options):
        written = ", ".join(one if isinstance(one, str) else f'"127.0.0.1:{getattr(one, "port", one)}"' for one in backends)
        return usher(CONFIG, backends=written, more=more, workers=workers, timeout=timeout, **options)

    return start


def group(server, keys):
    return f'{{ address = "127.0.0.1:{server.port}"; {keys} }}'


def ask(one):
    """(the connection, who answered)."""
    client = one.connect()
    client.sendall(b"go")
    return client, client.recv(100).decode()


def turned_away(client):
    try:
        return read_all(client) == b""
    except ConnectionResetError:  # what it sent was not read
        return True


def answers(one, n):
    """Of so many clients one after the other."""
    got = collections.Counter()
    for _ in range(n):
        client, name = ask(one)
        got[name] += 1
        client.close()
    return got


def test_clients_get_backends_in_turn_over_all_workers(serve, named_servers):
    one = serve(named_servers("a", "b", "c"), 'balance = "roundrobin";')
    assert answers(one, 30) == {"a": 10, "b": 10, "c": 10}


def test_turns_go_by_weight(serve, named_servers):
    a, b = named_servers("a", "b")
    one = serve([group(a, "weight = 3;"), b], 'balance = "roundrobin";')
    assert answers(one, 40) == {"a": 30, "b": 10}


def test_the_backend_with_the_fewest_connections_is_next(serve, named_servers):
    one = serve(named_servers("a", "b", "c"), 'balance = "least";')
    clients = [ask(one) for _ in range(30)]
    assert collections.Counter(name for _, name in clients) == {"a": 10, "b": 10, "c": 10}
    for client, name in clients:
        if name == "b":
            client.close()
    wait_until(lambda: len(one.connections()) == 10, 5, "its connections to end")
    more = [ask(one) for _ in range(10)]
    assert {name for _, name in more} == {"b"}


def test_a_client_comes_back_to_its_backend(serve, named_servers):
    one = serve(named_servers("a", "b", "c", "d"), 'balance = "hash"; hash = "source";')
    assert len(answers(one, 20)) == 1


def test_a_backend_that_is_full_has_its_clients_wait_in_line(serve, named_servers):
    (a,) = named_servers("a")
    one = serve([group(a, "max_connections = 2;")], workers=2, timeout=NEVER)
    first, second = ask(one)[0], ask(one)[0]
    waiting = [one.connect() for _ in range(4)]
    for client in waiting:
        client.sendall(b"go")
    got = []
    for client in (first, second):
        client.close()
    while len(got) < 4:
        for client in list(waiting):
            client.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                got.append(client.recv(100))
                waiting.remove(client)
                client.close()
    assert got == [b"a"] * 4


def test_who_waits_in_vain_is_told_that_all_are_full(serve, named_servers):
    (a,) = named_servers("a")
    one = serve([group(a, "max_connections = 1;")], timeout=0.3)
    client, _ = ask(one)
    late = one.connect()
    late.sendall(b"go")
    assert turned_away(late)
    (line,) = one.wait_connections(end="delivery-failed")
    assert line["error"] == "All backends are full"
    client.close()


def test_a_backup_gets_clients_when_all_others_are_down(serve, named_servers):
    (backup,) = named_servers("backup")
    a = Named("a")
    one = serve([a, group(backup, "backup = true;")])
    assert answers(one, 5) == {"a": 5}
    a.close()
    assert answers(one, 5) == {"backup": 5}


def test_a_backend_that_refuses_is_told_once_and_tried_last(serve, named_servers):
    """Before that one client after the other had found it out for itself."""
    (alive,) = named_servers("alive")
    dead = dead_port()
    one = serve([dead, alive], workers=1)
    assert answers(one, 50) == {"alive": 50}
    one.wait_log(re.escape(f"backend 127.0.0.1:{dead} is down (Connection refused): others are tried first"))
    back = Named("back", port=dead)
    wait_until(lambda: answers(one, 1) == {"back": 1}, 20, "it to be tried again")
    one.wait_log(re.escape(f"backend 127.0.0.1:{dead} is up again"))
    assert one.output().count(f"backend 127.0.0.1:{dead} is down") == 1
    back.close()


def test_all_down_is_as_if_all_were_up(serve, named_servers):
    dead, other = dead_port(), dead_port()
    one = serve([dead, other], timeout=1.0)
    client = one.connect()
    client.sendall(b"go")
    assert turned_away(client)
    back = Named("back", port=other)
    for _ in range(5):  # at once, whatever the back-off
        assert answers(one, 1) == {"back": 1}
    back.close()


def test_a_backend_that_flaps_under_load_fails_no_client(serve, named_servers):
    (steady,) = named_servers("steady")
    flapping = Named("flapping")
    port = flapping.port
    one = serve([flapping, steady], 'balance = "least";')
    done, failures = threading.Event(), []

    def load():
        while not done.is_set():
            with one.connect() as client:
                client.sendall(b"go")
                try:
                    name = client.recv(100)
                except ConnectionResetError:
                    name = b""
            if not name:
                failures.append(client)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        flapping.close()
        done.wait(0.3)
        flapping = Named("flapping", port=port)
        done.wait(0.3)
    done.set()
    for thread in threads:
        thread.join()
    flapping.close()
    # A connection that was accepted and not served when the listener was closed is reset, of each thread one: that is the server's doing.
    assert len(failures) <= 5 * len(threads)


def test_a_backend_that_accepts_and_says_nothing_stays_up(serve, named_servers):
    (silent,), (other,) = named_servers("silent", silent=True), named_servers("other")
    one = serve([silent, other])
    clients = [one.connect() for _ in range(5)]
    for client in clients:
        client.sendall(b"go")
    wait_until(lambda: silent.accepted == 5, 5, "all to be relayed")
    assert "is down" not in one.output()


def test_resets_before_the_first_byte_count_where_they_are_observed(serve, named_servers):
    (other,) = named_servers("other")
    with Backend() as resetting:
        one = serve([resetting, other], "observe = true;", workers=1)
        for _ in range(3):
            client, server = pair(one, resetting)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            server.close()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert answers(one, 3) == {"other": 3}
        one.wait_log(re.escape(f"backend 127.0.0.1:{resetting.port} is down (Connection reset by peer)"))


def test_what_is_known_of_backends_stays_when_the_file_lists_them_otherwise(serve, named_servers):
    a, b = named_servers("a", "b")
    dead = dead_port()
    one = serve([dead, a], workers=1)
    assert answers(one, 2) == {"a": 2}
    one.words["backends"] = f'"127.0.0.1:{b.port}", "127.0.0.1:{dead}", "127.0.0.1:{a.port}"'
    one.reload(one.config)
    assert answers(one, 2) == {"b": 2}
    one.words["backends"] = f'"127.0.0.1:{dead}", "127.0.0.1:{b.port}"'
    one.reload(one.config)
    assert answers(one, 2) == {"b": 2}
    assert one.output().count("is down") == 1


def test_a_worker_that_dies_gives_its_places_back(serve, named_servers):
    (a,) = named_servers("a")
    one = serve([group(a, "max_connections = 1;")], workers=1, timeout=NEVER, may_crash=True)
    held, _ = ask(one)
    (worker,) = one.workers
    os.kill(worker, signal.SIGKILL)
    assert answers(one, 3) == {"a": 3}
    held.close()


def test_connections_that_move_count_all_the_while(serve, named_servers):
    (a,) = named_servers("a")
    one = serve([group(a, "max_connections = 2;")], workers=2, timeout=NEVER)
    held = [ask(one)[0] for _ in range(2)]
    one.reload(one.config)
    one.config = one.config.replace("connect_timeout = {timeout}", "connect_timeout = 0.3")
    one.reload(one.config)
    late = one.connect()
    late.sendall(b"go")
    assert turned_away(late)
    held.pop().close()
    assert answers(one, 1) == {"a": 1}


def test_a_backend_of_datagrams_that_refuses_is_tried_last(usher):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(slow(5))
        dead = dead_port()
        one = usher("""
            listen = [ "udp:127.0.0.1:{port}" ];  workers = 1;
            protocols = ( { name = "go"; string = "go"; } );
            services = ( { name = "go"; match = "go"; connect = [ "127.0.0.1:{dead}", "127.0.0.1:{alive}" ]; } );
            """, dead=dead, alive=server.getsockname()[1])
        for _ in range(3):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(slow(5))
                client.connect(("127.0.0.1", one.port))
                client.send(b"go")
                datagram, via = server.recvfrom(100)
                server.sendto(datagram, via)
                assert client.recv(100) == b"go"
        one.wait_log(re.escape(f"backend 127.0.0.1:{dead} is down (Connection refused): others are tried first"))
        assert one.output().count("is down") == 1


WRONG = [
    ('"127.0.0.1:1"', 'balance = "best";',
     'usher.conf:4: `balance\' is "best", expected one of "first", "roundrobin", "least", "random", "hash"'),
    ('{ address = "127.0.0.1:1"; weight = 0; }', "", "all backends of service `go' have weight 0, expected one with 1 to 256"),
    ('{ weight = 1; }', "", 'a backend has no `address\', expected "192.0.2.1:80"'),
    ('{ address = "127.0.0.1:1"; weight = 257; }', "", "expected a whole number from 0 to 256"),
    ('{ address = "127.0.0.1:1"; backup = true; }', "", "all backends of service `go' are `backup', expected one that is not"),
    ('"127.0.0.1:1"', 'balance = "hash";',
     'service `go\' has balance = "hash" and no `hash\', expected one of "source", "sni", "host", "connection-id"'),
    ('"127.0.0.1:1"', 'hash = "sni";', '`hash\' goes with balance = "hash" only'),
    ('"127.0.0.1:1"', 'match = "tls"; balance = "hash"; hash = "connection-id";',
     'service `go\' has hash = "connection-id" and takes no datagrams, expected it with QUIC'),
    ('{ address = "127.0.0.1:1"; wieght = 1; }', "", "unknown key `wieght' in a backend (did you mean `weight'?)"),
]


@pytest.mark.parametrize("backends, more, complaint", WRONG)
def test_what_is_wrong_with_backends_is_said_with_its_line(tmp_path, backends, more, complaint):
    path = tmp_path / "usher.conf"
    path.write_text(CONFIG.replace("{port}", "7").replace("{workers}", "1").replace("{timeout}", "1.0")
                    .replace("{backends}", backends).replace("{more}", more)
                    .replace('match = "go";' if "match" in more else "", ""))
    done = run_usher("check", "-c", path)
    assert done.returncode == 2
    assert complaint in done.stderr, done.stderr
