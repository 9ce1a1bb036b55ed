"""Servers that speak first, and clients that wait for it."""

import socket
import threading
import time

import pytest
from harness import NEVER, read_exactly, slow, wait_until

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = {decide};  banner_timeout = 0.2;
protocols = ( { name = "mail"; string = [ "EHLO ", "HELO " ]; }, { name = "files"; string = [ "USER ", "AUTH " ]; } );
services = (
  { name = "web"; match = "http"; connect = "{web}"; },
  { name = "mail"; match = "mail"; connect = "{mail}"; banner = true; {more} },
  { name = "files"; match = "files"; connect = "{files}"; banner = true; } );
{rest}
"""


class Speaker:
    """A server that says something first, in pieces, then echoes lines with its name before them."""

    def __init__(self, name, *pieces, pause=0.0):
        self.name, self.pieces, self.pause = name, pieces, pause
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.accepted = 0
        self.heard = []  # everything that each client said
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        heard = bytearray()
        self.heard.append(heard)
        with peer:
            try:
                for piece in self.pieces:
                    peer.sendall(piece)
                    time.sleep(self.pause)
                while data := peer.recv(4096):
                    heard += data
                    peer.sendall(self.name.encode() + b": " + data)
                peer.sendall(self.name.encode() + b": bye\r\n")
            except OSError:
                pass

    def close(self):
        """Nobody listens any more, also not the thread that waits in accept."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


@pytest.fixture
def speakers(usher):
    """speakers(mail=..., files=..., web=...): usher before servers that speak first."""
    opened = []

    def start(mail=(b"220 mail ready\r\n",), files=(b"220 files ready\r\n",), decide=NEVER, more="", rest="", pause=0.0):
        servers = [Speaker("web"), Speaker("mail", *mail, pause=pause), Speaker("files", *files, pause=pause)]
        opened.extend(servers)
        one = usher(CONFIG, web=servers[0].address, mail=servers[1].address, files=servers[2].address,
                    decide=decide, more=more, rest=rest)
        return (one, *servers)

    yield start
    for server in opened:
        server.close()


def read_line(client):
    line = b""
    while not line.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            break
        line += byte
    return line


def test_a_silent_client_is_shown_the_banner_and_stays_with_its_answer(speakers):
    one, web, mail, files = speakers()
    begin = time.monotonic()
    with one.connect() as client:
        assert read_line(client) == b"220 mail ready\r\n"
        assert time.monotonic() - begin > 0.19
        client.sendall(b"EHLO me\r\n")
        assert read_line(client) == b"mail: EHLO me\r\n"
        client.shutdown(socket.SHUT_WR)
        assert read_line(client) == b"mail: bye\r\n"
    (line,) = one.wait_connections(1)
    assert line["service"] == "mail" and line["protocol"] == "mail"
    assert mail.accepted == 1 and files.accepted == 0 and bytes(mail.heard[0]) == b"EHLO me\r\n"
    assert int(line["bytes_down"]) == len(b"220 mail ready\r\nmail: EHLO me\r\nmail: bye\r\n")


def test_an_answer_of_another_service_goes_there_without_a_second_banner(speakers):
    one, web, mail, files = speakers(files=(b"220-files\r\n2", b"20 rea", b"dy\r\n"), pause=0.05)
    for answer in (b"USER me\r\n", b"AUTH TLS\r\n"):
        with one.connect() as client:
            assert read_line(client) == b"220 mail ready\r\n"
            client.sendall(answer)
            assert read_line(client) == b"files: " + answer
            client.sendall(b"QUIT\r\n")
            assert read_line(client) == b"files: QUIT\r\n"
    lines = one.wait_connections(2)
    assert [line["service"] for line in lines] == ["files"] * 2
    assert all(bytes(heard) == b"" for heard in mail.heard) and mail.accepted == 2


