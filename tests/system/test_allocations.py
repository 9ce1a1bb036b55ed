"""A worker that is warm asks nothing of the heap for a connection, whatever it learned of it."""

import contextlib
import struct

import pytest
from harness import BUILD, connect, read_all, read_exactly

COUNTER = BUILD / "tests/modules/count_allocations.so"
CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  log = { level = "warning"; };
services = ( { name = "web"; match = { protocol = "http"; host = "*.example.org"; }; connect = "{backend}"; },
             { name = "tls"; match = { protocol = "tls"; }; connect = "{backend}"; },
             { name = "ssh"; match = "ssh"; connect = "{backend}"; },
             { name = "away"; reject = "close"; } );
on_unknown = "away";
"""
WARM, COUNTED = 40, 60
CLIENTS = [b"GET / HTTP/1.1\r\nHost: a-name-of-some-length.example.org\r\n\r\n", b"GET / HTTP/1.1\r\nHost: b.example.org\r\n\r\n",
           b"SSH-2.0-test\r\n", b"\x01\x02 nobody's\r\n"]


def serve(one, count):
    for i in range(count):
        said = CLIENTS[i % len(CLIENTS)]
        with connect(("127.0.0.1", one.port)) as client:
            client.sendall(said)
            if i % len(CLIENTS) < 3:
                client.shutdown(1)
                assert read_all(client) == said
            else:
                assert client.recv(1) == b""


def at_once(one, count):
    """One that ends slowly lives beside the next."""
    with contextlib.ExitStack() as stack:
        for i in range(count):
            client = stack.enter_context(connect(("127.0.0.1", one.port)))
            said = CLIENTS[i % 3]
            client.sendall(said)
            assert read_exactly(client, len(said)) == said


@pytest.mark.skipif(not COUNTER.exists(), reason="a sanitizer has a heap of its own")
@pytest.mark.parametrize("kind", ["tcp4", "unix"])
def test_no_allocation_for_a_connection(usher, echo, tmp_path, kind):
    counted = tmp_path / "counted"
    counted.write_bytes(bytes(8))
    counted.chmod(0o666)
    one = usher(CONFIG, backend=getattr(echo, kind),
                env={"LD_PRELOAD": str(COUNTER), "COUNT_ALLOCATIONS": str(counted)})

    def count():
        return struct.unpack("N", counted.read_bytes())[0]

    assert count() > 0  # it does count
    at_once(one, WARM // 5)
    serve(one, WARM)
    before = count()
    serve(one, COUNTED)
    assert count() == before
