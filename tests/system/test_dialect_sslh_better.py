"""Where sslh is known to be weak, in the order in which its users complain, and what usher does there under the same
configuration."""

import concurrent.futures
import hashlib
import random
import re
import signal
import socket
import time

import pytest
from dialects import complaints_of, fixture_of
from harness import NEVER, dead_port, free_port, read_all, read_exactly, run_usher
from peers import Backend, client_hello, exchange, how_it_ends, reset
from sslhs import SAYS, ask, echoes, entry, listen, name_of, protocols  # noqa: F401

sslh = fixture_of("sslh")


def everything(echoes, timeout=NEVER, more=()):
    """An entry of each kind that can be told, the names before the plain tls, and anyprot."""
    names = ("ssh", "socks5", "http", "openvpn", "xmpp", "foo", "im", "mail", "h2", "tls", "rest")
    servers = dict(zip(names, echoes(*names)))
    return f"timeout: {timeout};\n" + listen() + protocols(
        entry("ssh", servers["ssh"]), entry("socks5", servers["socks5"]), entry("http", servers["http"]),
        entry("openvpn", servers["openvpn"]), entry("xmpp", servers["xmpp"]),
        entry("regex", servers["foo"], 'regex_patterns: [ "^foo", "^bar" ]; minlength: 4;'),
        entry("tls", servers["im"], 'sni_hostnames: [ "im.example" ]; alpn_protocols: [ "xmpp-client", "xmpp-server" ];'),
        entry("tls", servers["mail"], 'sni_hostnames: [ "mail.example", "*.b.example" ];'),
        entry("tls", servers["h2"], 'alpn_protocols: [ "h2" ];'),
        entry("tls", servers["tls"]), entry("anyprot", servers["rest"]), *more)


GOES_TO = {"ssh": "ssh", "socks5": "socks5", "http": "http", "openvpn": "openvpn", "xmpp": "xmpp", "tls": "tls",
           "tls im xmpp-client": "im", "tls im h2": "h2", "tls mail": "mail", "tls a.b.example": "mail", "tls other h2": "h2",
           "tls other": "tls", "unknown": "rest"}


# ---- connections sent to the wrong server


@pytest.mark.parametrize("pieces", [2, 7, 1000])
def test_a_byte_every_10_ms_decides_as_the_whole_does(sslh, echoes, pieces):
    one = sslh(everything(echoes))
    with concurrent.futures.ThreadPoolExecutor(len(GOES_TO)) as pool:
        found = list(pool.map(lambda who: ask(one, SAYS[who], pieces)[0], GOES_TO))
    assert dict(zip(GOES_TO, found)) == GOES_TO


def test_every_sni_with_every_alpn(sslh, echoes):
    """As in sslh's own test: which entry comes first decides."""
    one = sslh(everything(echoes))
    for sni in (None, "im.example", "mail.example", "x.b.example", "b.example", "other"):
        for alpn in ([], [b"h2"], [b"xmpp-client"], [b"http/1.1", b"xmpp-server"], [b"http/1.1"]):
            xmpp = b"xmpp-client" in alpn or b"xmpp-server" in alpn
            expected = ("im" if sni == "im.example" and xmpp else "mail" if sni in ("mail.example", "x.b.example")
                        else "h2" if b"h2" in alpn else "tls")
            assert ask(one, client_hello(sni, alpn))[0] == expected, (sni, alpn)


@pytest.mark.parametrize("size, record", [(0, 20), (600, 100), (4000, 1400), (16000, 16384), (16000, 500)])
def test_a_hello_in_several_records_and_as_large_as_they_get(sslh, echoes, size, record):
    one = sslh(everything(echoes))
    assert ask(one, client_hello("mail.example", [b"h2"], size, record))[0] == "mail"
    assert ask(one, client_hello("other.example", [b"h2"], size, record), 12)[0] == "h2"


def test_a_server_name_is_the_same_in_upper_case(sslh, echoes):
    one = sslh(everything(echoes))
    for name in ("MAIL.example", "Mail.Example", "X.B.EXAMPLE"):
        assert ask(one, client_hello(name))[0] == "mail"
    text = everything(echoes).replace('"mail.example"', '"Mail.EXAMPLE"')
    assert ask(sslh(text), client_hello("mail.example"))[0] == "mail"