@pytest.mark.parametrize("first, second, greeting, answer, taken", [
    ("smtp", "ftp", b"220 ready\r\n", b"USER alice\r\n", "second"),
    ("smtp", "ftp", b"220 ready\r\n", b"AUTH TLS\r\n", "second"),
    ("ftp", "smtp", b"220 ready\r\n", b"EHLO me\r\n", "second"),
    ("ftp", "smtp", b"220 ready\r\n", b"USER alice\r\n", "first"),
    ("pop3", "imap", b"+OK ready\r\n", b"USER alice\r\n", "first"),
])
def test_built_in_protocols_know_what_the_client_was_told(usher, first, second, greeting, answer, taken):
    servers = [Speaker(name, greeting) for name in ("first", "second")]
    one = usher("""
listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = 3;  banner_timeout = 0.2;
services = ( { name = "first"; match = "{one}"; connect = "{here}"; banner = true; },
             { name = "second"; match = "{other}"; connect = "{there}"; banner = true; } );
""", one=first, here=servers[0].address, other=second, there=servers[1].address)
    with one.connect() as client:
        assert read_line(client) == greeting
        client.sendall(answer)
        assert read_line(client) == taken.encode() + b": " + answer
    (line,) = one.wait_connections(1)
    assert line["service"] == taken
    # Before anybody has said anything, the same words are nobody's.
    if answer.startswith(b"USER"):
        with one.connect() as client:
            client.sendall(answer)
            assert client.recv(100) == b""
    for server in servers:
        server.close()


def test_an_answer_in_pieces_is_decided_as_the_whole(speakers):
    one, web, mail, files = speakers()
    with one.connect() as client:
        assert read_line(client) == b"220 mail ready\r\n"
        for byte in b"USER me\r\n":
            client.sendall(bytes([byte]))
            time.sleep(0.01)
        assert read_exactly(client, 7) == b"files: "
    assert one.wait_connections(1)[0]["service"] == "files"
    wait_until(lambda: bytes(files.heard[0]) == b"USER me\r\n", 5.0, "all of it")


@pytest.mark.parametrize("answer", [b"NOOP\r\n", b"E"])
def test_an_answer_that_is_nobodys_stays_where_the_banner_came_from(speakers, answer):
    one, web, mail, files = speakers(decide=1)
    with one.connect() as client:
        assert read_line(client) == b"220 mail ready\r\n"
        client.sendall(answer)
        assert read_exactly(client, 6 + len(answer)) == b"mail: " + answer
    assert one.wait_connections(1)[0]["service"] == "mail"


def test_a_client_without_an_answer_stays_at_the_deadline(speakers):
    one, web, mail, files = speakers(decide=0.6)
    with one.connect() as client:
        assert read_line(client) == b"220 mail ready\r\n"
        time.sleep(0.7)
        client.sendall(b"USER late\r\n")
        assert read_line(client) == b"mail: USER late\r\n"
        client.shutdown(socket.SHUT_WR)
        assert read_line(client) == b"mail: bye\r\n"


def test_a_client_that_speaks_first_is_never_shown_a_banner(speakers):
    one, web, mail, files = speakers()
    with one.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_exactly(client, 5) == b"web: "
    with one.connect() as client:  # undecided, but not silent
        client.sendall(b"GET ")
        time.sleep(0.5)
        client.sendall(b"/ HTTP/1.1\r\n\r\n")
        assert read_exactly(client, 5) == b"web: "
    assert mail.accepted == 0


def test_a_banner_that_only_one_has_settles_it_at_once(speakers):
    one, web, mail, files = speakers(mail=(b"\x4a\0\0\0\x0a8.0.1\0",))  # and not at the deadline
    with one.connect() as client:
        assert read_exactly(client, 11) == b"\x4a\0\0\0\x0a8.0.1\0"
        client.sendall(b"USER me\r\n")
        assert read_line(client) == b"mail: USER me\r\n"
    (line,) = one.wait_connections(1)
    assert line["service"] == "mail"


def test_a_banner_in_pieces_arrives_as_it_comes(speakers):
    one, web, mail, files = speakers(mail=(b"2", b"20-a\r", b"\n220 b\r\n"), pause=0.1)
    with one.connect() as client:
        assert read_line(client) == b"220-a\r\n"
        client.sendall(b"USER hasty\r\n")  # before the banner is whole
        assert read_line(client) == b"220 b\r\n"
        assert read_line(client) == b"files: USER hasty\r\n"


