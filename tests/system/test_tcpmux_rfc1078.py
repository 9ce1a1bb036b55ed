"""TCPMUX as RFC 1078 has it: a name on the first line, + or - for an answer, HELP."""
import os
import threading

import pytest
from harness import dead_port, read_all, read_exactly
from receivers import Receiver

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  decide_timeout = 1.0;
services = ( { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{echo}"; },
             { name = "cat"; match = { service = [ "cat", "Echo" ]; }; exec = [ "/bin/cat" ]; stdio = "{stdio}"; },
             { name = "relay"; match = { service = "relay"; }; connect = "127.0.0.1:{echo}"; },
             { name = "dead"; match = { service = "dead"; }; connect = "127.0.0.1:{dead}"; },
             { name = "rest"; match = { service = "rest-of-all"; }; connect = "127.0.0.1:{echo}"; },
             { name = "closed"; match = { service = "closed"; }; connect = "127.0.0.1:{echo}"; deny = "127.0.0.0/8"; } );
{rest}
"""


@pytest.fixture
def mux(usher, echo):
    def start(stdio="pipe", rest=""):
        return usher(CONFIG, echo=echo.port4, dead=dead_port(), stdio=stdio, rest=rest)
    return start


def say(one, *pieces):
    with one.connect() as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(1)
        return read_all(client)


@pytest.mark.parametrize("stdio", ["socket", "pipe"])
def test_the_line_is_answered_and_the_rest_is_the_service_s(mux, stdio):
    one = mux(stdio)
    assert say(one, b"cat\r\nhello\n") == b"+\r\nhello\n"
    assert say(one, b"ECHO\n", b"two\n") == b"+\r\ntwo\n"
    assert say(one, b"relay\r\nover there\n") == b"+\r\nover there\n"
    line = one.wait_connections(3)[-1]
    assert line["protocol"] == "tcpmux" and line["service"] == "relay"


def test_a_line_in_pieces_is_one_line(mux):
    one = mux()
    for cut in range(1, 9):
        whole = b"relay\r\nx\n"
        assert say(one, whole[:cut], whole[cut:]) == b"+\r\nx\n"


def test_help_lists_the_names(mux):
    assert say(mux(), b"HELP\r\n").split(b"\r\n") == [b"cat", b"echo", b"relay", b"dead", b"rest-of-all", b"closed", b""]


def test_what_cannot_be_is_told(mux):
    one = mux()
    assert say(one, b"nothing\r\n") == b"-no such service\r\n"
    assert say(one, b"dead\r\n") == b"-not available\r\n"
    assert say(one, b"closed\r\n") == b"-not for you\r\n"


def test_other_protocols_are_left_alone(mux):
    one = mux(rest='on_unknown = "rest";')
    assert say(one, b"SSH-2.0-x\r\nmore") == b"SSH-2.0-x\r\nmore"
    assert say(one, b"two words\r\n") == b"two words\r\n"
    assert say(one, b"unheard-of\r\n") == b"unheard-of\r\n"
    assert say(one, b"help\r\n").startswith(b"cat\r\n")


# ---- + is said before the service says anything, and not before it is known to be there

ORDER = """
listen = [ "127.0.0.1:{port}" ];  connect_timeout = {patience};  workers = 1;
services = ( { name = "speaks"; match = { service = "speaks"; }; exec = [ "/bin/echo", "hello" ]; stdio = "{stdio}"; },
             { name = "one"; match = { service = "one"; }; exec = [ "/bin/cat" ]; max_startups = 1; stdio = "{stdio}"; },
             { name = "gone"; match = { service = "gone"; }; exec = [ "{dir}/gone" ]; stdio = "{stdio}"; },
             { name = "odd"; match = { service = "odd"; }; exec = [ "{dir}/odd" ]; stdio = "{stdio}"; },
             { name = "else"; match = { service = "else"; }; exec = [ "{dir}/odd" ]; stdio = "{stdio}"; fallback = "relay"; },
             { name = "handed"; match = { service = "handed"; }; handover = "{dir}/receiver.sock"; },
             { name = "either"; match = { service = "either"; }; handover = "{dir}/receiver.sock"; fallback = "relay"; },
             { name = "relay"; match = { service = "relay"; }; connect = "127.0.0.1:{echo}"; } );
"""


@pytest.fixture
def order(usher, echo, place):
    for name in ("gone", "odd"):
        (place / name).write_bytes(b"\x7fELF and no more")
        (place / name).chmod(0o755)

    def start(stdio="socket"):
        one = usher(ORDER, echo=echo.port4, stdio=stdio, patience=0.5, directory=place)
        (place / "gone").unlink(missing_ok=True)
        return one
    return start


@pytest.mark.parametrize("stdio", ["socket", "pipe"])
def test_a_program_that_speaks_at_once_speaks_second(order, stdio):
    one = order(stdio)
    for _ in range(30):
        assert say(one, b"speaks\r\n") == b"+\r\nhello\n"


@pytest.mark.parametrize("stdio", ["socket", "pipe"])
def test_a_program_that_does_not_start_is_not_promised(order, stdio):
    one = order(stdio)
    assert say(one, b"gone\r\n") == b"-not available\r\n"
    with one.connect() as client:
        client.sendall(b"one\r\nx")
        assert read_exactly(client, 4) == b"+\r\nx"
        assert say(one, b"one\r\n") == b"-not for you\r\n"


def test_what_the_system_cannot_execute_is_known_too_late(order):
    one = order()
    assert say(one, b"odd\r\n") == b"+\r\n"
    assert one.wait_connections(1)[0]["end"] == "delivery-failed"
    assert say(one, b"else\r\nhello") == b"+\r\nhello", "one + for the service and its fallback"


def test_a_receiver_that_is_not_there_is_not_promised(order):
    one = order()
    assert say(one, b"handed\r\n") == b"-not available\r\n"
    assert say(one, b"either\r\nhello") == b"+\r\nhello"


def test_a_receiver_that_speaks_at_once_speaks_second(order, place):
    one = order()
    receiver = Receiver(place / "receiver.sock")
    os.chmod(place / "receiver.sock", 0o777)

    def serve():
        for _ in range(30):
            taken, _ = receiver.next()
            taken.sendall(b"hello")
            taken.close()

    server = threading.Thread(target=serve)
    server.start()
    for _ in range(30):
        assert say(one, b"handed\r\n") == b"+\r\nhello"
    server.join()
    receiver.close()