def test_who_is_not_silent_is_not_taken_for_silent(sslh, echoes):
    """Few bytes of a protocol that is none of them: sslh waits for as many as its probe of XMPP would like to see, and then sends
    them to the server for silent clients instead of to anyprot."""
    one = sslh(everything(echoes))
    for data in (b"EHLO there\r\n", b"\x01\x02\x03\x04", b"\xff\xfe\xfd\xfc", b"quit\r\n"):
        assert ask(one, data)[0] == "rest", data
    assert ask(sslh(everything(echoes, timeout=1)), b"")[0] == "ssh"


def test_an_http_client_never_sees_the_banner_of_ssh(sslh, echoes):
    """However slow it is within the timeout, and whatever its method."""
    one = sslh(everything(echoes))
    for method in ("GET", "PROPFIND", "M-SEARCH", "X"):
        request = f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert ask(one, request, 3, pause=0.3)[0] == "http", method


def test_what_minlength_waits_for(sslh, echoes):
    """sslh's own test of it: with fewer bytes it is not that protocol, and the client counts as silent."""
    one = sslh(everything(echoes, timeout=1))
    assert [ask(one, data)[0] for data in (b"fooo", b"barr", b"barrrr")] == ["foo"] * 3
    for data in (b"foo", b"bar"):
        name, took = ask(one, data)
        assert name == "ssh" and took > 0.95


@pytest.mark.parametrize("way", ["dialect", "printed"])
@pytest.mark.parametrize("expression, data, found", [
    ("jabber", b"something jabber something", True), ("^jabber", b"something jabber", False), ("^GET .* x", b"GET a x", True),
    ("^GET .* x", b"GET a\n x", False), ("^[0-9]+ OK$", b"220 OK", True), (r"^\\x16", b"\x16", True), ("^(?i)hello", b"HeLLo", True),
    (r"\\d{3}-\\d{2}", b"call 555-01", True), (r"^\x05\x01", b"\x05\x01\x00", True), (r"^\x00\x01", b"\x00\x01", True),
    (r"^[\x80-\xFF]{2}", b"\xc3\xa4", True), (r"a\.c", b"abc", False), (r"^\"quoted\"", b'"quoted"', True)])
def test_expressions_mean_what_they_mean_to_sslh(sslh, echoes, way, expression, data, found):
    first, rest = echoes("first", "rest")
    one = sslh(f"timeout: {NEVER};\n" + listen() + protocols(entry("regex", first, f'regex_patterns: [ "{expression}" ];'),
                                                      entry("anyprot", rest)), way=way)
    assert ask(one, data)[0] == ("first" if found else "rest")


def test_a_hello_that_begins_as_tls_and_ends_as_ssh_and_the_reverse(sslh, echoes):
    one = sslh(everything(echoes, timeout=1))
    hello, banner = client_hello("mail.example"), SAYS["ssh"]
    for data in (hello[:3] + banner, hello[:20] + banner):
        assert ask(one, data)[0] != "ssh", "it did not begin like ssh"
    for data in (banner[:4] + hello, banner[:2] + hello, banner[:1] + hello):
        assert ask(one, data)[0] in ("rest", "ssh")
        assert ask(one, data, len(data))[0] == ask(one, data)[0], "however it is cut"
    assert ask(one, hello)[0] == "mail" and ask(one, banner)[0] == "ssh"


# ---- ends


