"""What real clients say first, cut at every byte: the service and the bytes that it gets must not depend on
how a client's bytes came. Decision rule 5, over real sockets."""

import asyncio
import socket
import subprocess

import pytest
from harness import connect, end_process, read_exactly, slow
from servers import listening

PAUSE = 0.03  # seconds between two pieces
AT_ONCE = 400  # connections

CUTS = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  decide_timeout = 20.0;
protocols = ( { name = "line"; string = "HELLO mine\\r\\n"; },
              { name = "hex"; bytes = "00 0e 38 ff 00 01"; },
              { name = "game"; regex = "^GAME v[0-9]+ (join|watch) [a-z]{3,8}\\n"; within = 64; },
              { name = "h2"; string = "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n"; } );
services = (
  { name = "ssh"; match = "ssh"; {to_ssh}; },
  { name = "name-h2"; match = { protocol = "tls"; sni = "*.shop.example"; alpn = [ "h2" ]; }; {to_name_h2}; },
  { name = "name"; match = { protocol = "tls"; sni = "*.shop.example"; }; {to_name}; },
  { name = "tls"; match = "tls"; {to_tls}; },
  { name = "h2"; match = "h2"; {to_h2}; },
  { name = "host"; match = { host = "www.shop.example"; }; {to_host}; },
  { name = "http"; match = "http"; {to_http}; },
  { name = "line"; match = "line"; {to_line}; },
  { name = "hex"; match = "hex"; {to_hex}; },
  { name = "game"; match = "game"; {to_game}; },
  { name = "unknown"; {to_unknown}; } );
on_unknown = "unknown";
"""
SERVICES = ("ssh", "name-h2", "name", "tls", "h2", "host", "http", "line", "hex", "game", "unknown")

# client: (command with {port}, service)
CLIENTS = {
    "ssh": (["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/dev/null", "-p",
             "{port}", "127.0.0.1"],
            "ssh"),
    "curl": (["curl", "-s", "http://127.0.0.1:{port}/"], "http"),
    "curl-host": (["curl", "-s", "-H", "Host: WWW.shop.example:80", "http://127.0.0.1:{port}/"], "host"),
    "curl-h2": (["curl", "-s", "--http2-prior-knowledge", "http://127.0.0.1:{port}/"], "h2"),
    "curl-tls": (["curl", "-sk", "--resolve", "a.shop.example:{port}:127.0.0.1",
                  "https://a.shop.example:{port}/"], "name-h2"),
    "curl-tls-no-name": (["curl", "-sk", "https://127.0.0.1:{port}/"], "tls"),
    "openssl-1.2": (["openssl", "s_client", "-connect", "127.0.0.1:{port}", "-tls1_2", "-servername",
                     "a.b.shop.example"], "name"),
    "openssl-1.3": (["openssl", "s_client", "-connect", "127.0.0.1:{port}", "-tls1_3", "-servername",
                     "other.example"], "tls"),
}
# What no client here says by itself.
WRITTEN = {
    "line": (b"HELLO mine\r\nand more\r\n", "line"),
    "hex": (bytes.fromhex("000e38ff0001") + b"\0\0more", "hex"),
    "game": (b"GAME v12 join alice\nmore", "game"),
    "nearly-line": (b"HELLO mine\rx", "unknown"),
    "nearly-game": (b"GAME v12 join ALICE\n", "unknown"),
    "nearly-ssh": (b"SSH 2.0-other\r\n", "unknown"),
    "binary": (b"\xff\xfe\xfd\0\0\0nothing that is known", "unknown"),
}


def capture(command):
    """What the client says first: all that comes until it waits for an answer."""
    with listening(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        client = subprocess.Popen([word.replace("{port}", port) for word in command],
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            listener.settimeout(slow(10))
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(slow(10))
                said = connection.recv(65536)
                connection.settimeout(0.1)
                try:
                    while piece := connection.recv(65536):
                        said += piece
                except socket.timeout:
                    pass
                return said
        finally:
            end_process(client)


@pytest.fixture(scope="module")
def hellos():
    """{name: (bytes, service)}"""
    return {name: (capture(command), service) for name, (command, service) in CLIENTS.items()} | WRITTEN


async def say(port, pieces, pause, expected):
    """Says the pieces and takes as many bytes as are expected."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(pause)
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.readexactly(expected), slow(20))
    except asyncio.IncompleteReadError as short:
        return short.partial
    except (ConnectionError, asyncio.TimeoutError) as problem:
        return repr(problem).encode()
    finally:
        writer.close()


