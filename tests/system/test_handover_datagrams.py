"""Flows over UDP that are handed over: the receiver gets a socket that is connected to the client, and what came before it. No datagram of
anybody is lost, doubled, put in another order or given to somebody else by that."""

import os
import pathlib
import signal
import subprocess

import pytest
from datagrams import Server, client, exchange
from harness import NEVER, end_process, run_usher, wait_until
from test_datagrams_move import Talker, sessions

EXAMPLES = pathlib.Path(os.environ.get("USHER", "build/src/usher")).resolve().parents[1] / "examples"

CONFIG = """
listen = ( "udp:{address4}:{port}", "udp:{address6}:{port}" ); workers = {workers}; connect_timeout = {patience}; control = "{dir}/control";
protocols = ( {{ name = "over"; string = "over"; }} );
services = ( {{ name = "receiver"; match = "over"; handover = "{dir}/over.sock"; {more} }},
             {{ name = "relay"; connect = "{echo}"; idle_timeout = {never}; }} );
on_unknown = "relay";
""".replace("{{", "{").replace("}}", "}")

ADDRESSES = {"all": ("0.0.0.0", "[::]"), "one": ("127.0.0.1", "[::1]")}


@pytest.fixture
def echo():
    one = Server()
    yield one
    one.close()


@pytest.fixture
def launch():
    """A receiver that an usher will find at its path."""
    started = []

    def begin(program, path, *arguments):
        process = subprocess.Popen([EXAMPLES / program, path, *map(str, arguments)], start_new_session=True)
        started.append(process)
        wait_until(path.exists, 10, "the receiver's socket")
        path.chmod(0o666)
        return process

    yield begin
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def start(usher, echo, launch, place):
    def begin(where="one", more="", receiver="flow-receiver", patience=NEVER, workers=4, arguments=()):
        place.chmod(0o755)
        if receiver:
            launch(receiver, place / "over.sock", *arguments)
        address4, address6 = ADDRESSES[where]
        return usher(CONFIG, directory=place, address4=address4, address6=address6, echo=echo.text(), never=NEVER, more=more,
                     patience=patience, workers=workers)

    return begin


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("where", ["all", "one"])
def test_the_receiver_has_the_flow(start, echo, where, host):
    one = start(where)
    with client(one.port, host) as c:
        for datagram in (b"over 1", b"and 2", b"", b"x" * 20000):
            assert exchange(c, datagram) == datagram
        (line,) = one.wait_connections(1)
        assert line["end"] == "handed-over" and line["service"] == "receiver"
        one.stop()
        assert exchange(c, b"without usher") == b"without usher"
    assert echo.got == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("where", ["all", "one"])
def test_what_came_before_the_socket_comes_first_and_in_order(start, where, host):
    """The client does not wait: some of its datagrams come before the decision, some before the socket, some to the socket."""
    one = start(where)
    clients = []  # open to the end: who had the port of one before would be the receiver's already
    for _ in range(20):
        c = client(one.port, host)
        clients.append(c)
        sent = [b"over %d" % number for number in range(40)]
        for datagram in sent:
            c.send(datagram)
        assert [c.recv(100) for _ in sent] == sent
    one.wait_connections(20)
    for c in clients:
        c.close()


@pytest.mark.parametrize("where", ["all", "one"])
def test_no_other_flow_loses_a_datagram_to_a_socket_that_is_made(start, echo, where):
    """Sockets join the listeners' address while others talk: these keep their workers, and no datagram of theirs goes astray."""
    one = start(where)
    talkers = [Talker(one.port, "::1" if i % 2 else "127.0.0.1") for i in range(8)]
    wait_until(lambda: all(talker.heard for talker in talkers), what="an answer for everybody")
    clients = []
    for number in range(150):
        c = client(one.port, "::1" if number % 2 else "127.0.0.1")
        assert exchange(c, b"over %d" % number) == b"over %d" % number
        clients.append(c)
    assert {exchange(c, b"again") for c in clients} == {b"again"}
    heard = [len(talker.heard) for talker in talkers]
    wait_until(lambda: all(len(talker.heard) > was for talker, was in zip(talkers, heard)), what="more answers")
    for talker in talkers:
        talker.end()
    assert len(sessions(one)) == len(talkers)
    assert len({peer for _, peer, _ in echo.got}) == len(talkers)
    for c in clients:
        c.close()


