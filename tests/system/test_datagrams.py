"""Datagrams through usher: flows, their boundaries and marks, what becomes of what nobody takes, and of backends that are not there."""

import contextlib
import os
import signal
import socket
import struct

import pytest
from datagrams import Server, client, dns_question, exchange, send_segments
from harness import NEVER, connect, count_fds, free_port, slow, wait_until
from test_explain import chromium_datagrams

CONFIG = """
listen = ( "udp:127.0.0.1:{port}", "udp:[::1]:{port}" ); workers = {workers}; control = "{dir}/control"; {more}
services = ( { name = "dns"; match = "dns"; connect = "{dns}"; answers = 1; {dns_more} },
             { name = "echo"; connect = {echo}; {echo_more} } );
on_unknown = "echo"; drain_timeout = 0.1;
"""


@pytest.fixture
def server():
    made = []

    def make(*args, **more):
        made.append(Server(*args, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def relay(usher, server):
    """usher before an echo server, and before one for DNS."""
    def make(echo=None, dns=None, workers=1, more="", echo_more="", dns_more="", **options):
        echo = echo if isinstance(echo, str) else f'"{(echo or server()).text()}"'
        dns = dns or server()
        return usher(CONFIG, echo=echo, dns=dns.text(), workers=workers, more=more, echo_more=echo_more,
                     dns_more=dns_more, **options)

    return make


def events(one):
    return one.ask(b"status")[0]["datagrams"]


def sessions(one):
    return [line for line in one.ask(b"sessions") if "client" in line]


# ---- flows


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_datagram_goes_to_the_backend_and_the_answer_back(relay, host):
    one = relay()
    with client(one.port, host) as c:
        assert exchange(c, b"hello") == b"hello"
        assert exchange(c, b"again") == b"again"


def test_a_flow_leaves_one_line_with_its_datagrams_and_bytes(relay):
    one = relay()
    with client(one.port) as c:
        exchange(c, dns_question())
        (line,) = one.wait_connections(1)
        assert line["client"] == "%s:%d" % c.getsockname()
        assert line["listener"] == f"udp:127.0.0.1:{one.port}"
        assert (line["protocol"], line["service"], line["end"]) == ("dns", "dns", "finished")
        assert (line["datagrams_up"], line["datagrams_down"]) == ("1", "1")
        assert line["bytes_up"] == line["bytes_down"] == str(len(dns_question()))


def test_a_flow_is_listed_counted_and_closed_by_the_operator(relay):
    one = relay()
    with client(one.port) as c:
        exchange(c, b"hello")
        (listed,) = sessions(one)
        assert (listed["service"], listed["phase"]) == ("echo", "relaying")
        assert (listed["datagrams_up"], listed["datagrams_down"], listed["bytes_up"]) == (1, 1, 5)
        status = one.ask(b"status")[0]
        assert {l["address"]: l["open"] for l in status["listeners"]}[f"udp:127.0.0.1:{one.port}"] == 1
        assert {s["name"]: s["open"] for s in status["services"]} == {"dns": 0, "echo": 1}
        one.ask(b"close %d" % listed["id"])
        (line,) = one.wait_connections(1)
        assert line["end"] == "closed"
        assert sessions(one) == []
        assert exchange(c, b"a new flow") == b"a new flow"


def test_answers_that_are_expected_end_a_flow(relay, server):
    """Of three questions on one port, answered at once, each is a flow, or they are one."""
    one = relay()
    with client(one.port) as c:
        for number in range(3):
            assert exchange(c, dns_question(number=number))[:2] == struct.pack("!H", number)
        wait_until(lambda: sessions(one) == [], what="the end of all flows")
        lines = one.wait_connections(3)
        assert {line["end"] for line in lines} == {"finished"}


def test_flows_of_one_client_port_to_two_addresses_are_two(relay, server):
    """The local address belongs to the key, and the answer comes from the address that was asked."""
    back = server()
    one = relay(echo=back, more='')
    with client(one.port) as four, client(one.port, "::1") as six:
        assert exchange(four, b"four") == b"four"
        assert exchange(six, b"six") == b"six"
        assert len({peer for _, peer, _ in back.got}) == 2


def test_answers_come_from_the_address_that_was_asked(usher, server):
    back = server()
    one = usher('listen = "udp:0.0.0.0:{port}"; services = ({ name = "echo"; connect = "%s"; }); '
                'on_unknown = "echo"; drain_timeout = 0.1;' % back.text())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
        c.settimeout(slow(10))
        for host in ("127.0.0.5", "127.0.0.6"):
            c.sendto(host.encode(), (host, one.port))
            assert c.recvfrom(100) == (host.encode(), (host, one.port))
    assert len({peer for _, peer, _ in back.got}) == 2


def test_only_the_chosen_backend_answers(relay, server):
    """Somebody else who sends to the port of a flow's upstream socket is not heard."""
    back = server()
    one = relay(echo=back)
    with client(one.port) as c, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        exchange(c, b"hello")
        stranger.bind(("127.0.0.1", 0))
        stranger.sendto(b"forged", back.got[0][1])
        assert exchange(c, b"again") == b"again"


# ---- boundaries and marks


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65507])
def test_a_datagram_of_any_size_passes_whole(relay, size):
    one = relay()
    data = bytes(i * 31 & 255 for i in range(size))
    with client(one.port) as c:
        assert exchange(c, data) == data
        assert exchange(c, b"after it") == b"after it"