def say_all(port, cases, pause):
    """cases: [(pieces, expected bytes)], all at once; the answers in their order."""
    async def run():
        room = asyncio.Semaphore(AT_ONCE)

        async def one(pieces, expected):
            async with room:
                return await say(port, pieces, pause, len(expected))

        return await asyncio.gather(*(one(pieces, expected) for pieces, expected in cases))

    return asyncio.run(run())


@pytest.fixture
def cutting(usher, named_echoes):
    """A front in which each service is an echo server that says the service's name first."""
    words = {f"to_{name.replace('-', '_')}": f'connect = "{server.tcp4}"'
             for name, server in zip(SERVICES, named_echoes(*SERVICES))}
    return usher(CUTS, **words)


@pytest.mark.parametrize("name", [*CLIENTS, *WRITTEN])
def test_a_hello_cut_at_every_byte(cutting, hellos, name):
    hello, service = hellos[name]
    expected = f"{service}\n".encode() + hello
    cases = [([hello], expected)] + [([hello[:cut], hello[cut:]], expected) for cut in range(1, len(hello))]
    answers = say_all(cutting.port, cases, PAUSE)
    wrong = {len(pieces[0]): answer[:60] for (pieces, _), answer in zip(cases, answers) if answer != expected}
    some = dict(list(wrong.items())[:5])
    assert not wrong, f"{len(wrong)} of {len(cases)} cuts of {len(hello)} bytes: {some}"
    lines = cutting.wait_connections(len(cases), timeout=10)
    assert {line["service"] for line in lines} == {service}
    counts = {(int(line["bytes_up"]), int(line["bytes_down"])) for line in lines}
    assert counts == {(len(hello), len(expected))}


def test_hellos_one_byte_at_a_time(cutting, hellos):
    cases = [([hello[at : at + 1] for at in range(len(hello))], f"{service}\n".encode() + hello)
             for hello, service in hellos.values()]
    answers = say_all(cutting.port, cases, 0.002)
    wrong = {name: answer[:60] for name, answer, (_, expected) in zip(hellos, answers, cases)
             if answer != expected}
    assert not wrong


def test_hellos_of_a_few_bytes_a_piece(cutting, hellos):
    cases = [([hello[at : at + size] for at in range(0, len(hello), size)], f"{service}\n".encode() + hello)
             for hello, service in hellos.values() for size in (2, 3, 5, 7, 11, 64)]
    answers = say_all(cutting.port, cases, 0.005)
    wrong = [(answer[:60], expected[:20]) for answer, (_, expected) in zip(answers, cases)
             if answer != expected]
    assert not wrong


def test_programs_get_cut_hellos_whole(usher, hellos):
    """The same where a program reads the client's socket itself."""
    words = {f"to_{name.replace('-', '_')}": f'exec = [ "/bin/sh", "-c", "echo {name}; exec cat" ]'
             for name in SERVICES}
    one = usher(CUTS, **words)
    cases = []
    for hello, service in hellos.values():
        for cut in (1, 5, len(hello) // 2, len(hello) - 1):
            cases.append(([hello[:cut], hello[cut:]], f"{service}\n".encode() + hello))
    answers = say_all(one.port, cases, PAUSE)
    wrong = [(answer[:60], expected[:20]) for answer, (_, expected) in zip(answers, cases)
             if answer != expected]
    assert not wrong
    one.wait_connections(len(cases), end="program-started")


def test_a_decision_waits_for_no_more_than_it_needs(cutting, hellos):
    """The service is there before the client has said all: at the byte that tells them apart."""
    for name, enough in (("curl", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"), ("line", b"HELLO mine\r\n"),
                         ("game", b"GAME v12 join alice\n")):
        hello, service = hellos[name]
        if name == "curl":
            enough = hello[: hello.index(b"\r\n\r\n") + 4]
        with connect(cutting.port) as client:
            client.sendall(enough)
            greeting = f"{service}\n".encode()
            assert read_exactly(client, len(greeting) + len(enough)) == greeting + enough
