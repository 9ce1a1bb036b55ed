"""Delivery by handover: the client's own socket goes to another process, in both formats, to this project's
example receivers and to one of the test's own."""

import os
import socket
import subprocess
import threading
import time

import pytest
from harness import BUILD, IS_ROOT, SOURCE, end_process, read_all, read_exactly, wait_for_server, wait_until
from receivers import Receiver, SilentReceiver
from servers import digest_of_file, digest_of_output, listening, make_file, output_of

HANDOVER = """
listen = [ "127.0.0.1:{port}", "[::1]:{port}" ];  workers = {workers};  connect_timeout = {connect_timeout};
services = ( { name = "web"; match = [ "http", "tls" ]; handover = "{path}";
               format = "{format}"; {more} } {others} );
"""


@pytest.fixture(params=[Receiver, SilentReceiver])
def receiver(place, request):
    one = request.param(place / "web.sock")
    yield one
    one.close()


@pytest.fixture
def handing(usher, place):
    def start(format="usher", workers=2, more="", others="", connect_timeout=5.0, **options):
        return usher(HANDOVER, path=place / "web.sock", format=format, workers=workers,
                     connect_timeout=connect_timeout,
                     more=more, others=", " + others if others else "", **options)

    return start


@pytest.fixture
def background():
    """Starts processes that end with the test."""
    running = []

    def start(*command, **options):
        running.append(subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options))
        return running[-1]

    yield start
    for process in running:
        end_process(process)


REQUEST = b"GET /page HTTP/1.1\r\nHost: www.Shop.example:8080\r\n\r\n"


def test_the_receiver_gets_the_socket_unread_and_is_told_all_about_it(handing, receiver):
    one = handing()
    for host in ("127.0.0.1", "::1"):
        with one.connect(host=host) as client:
            client.sendall(REQUEST)
            taken, told = receiver.next()
            with taken:
                me, there = client.getsockname(), client.getpeername()
                assert (taken.getpeername(), taken.getsockname()) == (me, there)
                assert taken.getblocking() and os.get_blocking(taken.fileno())
                assert read_exactly(taken, len(REQUEST)) == REQUEST
                taken.sendall(b"served by the receiver")
                assert read_exactly(client, 22) == b"served by the receiver"
        text = "[{}]:{}" if ":" in host else "{}:{}"
        (line,) = one.wait_connections(1, client=text.format(*me[:2]))
        assert told == {"id": int(line["id"]), "service": "web", "protocol": "http",
                        "host": "www.shop.example",
                        "client": text.format(*me[:2]), "local": text.format(*there[:2])}
        assert line.items() >= {"delivery": "handover", "end": "handed-over",
                                "to": str(receiver.path)}.items()


def test_the_seeds_format_is_four_bytes_and_the_descriptor(handing, receiver):
    one = handing("tcpmux")
    with one.connect() as client:
        client.sendall(REQUEST)
        taken, told = receiver.next()
        with taken:
            assert told == {}
            assert read_exactly(taken, len(REQUEST)) == REQUEST
            taken.sendall(b"bye")
        assert read_all(client) == b"bye"


def test_the_connection_outlives_usher(handing, receiver):
    one = handing()
    with one.connect() as client:
        client.sendall(REQUEST)
        taken, _ = receiver.next()
        with taken:
            one.wait_connections(1)
            one.stop()
            assert read_exactly(taken, len(REQUEST)) == REQUEST
            taken.sendall(b"still here")
            assert read_exactly(client, 10) == b"still here"


@pytest.mark.parametrize("format", ["usher", "tcpmux"])
def test_one_channel_a_worker_is_kept_for_all_connections(handing, receiver, format):
    one = handing(format, workers=2)
    for number in range(100):
        with one.connect() as client:
            client.sendall(REQUEST)
            taken, told = receiver.next()
            taken.close()
    assert 1 <= len(receiver.channels) <= 2
    one.wait_connections(100, end="handed-over")


def test_a_receiver_that_restarts_is_found_again(handing, place):
    one = handing(workers=1)
    for _ in range(3):
        receiver = Receiver(place / "web.sock")
        for _ in range(2):
            with one.connect() as client:
                client.sendall(REQUEST)
                taken, _ = receiver.next()
                taken.close()
        receiver.close()
        (place / "web.sock").unlink()


def test_without_a_receiver_the_fallback_gets_the_unread_bytes(handing, echo):
    one = handing(more='fallback = "plain";', others=f'{{ name = "plain"; connect = "{echo.tcp4}"; }}')
    with one.connect() as client:
        client.sendall(REQUEST)
        assert read_exactly(client, len(REQUEST)) == REQUEST
    assert one.wait_connections(1)[0].items() >= {"service": "plain", "end": "finished"}.items()


def test_a_receiver_that_takes_nothing_costs_no_more_than_the_timeout(handing, place, echo):
    """It listens, but never accepts: its queue and the socket buffer are full at some time."""
    with listening(place / "web.sock", backlog=0):
        one = handing(workers=1, connect_timeout=0.3, more='fallback = "plain";',
                      others=f'{{ name = "plain"; connect = "{echo.tcp4}"; }}')
        clients = [one.connect() for _ in range(400)]
        for client in clients:
            client.sendall(REQUEST)
        one.wait_connections(1, end="handed-over")
        wait_until(lambda: len(one.connections()) >= 1, 5)
        wait_until(lambda: "falling back" in one.output(), 10, "the first to fall back")
        for client in clients:
            client.close()
        one.wait_connections(400, timeout=20)


# ---- the examples of this project