def test_a_datagram_without_bytes_passes_in_its_place(relay, server):
    back = server()
    one = relay(echo=back)
    sent = [b"one", b"", b"two", b"", b"", b"three"]
    with client(one.port) as c:
        for datagram in sent:
            c.send(datagram)
        assert [c.recv(100) for _ in sent] == sent
    assert back.datagrams() == sent


SIZES = {
    "equal": [1200] * 200,
    "a shorter one at times": ([1200] * 9 + [700]) * 20,
    "each another": list(range(1, 200)),
    "longer and longer": [100] * 30 + [101] * 30 + [5000] * 30 + [1] * 30,
    "two sizes by turns": [1200, 1199] * 80,
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_boundaries_and_order_hold_however_datagrams_are_joined(relay, server, sizes):
    """They wait in the socket while the worker is stopped, so that all come in a few batches, and the answers too."""
    one = relay()
    sent = [struct.pack("!I", i)[:size] + bytes([i & 255]) * (size - 4) for i, size in enumerate(sizes)]
    with client(one.port) as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        exchange(c, b"begin")
        for at in range(0, len(sent), 40):
            with stopped(one):
                for datagram in sent[at : at + 40]:
                    c.send(datagram)
            assert [c.recv(65536) for _ in sent[at : at + 40]] == sent[at : at + 40]


@contextlib.contextmanager
def stopped(one):
    for pid in one.workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in one.workers:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("size", [100, 1400])
def test_answers_to_many_clients_in_one_turn_are_each_their_own(usher, server, size):
    """Those of clients whose datagrams come by different sockets of the listener go out in one call, up to so many bytes."""
    back = server()
    one = usher('listen = "udp:0.0.0.0:{port}"; services = ({ name = "echo"; connect = "%s"; }); '
                'on_unknown = "echo"; drain_timeout = 0.1;' % back.text())
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(one.port, f"127.0.0.{5 + i % 3}")) for i in range(60)]
        for i, c in enumerate(clients):
            assert exchange(c, bytes([i])) == bytes([i])
        upstreams = {datagram[0]: peer for datagram, peer, _ in back.got}
        with stopped(one):
            for turn in b"abc":
                for i in range(len(clients)):
                    back.socket.sendto(bytes([i, turn]) * (size // 2), upstreams[i])
        for i, c in enumerate(clients):
            assert [c.recv(2000) for _ in "abc"] == [bytes([i, turn]) * (size // 2) for turn in b"abc"]


def test_what_a_client_sends_joined_arrives_as_single_datagrams(relay, server):
    back = server()
    one = relay(echo=back)
    segments = [bytes([i]) * 1000 for i in range(20)] + [b"the last"]
    with client(one.port) as c:
        exchange(c, b"begin")
        send_segments(c, segments)
        assert [c.recv(65536) for _ in segments] == segments
    assert back.datagrams()[1:] == segments


def test_a_first_message_of_joined_datagrams_is_decided_by_its_first(relay, server):
    dns, echo = server(), server()
    one = relay(echo=echo, dns=dns, dns_more="")
    question = dns_question()
    with client(one.port) as c:
        send_segments(c, [question, question, question[:-4]])
        assert [c.recv(1000) for _ in range(3)] == [question, question, question[:-4]]
    assert dns.datagrams() == [question, question, question[:-4]]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ecn_and_dscp_are_carried_both_ways(relay, server, host):
    back = server(("127.0.0.1" if host == "127.0.0.1" else "::1", 0), tos=0xb9)
    one = relay(echo=back)
    level, option, told = ((socket.IPPROTO_IP, socket.IP_TOS, socket.IP_RECVTOS) if host == "127.0.0.1" else
                           (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS))
    marks = [0, 1, 2, 3, 0xb8, 0x2a]
    with client(one.port, host) as c:
        c.setsockopt(level, told, 1)
        exchange(c, b"begin")
        with stopped(one):
            for mark in marks:
                c.setsockopt(level, option, mark)
                c.send(bytes([mark]) * 500)
        for mark in marks:
            data, control, _, _ = c.recvmsg(1000, 100)
            assert data == bytes([mark]) * 500
            assert control[0][2][0] == 0xb9
    assert [(datagram[0], tos) for datagram, _, tos in back.got[1:]] == [(mark, mark) for mark in marks]


# ---- nobody's


def test_what_no_service_takes_is_dropped_and_counted_and_nothing_is_kept(usher, server):
    back = server()
    one = usher('listen = "udp:127.0.0.1:{port}"; control = "{dir}/control"; drain_timeout = 0.1; '
                'services = ({ name = "dns"; match = "dns"; connect = "%s"; answers = 1; });' % back.text())
    with client(one.port) as c:
        for _ in range(5):
            c.send(b"rubbish")
        c.send(b"")
        exchange(c, dns_question())
        assert events(one)["unwanted"] == 6
        assert one.ask(b"status")[0]["listeners"][0]["accepted"] == 1
    assert back.datagrams() == [dns_question()]
    one.wait_log("no service takes")


def test_rules_of_access_refuse_a_flow(relay, server):
    back = server()
    one = relay(echo=back, echo_more='deny = "127.0.0.0/8";')
    with client(one.port) as c, client(one.port, "::1") as other:
        c.send(b"hello")
        assert exchange(other, b"hello") == b"hello"
        (line,) = one.wait_connections(1)
        assert (line["end"], line["rule"]) == ("refused", "deny")
    assert len(back.got) == 1


def test_flows_of_one_source_are_limited(relay, server):
    back = server()
    one = relay(echo=back, echo_more="per_source = 2;")
    with contextlib.ExitStack() as open_:
        cs = [open_.enter_context(client(one.port)) for _ in range(3)]
        assert [exchange(c, b"hello") for c in cs[:2]] == [b"hello"] * 2
        cs[2].send(b"one too many")
        assert one.wait_connections(1)[0]["rule"] == "per_source"
        assert exchange(cs[0], b"still there") == b"still there"


def test_clients_that_never_answered_make_room_for_others(relay, server):
    """A flood of forged addresses: flows whose clients said something after an answer live; the others are shed."""
    back = server()
    one = relay(echo=back, more="max_connections = 20;")
    with contextlib.ExitStack() as open_:
        proven = [open_.enter_context(client(one.port)) for _ in range(5)]
        for c in proven:
            exchange(c, b"hello")
            exchange(c, b"I am here")
        for i in range(200):
            with client(one.port) as forged:
                exchange(forged, b"flood")
        assert len(sessions(one)) <= 20
        for c in proven:
            assert exchange(c, b"still here") == b"still here"
        assert one.ask(b"status")[0]["ended"]["shed"] >= 180
    assert len({peer for datagram, peer, _ in back.got if datagram in (b"hello", b"still here")}) == 5


def test_an_access_program_decides_about_a_flow(relay, place, server):
    """What comes while it runs is kept, and goes to the backend in order, or nowhere."""
    back = server()
    script = place / "access"
    place.chmod(0o777)
    script.write_text(f"#!/bin/sh\necho $PROTO $UDPREMOTEIP $UDPREMOTEPORT $UDPLOCALPORT $REMOTE_PORT > {place}/environment\nread answer < {place}/answer; exit $answer\n")
    script.chmod(0o755)
    os.mkfifo(place / "answer")
    one = relay(echo=back, echo_more=f'access = [ "{script}" ];')
    for status, taken in ((0, True), (1, False)):
        with client(one.port) as c:
            c.send(b"first")
            c.send(b"second")
            wait_until(lambda: [session["phase"] for session in sessions(one)] == ["asking"], what="the question")
            (place / "answer").write_text(f"{status}\n")
            assert (place / "environment").read_text().split() == [
                "UDP", *map(str, c.getsockname()), str(one.port), str(c.getsockname()[1])]
            if taken:
                assert [c.recv(100), c.recv(100)] == [b"first", b"second"]
                one.ask(b"close %d" % sessions(one)[0]["id"])
    refused = one.wait_connections(2)[1]
    assert (refused["end"], refused["rule"]) == ("refused", "access")
    assert back.datagrams() == [b"first", b"second"]


# ---- evidence of several datagrams

QUIC = """
listen = "udp:127.0.0.1:{port}"; control = "{dir}/control"; decide_timeout = {decide_timeout}; drain_timeout = 0.1;
services = ( { name = "shop"; match = { protocol = "quic"; sni = "shop.example.com"; }; connect = "{shop}"; },
             { name = "rest"; match = "quic"; connect = "{rest}"; } );
"""


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)], ids=str)
def test_a_hello_in_two_datagrams_is_decided_by_both_and_goes_on_in_order(usher, server, order):
    shop, rest = server(), server()
    one = usher(QUIC, shop=shop.text(), rest=rest.text(), decide_timeout=NEVER)
    datagrams = [chromium_datagrams()[i] for i in order]
    with client(one.port) as c:
        c.send(datagrams[0])
        (session,) = wait_until(lambda: sessions(one), what="the flow")
        assert session["phase"] == "deciding"
        for datagram in datagrams[1:]:
            c.send(datagram)
        assert [c.recv(2000) for _ in datagrams] == datagrams
    assert shop.datagrams() == datagrams
    assert rest.datagrams() == []


def test_a_hello_that_is_not_whole_at_the_deadline_counts_as_no(usher, server):
    shop, rest = server(), server()
    one = usher(QUIC, shop=shop.text(), rest=rest.text(), decide_timeout=0.05)
    first = chromium_datagrams()[0]
    with client(one.port) as c:
        assert exchange(c, first) == first
    assert (shop.datagrams(), rest.datagrams()) == ([], [first])


# ---- time


def test_a_flow_without_an_answer_ends_by_answer_timeout(relay, server):
    one = relay(echo=server(answer=lambda datagram: []), echo_more=f"answer_timeout = 0.05; idle_timeout = {NEVER};")
    with client(one.port) as c:
        c.send(b"hello")
        (line,) = one.wait_connections(1)
        assert (line["end"], line["datagrams_up"], line["datagrams_down"]) == ("idle", "1", "0")


def test_an_answered_flow_ends_by_idle_timeout(relay):
    one = relay(echo_more=f"answer_timeout = {NEVER}; idle_timeout = 0.05;")
    with client(one.port) as c:
        exchange(c, b"hello")
        assert one.wait_connections(1)[0]["end"] == "idle"
        assert exchange(c, b"a new flow") == b"a new flow"


# ---- backends


def test_the_next_backend_gets_what_the_first_refuses(relay, server):
    back = server()
    one = relay(echo=f'[ "127.0.0.1:{free_port()}", "{back.text()}" ]')
    with client(one.port) as c:
        assert exchange(c, b"hello") == b"hello"
        assert exchange(c, b"again") == b"again"
    assert back.datagrams() == [b"hello", b"again"]


def test_a_refusal_does_not_end_a_flow(relay, server):
    """A backend that is started again hears the flow as before."""
    back = server()
    address = back.address
    one = relay(echo=f'"{back.text()}"')
    with client(one.port) as c:
        assert exchange(c, b"hello") == b"hello"
        before = back.got[0][1]
        back.close()
        for _ in range(3):
            c.send(b"lost")
        again = Server(address)
        try:
            c.settimeout(0.2)

            def answered():
                try:
                    return exchange(c, b"back again") == b"back again"
                except TimeoutError:
                    return False

            wait_until(answered, what="the backend that was started again")
            assert again.got[0][1] == before
        finally:
            again.close()
    assert one.connections() == []


def test_a_backend_that_is_not_there_fails_the_flow_at_its_end(relay):
    one = relay(echo=f'"127.0.0.1:{free_port()}"', echo_more="answer_timeout = 0.1;")
    with client(one.port) as c:
        c.send(b"hello")
        (line,) = one.wait_connections(1)
        assert (line["end"], line["error"]) == ("delivery-failed", "Connection refused")
    assert {s["name"]: s["failed"] for s in one.ask(b"status")[0]["services"]}["echo"] == 1


# ---- descriptors


def test_flows_that_ended_leave_no_descriptors(relay):
    """Sockets to backends are used again: as many flows as before need no more of them."""
    one = relay()
    (worker,) = one.workers

    def round_of_flows(n):
        with contextlib.ExitStack() as open_:
            for c in [open_.enter_context(client(one.port)) for _ in range(n)]:
                exchange(c, b"hello")
            for session in sessions(one):
                one.ask(b"close %d" % session["id"])
        assert sessions(one) == []
        return count_fds(worker)

    most = round_of_flows(40) + 1  # the answer of the control socket may still be open
    assert max(round_of_flows(n) for n in (40, 40, 10, 40)) <= most


def test_flows_are_held_to_the_descriptors_that_there_are(relay):
    """Those whose clients are there live; a flood of others makes room for each other, and nothing fails."""
    one = relay(wrapper=lambda command: ["prlimit", "--nofile=256:256", *command])
    most = one.ask(b"status")[0]["room"]["worker"]
    with contextlib.ExitStack() as open_:
        proven = [open_.enter_context(client(one.port)) for _ in range(5)]
        for c in proven:
            exchange(c, b"hello")
            exchange(c, b"I am here")
        for c in [open_.enter_context(client(one.port)) for _ in range(3 * most)]:
            exchange(c, b"flood")
        assert len(sessions(one)) <= most
        for c in proven:
            assert exchange(c, b"still here") == b"still here"
    assert one.ask(b"status")[0]["services"][1]["failed"] == 0


# ---- beside connections


BESIDE = """
listen = [ "127.0.0.1:{{port}}", "udp:127.0.0.1:{{port}}" ]; workers = 1; control = "{{dir}}/control"; drain_timeout = 0.1;
decide_timeout = {never}; {more}
services = ( {{ name = "quic"; match = {{ sni = "elsewhere.example"; }}; connect = "{echo}"; }}, {{ name = "dns"; match = "dns"; connect = "{dns}"; }},
             {{ name = "ssh"; match = "ssh"; connect = "{echo}"; }} );
"""


def forged(i):
    """The i-th of many addresses."""
    return f"127.1.{i // 250}.{1 + i % 250}"


def test_a_flood_of_undecided_flows_displaces_no_connection(usher, echo):
    one = usher(BESIDE.format(never=NEVER, echo=echo.tcp4, dns=echo.tcp4, more="max_undecided = 10;"))
    hello = chromium_datagrams()[0]
    with connect(one.port) as waiting:
        waiting.sendall(b"SSH")
        wait_until(lambda: one.ask(b"status")[0]["undecided"] == 1, what="the connection")
        for i in range(40):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
                c.bind((forged(i), 0))
                c.sendto(hello, ("127.0.0.1", one.port))
        wait_until(lambda: one.ask(b"status")[0]["ended"]["shed"] >= 30, what="flows to be shed")
        waiting.sendall(b"-2.0-still here\r\n")
        assert waiting.recv(3) == b"SSH"
    with connect(one.port) as late:
        late.sendall(b"SSH-2.0-late\r\n")
        assert late.recv(3) == b"SSH"


@pytest.mark.parametrize("limit", ["max_connections", "descriptors"])
def test_a_flood_of_flows_shuts_out_no_connection(usher, server, echo, limit):
    more = "max_connections = 20;" if limit == "max_connections" else ""
    one = usher(BESIDE.format(never=NEVER, echo=echo.tcp4, dns=server().text(), more=more),
                wrapper=lambda command: ["prlimit", "--nofile=256:256", *command])
    for i in range(400):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
            c.bind((forged(i), 0))
            c.connect(("127.0.0.1", one.port))
            exchange(c, dns_question())
    for _ in range(3):
        with connect(one.port) as c:
            c.sendall(b"SSH-2.0-there\r\n")
            assert c.recv(3) == b"SSH"


def test_undecided_flows_under_the_address_of_a_client_end_none_of_its_connections(usher, echo):
    """Their sources may be forged: they count apart for max_undecided_per_source."""
    one = usher(BESIDE.format(never=NEVER, echo=echo.tcp4, dns=echo.tcp4, more="max_undecided_per_source = 5;"))
    hello = chromium_datagrams()[0]
    with connect(one.port) as waiting, contextlib.ExitStack() as open_:
        waiting.sendall(b"SSH")
        wait_until(lambda: one.ask(b"status")[0]["undecided"] == 1, what="the connection")
        for c in [open_.enter_context(client(one.port)) for _ in range(20)]:
            c.send(hello)
        wait_until(lambda: one.ask(b"status")[0]["ended"]["shed"] >= 15, what="flows to be shed")
        with connect(one.port) as late:
            late.sendall(b"SSH")
            wait_until(lambda: one.ask(b"status")[0]["undecided"] == 7, what="two connections and five flows")
            for c in (late, waiting):
                c.sendall(b"-2.0-still here\r\n")
                assert c.recv(3) == b"SSH"


@pytest.mark.parametrize("limit", ["per_source = 3;", 'rate = "3/hour";'])
def test_flows_under_the_address_of_a_client_use_up_nothing_of_its_connections(usher, server, echo, limit):
    one = usher(f"""
listen = [ "127.0.0.1:{{port}}", "udp:127.0.0.1:{{port}}" ]; workers = 1; control = "{{dir}}/control"; drain_timeout = 0.1;
services = ( {{ name = "both"; connect = [ "{server().text()}", "{echo.tcp4}" ]; {limit} }} ); on_unknown = "both";
""")
    with contextlib.ExitStack() as open_:
        for c in [open_.enter_context(client(one.port)) for _ in range(6)]:
            c.send(b"hello")
        refused = limit.split()[0]
        wait_until(lambda: one.ask(b"status")[0]["refused"].get(refused) == 3, what="flows beyond the limit")
        for _ in range(3):
            c = open_.enter_context(connect(one.port))
            c.sendall(b"SSH-2.0-there\r\n")
            assert c.recv(3) == b"SSH"


# ---- identifiers


@pytest.mark.parametrize("says, tag", [("smtp", b"named "), ("NOTFOUND", b"")])
def test_an_identifier_is_asked_once_about_the_first_datagram(usher, server, place, says, tag):
    """Whatever else has come before it answers."""
    place.chmod(0o777)
    named, other = server(answer=lambda datagram: [b"named " + datagram]), server()
    script = f"cat >> {place}/seen; echo >> {place}/seen; while [ ! -e {place}/go ]; do sleep 0.05; done; printf {says}"
    one = usher(f"""
listen = "udp:127.0.0.1:{{port}}"; workers = 1; control = "{{dir}}/control"; decide_timeout = {NEVER}; drain_timeout = 0.1;
identifiers = ( {{ mode = "once"; program = [ "/bin/sh", "-c", "{script}" ]; timeout = {NEVER}; }} );
services = ( {{ name = "named"; match = {{ identified = "smtp"; }}; connect = "{named.text()}"; }},
             {{ name = "other"; connect = "{other.text()}"; }} );
on_unknown = "other";
""")
    with client(one.port) as c:
        c.send(b"one")
        wait_until(lambda: (place / "seen").exists() and (place / "seen").read_text() == "one\n", 10, "the identifier to read")
        c.send(b"two")
        wait_until(lambda: one.ask(b"status")[0]["undecided"] == 1, 10, "the flow")
        (place / "go").touch()
        assert [c.recv(100), c.recv(100)] == [tag + b"one", tag + b"two"]
    assert (place / "seen").read_text() == "one\n"
