"""usher explain: what it says about bytes, in every form in which it takes them."""

import json
import os
import pty
import random
import re
import shutil
import socket
import struct
import subprocess

import pytest
from captures import (ACK, ETHERNET, NULL, PPP, PPP_ETHER, SLL, SLL2, SYN, WIFI, conversation, ethernet, pcap, pcapng, tcp,
                      udp)
from harness import BINARY, BUILD, ENVIRONMENT, IS_ROOT, SANITIZER_OPTIONS, SOURCE, run_usher, slow
from peers import client_hello

SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
HTTP = b"GET /index.html HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n"
KEYS = ["transport", "service", "protocol", "attributes", "decided_at", "bytes", "verdict", "why"]

CLIENT, SERVER = ("192.0.2.1", 40000), ("198.51.100.2", 443)

CONFIG = """
listen = ( { address = "127.0.0.1:8443"; }, { address = "[::1]:8443"; on_unknown = "ssh"; } );
decide_timeout = 2.0;
protocols = ( { name = "long"; string = "[HELLO WORLD"; }, { name = "short"; string = "[HELLO"; } );
services = (
  { name = "shop"; match = { host = "shop.example"; }; connect = "127.0.0.1:1"; },
  { name = "ssh"; match = "ssh"; connect = "127.0.0.1:2"; },
  { name = "six"; match = { protocol = "http"; listener = "[::1]:8443"; }; connect = "127.0.0.1:4"; },
  { name = "web"; match = "http"; connect = "127.0.0.1:3"; },
  { name = "long"; match = "long"; connect = "127.0.0.1:5"; },
  { name = "short"; match = "short"; connect = "127.0.0.1:6"; } );
on_silence = "ssh";
on_unknown = "web";
"""


@pytest.fixture
def config(place):
    (place / "usher.conf").write_text(CONFIG)
    return place / "usher.conf"


def explain(data, *arguments, status=0, complaint=""):
    """The one answer to bytes, by way of standard input."""
    result = subprocess.run([BINARY, "explain", "--json", *arguments, "-"], input=data, capture_output=True, check=False,
                            timeout=slow(30), env=ENVIRONMENT)
    assert result.returncode == status, result.stderr
    assert complaint in result.stderr.decode() and bool(complaint) == bool(result.stderr)
    return json.loads(result.stdout) if not status else None


def page(data, *arguments):
    """The same as a person sees it."""
    result = subprocess.run([BINARY, "explain", *arguments, "-"], input=data, capture_output=True, check=False, timeout=slow(30),
                            env=ENVIRONMENT)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode("ascii")


def batch(lines, *arguments, status=0):
    """The answers to the lines, each a dictionary or a text as it is."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    result = run_usher("explain", "--batch", "-", *arguments, input=text)
    assert (result.returncode, result.stderr) == (status, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def flow(*segments, transport="tcp", **more):
    return {"transport": transport, "segments": [segment.hex() for segment in segments], **more}


def capture(place, text, *arguments, status=0, complaint=""):
    """The objects of a capture's flows."""
    (place / "seen").write_bytes(text)
    result = run_usher("explain", "--json", *arguments, place / "seen")
    assert result.returncode == status, result.stderr
    assert complaint in result.stderr and bool(complaint) == bool(result.stderr)
    return [json.loads(line) for line in result.stdout.splitlines()]


# ---- bytes in all forms


def test_an_answer_has_exactly_its_keys():
    answer = explain(SSH)
    assert list(answer) == KEYS
    assert (answer["transport"], answer["service"], answer["protocol"], answer["bytes"], answer["verdict"]) == (
        "tcp", None, "ssh", len(SSH), "yes")
    assert 4 <= answer["decided_at"] < len(SSH)
    assert list(batch([flow(SSH, id="x", other=[1])])[0]) == ["id", *KEYS]


def test_files_standard_input_and_digits_are_the_same(place):
    (place / "bytes").write_bytes(HTTP)
    answers = [explain(HTTP), json.loads(run_usher("explain", "--json", place / "bytes").stdout)]
    for words in ([HTTP.hex()], HTTP.hex(" ").split(), [HTTP.hex(":")], [HTTP.hex().upper()], ["47 45", "54", HTTP[3:].hex(" ")]):
        answers.append(json.loads(run_usher("explain", "--json", "--hex", *words).stdout))
    assert answers[0]["protocol"] == "http" and answers[0]["attributes"]["host"] == "shop.example"
    assert all(answer == answers[0] for answer in answers)


