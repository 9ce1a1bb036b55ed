"""`idle_timeout` of a service beside that of all: who is idle ends by its own."""

import pytest
from harness import read_all, read_exactly, run_usher, write_config

CONFIG = """
listen = "127.0.0.1:{port}"; workers = 1; idle_timeout = {all};
protocols = ( { name = "long"; string = "long"; }, { name = "short"; string = "shor"; } );
services = ( { name = "long"; match = "long"; connect = "127.0.0.1:{backend}"; idle_timeout = {long}; },
             { name = "short"; match = "short"; connect = "127.0.0.1:{backend}"; {short} } );
"""


@pytest.fixture
def sessions(usher, backend):
    """sessions(...) starts usher and opens a session with each service: usher, the long one, the short one."""
    kept = []

    def start(**words):
        one = usher(CONFIG, backend=backend.port, **words)
        for first in (b"long", b"shor"):
            client = one.connect(timeout=60)
            client.sendall(first)
            kept.append((client, backend.accept(30)))
            assert read_exactly(kept[-1][1], 4) == first
        return one, kept[0], kept[1]

    yield start
    for client, server in kept:
        client.close()
        server.close()


@pytest.mark.parametrize("words", [{"all": 0.5, "long": 600, "short": ""}, {"all": 3600, "long": 600, "short": "idle_timeout = 0.5;"}])
def test_each_service_has_its_own(sessions, words):
    one, (client, server), (short_client, _) = sessions(**words)
    assert read_all(short_client) == b""
    (line,) = one.wait_connections(1, 30)
    assert (line["service"], line["end"]) == ("short", "idle")
    client.sendall(b"still there")
    assert read_exactly(server, 11) == b"still there"


def test_after_a_reload_sessions_go_by_what_their_service_has_then(sessions):
    one, (client, server), (short_client, _) = sessions(all=600, long=600, short="")
    one.words |= {"short": "idle_timeout = 0.5;"}
    one.reload(one.config)
    assert read_all(short_client) == b""
    client.sendall(b"still there")
    assert read_exactly(server, 11) == b"still there"


@pytest.mark.parametrize(
    "delivery, good",
    [('connect = "127.0.0.1:1";', True), ('exec = "/bin/cat"; stdio = "pipe";', True), ('exec = "/bin/cat"; stdio = "pty";', True),
     ('exec = "/bin/cat";', False), ('handover = "/run/x";', False), ('reject = "close";', False)],
)
def test_it_goes_with_what_usher_relays(place, delivery, good):
    config = write_config(
        place, f'listen = "127.0.0.1:2"; services = ( {{ name = "a"; match = "ssh"; {delivery} idle_timeout = 5; }} );')
    done = run_usher("check", "-c", config)
    assert (done.returncode == 0) == good
    assert good or "`idle_timeout' of service `a' goes with `connect' only, and with `exec' on pipes or a terminal" in done.stderr
