"""The rules by which a connection is decided, seen from outside: who gets it, and when."""

import contextlib
import socket
import time

import pytest
from harness import NEVER, connect, read_exactly, slow, wait_until
from peers import Backend, client_hello, cpu_seconds, reset

GREETERS = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = {timeout};
protocols = ( {protocols} );
services = ( {services} );
{rest}
"""


@pytest.fixture
def greeters(usher, named_echoes):
    """greeters(protocols, [(name, match)...], timeout, rest): usher before servers that say their name."""

    def start(protocols, services, timeout=NEVER, rest=""):
        servers = named_echoes(*[name for name, _ in services])
        lines = [
            f'{{ name = "{name}"; {f"match = {match};" if match else ""} connect = "{server.tcp4}"; }}'
            for (name, match), server in zip(services, servers)
        ]
        return usher(GREETERS, protocols=protocols, services=", ".join(lines), timeout=timeout, rest=rest)

    return start


def name_of(client, begin=None):
    """The service that greets the client, and when it did, in seconds after `begin` (now)."""
    begin = begin or time.monotonic()
    data = b""
    while not data.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            return None, time.monotonic() - begin
        data += byte
    return data[:-1].decode(), time.monotonic() - begin


def ask(one, data):
    """Who greets a client that sends `data` and no more; and how long it took."""
    begin = time.monotonic()
    with one.connect() as client:
        client.sendall(data)
        return name_of(client, begin)


def assert_at_the_deadline(one, deadline, count=1):
    """None of the last `count` connections was decided before the deadline."""
    decided = [float(line["decided_ms"]) / 1000 for line in one.wait_connections(count)[-count:]]
    assert all(deadline <= took for took in decided), decided


# ---- the deadline


def test_silent_client_gets_on_silence_at_the_deadline(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }', [("x", '"x"'), ("quiet", "")], 0.5, 'on_silence = "quiet";'
    )
    for _ in range(5):
        with one.connect() as client:
            assert name_of(client)[0] == "quiet"
            client.sendall(b"and now I speak")
            assert read_exactly(client, 15) == b"and now I speak"
    assert_at_the_deadline(one, 0.5, 5)
    assert all("protocol" not in line for line in one.connections())


def test_silent_client_is_closed_without_on_silence(greeters):
    one = greeters('{ name = "x"; string = "x"; }', [("x", '"x"')], 0.3)
    name, took = ask(one, b"")
    assert name is None and took > 0.29, took
    assert one.wait_connections(1)[0]["end"] == "no-service"


def test_many_silent_clients_at_once_are_decided_at_the_deadline(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }', [("x", '"x"'), ("quiet", "")], 1.0, 'on_silence = "quiet";'
    )
    clients = [one.connect() for _ in range(200)]
    for client in clients:
        assert name_of(client)[0] == "quiet"
        client.close()
    assert_at_the_deadline(one, 1.0, 200)


def test_a_listener_says_who_gets_what_nothing_matches(usher, named_echoes):
    common, quiet, other = named_echoes("common", "quiet", "other")
    one = usher(
        """
listen = ( "127.0.0.1:{port}",
           { address = "127.0.0.1:{port_quiet}"; on_silence = "quiet"; },
           { address = "127.0.0.1:{port_other}"; on_unknown = "other"; } );
workers = 1;  decide_timeout = 0.4;
services = ( { name = "ssh"; match = "ssh"; reject = "close"; },
             { name = "common"; connect = "{common}"; },
             { name = "quiet"; connect = "{quiet}"; },
             { name = "other"; connect = "{other}"; } );
