"""Real OpenVPN with every wrapping of its control channel, real SOCKS clients, and what a TLS client's fingerprint is: all
through usher."""

import json
import socket
import subprocess
import threading

import pytest
from harness import SOURCE, connect, end_process, free_port, read_exactly, run_usher, slow, wait_until
from ja4 import ja4
from servers import listening, run

CORPUS = SOURCE / "tests/corpus/tls.jsonl"

CONFIG = """
listen = "127.0.0.1:{port}";
decide_timeout = 10.0;
services = (
  { name = "vpn"; match = "openvpn"; connect = "127.0.0.1:{vpn}"; },
  { name = "old"; match = "socks4"; connect = "127.0.0.1:{socks}"; },
  { name = "new"; match = "socks5"; connect = "127.0.0.1:{socks}"; },
  { name = "chat"; match = { upgrade = "websocket"; path = "/chat"; }; reject = "close"; },
  { name = "rest"; match = "any"; reject = "close"; } );
"""

# ---- OpenVPN


@pytest.fixture(scope="module")
def keys(shelf):
    """Paths of keys: one for tls-auth and tls-crypt, and a server's and a client's for tls-crypt-v2."""
    names = {name: str(shelf / f"openvpn-{name}.key") for name in ("both", "server", "client")}
    run(["openvpn", "--genkey", "secret", names["both"]])
    run(["openvpn", "--genkey", "tls-crypt-v2-server", names["server"]])
    run(["openvpn", "--tls-crypt-v2", names["server"], "--genkey", "tls-crypt-v2-client", names["client"]])
    return names


WRAPPINGS = {
    "plain": ([], []),
    "tls-auth": (["--tls-auth", "both", "0"], ["--tls-auth", "both", "1"]),
    "tls-auth-md5": (["--tls-auth", "both", "0", "--auth", "MD5"], ["--tls-auth", "both", "1", "--auth", "MD5"]),
    "tls-auth-sha256": (["--tls-auth", "both", "0", "--auth", "SHA256"], ["--tls-auth", "both", "1", "--auth", "SHA256"]),
    "tls-auth-sha512": (["--tls-auth", "both", "0", "--auth", "SHA512"], ["--tls-auth", "both", "1", "--auth", "SHA512"]),
    "tls-crypt": (["--tls-crypt", "both"], ["--tls-crypt", "both"]),
    "tls-crypt-v2": (["--tls-crypt-v2", "server"], ["--tls-crypt-v2", "client"]),
}


class Tunnel:
    """One end: a process that opens no device and needs no privileges."""

    def __init__(self, certificate, log, *arguments):
        crt, key = certificate
        self.log = open(log, "w+", encoding="utf-8")
        common = ["openvpn", "--dev", "null", "--ca", crt, "--cert", crt, "--key", key, "--ifconfig-noexec", "--verb", "3"]
        self.process = subprocess.Popen([*common, *arguments], stdout=self.log, stderr=subprocess.STDOUT)

    def said(self, text):
        self.log.seek(0)
        return text in self.log.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_process(self.process)
        self.log.close()


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_openvpn_reaches_its_server_however_its_first_packet_is_wrapped(usher, certificate, keys, place, wrapping):
    theirs, ours = [[keys.get(word, word) for word in words] for words in WRAPPINGS[wrapping]]
    port = free_port()
    one = usher(CONFIG, vpn=port, socks=free_port())
    server = ["--proto", "tcp-server", "--local", "127.0.0.1", "--lport", str(port), "--tls-server", "--dh", "none", *theirs]
    client = ["--proto", "tcp-client", "--remote", "127.0.0.1", str(one.port), "--nobind", "--tls-client", *ours]
    with Tunnel(certificate, place / "server", *server) as there:
        wait_until(lambda: there.said("Listening for incoming TCP connection"), 10, "openvpn's server")
        with Tunnel(certificate, place / "client", *client) as here:
            wait_until(lambda: here.said("Peer Connection Initiated"), slow(20), "the tunnel")
    (line,) = one.wait_connections(1)
    assert (line["protocol"], line["service"]) == ("openvpn", "vpn")


# ---- SOCKS


