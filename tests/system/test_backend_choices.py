"""Which backend a client gets by what it is told apart by, and what is left of that when workers die, files change and lists are long."""

import collections
import contextlib
import json
import os
import signal
import socket
import threading

import pytest
from datagrams import Server
from datagrams import client as datagram_client
from harness import NEVER, SOURCE, connect, dead_port, wait_until
from peers import Hanging, Named, client_hello

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  connect_timeout = {timeout};  control = "{dir}/control";
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = {match}; connect = [ {backends} ]; {more} } );
"""


def listed(servers):
    return ", ".join(f'"127.0.0.1:{getattr(one, "port", one)}"' for one in servers)


@pytest.fixture
def serve(usher):
    def start(servers, more, match='"go"', timeout=NEVER, **options):
        return usher(CONFIG, backends=listed(servers), more=more, match=match, timeout=timeout, **options)

    return start


def ask(one, request=b"go", source=None):
    with connect(("127.0.0.1", one.port), source=source) as client:
        client.sendall(request)
        return client.recv(100).decode()


def host(name):
    return f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()


@pytest.mark.parametrize("by, match, request_of", [("sni", '"tls"', client_hello), ("host", '"http"', host)])
def test_a_name_has_one_backend_whoever_asks_for_it(serve, named_servers, by, match, request_of):
    servers = named_servers("a", "b", "c", "d")
    one = serve(servers, f'balance = "hash"; hash = "{by}";', match)
    names = [f"n{i}.example" for i in range(40)]
    first = {name: ask(one, request_of(name)) for name in names}
    assert len(set(first.values())) > 1  # of one source
    assert {name: ask(one, request_of(name.upper()), ("127.0.0.9", 0)) for name in names} == first
    gone = first[names[0]]
    (port,) = (server.port for server in servers if server.name.decode() == gone)
    assert one.ask(f"backend go 127.0.0.1:{port} drain".encode()) == [{"done": "1 backend: drain"}]
    after = {name: ask(one, request_of(name)) for name in names}
    assert {name for name in names if after[name] != first[name]} == {name for name in names if first[name] == gone}


def test_a_client_without_the_name_goes_by_its_source(serve, named_servers):
    one = serve(named_servers("a", "b", "c", "d"), 'balance = "hash"; hash = "sni";', '"tls"')
    for i in range(1, 9):
        assert len({ask(one, client_hello(), (f"127.0.0.{i}", 0)) for _ in range(5)}) == 1


def test_a_connection_id_has_one_backend_whatever_the_client_address(usher):
    flows = [json.loads(line) for line in (SOURCE / "tests/corpus/quic.jsonl").read_text().splitlines()]
    hellos = [[bytes.fromhex(segment) for segment in flow["segments"][:2]] for flow in flows if flow["id"].startswith("quic-client")][:12]
    servers = [Server(answer=lambda datagram, name=name: [name]) for name in (b"a", b"b", b"c")]
    try:
        one = usher("""
            listen = "udp:127.0.0.1:{port}";  workers = 2;  drain_timeout = 0.1;
            services = ( { name = "q"; match = "quic"; connect = [ {backends} ]; balance = "hash"; hash = "connection-id"; } );
            """, backends=", ".join(f'"{server.text()}"' for server in servers))

        def asked(hello, source):
            with datagram_client(one.port, source=(source, 0)) as client:
                for datagram in hello:
                    client.send(datagram)
                return client.recv(100)

        got = [{asked(hello, f"127.0.{i}.{k}") for k in range(1, 5)} for i, hello in enumerate(hellos)]
        assert [len(names) for names in got] == [1] * len(hellos)
    finally:
        for server in servers:
            server.close()


def test_a_worker_that_dies_in_the_middle_of_a_trial_leaves_it_to_the_next_client(serve, named_servers):
    (steady,) = named_servers("steady")
    port = dead_port()
    one = serve([port, steady], 'balance = "first";', may_crash=True)
    assert ask(one) == "steady"
    held = []

    def is_tried():
        """One client after the other, until one of them is the trial: it hangs, and no other is."""
        held.append(one.connect())
        held[-1].sendall(b"go")
        wait_until(lambda: len(sessions()) + len(one.connections()) == len(held) + 1, 10, "the client to be seen")
        return any(session["phase"] == "connecting" for session in sessions())

    def sessions():
        return [session for session in one.ask(b"sessions") if "phase" in session]

    with contextlib.closing(Hanging(port)):
        wait_until(is_tried, 20, "the back-off to be over")
        (trial,) = (session for session in sessions() if session["phase"] == "connecting")
        assert ask(one) == "steady"
        workers = one.workers
        os.kill(trial["worker"], signal.SIGKILL)
        wait_until(lambda: len(one.workers) == 2 and one.workers != workers, 20, "another worker")
    with contextlib.closing(Named("back", port=port)):
        assert ask(one) == "back"
    for client in held:
        client.close()


def test_lists_that_change_under_load_fail_no_client(serve, named_servers):
    a, b, c = named_servers("a", "b", "c")
    dead = dead_port()
    one = serve([a, b, dead], 'balance = "roundrobin";')
    done, wrong = threading.Event(), []

    def load():
        while not done.is_set():
            try:
                name = ask(one)
            except OSError as error:
                name = str(error)
            if name not in ("a", "b", "c"):
                wrong.append(name)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for servers in ([dead, b, a], [c, dead], [c, a, dead, b], [b, dead, c], [dead, a, b]):
        one.words["backends"] = listed(servers)
        one.reload(one.config, timeout=20)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert one.output().count(f"backend 127.0.0.1:{dead} is down") == 1  # it is known by its address


def test_a_thousand_backends_are_served_and_listed(usher):
    """All addresses of one server, which says by which it was reached."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen(1000)
        port = listener.getsockname()[1]

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.recv(10)
                        client.sendall(client.getsockname()[0].encode())

        threading.Thread(target=serve, daemon=True).start()
        addresses = [f"127.1.{i // 250}.{i % 250 + 1}" for i in range(1000)]
        one = usher(CONFIG, match='"go"', more='balance = "roundrobin";', timeout=NEVER,
                    backends=", ".join(f'"{address}:{port}"' for address in addresses))
        got = collections.Counter(ask(one) for _ in range(2000))
        assert got == dict.fromkeys(addresses, 2)
        wait_until(lambda: not any(backend["open"] for backend in one.ask(b"backends")), 20, "all to be ended")
        told = one.ask(b"backends")
        assert [backend["address"] for backend in told] == [f"{address}:{port}" for address in addresses]
        assert {backend["total"] for backend in told} == {2}
        assert one.ask(f"backend go 127.1.3.7:{port} down".encode()) == [{"done": "1 backend: down"}]
        assert "127.1.3.7" not in {ask(one) for _ in range(1000)}
        listener.shutdown(socket.SHUT_RDWR)