def test_the_end_of_one_side_does_not_cut_the_other(sslh, place):
    """sslh closes both: what is still on its way is lost."""
    with Backend() as backend:
        one = sslh(listen() + protocols(f'{{ name: "ssh"; host: "127.0.0.1"; port: "{backend.port}"; }}'))
        with one.connect() as client:
            client.sendall(b"SSH-2.0-x\r\n")
            server = backend.accept()
            with server:
                assert read_exactly(server, 11) == b"SSH-2.0-x\r\n"
                exchange(client, server, 2_000_000, 3_000_000)
        with one.connect() as client:
            client.sendall(b"SSH-2.0-x\r\n")
            client.shutdown(socket.SHUT_WR)
            with backend.accept() as server:
                assert read_all(server) == b"SSH-2.0-x\r\n"
                time.sleep(0.2)
                server.sendall(b"the answer comes late")
                server.shutdown(socket.SHUT_WR)
                assert read_all(client) == b"the answer comes late"
        with one.connect() as client:
            client.sendall(b"SSH-2.0-x\r\n")
            with backend.accept() as server:
                read_exactly(server, 11)
                reset(server)
                assert how_it_ends(client) == "reset"


def test_who_connects_and_leaves_reaches_nobody(sslh):
    """sslh connects them to its last server."""
    with Backend() as backend:
        target = f'host: "127.0.0.1"; port: "{backend.port}";'
        one = sslh("timeout: 1;\n" + listen() + protocols(f'{{ name: "ssh"; {target} }}', f'{{ name: "tls"; {target} }}',
                                                          f'{{ name: "anyprot"; {target} }}'))
        for leave in (lambda client: client.close(), reset, lambda client: client.shutdown(socket.SHUT_WR)):
            for data in (b"", b"SS", b"\x16"):
                client = one.connect()
                if data:
                    client.sendall(data)
                    time.sleep(0.02)
                leave(client)
                client.close()
        one.wait_connections(9)
        assert backend.nobody_comes(0.3)
        assert {line["end"] for line in one.connections()} <= {"client-gone", "client-reset"}


def test_a_shy_client_gets_the_banner_in_time(sslh, sshd):
    one = sslh("timeout: 1;\n" + listen() + protocols(f'{{ name: "tls"; host: "localhost"; port: "{dead_port()}"; }}',
                                                      f'{{ name: "ssh"; host: "localhost"; port: "{sshd.port}"; }}'))
    begin = time.monotonic()
    with one.connect() as client:
        assert client.recv(8) == b"SSH-2.0-"
        assert time.monotonic() - begin > 0.95
        client.sendall(b"SSH-2.0-shy\r\n")
        assert client.recv(65536), "and goes on"


# ---- starting


def test_a_backend_whose_name_nobody_knows_does_not_keep_it_from_serving(sslh, echoes):
    """sslh ends with "Name or service not known"."""
    (a,) = echoes("a")
    one = sslh(listen() + protocols(entry("ssh", a), '{ name: "tls"; host: "nobody.invalid"; port: "443"; }',
                                    '{ name: "http"; host: "localhost"; port: "%d"; resolve_on_forward: true; }' % a.port4))
    assert ask(one, SAYS["ssh"])[0] == ask(one, SAYS["http"])[0] == "a"
    assert ask(one, SAYS["tls"])[0] is None


@pytest.mark.parametrize("host, target", [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("localhost", "localhost"),
                                          ("::", "::1")])
def test_a_target_that_is_its_own_listener_is_told_of(place, host, target):
    """sslh serves, connects to itself, and does so until descriptors run out."""
    port = free_port()
    status, complaints = complaints_of(place, "sslh", f'listen: ( {{ host: "{host}"; port: "{port}"; }} );\nprotocols: (\n'
                                       '  { name: "ssh"; host: "192.0.2.1"; port: "22"; },\n'
                                       f'  {{ name: "tls"; host: "{target}"; port: "{port}"; }} );\n')
    assert status == 1 and len(complaints) == 1
    assert re.match(r"FILE:4: `.*' is usher's own listener `.*' \(line 1\), expected another server", complaints[0])