def page_behind_socks(listener):
    """A server that speaks as much of SOCKS as is needed, and answers each request with a page."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            try:
                socks_answer(client)
                client.sendall(b"HTTP/1.0 200 OK\r\n\r\nbehind socks")
            except (OSError, EOFError):
                pass


def socks_answer(client):
    if read_exactly(client, 1) == b"\x04":
        read_exactly(client, 3)
        is_name = read_exactly(client, 4)[:3] == b"\0\0\0"
        for _ in range(1 + is_name):
            while read_exactly(client, 1) != b"\0":
                pass
        client.sendall(b"\0\x5a" + bytes(6))
    else:
        methods = read_exactly(client, read_exactly(client, 1)[0])
        client.sendall(b"\5\2" if 2 in methods else b"\5\0")
        if 2 in methods:
            read_exactly(client, 1)
            for _ in range(2):
                read_exactly(client, read_exactly(client, 1)[0])
            client.sendall(b"\1\0")
        kind = read_exactly(client, 4)[3]
        read_exactly(client, 4 if kind == 1 else read_exactly(client, 1)[0])
        read_exactly(client, 2)
        client.sendall(b"\5\0\0\1" + bytes(6))
    asked = b""
    while not asked.endswith(b"\r\n\r\n"):
        asked += read_exactly(client, 1)


@pytest.mark.parametrize("how, service", [("socks4", "old"), ("socks4a", "old"), ("socks5", "new"), ("socks5h", "new")])
@pytest.mark.parametrize("user", ["", "me:secret@"])
def test_curl_reaches_a_socks_server(usher, how, service, user):
    with listening(("127.0.0.1", 0)) as listener:
        threading.Thread(target=page_behind_socks, args=(listener,), daemon=True).start()
        one = usher(CONFIG, vpn=free_port(), socks=listener.getsockname()[1])
        proxy = f"{how}://{user}127.0.0.1:{one.port}"
        done = run(["curl", "-sS", "--max-time", str(int(slow(20))), "-x", proxy, "http://127.0.0.1:9/"])
        assert done.stdout == b"behind socks"
        listener.shutdown(socket.SHUT_RDWR)
    (line,) = one.wait_connections(1)
    assert (line["protocol"], line["service"]) == (service.replace("old", "socks4").replace("new", "socks5"), service)


# ---- what clients say of themselves


def first_bytes(command):
    """What the client says first."""
    with listening(("127.0.0.1", 0)) as listener:
        listener.settimeout(slow(10))
        port = str(listener.getsockname()[1])
        client = subprocess.Popen([word.replace("{port}", port) for word in command], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(slow(10))
                begin = read_exactly(accepted, 5)
                return begin + read_exactly(accepted, int.from_bytes(begin[3:], "big"))
        finally:
            end_process(client)


def explained(data):
    line = json.dumps({"id": 1, "transport": "tcp", "segments": [data.hex()]})
    return json.loads(run_usher("explain", "--batch", "-", input=line + "\n").stdout)


S_CLIENT = ["openssl", "s_client", "-connect", "127.0.0.1:{port}"]
PYTHON = """
import socket, ssl, sys
context = ssl._create_unverified_context()
context.set_alpn_protocols(["xmpp-client", "http/1.1"])
context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="a.example")
"""


@pytest.mark.parametrize("command, version", [
    ([*S_CLIENT], "1.3"),
    ([*S_CLIENT, "-servername", "a.example", "-alpn", "h2"], "1.3"),
    ([*S_CLIENT, "-tls1_2", "-noservername"], "1.2"),
    ([*S_CLIENT, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "1.1"),
    ([*S_CLIENT, "-tls1", "-cipher", "ALL:@SECLEVEL=0"], "1.0"),
    ([*S_CLIENT, "-cipher", "AES128-SHA", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], "1.3"),
    (["curl", "-k", "--resolve", "a.example:{port}:127.0.0.1", "https://a.example:{port}/"], "1.3"),
    (["curl", "-k", "--http1.1", "--tls-max", "1.2", "https://127.0.0.1:{port}/"], "1.2"),
    (["wget", "-t", "1", "--no-check-certificate", "https://127.0.0.1:{port}/"], "1.3"),
    (["/usr/bin/python3", "-c", PYTHON, "{port}"], "1.3"),
], ids=lambda value: value[0].split("/")[-1] if isinstance(value, list) else value)
def test_version_and_fingerprint_of_tls_clients(command, version):
    hello = first_bytes(command)
    answer = explained(hello)
    assert answer["protocol"] == "tls"
    assert (answer["attributes"]["version"], answer["attributes"]["ja4"]) == (version, ja4(hello))


def test_fingerprints_of_the_corpus():
    """Of every client that was recorded; a hello in the format of SSL 2.0 has none."""
    lines = CORPUS.read_text().splitlines()
    hellos = [bytes.fromhex("".join(json.loads(line)["segments"])) for line in lines]
    asked = "".join(json.dumps({"id": n, "transport": "tcp", "segments": [hello.hex()]}) + "\n" for n, hello in enumerate(hellos))
    answers = [json.loads(line) for line in run_usher("explain", "--batch", "-", input=asked).stdout.splitlines()]
    assert len(answers) == len(hellos) > 100
    for hello, answer in zip(hellos, answers):
        assert answer["attributes"].get("ja4") == (ja4(hello) if hello[0] == 0x16 else None)


def test_a_client_goes_by_its_fingerprint_and_its_version(usher):
    plain, old = [*S_CLIENT, "-noservername"], [*S_CLIENT, "-tls1_2"]
    one = usher("""
listen = "127.0.0.1:{port}";
services = (
  { name = "known"; match = { ja4 = "{ja4}"; }; reject = "close"; },
  { name = "old"; match = { protocol = "tls"; version = "1.2"; }; reject = "close"; },
  { name = "rest"; match = "tls"; reject = "close"; } );
""", ja4=ja4(first_bytes(plain)))
    for command in (plain, old, [*S_CLIENT, "-servername", "a.example"]):
        run([word.replace("{port}", str(one.port)) for word in command])
    assert [line["service"] for line in one.wait_connections(3)] == ["known", "old", "rest"]


def test_a_websocket_goes_by_what_it_upgrades_to_and_by_its_path(usher):
    one = usher(CONFIG, vpn=free_port(), socks=free_port())
    request = b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
    for path, upgrade in ((b"/chat?room=1", b"WebSocket"), (b"/chat/", b"websocket"), (b"/chat", b"h2c"), (b"/chat", b"x, websocket")):
        with connect(one.port) as client:
            client.sendall(request % (path, upgrade))
            assert client.recv(1) == b""
    assert [line["service"] for line in one.wait_connections(4)] == ["chat", "rest", "rest", "chat"]