def test_attributes_are_strings_and_alpn_is_a_list():
    answer = explain(client_hello("shop.example", [b"h2", b"http/1.1"]))
    assert answer["protocol"] == "tls"
    assert answer["attributes"]["sni"] == "shop.example"
    assert answer["attributes"]["alpn"] == ["h2", "http/1.1"]
    assert explain(client_hello("shop.example", [b"h2"]))["attributes"]["alpn"] == ["h2"]
    assert re.fullmatch(r"t\d\w[di]\d{4}h2_[0-9a-f]{12}_[0-9a-f]{12}", answer["attributes"].get("ja4", ""))


def test_a_datagram_is_decided_by_all_of_it():
    answer = explain(b"\0\1", "--udp")
    assert (answer["transport"], answer["verdict"], answer["decided_at"], answer["bytes"]) == ("udp", "no", 2, 2)
    answers = batch([flow(b"", b"\0\1", SSH, transport="udp"), flow(b"", transport="udp"), flow(transport="udp")])
    assert [(answer["verdict"], answer["decided_at"], answer["bytes"]) for answer in answers] == [
        ("no", 2, 2 + len(SSH)), ("more", None, 0), ("more", None, 0)]


def test_no_bytes_and_too_many():
    answer = explain(b"")
    assert (answer["verdict"], answer["decided_at"], answer["bytes"], answer["why"]) == ("more", None, 0, "there are no bytes")
    endless = b"GET /" + b"a" * 100000
    answer = explain(endless)
    assert answer["bytes"] == 32768
    assert answer["decided_at"] is not None, "past the limit nothing waits"
    assert answer == batch([flow(endless)])[0]


@pytest.mark.parametrize("arguments, status", [
    ((), 2), (("--hex",), 2), (("--hex", "4"), 2), (("--hex", "4g"), 2), (("a", "b"), 2), (("--listener", "x", "-"), 2),
    (("--flow", "0", "-"), 2), (("--flow", "x", "-"), 2), (("--flow", "1", "-"), 2), (("--batch", "-", "--hex"), 2),
    (("--nonsense", "-"), 2), (("-c", "/nonexistent", "-"), 2), (("/nonexistent",), 1), (("--batch", "/nonexistent"), 1), (("/",), 1),
    (("--batch", "/"), 1)])
def test_what_cannot_be_done_says_so(arguments, status):
    result = run_usher("explain", *arguments, input="")
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.strip()


# ---- the outcome


def test_however_the_bytes_are_cut_the_answer_is_the_same(config):
    samples = [SSH, HTTP, b"\x00\x01\x02", b"GET / HTTP/1.1\r\nX", b"SSH-2.0", b"[HELLO WORDS", b"[HELLO W",
               client_hello("shop.example", [b"h2"])]
    for sample in samples:
        cuts = [flow(sample), flow(*(sample[i:i + 1] for i in range(len(sample)))), flow(b"", sample, b"")]
        cuts += [flow(sample[:i], sample[i:]) for i in range(len(sample))]
        for arguments in ((), ("-c", config)):
            answers = batch(cuts, *arguments)
            assert len(answers) == len(cuts)
            assert all(answer == answers[0] for answer in answers)


def test_real_clients_are_told_the_same_however_they_are_cut():
    """All of tests/corpus: whole, byte by byte, in random pieces, and as far as they settled it."""
    streams = []
    for file in sorted((SOURCE / "tests/corpus").glob("*.jsonl")):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        streams += [bytes.fromhex("".join(line["segments"])) for line in lines if line["transport"] == "tcp"]
    assert len(streams) > 1000
    chance = random.Random(2)
    whole = batch([flow(data) for data in streams])
    assert batch([flow(*(data[i:i + 1] for i in range(min(len(data), 1000))), data[1000:]) for data in streams]) == whole
    cuts = [sorted(chance.choices(range(len(data) + 1), k=5)) for data in streams]
    assert batch([flow(*(data[a:b] for a, b in zip([0, *cut], [*cut, None]))) for data, cut in zip(streams, cuts)]) == whole
    settled = [(data, answer) for data, answer in zip(streams, whole) if answer["decided_at"]]
    assert len(settled) > 0.9 * len(streams)
    for less in (0, 1):
        parts = batch([flow(data[:answer["decided_at"] - less]) for data, answer in settled])
        for (_, answer), part in zip(settled, parts):
            if less:
                assert part["decided_at"] is None
            else:
                assert [part[key] for key in ("protocol", "decided_at", "verdict", "why")] == [
                    answer[key] for key in ("protocol", "decided_at", "verdict", "why")]