def test_a_configuration_can_be_checked(place):
    """Everything that is wrong, at once, with its line; sslh tells of the first thing, and of some when a client comes."""
    text = """listen: ( { host: "127.0.0.1"; port: "4443"; }, { host: "127.0.0.1"; } );
protocols: (
  { name: "shh"; host: "localhost"; port: "22"; },
  { name: "tls"; host: "localhost"; },
  { name: "regex"; host: "localhost"; port: "x"; regex_patterns: [ "(" ]; },
  { name: "tls"; host: "localhost"; port: "1"; sni_hostname: [ "a" ]; }
);
user: "nobody-of-that-name"; timeuot: 3;
"""
    status, complaints = complaints_of(place, "sslh", text)
    assert status == 6
    assert sorted(complaints) == sorted([
        "FILE:1: an entry of `listen' without `port', expected port: \"...\";",
        "FILE:3: `shh' is no probe of sslh, expected one such as \"ssh\", \"tls\", \"regex\" or \"anyprot\"",
        "FILE:4: an entry of `protocols' without `port', expected port: \"...\";",
        "FILE:5: port `x' of `regex', expected 1 to 65535 or a name of services(5)",
        "FILE:6: warning: unknown key `sni_hostname' in `protocols' is left out, did you mean `sni_hostnames'?",
        "FILE:8: there is no user `nobody-of-that-name'",
        "FILE:8: warning: unknown key `timeuot' in the configuration is left out, did you mean `timeout'?"])
    file = place / "good.cfg"
    file.write_text('listen: ( { host: "127.0.0.1"; port: "4443"; } );\nprotocols: (\n'
                    '  { name: "regex"; host: "localhost"; port: "22"; regex_patterns: [ "(" ]; } );\n')
    printed = run_usher("sslh", "--print", f"-F{file}")
    assert printed.returncode == 1 and f"{file}:3: regex \"(\" does not compile" in printed.stderr
    (place / "native.conf").write_text(printed.stdout)
    checked = run_usher("check", "-c", place / "native.conf")
    assert checked.returncode == 2 and "missing closing parenthesis" in checked.stderr
    status, complaints = complaints_of(place, "sslh", file.read_text())
    assert status == 1 and "FILE:3: regex \"(\" does not compile: at offset 1: missing closing parenthesis" in complaints


# ---- while it serves


def test_a_reload_drops_nothing_and_a_wrong_file_changes_nothing(sslh, echoes):
    """sslh has none: a signal for it ends sslh."""
    a, b = echoes("a", "b")
    text = listen() + protocols(entry("ssh", a))
    one = sslh(text)
    with one.connect() as client:
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "a"
        read_exactly(client, len(SAYS["ssh"]))
        one.reload(listen() + protocols(entry("ssh", b)))
        assert ask(one, SAYS["ssh"])[0] == "b"
        one.write(text + "broken")
        one.send_signal(signal.SIGHUP)
        one.wait_log("reload refused")
        assert ask(one, SAYS["ssh"])[0] == "b"
        client.sendall(b"still here")
        assert read_exactly(client, 10) == b"still here"


def test_the_real_clients_address_is_in_the_log_and_names_are_not_looked_up(sslh, echoes):
    one = sslh(everything(echoes))
    with one.connect() as client:
        address = "%s:%d" % client.getsockname()
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "ssh"
    (line,) = one.wait_connections(1)
    assert line["client"] == address and line["service"] == "ssh" and line["to"].startswith("localhost:")


def test_many_clients_of_many_protocols_with_random_blocks(sslh, echoes):
    """sixteen at a time, every byte compared, none in the wrong place."""
    one = sslh(everything(echoes))
    who = [name for name in GOES_TO if name != "unknown"]

    def talk(number):
        dice = random.Random(number)
        protocol = who[number % len(who)]
        first = SAYS[protocol]
        with one.connect(timeout=30) as client:
            at = dice.randrange(len(first)) if number % 2 else len(first)
            client.sendall(first[:at])
            if at < len(first):
                time.sleep(dice.random() / 20)
                client.sendall(first[at:])
            assert name_of(client) == GOES_TO[protocol], protocol
            assert read_exactly(client, len(first)) == first
            sent, got = hashlib.sha256(), hashlib.sha256()
            for _ in range(12):
                block = dice.randbytes(dice.choice((1, 100, 1460, 8192, 100_000)))
                sent.update(block)
                client.sendall(block)
                got.update(read_exactly(client, len(block)))
            assert sent.digest() == got.digest()
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
        return True

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(talk, range(96)))
    assert len(one.wait_connections(96)) == 96
    assert {line["end"] for line in one.connections()} == {"finished"}