@pytest.fixture
def proxy(background, place):
    program = BUILD / "examples/usher-proxy"
    if not program.exists():
        pytest.skip("the examples are not built")

    def start(host, port):
        background(program, "-m", "666", "-l", place / "web.sock", "-a", host, "-p", port)
        wait_for_server(place / "web.sock")

    return start


@pytest.mark.parametrize("format", ["usher", "tcpmux"])
def test_http_through_the_example_proxy(handing, proxy, nginx, middle, place, format):
    proxy("127.0.0.1", nginx.http)
    one = handing(format)
    url = f"http://127.0.0.1:{one.port}"
    assert output_of(["curl", "-sS", f"{url}/who"]) == b"plain GET 127.0.0.1 HTTP/1.1\n"
    assert digest_of_output(["curl", "-sS", f"{url}/middle"]) == middle[1]
    digest = make_file(place / "file", 5_000_000)
    output_of(["curl", "-sS", "-T", place / "file", f"{url}/up/{place.name}"])
    assert digest_of_file(nginx.www / "up" / place.name) == digest
    (nginx.www / "up" / place.name).unlink()
    one.wait_connections(3, end="handed-over")


def test_tls_through_the_example_proxy(handing, proxy, nginx, middle, certificate):
    proxy("localhost", nginx.https_one)
    one = handing()
    assert digest_of_output(["curl", "-sS", "--cacert", certificate[0],
                             f"https://localhost:{one.port}/middle"]) == middle[1]


def test_a_half_close_goes_through_the_example_proxy(handing, proxy, echo):
    proxy("127.0.0.1", echo.port4)
    one = handing()
    data = REQUEST + bytes(1_000_000)
    with one.connect() as client:
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(client) == data
        sender.join()


@pytest.mark.parametrize("format", ["usher", "tcpmux"])
@pytest.mark.parametrize("program", ["receiver", "receiver.py"])
def test_the_example_receivers_greet(handing, background, place, program, format):
    path = BUILD / "examples/receiver" if program == "receiver" else SOURCE / "examples/receiver.py"
    if not path.exists():
        pytest.skip("the examples are not built")
    before = os.umask(0)
    background(*(["/usr/bin/python3"] if program.endswith(".py") else []), path, place / "web.sock")
    os.umask(before)
    wait_for_server(place / "web.sock")
    (place / "web.sock").chmod(0o777)
    one = handing(format)
    with one.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        greeting = client.recv(1000)
    (line,) = one.wait_connections(1)
    assert line["end"] == "handed-over"
    assert greeting, "it says what it knows"
    if format == "usher":
        assert b"web" in greeting


as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: only root's master may connect where its workers may not")


@as_root
@pytest.mark.parametrize("format", ["usher", "tcpmux"])
@pytest.mark.parametrize("mode", [0o755, 0o600])
def test_a_socket_of_roots_own_is_opened_by_the_master(handing, receiver, format, mode):
    """Receivers of tcpmux leave their sockets to the umask."""
    receiver.path.chmod(mode)
    one = handing(format, workers=2)
    for _ in range(50):
        with one.connect() as client:
            client.sendall(REQUEST)
            taken, _ = receiver.next()
            with taken:
                assert read_exactly(taken, len(REQUEST)) == REQUEST
                taken.sendall(b"served")
            assert read_all(client) == b"served"
    assert len(receiver.channels) <= 2, "a channel of a worker's is kept, whoever opened it"
    one.wait_connections(50, end="handed-over")


@as_root
def test_a_folder_of_roots_own_is_entered_by_the_master(handing, place):
    (place / "own").mkdir(mode=0o700)
    (place / "web.sock").symlink_to("own/web.sock")
    one = handing(connect_timeout=0.3, workers=1)
    hidden = Receiver(place / "own/web.sock")
    # A link could lead anywhere, by whoever may write to its folder: the master does not follow it.
    with one.connect() as client:
        client.sendall(REQUEST)
        assert one.wait_connections(1)[0].items() >= {"end": "delivery-failed", "error": "Permission denied"}.items()
    (place / "web.sock").unlink()
    one.reload(one.config.replace("{path}", "{dir}/own/web.sock").replace("{dir}", str(place)))
    with one.connect() as client:
        client.sendall(REQUEST)
        taken, _ = hidden.next()
        taken.close()
    one.wait_connections(1, end="handed-over")
    hidden.close()


@as_root
def test_what_the_master_cannot_open_either_is_waited_for(handing, place):
    """In no folder yet that the workers may enter."""
    (place / "own").mkdir(mode=0o700)
    one = handing(workers=1, connect_timeout=5)
    one.reload(one.config.replace("{path}", f"{place}/own/web.sock"))
    with one.connect() as client:
        client.sendall(REQUEST)
        time.sleep(0.3)
        late = Receiver(place / "own/web.sock")
        taken, _ = late.next()
        taken.close()
    one.wait_connections(1, end="handed-over")
    late.close()


def test_a_receiver_that_starts_again_loses_no_connection(handing, place):
    """A dozen connections while nobody listens, before and behind some that are served at once."""
    path = place / "web.sock"
    first = Receiver(path)
    one = handing()
    with one.connect() as client:
        client.sendall(b"GET /before HTTP/1.0\r\n\r\n")
        first.next()[0].close()
    first.close()
    os.unlink(path)
    clients = [one.connect() for _ in range(12)]
    for client in clients:
        client.sendall(b"GET /between HTTP/1.0\r\n\r\n")
    second = Receiver(path)
    for _ in clients:
        taken, _ = second.next()
        assert read_exactly(taken, 12) == b"GET /between"
        taken.close()
    for client in clients:
        client.close()
    second.close()
    assert len(one.wait_connections(13)) == 13
    assert {line["end"] for line in one.connections()} == {"handed-over"}