def test_the_byte_that_settles_it_is_the_first_that_does(config):
    for sample in (SSH, HTTP, b"[HELLO WORDS", b"[HELLO WORLD", b"\0"):
        for arguments in ((), ("-c", config)):
            answers = batch([flow(sample[:i]) for i in range(1, len(sample) + 1)], *arguments)
            settled = [answer["decided_at"] for answer in answers]
            at = settled[-1]
            assert at is not None or not arguments
            at = at or len(sample) + 1
            assert settled == [None] * (at - 1) + [at] * (len(sample) + 1 - at)


def test_with_a_configuration_it_names_the_service(config):
    answers = batch([flow(HTTP), flow(HTTP.replace(b"shop", b"blog")), flow(SSH), flow(b"SSH"), flow(b"\0\0")], "-c", config)
    assert [(answer["service"], answer["protocol"], answer["verdict"]) for answer in answers] == [
        ("shop", "http", "yes"), ("web", "http", "yes"), ("ssh", "ssh", "yes"), ("ssh", None, "more"), ("web", None, "no")]
    assert answers[0]["attributes"]["host"] == "shop.example"
    assert answers[1]["decided_at"] == len(HTTP), "until the end of the header another host could come"
    assert "`shop' in front of it says NO" in answers[1]["why"]
    assert "`on_silence' is `ssh'" in answers[3]["why"] and "`on_unknown' is `web'" in answers[4]["why"]


def test_what_only_the_deadline_settles(config):
    held, decided, closed = batch([flow(b"[HELLO W"), flow(b"[HELLO X"), flow(b"[HELLO WORLD")], "-c", config)
    assert (held["service"], held["protocol"], held["verdict"], held["decided_at"]) == ("short", "short", "yes", None)
    assert "`long' in front of it waits for more: `short' gets it at the deadline" in held["why"]
    assert (decided["service"], decided["decided_at"]) == ("short", 8)
    assert (closed["service"], closed["decided_at"]) == ("long", 12)


def test_a_search_ends_before_the_deadline(place):
    text = CONFIG.replace("protocols = (", 'search_timeout = 1.0; protocols = ( { name = "far"; contains = "far"; },')
    text = text.replace("services = (", 'services = ( { name = "far"; match = "far"; connect = "127.0.0.1:7"; },')
    (place / "usher.conf").write_text(text)
    found, ended, unknown, waits = batch([flow(b"\0 so far"), flow(SSH), flow(b"\0\0"), flow(b"SSH")], "-c", place / "usher.conf")
    assert (found["service"], found["decided_at"]) == ("far", 8)
    assert (ended["service"], ended["verdict"], ended["decided_at"]) == ("ssh", "yes", None)
    assert "once `search_timeout' has ended a search in front of it" in ended["why"]
    assert (unknown["service"], unknown["verdict"], unknown["decided_at"]) == ("web", "no", None)
    assert "once `search_timeout' has ended a search; `on_unknown' is `web'" in unknown["why"]
    assert (waits["service"], waits["verdict"], waits["decided_at"]) == ("ssh", "more", None)
    (place / "usher.conf").write_text(text.replace("search_timeout = 1.0", "search_timeout = 3.0"))
    ended, unknown = batch([flow(SSH), flow(b"\0\0")], "-c", place / "usher.conf")
    assert "at the deadline" in ended["why"] and (unknown["service"], unknown["verdict"]) == ("ssh", "more")


def test_silent_clients_are_shown_a_banner(place):
    text = CONFIG.replace('connect = "127.0.0.1:3";', 'connect = "127.0.0.1:3"; banner = true;')
    (place / "usher.conf").write_text(text)
    (answer,) = batch([flow()], "-c", place / "usher.conf")
    assert (answer["service"], answer["verdict"]) == ("web", "more")
    assert "`web' shows its `banner'" in answer["why"]


def test_another_listener_may_decide_otherwise(config):
    plain = HTTP.replace(b"shop", b"blog")
    for text in ("[::1]:8443", "[0:0::1]:8443"):
        assert explain(plain, "-c", config, "--listener", text)["service"] == "six"
    assert explain(b"\0", "-c", config, "--listener", "[::1]:8443")["service"] == "ssh"
    assert explain(b"\0", "-c", config, "--listener", "127.0.0.1:8443")["service"] == "web"
    explain(b"", "-c", config, "--listener", "127.0.0.1:9", status=2, complaint="there is no listener `127.0.0.1:9'")