on_silence = "common";  on_unknown = "common";
""",
        common=common.tcp4, quiet=quiet.tcp4, other=other.tcp4,
    )
    expected = {"port": ("common", "common"), "port_quiet": ("quiet", "common"), "port_other": ("common", "other")}
    for port, (silent, unknown) in expected.items():
        with connect(one.ports[port]) as client:
            assert name_of(client)[0] == silent, port
        with connect(one.ports[port]) as client:
            client.sendall(b"\0\0\0\0")
            assert name_of(client)[0] == unknown, port


def test_unknown_bytes_go_to_on_unknown_at_once(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }',
        [("x", '"x"'), ("ssh", '"ssh"'), ("tls", '"tls"'), ("web", '"http"'), ("other", "")],
        rest='on_unknown = "other";',
    )
    for data in (
        b"\0",
        b"\xff\xff",
        b":",
        b"hello there, this is nothing\r\n",
        b"SSX-2.0 x\r\n",
        b"\x16\x02",
        b"(GET / HTTP/1.1",
    ):
        assert ask(one, data)[0] == "other", data


def test_unknown_bytes_are_closed_at_once_without_on_unknown(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }', [("x", '"x"'), ("quiet", "")], rest='on_silence = "quiet";'
    )
    with one.connect() as client:
        client.sendall(b"nothing")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while client.recv(10):
                pass
            raise ConnectionResetError  # an end of stream will do as well: the point is when
    assert one.wait_connections(1)[0]["end"] == "no-service"


def test_too_few_bytes_go_to_on_silence_with_these_bytes(greeters):
    one = greeters(
        '{ name = "long"; string = "long name"; }',
        [("long", '"long"'), ("quiet", ""), ("other", "")],
        0.4,
        'on_silence = "quiet"; on_unknown = "other";',
    )
    with one.connect() as client:
        client.sendall(b"long n")
        assert name_of(client)[0] == "quiet"
        assert read_exactly(client, 6) == b"long n"
    assert_at_the_deadline(one, 0.4)


def test_drip_fed_bytes_do_not_renew_the_deadline(greeters):
    one = greeters(
        '{ name = "long"; string = "' + "a" * 10000 + '"; }',
        [("long", '"long"'), ("quiet", "")],
        0.6,
        'on_silence = "quiet";',
    )
    with one.connect() as client:
        client.settimeout(0.05)
        got = b""
        while not got:
            client.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                got = client.recv(1)
        assert got == b"q"
    assert_at_the_deadline(one, 0.6)


# ---- who holds whom back


PREFIXES = (
    '{ name = "abcdef"; string = "abcdef"; }, { name = "abc"; string = "abc"; }',
    [("first", '"abcdef"'), ("second", '"abc"'), ("other", "")],
)


def test_earlier_more_holds_a_later_yes_back_until_the_deadline(greeters):
    one = greeters(*PREFIXES, timeout=0.5, rest='on_unknown = "other"; on_silence = "other";')
    for data in (b"abc", b"abcd"):
        name, took = ask(one, data)
        assert name == "second" and took > 0.49, (name, took)
    assert_at_the_deadline(one, 0.5, 2)


def test_earlier_more_that_is_settled_holds_nothing_back(greeters):
    one = greeters(*PREFIXES, rest='on_unknown = "other"; on_silence = "other";')
    assert ask(one, b"abcdX")[0] == "second"
    assert ask(one, b"abcdef")[0] == "first"
    with one.connect() as client:
        client.sendall(b"abc")
        time.sleep(0.1)
        client.sendall(b"def")
        assert name_of(client)[0] == "first"


def test_later_more_does_not_hold_an_earlier_yes_back(greeters):
    one = greeters(
        '{ name = "abc"; string = "abc"; }, { name = "abcdef"; string = "abcdef"; }',
        [("first", '"abc"'), ("second", '"abcdef"')],
    )
    for data in (b"abc", b"abcd", b"abcdef"):
        assert ask(one, data)[0] == "first", data


def test_services_are_tried_in_the_order_of_the_file(greeters):
    protocols = (
        '{ name = "a"; regex = "^[a-m]"; }, { name = "b"; regex = "^[a-z]"; }, { name = "c"; string = "a"; }'
    )
    one = greeters(protocols, [("ranged", '"a"'), ("wide", '"b"'), ("literal", '"c"')])
    assert ask(one, b"a")[0] == "ranged"
    assert ask(one, b"z")[0] == "wide"
    turned = greeters(protocols, [("literal2", '"c"'), ("wide2", '"b"'), ("ranged2", '"a"')])
    assert ask(turned, b"a")[0] == "literal2"
    assert ask(turned, b"b")[0] == "wide2"


def test_unanchored_regex_waits_for_its_window_and_no_longer(greeters):
    one = greeters(
        '{ name = "r"; regex = "needle"; within = 20; }',
        [("found", '"r"'), ("other", "")],
        rest='on_unknown = "other";',
    )
    assert ask(one, b"hay needle")[0] == "found"
    with one.connect() as client:
        client.sendall(b"x" * 14)
        time.sleep(0.05)
        client.sendall(b"needle")
        assert name_of(client)[0] == "found"
    assert ask(one, b"x" * 15 + b"needle")[0] == "other"


def test_a_window_full_of_bytes_that_settle_nothing_goes_to_on_unknown(greeters):
    one = greeters(
        '{ name = "r"; regex = "needle"; within = 32768; }',
        [("found", '"r"'), ("other", "")],
        rest='on_unknown = "other";',
    )
    assert ask(one, b"x" * 40000)[0] == "other"


# ---- clients that leave


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["close", "reset"])
@pytest.mark.parametrize("data", [b"", b"ab"], ids=["silent", "undecided"])
def test_a_client_that_leaves_undecided_reaches_no_backend(usher, leave, data):
    with Backend() as backend:
        one = usher(
            """
            listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = 0.3;
            protocols = ( { name = "abc"; string = "abc"; } );
            services = ( { name = "abc"; match = "abc"; connect = "127.0.0.1:{backend}"; },
                         { name = "rest"; connect = "127.0.0.1:{backend}"; } );
            on_silence = "rest";  on_unknown = "rest";
        """,
            backend=backend.port,
        )
        for _ in range(20):
            client = one.connect()
            client.sendall(data)
            leave(client)
        ends = {line["end"] for line in one.wait_connections(20)}
        assert ends <= {"client-gone", "client-reset"}, ends
        assert backend.nobody_comes(0.4)


def test_a_client_that_decides_and_closes_is_still_delivered(usher):
    with Backend() as backend:
        one = usher(
            """
            listen = [ "127.0.0.1:{port}" ];  workers = 1;
            protocols = ( { name = "abcdef"; string = "abcdef"; }, { name = "abc"; string = "abc"; } );
            services = ( { name = "long"; match = "abcdef"; connect = "127.0.0.1:1"; },
                         { name = "abc"; match = "abc"; connect = "127.0.0.1:{backend}"; } );
        """,
            backend=backend.port,
        )
        with one.connect() as client:
            client.sendall(b"abc")  # an earlier service could still say yes: but no more can come
            client.shutdown(socket.SHUT_WR)
            server = backend.accept()
            assert server.recv(10) == b"abc" and server.recv(10) == b""
            server.sendall(b"answer")
            server.close()
            assert client.recv(10) == b"answer" and client.recv(10) == b""


def test_the_bytes_stay_unread_for_the_server(greeters):
    one = greeters('{ name = "any"; regex = "end"; within = 30000; }', [("any", '"any"')])
    data = bytes(range(256)) * 100
    with one.connect() as client:
        client.sendall(data)
        time.sleep(0.05)
        client.sendall(b"end")
        assert name_of(client)[0] == "any"
        assert read_exactly(client, len(data) + 3) == data + b"end"


# ---- cost


def test_a_big_hello_byte_by_byte_decides_the_same_and_waiting_costs_nothing(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }',
        [("right", '{ sni = "*.right.example"; }'), ("tls", '"tls"'), ("other", "")],
        rest='on_unknown = "other";',
    )
    hello = client_hello("a.b.right.example", size=16384, record=512)
    assert len(hello) > 16384
    assert ask(one, hello)[0] == "right"
    (worker,) = one.workers
    with one.connect() as client:
        before = cpu_seconds(worker)
        for at in range(len(hello) - 1):
            client.send(hello[at : at + 1])
        dripped = cpu_seconds(worker) - before
        time.sleep(0.1)
        before = cpu_seconds(worker)
        time.sleep(1.0)
        waiting = cpu_seconds(worker) - before
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.settimeout(slow(5))
        client.send(hello[-1:])
        assert name_of(client)[0] == "right"
    assert waiting < 0.1, f"{waiting} s of CPU in a second of waiting with unread bytes"
    assert dripped < 10, f"{dripped} s of CPU for {len(hello)} bytes"


def test_a_slow_hello_costs_no_more_than_its_bytes(greeters):
    one = greeters('{ name = "x"; string = "x"; }', [("right", '{ sni = "right.example"; }')])
    hello = client_hello("right.example", size=4000, record=100)
    (worker,) = one.workers
    clients = [one.connect() for _ in range(50)]
    before = cpu_seconds(worker)
    for at in range(0, 1000, 100):
        for client in clients:
            client.send(hello[at : at + 100])
        time.sleep(0.05)
    time.sleep(1)
    spent = cpu_seconds(worker) - before
    for client in clients:
        client.close()
    assert spent < 0.5, f"{spent} s for 50 clients that said a part of a hello"


# ---- conditions


def test_conditions_on_the_listener(usher, named_echoes):
    one_server, two_server, any_server = named_echoes("one", "two", "any")
    one = usher(
        """
        listen = [ "127.0.0.1:{port}", "127.0.0.1:{port_b}", "[::1]:{port_c}", "unix:{dir}/in" ];
        workers = 1;
        protocols = ( { name = "x"; string = "x"; } );
        services = (
          { name = "one"; match = { protocol = "x"; listener = "127.0.0.1:{port}"; }; connect = "{one}"; },
          { name = "two"; match = { protocol = "x"; listener = [ "unix:{dir}/in", "[::1]:{port_c}" ]; };
            connect = "{two}"; },
          { name = "any"; match = "x"; connect = "{any}"; } );
    """,
        one=one_server.tcp4,
        two=two_server.tcp6,
        any=any_server.unix,
    )
    for address, expected in (
        (("127.0.0.1", one.port), "one"),
        (("127.0.0.1", one.ports["port_b"]), "any"),
        (("::1", one.ports["port_c"]), "two"),
        (one.dir / "in", "two"),
    ):
        with connect(address) as client:
            client.sendall(b"x")
            assert name_of(client)[0] == expected, address
    # The log says where each came in, as it is written in the configuration.
    listeners = {line["listener"] for line in one.wait_connections(4)}
    assert listeners == {
        f"127.0.0.1:{one.port}",
        f"127.0.0.1:{one.ports['port_b']}",
        f"[::1]:{one.ports['port_c']}",
        f"unix:{one.dir}/in",
    }


def test_sni_and_its_wildcards(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }',
        [
            ("exact", '{ sni = "www.example.org"; }'),
            ("h2", '{ sni = "*.example.org"; alpn = "h2"; }'),
            ("deep", '{ sni = [ "*.deep.example.org", "*.other.example" ]; }'),
            ("wild", '{ protocol = "tls"; sni = "*.example.org"; }'),
            ("tls", '"tls"'),
        ],
    )
    for sni, alpn, expected in (
        ("www.example.org", (), "exact"),
        ("WWW.Example.ORG", (), "exact"),
        ("www.example.org", (b"h2",), "exact"),
        ("a.example.org", (), "wild"),
        ("a.example.org", (b"http/1.1", b"h2"), "h2"),
        ("a.example.org", (b"h3",), "wild"),
        ("a.b.c.example.org", (), "wild"),
        ("a.deep.example.org", (), "deep"),
        ("a.b.deep.example.org", (), "deep"),
        ("deep.example.org", (), "wild"),
        ("x.other.example", (), "deep"),
        ("other.example", (), "tls"),
        ("example.org", (), "tls"),
        ("notexample.org", (), "tls"),
        (None, (), "tls"),
        (None, (b"h2",), "tls"),
    ):
        assert ask(one, client_hello(sni, alpn))[0] == expected, (sni, alpn)


def test_host_and_its_wildcards(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }',
        [
            ("exact", '{ host = "www.example.org"; }'),
            ("wild", '{ host = "*.example.org"; }'),
            ("six", '{ host = "[::1]"; }'),
            ("web", '"http"'),
        ],
    )
    for head, expected in (
        ("GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "exact"),
        ("GET / HTTP/1.1\r\nhost:WWW.EXAMPLE.ORG:8080\r\n\r\n", "exact"),
        ("GET / HTTP/1.1\r\nX: y\r\nHost: a.b.example.org\r\n\r\n", "wild"),
        ("GET http://a.example.org/ HTTP/1.1\r\nHost: other\r\n\r\n", "wild"),
        ("CONNECT www.example.org:443 HTTP/1.1\r\n\r\n", "exact"),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "six"),
        ("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "web"),
        ("BREW /pot HTTP/1.1\r\nHost: nobody\r\n\r\n", "web"),
        ("GET / HTTP/1.0\r\n\r\n", "web"),
    ):
        assert ask(one, head.encode())[0] == expected, head


def test_all_of_and_any_of(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }, { name = "y"; bytes = [ "00 01", "ff" ]; }',
        [
            ("both", '( { protocol = "tls"; alpn = "h2"; sni = "a.example"; }, "x" )'),
            ("list", '[ "y", "http" ]'),
            ("tls", '"tls"'),
        ],
    )
    assert ask(one, b"x")[0] == "both"
    assert ask(one, client_hello("a.example", (b"h2",)))[0] == "both"
    assert ask(one, client_hello("a.example"))[0] == "tls"
    assert ask(one, client_hello("b.example", (b"h2",)))[0] == "tls"
    assert ask(one, b"\x00\x01")[0] == "list" and ask(one, b"\xff")[0] == "list"
    assert ask(one, b"GET / HTTP/1.1\r\n")[0] == "list"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"S", b"SH-2.0-x\r\n"),
        (b"GET", b" / HTT", b"P/1.1\r\nHo", b"st: a\r\n\r\n"),
        tuple(client_hello("a.example")[at : at + 9] for at in range(0, 80, 9)),
    ],
    ids=["ssh", "http", "tls"],
)
def test_pieces_decide_as_the_whole_does(greeters, pieces):
    one = greeters(
        '{ name = "x"; string = "x"; }',
        [("ssh", '"ssh"'), ("web", '{ host = "a"; }'), ("tls", '{ sni = "a.example"; }')],
    )
    whole = ask(one, b"".join(pieces))[0]
    assert whole is not None
    with one.connect() as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.01)
        assert name_of(client)[0] == whole


SEARCHES = (
    '{ name = "jabber"; regex = "jabber"; }, { name = "long"; regex = "^l"; at_least = 6; }',
    [("jabber", '"jabber"'), ("long", '"long"'), ("ssh", '"ssh"'), ("others", '"any"'), ("silent", None)],
)


def test_a_search_is_given_up_before_the_deadline(greeters):
    one = greeters(*SEARCHES, rest='search_timeout = 0.4; on_silence = "silent";')
    name, took = ask(one, b"hello there")
    assert name == "others" and took > 0.35
    with one.connect() as client:
        time.sleep(0.6)
        begin = time.monotonic()
        client.sendall(b"hello there")
        assert name_of(client)[0] == "others"
        assert time.monotonic() - begin > 0.35, "it begins with the first bytes"


def test_a_search_finds_what_comes_before_it_is_given_up(greeters):
    one = greeters(*SEARCHES, rest='search_timeout = 60; on_silence = "silent";')
    assert ask(one, b"a jabber")[0] == "jabber"
    with one.connect() as client:
        client.sendall(b"hello ")
        time.sleep(0.1)
        client.sendall(b"jabber")
        assert name_of(client)[0] == "jabber"


def test_a_search_that_is_over_leaves_others_their_time(greeters):
    one = greeters(*SEARCHES, rest='search_timeout = 0.2; on_silence = "silent";')
    with one.connect() as client:
        client.sendall(b"SS")  # which may still be ssh
        time.sleep(0.7)
        client.sendall(b"H-2.0-x\r\n")
        assert name_of(client)[0] == "ssh"
    with one.connect() as client:
        client.sendall(b"l")  # too little for that expression
        time.sleep(0.7)
        client.sendall(b"onger")
        assert name_of(client)[0] == "long"


def test_a_search_that_is_over_ends_no_other_wait(greeters):
    one = greeters(*SEARCHES, timeout=1.5, rest='search_timeout = 0.2; on_silence = "silent";')
    name, took = ask(one, b"l")
    assert name == "others" and took > 1.4, "at the deadline"
    name, took = ask(one, b"")
    assert name == "silent" and took > 1.4


def test_without_a_limit_a_search_has_until_the_deadline(greeters):
    one = greeters(*SEARCHES, timeout=0.8, rest='on_silence = "silent";')
    name, took = ask(one, b"hello there")
    assert name == "others" and took > 0.75


def test_a_search_that_may_take_longer_than_the_decision(greeters):
    one = greeters(*SEARCHES, timeout=0.5, rest='search_timeout = 60; on_silence = "silent";')
    name, took = ask(one, b"hello there")
    assert name == "others" and took > 0.45
    assert ask(one, b"")[0] == "silent"


def test_a_search_that_may_take_longer_goes_on_as_bytes_come(greeters):
    one = greeters(*SEARCHES, rest='search_timeout = 60; on_silence = "silent";')
    with one.connect() as client:
        for piece in (b"hello ", b"there ", b"jabber"):
            client.sendall(piece)
            time.sleep(0.2)
        assert name_of(client)[0] == "jabber"


def test_a_search_has_an_end_where_decisions_have_none(greeters):
    one = greeters(*SEARCHES, timeout=0, rest='search_timeout = 0.3; on_silence = "silent";')
    name, took = ask(one, b"hello there")
    assert name == "others" and took > 0.25


def test_http2_authority(greeters):
    one = greeters(
        '{ name = "x"; string = "x"; }', [("right", '{ host = "right.example"; }'), ("web", '"http"')]
    )
    authority = b"right.example"
    block = b"\x82\x84\x86\x41" + bytes([len(authority)]) + authority
    headers = len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + block
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
    assert ask(one, preface + headers)[0] == "right"
    assert ask(one, preface + headers.replace(b"right", b"wrong"))[0] == "web"


def test_the_log_line_says_what_was_decided(greeters):
    one = greeters('{ name = "x"; string = "x"; }', [("web", '{ sni = "*.example"; }')])
    with one.connect() as client:
        address = "%s:%d" % client.getsockname()
        client.sendall(client_hello("A.Example", (b"h2", b"http/1.1")))
        assert name_of(client)[0] == "web"
    (line,) = one.wait_connections(1)
    assert (
        line["client"] == address
        and line["protocol"] == "tls"
        and line["sni"] == "a.example"
        and line["alpn"] == "h2"
    )
    assert (
        line["service"] == "web"
        and line["delivery"] == "connect"
        and "decided_ms" in line
        and "total_ms" in line
    )
    wait_until(lambda: len(one.connections()) == 1, what="no second line")