def test_a_reload_and_an_upgrade_while_flows_go_over(start):
    one = start()
    before = one.workers
    for turn in range(60):
        with client(one.port) as c:
            if turn % 20 == 5:
                os.kill(one.pid, signal.SIGHUP)
            if turn == 30:
                one.send_signal(signal.SIGUSR2)
            assert exchange(c, b"over") == b"over"
            assert exchange(c, b"again") == b"again"
    wait_until(lambda: one.workers_but(before), 15.0, "new workers")
    assert {line["end"] for line in one.wait_connections(60)} == {"handed-over"}


def test_the_fallback_gets_all_datagrams_where_nobody_receives(start, echo):
    one = start(more='fallback = "relay";', receiver=None)
    with client(one.port) as c:
        sent = [b"over %d" % number for number in range(20)]
        for datagram in sent:
            c.send(datagram)
        assert [c.recv(100) for _ in sent] == sent
        assert echo.datagrams() == sent
        assert exchange(c, b"again") == b"again"


def test_a_receiver_that_does_not_take_it_in_time(start, echo, launch, place):
    one = start(more='fallback = "relay";', patience=1.0, receiver=None, workers=1)
    receiver = launch("flow-receiver", place / "over.sock")
    with client(one.port) as c:
        assert exchange(c, b"over") == b"over"  # it has said that it acknowledges
    assert echo.got == []
    receiver.send_signal(signal.SIGSTOP)
    with client(one.port) as c:
        c.send(b"over")
        c.send(b"two")
        assert [c.recv(100), c.recv(100)] == [b"over", b"two"]
        assert echo.datagrams() == [b"over", b"two"]
        receiver.send_signal(signal.SIGCONT)
        assert exchange(c, b"three") == b"three"
        assert echo.datagrams() == [b"over", b"two", b"three"]  # and the receiver has closed what it found


def test_an_address_from_which_the_machine_would_not_answer(start):
    """A listener at all addresses: which one a socket gets is the kernel's choice, by its route to the client."""
    one = start("all")
    with client(one.port, "127.0.0.2") as c:
        c.send(b"over")
        line = one.wait_connections(1)[0]
    assert (line["end"], line["error"]) == ("delivery-failed", "Cannot assign requested address")


def test_openssl_speaks_dtls_with_a_receiver(start, place):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=dtls.example",
                    "-keyout", place / "key.pem", "-out", place / "certificate.pem"], check=True, capture_output=True)
    one = start(receiver="dtls-receiver", arguments=(place / "certificate.pem", place / "key.pem"))
    one.reload(one.config.replace('match = "over"', 'match = "dtls"'))
    with subprocess.Popen(["openssl", "s_client", "-dtls", "-quiet", "-connect", f"127.0.0.1:{one.port}"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for said in (b"hello\n", b"and again\n"):
            process.stdin.write(said)
            process.stdin.flush()
            assert process.stdout.readline() == said.upper()
        end_process(process)
    (line,) = one.wait_connections(1)
    assert (line["end"], line["protocol"]) == ("handed-over", "dtls")


def test_the_format_of_tcpmux_has_no_datagrams(place):
    file = place / "usher.conf"
    file.write_text("""listen = "udp:127.0.0.1:4433";
        services = ( { name = "a"; match = "dtls"; handover = "/run/a.sock"; format = "tcpmux"; } );""")
    result = run_usher("check", "-c", file)
    assert result.returncode == 2
    assert "`format' of service `a', which takes datagrams of listener `udp:127.0.0.1:4433', is \"tcpmux\", expected \"usher\"" in result.stderr