def test_a_running_usher_does_what_it_says(usher, named_echoes):
    """The same bytes to a real one: which server answers?"""
    servers = named_echoes("shop", "ssh", "six", "web", "long", "short")
    text = CONFIG.replace('127.0.0.1:8443', '127.0.0.1:{port}').replace("[::1]:8443", "[::1]:{port}").replace("2.0;", "0.6;")
    for number, server in zip((1, 2, 4, 3, 5, 6), servers):
        text = text.replace(f'"127.0.0.1:{number}"', f'"{server.tcp4}"')
    one = usher(text)
    samples = [HTTP, HTTP.replace(b"shop", b"blog"), SSH, b"SSH-", b"\0\0", b"[HELLO W", b"[HELLO X", b"[HELLO WORLD", b"GET / HTTP/1.1\r\n"]
    answers = batch([flow(sample) for sample in samples], "-c", one.file)
    clients = []
    for sample in samples:
        client = socket.create_connection(("127.0.0.1", one.port))
        client.settimeout(slow(10))
        client.sendall(sample)
        clients.append(client)
    for client, answer in zip(clients, answers):
        assert client.makefile("rb").readline().decode().strip() == answer["service"], answer
        client.close()


def test_identifiers_are_not_asked_and_it_says_where_they_would_be(place):
    marker = place / "asked"
    (place / "usher.conf").write_text(f"""
listen = "127.0.0.1:8443";
identifiers = ( {{ program = [ "/bin/sh", "-c", "touch {marker}" ]; }} );
services = ( {{ name = "ssh"; match = "ssh"; connect = "127.0.0.1:1"; }},
             {{ name = "game"; match = "game"; connect = "127.0.0.1:2"; }},
             {{ name = "web"; match = "http"; connect = "127.0.0.1:3"; }} );
on_unknown = "web";
""")
    ssh, web, other = batch([flow(SSH), flow(HTTP), flow(b"\0\0")], "-c", place / "usher.conf")
    assert (ssh["service"], web["service"], other["service"]) == ("ssh", "web", "web")
    asked = "an identifier would be asked, and could name it for `game'"
    assert [asked in answer["why"] for answer in (ssh, web, other)] == [False, True, True]
    assert not marker.exists()
    assert re.search(r"^  not asked +game$", page(HTTP, "-c", place / "usher.conf"), re.M)


def test_modules_are_loaded_without_privileges(place):
    module = place / "odd_sound.so"
    shutil.copy(BUILD / "tests/modules/odd_sound.so", module)
    module.chmod(0o755)
    (place / "usher.conf").write_text(f"""
listen = "127.0.0.1:8443";
identifiers = ( {{ module = "{module}"; }} );
services = ( {{ name = "obey"; match = "obey"; connect = "127.0.0.1:1"; }} );
""")
    (place / "usher.conf").chmod(0o600)
    answer = explain(b"yes\n", "-c", place / "usher.conf")
    assert (answer["service"], answer["protocol"], answer["verdict"]) == ("obey", "obey", "yes")
    assert explain(b"no\n", "-c", place / "usher.conf")["verdict"] == "no"