def test_another_servers_unlike_banner_ends_the_connection(speakers):
    one, web, mail, files = speakers(files=(b"421 too many\r\n",))
    with one.connect() as client:
        assert read_line(client) == b"220 mail ready\r\n"
        client.sendall(b"USER me\r\n")
        with pytest.raises((ConnectionError, AssertionError)):
            assert client.recv(100)
    assert one.wait_connections(1)[0]["end"] == "delivery-failed"


def test_a_backend_that_is_not_there_changes_nothing(speakers):
    one, web, mail, files = speakers(decide=0.8, rest='on_silence = "web";')
    mail.close()
    with one.connect() as client:
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(slow(5))
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_exactly(client, 5) == b"web: "
    with one.connect() as client:
        client.settimeout(slow(5))
        time.sleep(0.9)
        client.sendall(b"hello\r\n")
        assert read_line(client) == b"web: hello\r\n"


def test_the_log_names_the_backend_that_the_banner_came_from(usher):
    mail = Speaker("mail", b"hello\r\n")
    try:
        one = usher('listen = [ "127.0.0.1:{port}" ];  workers = 1;  banner_timeout = 0.1;'
                    'services = ( { name = "mail"; connect = [ "127.0.0.1:{port_dead}", "{mail}" ]; banner = true; } );',
                    mail=mail.address)
        with one.connect() as client:
            assert read_line(client) == b"hello\r\n"
        assert one.wait_connections(1)[0]["to"] == mail.address
    finally:
        mail.close()


def test_a_server_that_hangs_up_without_a_word_changes_nothing(speakers):
    one, web, mail, files = speakers(decide=2)
    mail.close()
    door = socket.create_server(("127.0.0.1", int(mail.address.split(":")[1])))
    with door, one.connect() as client:
        door.settimeout(slow(5))
        door.accept()[0].close()
        client.sendall(b"USER me\r\n")
        assert read_line(client) == b"220 files ready\r\n"
        assert read_line(client) == b"files: USER me\r\n"


def test_a_service_that_may_not_have_the_client_shows_it_nothing(speakers):
    one, web, mail, files = speakers(decide=0.6, more='deny = "127.0.0.0/8";', rest='on_silence = "files";')
    with one.connect() as client:
        assert read_line(client) == b"220 files ready\r\n"
    assert mail.accepted == 0


def test_a_place_is_given_back_when_the_client_turns_out_to_be_anothers(speakers):
    one, web, mail, files = speakers(more="max_connections = 1;")
    clients = []
    for _ in range(3):
        client = one.connect()
        assert read_line(client) == b"220 mail ready\r\n"
        client.sendall(b"USER me\r\n")
        assert read_line(client) == b"files: USER me\r\n"
        clients.append(client)
    for client in clients:
        client.close()


def test_many_silent_clients_leave_nothing_behind(speakers):
    one, web, mail, files = speakers()
    before = one.fds()
    clients = [one.connect() for _ in range(100)]
    for i, client in enumerate(clients):
        assert read_line(client) == b"220 mail ready\r\n"
        if i % 3 == 0:
            client.sendall(b"EHLO me\r\n")
            assert read_line(client) == b"mail: EHLO me\r\n"
        elif i % 3 == 1:
            client.sendall(b"USER me\r\n")
            assert read_line(client) == b"files: USER me\r\n"
        client.close()
    one.wait_connections(100, timeout=10)
    wait_until(lambda: one.fds() == before, 5.0, "no descriptor more than before")


def test_ftp_and_smtp_share_a_port(usher):
    mail, files = Speaker("mail", b"220 mail.example ESMTP\r\n"), Speaker("files", b"220-archive\r\n220 ready\r\n")
    one = usher(
        'listen = "127.0.0.1:{port}"; banner_timeout = 0.2;'
        'services = ( { name = "mail"; match = "smtp"; connect = "{mail}"; banner = true; },'
        '             { name = "files"; match = "ftp"; connect = "{files}"; } );',
        mail=mail.address, files=files.address,
    )
    for answer, server in ((b"EHLO me.example\r\n", b"mail"), (b"USER alice\r\n", b"files"), (b"HELO me\r\n", b"mail"),
                           (b"QUIT\r\n", b"mail")):
        with one.connect() as client:
            assert read_line(client) == b"220 mail.example ESMTP\r\n"
            client.sendall(answer)
            assert read_line(client) == server + b": " + answer
    mail.close()
    files.close()