@pytest.mark.skipif(not IS_ROOT, reason="needs root: only root has privileges to give up")
def test_root_reads_files_that_only_it_may_read_and_is_nobody_then(place):
    (place / "bytes").write_bytes(SSH)
    (place / "bytes").chmod(0o600)
    assert json.loads(run_usher("explain", "--json", place / "bytes").stdout)["protocol"] == "ssh"
    process = subprocess.Popen([BINARY, "explain", "--batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=ENVIRONMENT)
    process.stdin.write(json.dumps(flow(SSH)) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["protocol"] == "ssh"
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()
    assert "0" not in lines["Uid"].split() and "0" not in lines["Gid"].split()
    assert int(lines["CapEff"], 16) == int(lines["CapPrm"], 16) == 0 and lines["NoNewPrivs"] == "1"


# ---- for people


def test_a_page_shows_where_it_was_settled(config):
    at = explain(HTTP)["decided_at"]
    text = page(HTTP)
    assert re.search(r"^  protocol +http$", text, re.M)
    assert re.search(rf"^  settled +with byte {at} of {len(HTTP)}$", text, re.M)
    assert re.search(r"^  host +shop\.example$", text, re.M)
    (mark,) = re.findall(r"\[(..)\]", text)
    assert int(mark, 16) == HTTP[at - 1]
    row = next(line for line in text.splitlines() if "[" in line)
    assert int(row.split()[0], 16) == (at - 1) // 16 * 16
    assert re.search(rf"^  YES  byte {at} +http$", text, re.M)
    assert re.search(r"^  NO   byte 1 .*\bssh\b", text, re.M)
    assert "\033" not in text
    text = page(HTTP, "-c", config)
    assert re.search(r"^  service +shop$", text, re.M)
    assert re.search(r"^Services on 127\.0\.0\.1:8443, as they are tried$", text, re.M)
    tried = re.findall(r"^  (?:YES|NO|MORE) +(?:byte \d+)? +(\w+) {2,}\S", text, re.M)
    assert tried == ["shop", "ssh", "web", "long", "short"], "each that is tried on this listener, in order"


@pytest.mark.parametrize("place_of_mark", range(40))
def test_the_mark_is_in_its_place(place, place_of_mark):
    """Whichever column and row it falls into."""
    data = bytes(65 + i % 26 for i in range(place_of_mark)) + b"!" + b"more"
    (place / "usher.conf").write_text(
        f'listen = "127.0.0.1:1"; protocols = ( {{ name = "x"; string = "{data[:-4].decode()}"; }} );'
        'services = ( { name = "x"; match = "x"; reject = "close"; } );')
    text = page(data, "-c", place / "usher.conf")
    rows = re.findall(r"^  [0-9a-f]{4} (.{50}) ", text, re.M)
    shown = "".join(rows).replace(" ", "")
    assert shown.index("[") == 2 * place_of_mark and shown.index("]") == 2 * place_of_mark + 3
    assert shown.count("[") == shown.count("]") == 1
    bytes_shown = bytes.fromhex(re.sub(r"[\[\]]", "", shown))
    assert bytes_shown == data[:len(bytes_shown)] and len(bytes_shown) >= place_of_mark + 1


def test_what_strangers_send_does_not_reach_the_terminal():
    text = page(b"\x1b[2J\x9b\xff" + bytes(range(256)) * 20)
    assert set(text) <= set(map(chr, range(32, 127))) | {"\n"}
    assert "bytes are not shown" in text or "more bytes" in text
    text = page(b"GET /\x1b]0;x\x07 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert set(text) <= set(map(chr, range(32, 127))) | {"\n"}


@pytest.mark.parametrize("environment, colour", [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False),
                                                 ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colours(environment, colour):
    leader, follower = pty.openpty()
    with subprocess.Popen([BINARY, "explain", "--hex", SSH.hex()], stdin=subprocess.DEVNULL, stdout=follower,
                          env={**SANITIZER_OPTIONS, **environment}) as process:
        os.close(follower)
        text = b""
        try:
            while piece := os.read(leader, 4096):
                text += piece
        except OSError:
            pass  # the other end is closed
        os.close(leader)
    assert process.returncode == 0
    assert b"ssh" in text and (b"\033[" in text) == colour


# ---- lines


def test_bad_lines_are_answered_and_end_nothing():
    lines = ["nonsense", "[1]", '{"id": 3, "transport": "tcp"}', '{"id": 4, "transport": "sctp", "segments": []}',
             '{"id": 5, "transport": "tcp", "segments": ["0"]}', '{"id": 6, "transport": "tcp", "segments": ["0g"]}',
             '{"id": 7, "transport": "tcp", "segments": [7]}', "", '{"id": 7} x', "\0", flow(SSH, id=8)]
    answers = batch(lines, status=1)
    assert [answer.get("id") for answer in answers] == [None, None, 3, 4, 5, 6, 7, None, None, 8]
    assert all(answer["error"] and set(answer) <= {"id", "error"} for answer in answers[:-1])
    assert answers[-1]["protocol"] == "ssh"


def test_ids_come_back_as_they_were():
    ids = [7, -1, "x", "\u00e9\n\"", None, True, [1, {"a": 2}], 1.5, 2**53 + 1]
    assert [answer["id"] for answer in batch([flow(SSH, id=id) for id in ids])] == ids


def test_long_lines_are_taken_and_endless_ones_refused():
    process = subprocess.Popen([BINARY, "explain", "--batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env=ENVIRONMENT)
    lines = [json.dumps(flow(HTTP + b"a" * 3000000, id=1)).encode(), b" " * (17 << 20) + b'{"id": 2}', json.dumps(flow(SSH, id=3)).encode()]
    output, _ = process.communicate(b"\n".join(lines), timeout=slow(60))
    answers = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 1
    assert (answers[0]["id"], answers[0]["bytes"]) == (1, 32768)
    assert answers[1] == {"error": "the line is longer than 16 MiB"}
    assert answers[2]["id"] == 3, "and the last line needs no end"


def test_it_can_be_asked_one_by_one():
    process = subprocess.Popen([BINARY, "explain", "--batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=ENVIRONMENT)
    for number in range(20):
        line = json.dumps(flow(SSH, id=number)) + "\n"
        process.stdin.write(line[:10])
        process.stdin.flush()
        process.stdin.write(line[10:])
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == number
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def test_many_lines_are_answered_in_order(place):
    count = 20000
    chance = random.Random(1)
    samples = [SSH, HTTP, client_hello("shop.example", [b"h2"]), b"[HELLO WORLD, and what else there may be"]
    with open(place / "lines", "w", encoding="ascii") as file:
        for number in range(count):
            data = samples[number % 4] if number % 5 else chance.randbytes(chance.randrange(1, 300))
            cut = chance.randrange(len(data))
            file.write(json.dumps(flow(data[:cut], data[cut:], id=number, transport="tcp" if number % 9 else "udp")) + "\n")
    with open(place / "answers", "w+b") as answers:
        result = subprocess.run([BINARY, "explain", "--batch", place / "lines"], stdout=answers, check=False, timeout=slow(120),
                                env=ENVIRONMENT)
        answers.seek(0)
        ids = [json.loads(line)["id"] for line in answers]
    assert result.returncode == 0 and ids == list(range(count))


# ---- captures


def test_each_kind_of_file_and_link_says_the_same(place):
    packets = conversation(CLIENT, SERVER, [HTTP[:10], HTTP[10:]])
    pppoe = [b"\x11\0\0\1" + struct.pack("!H", len(packet) + 2) + b"\0\x21" + packet for packet in packets]
    files = [pcap(packets), pcap(packets, order=">"), pcap(packets, nanoseconds=True), pcapng(packets), pcapng(packets, order=">"),
             pcap([ethernet(packet) for packet in packets], ETHERNET),
             pcap([ethernet(packet, (0x88A8, 5), (0x8100, 6)) for packet in packets], ETHERNET),
             pcap([b"\0\0\0\1\0\6" + bytes(8) + b"\x08\0" + packet for packet in packets], SLL),
             pcap([b"\x08\0" + bytes(18) + packet for packet in packets], SLL2),
             pcap([b"\2\0\0\0" + packet for packet in packets], NULL),
             pcap([b"\0\x21" + packet for packet in packets], PPP), pcap(pppoe, PPP_ETHER)]
    expected = explain(HTTP)
    for text in files:
        (answer,) = capture(place, text)
        assert list(answer) == ["id", "client", "server", *KEYS]
        assert (answer.pop("id"), answer.pop("client"), answer.pop("server")) == (1, "192.0.2.1:40000", "198.51.100.2:443")
        assert answer == expected


def test_flows_of_a_capture(place):
    six = ("2001:db8::1", 40001), ("2001:db8::2", 22)
    hello = client_hello("shop.example", [b"h2"])
    third = ("192.0.2.3", 5000)
    packets = [*conversation(*six, [SSH], base=2**32 - 5), udp(third, ("198.51.100.2", 53), b"\0\1"), udp(("198.51.100.2", 53), third, b"x"),
               tcp(CLIENT, SERVER, SYN, 10), tcp(CLIENT, SERVER, ACK, 11 + 200, hello[200:]), tcp(CLIENT, SERVER, ACK, 11, hello[:300]),
               udp(third, ("198.51.100.2", 53), b"later"), *conversation(CLIENT, SERVER, [b"\0\0"], base=90000),
               tcp(third, SERVER, ACK, 5, SSH)]
    answers = capture(place, pcap(packets))
    assert [(answer["id"], answer["transport"], answer["client"], answer["protocol"], answer["bytes"]) for answer in answers] == [
        (1, "tcp", "[2001:db8::1]:40001", "ssh", len(SSH)), (2, "udp", "192.0.2.3:5000", None, 7),
        (3, "tcp", "192.0.2.1:40000", "tls", len(hello)), (4, "tcp", "192.0.2.1:40000", None, 2),
        (5, "tcp", "192.0.2.3:5000", "ssh", len(SSH))]
    assert answers[2]["attributes"]["sni"] == "shop.example"
    assert "begins in the middle" in answers[4]["why"]
    assert sum("begins in the middle" in answer["why"] for answer in answers) == 1


QUIC_CONFIG = """
listen = ( "127.0.0.1:8443" );
services = (
  { name = "shop"; match = { protocol = "quic"; sni = "shop.example.com"; }; connect = "127.0.0.1:1"; },
  { name = "rest"; match = "quic"; connect = "127.0.0.1:2"; },
  { name = "unknown"; match = "ssh"; connect = "127.0.0.1:3"; } );
on_unknown = "unknown";
"""


def chromium_datagrams():
    """The first flight of a browser whose hello needs two datagrams, with the name in the second one's frames."""
    lines = (SOURCE / "tests/corpus/quic.jsonl").read_text().splitlines()
    flow = next(flow for flow in map(json.loads, lines) if flow["id"] == "quic-client-chromium-deb13")
    return [bytes.fromhex(segment) for segment in flow["segments"]]


def test_a_flow_of_several_datagrams(place):
    (place / "usher.conf").write_text(QUIC_CONFIG)
    first, second, third = chromium_datagrams()
    seen = ("in order", [first, second, third]), ("the other way round", [second, first, third]), ("lost", [first, first, third, second])
    for what, datagrams in seen:
        packets = [udp(CLIENT, SERVER, datagram) for datagram in datagrams]
        packets.insert(1, udp(SERVER, CLIENT, b"answer"))
        (answer,) = capture(place, pcap(packets), "-c", place / "usher.conf")
        needed = len(datagrams) if what == "lost" else 2
        assert (answer["service"], answer["verdict"], answer["decided_at"]) == ("shop", "yes", needed * len(first)), what
        assert answer["why"] == f"`shop' says YES with datagram {needed}", what
        assert answer["attributes"]["sni"] == "shop.example.com" and answer["attributes"]["alpn"] == ["h3"]
        assert answer == dict(batch([flow(*datagrams, transport="udp")], "-c", place / "usher.conf")[0], id=1,
                              client="192.0.2.1:40000", server="198.51.100.2:443")


def test_a_flow_whose_datagrams_end_before_the_decision(place):
    (place / "usher.conf").write_text(QUIC_CONFIG)
    first = chromium_datagrams()[0]
    (answer,) = capture(place, pcap([udp(CLIENT, SERVER, first)]), "-c", place / "usher.conf")
    assert (answer["service"], answer["verdict"], answer["decided_at"]) == ("rest", "yes", None)
    assert answer["why"] == "`rest' says YES, and `shop' in front of it waits for more: `rest' gets it at the deadline"
    (answer,) = capture(place, pcap([udp(CLIENT, SERVER, first)] * 9), "-c", place / "usher.conf")
    assert (answer["service"], answer["decided_at"], answer["bytes"]) == ("rest", 8 * len(first), 8 * len(first))
    assert answer["why"].endswith("that counts as NO with 8 datagrams")
    (place / "usher.conf").write_text(QUIC_CONFIG.replace('match = "quic"', 'match = "dtls"'))
    (answer,) = capture(place, pcap([udp(CLIENT, SERVER, first)]), "-c", place / "usher.conf")
    assert (answer["service"], answer["verdict"], answer["decided_at"]) == ("unknown", "more", None)
    assert answer["why"] == "the datagrams end, and `shop' waits for more; `on_unknown' is `unknown'"
    result = run_usher("explain", "-c", place / "usher.conf", place / "seen")
    assert "service    unknown, by `on_unknown'" in result.stdout


def test_all_about_a_flow_of_several_datagrams(place):
    (place / "usher.conf").write_text(QUIC_CONFIG)
    (place / "seen").write_bytes(pcap([udp(CLIENT, SERVER, datagram) for datagram in chromium_datagrams()]))
    result = run_usher("explain", "-c", place / "usher.conf", "--flow", "1", place / "seen")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert "settled with datagram 2 of 3".split() in lines
    assert "YES datagram 2 shop quic sni=shop.example.com".split() in lines
    assert "YES datagram 1 rest quic".split() in lines
    assert "NO datagram 1 unknown ssh".split() in lines


def test_who_spoke_first_and_what_is_missing(place, config):
    other = ("192.0.2.9", 1)
    packets = [tcp(CLIENT, SERVER, SYN, 10), tcp(SERVER, CLIENT, ACK, 77, b"220 ready\r\n"), tcp(CLIENT, SERVER, ACK, 11, b"EHLO x\r\n"),
               tcp(other, SERVER, SYN, 10), tcp(other, SERVER, ACK, 11, b"SS"), tcp(SERVER, other, ACK, 77, b"what?"),
               tcp(other, SERVER, ACK, 13, SSH[2:])]
    first, second = capture(place, pcap(packets))
    assert "; the server spoke first" in first["why"]
    assert "; the server answered when the client had sent 2 bytes" in second["why"] and second["protocol"] == "ssh"
    (cut,) = capture(place, pcap(conversation(CLIENT, SERVER, [HTTP]), snap=60))
    assert cut["bytes"] == 20 and "; the capture lacks what the client sent behind byte 20" in cut["why"]
    closed = conversation(CLIENT, SERVER, [b"SSH"], end=True), conversation(CLIENT, SERVER, [b"[HELLO W"], end=True)
    gone, held = capture(place, pcap(closed[0] + [tcp(CLIENT, SERVER, SYN, 5000)] + closed[1]), "-c", config)[::2]
    assert (gone["service"], gone["verdict"]) == (None, "more") and "closed, so it goes to no service" in gone["why"]
    assert held["service"] == "short" and "closed, so `short' gets it at once" in held["why"]


def test_a_table_of_flows_and_all_about_one(place, config):
    packets = conversation(CLIENT, SERVER, [HTTP]) + conversation(("192.0.2.7", 7), SERVER, [SSH], end=True)
    (place / "seen").write_bytes(pcap(packets) + b"")
    table = run_usher("explain", "-c", config, place / "seen").stdout
    rows = [line.split() for line in table.splitlines()]
    assert rows[1][:6] == ["1", "tcp", "192.0.2.1:40000", "198.51.100.2:443", "shop", "http"] and rows[1][7] == "host=shop.example"
    assert rows[2][:6] == ["2", "tcp", "192.0.2.7:7", "198.51.100.2:443", "ssh", "ssh"]
    assert table == "".join(line.rstrip() + "\n" for line in table.splitlines())
    about = run_usher("explain", "--flow", "2", place / "seen").stdout
    assert re.search(r"^  flow +2, tcp from 192\.0\.2\.7:7 to 198\.51\.100\.2:443$", about, re.M)
    assert about.split("\n", 1)[1] == page(SSH)
    result = run_usher("explain", "--flow", "3", place / "seen")
    assert (result.returncode, result.stdout) == (1, "") and "no such flow" in result.stderr


def test_fragments_are_put_together(place):
    query = bytes.fromhex("1234010000010000000000010377777707657861") + b"mple\3com\0\0\x10\0\1" + bytes.fromhex("000029100000000000") + b"\5\xd0" + bytes(1488)
    whole = udp(CLIENT, SERVER, query)
    pieces = []
    for at, end, field in ((0, 1480, 0x2000), (1480, len(whole) - 20, 1480 // 8)):
        piece = bytearray(whole[:20] + whole[20 + at:20 + end])
        piece[2:4] = len(piece).to_bytes(2, "big")
        piece[6:8] = field.to_bytes(2, "big")
        pieces.append(ethernet(bytes(piece)))
    for order in pieces, pieces[::-1]:
        answers = capture(place, pcap(order, ETHERNET))
        assert [(answer["protocol"], answer["bytes"]) for answer in answers] == [("dns", len(query))]


def test_what_is_no_flow_is_counted(place):
    fragment = bytearray(udp(CLIENT, SERVER, b"x" * 20))
    fragment[6:8] = b"\x20\0"
    packets = [ethernet(packet) for packet in (udp(CLIENT, SERVER, b"\0\1"), fragment, fragment)]
    packets += [b"\xff" * 12 + b"\x08\6" + bytes(28), packets[0][:30]]
    (place / "seen").write_bytes(pcap(packets, ETHERNET))
    result = run_usher("explain", "--json", place / "seen")
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 1
    assert result.stderr.splitlines() == ["1 packets were neither TCP nor UDP over IP.", "2 fragments of packets that are not whole were left out.",
                                          "1 packets were broken, or cut inside their headers."]


def test_files_that_end_in_the_middle_and_links_that_nobody_knows(place):
    whole = pcap(conversation(CLIENT, SERVER, [SSH]))
    answers = capture(place, whole[:-30], status=1, complaint="truncated")
    assert [answer["protocol"] for answer in answers] == ["ssh"]
    assert capture(place, pcap([b"x"], WIFI), status=1, complaint="link type IEEE802_11 is not known here") == []
    assert capture(place, pcap([])[:10], status=1, complaint="truncated") == []
    assert capture(place, pcap([]), complaint="there is no flow in its 0 packets") == []
    assert capture(place, whole, "--udp", status=2, complaint="a capture tells UDP from TCP itself") == []


def test_a_capture_from_standard_input():
    (answer,) = [explain(pcap(conversation(CLIENT, SERVER, [SSH])))]
    assert answer["protocol"] == "ssh" and answer["client"] == "192.0.2.1:40000"


def test_flows_past_the_limit_are_said_to_be_left_out(place):
    packet = bytearray(tcp(CLIENT, SERVER, SYN, 10))
    head = struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet[:12]
    with open(place / "seen", "wb") as file:
        file.write(pcap([]) + b"".join(head + struct.pack("!I", number) + packet[16:] for number in range((1 << 20) + 5)))
    result = run_usher("explain", "--json", "--flow", 1 << 20, place / "seen", timeout=60)
    assert result.returncode == 1
    assert json.loads(result.stdout)["id"] == 1 << 20
    assert "stopped at packet 1048577, expected at most 1048576 flows" in result.stderr
