"""Clients that ask for TLS within their protocol, told apart by the name in the hello: docs/recipes/starttls.md with real programs."""

import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from harness import IS_ROOT, NEVER, SOURCE, free_port, read_all, read_exactly, slow
from servers import Server, have, run

RECIPE = (SOURCE / "docs/recipes/starttls.md").read_text()
BLOCKS = dict(re.findall(r"^## ([\w ]+)\n[^#]*?^```conf\n(.*?)^```", RECIPE, re.M | re.S))
UNPRIVILEGED = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if IS_ROOT else []
SSL_REQUEST, GSS_REQUEST = bytes.fromhex("0000000804d2162f"), bytes.fromhex("0000000804d21630")


def moved(text, ports):
    """A recipe's configuration with other ports, on 127.0.0.1 alone."""
    text = re.sub(r'(, )?"\[::\]:\d+"', "", text).replace("0.0.0.0", "127.0.0.1")
    return re.sub(r"\b127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)


class Postgres(Server):
    """A PostgreSQL that knows its name, and demands SCRAM inside TLS; its data are a copy of `data`."""

    def __init__(self, name, programs, directory, data):
        self.port = free_port()
        run(["cp", "-a", data, directory])
        self.launch([*UNPRIVILEGED, f"{programs}/postgres", "-D", directory, "-p", str(self.port), "-k", directory, "-c", "fsync=off", "-c",
                     "listen_addresses=127.0.0.1", "-c", f"cluster_name={name}", "-c", "ssl=on"], f"{directory}.log")
        self.wait(("127.0.0.1", self.port))


@pytest.fixture
def postgres(shelf):
    """(a certificate with the names of the recipe, the servers `shop` and `wiki` with it)"""
    if not (have("psql") and pathlib.Path("/usr/lib/postgresql").exists()):
        pytest.skip("postgresql is needed")
    programs = str(max(pathlib.Path("/usr/lib/postgresql").iterdir(), key=lambda path: int(path.name)) / "bin")
    place = shelf / "starttls"
    place.mkdir()
    (place / "password").write_text("secret\n")
    names = "DNS:shop.example,DNS:wiki.example,DNS:other.example"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
         "/CN=usher test", "-addext", f"subjectAltName={names}", "-keyout", place / "key", "-out", place / "certificate"])
    if IS_ROOT:
        for path in (place, *place.iterdir()):
            shutil.chown(path, "nobody", "nogroup")
    run([*UNPRIVILEGED, f"{programs}/initdb", "-D", place / "data", "-U", "alice", "-N", "-A", "scram-sha-256", "--pwfile",
         place / "password"], timeout=slow(60), cwd=place)
    for name, at in (("certificate", "server.crt"), ("key", "server.key")):
        run([*UNPRIVILEGED, "install", "-m", "600", place / name, place / "data" / at])
    servers = {name: Postgres(name, programs, place / name, place / "data") for name in ("shop", "wiki")}
    yield place / "certificate", servers
    for server in servers.values():
        server.end()


def psql(one, host, more="", fails=False):
    """The name of the server that psql comes to, or what it complains of."""
    url = f"host={host} hostaddr=127.0.0.1 port={one.port} user=alice dbname=postgres password=secret {more}"
    done = subprocess.run(["psql", url, "-XAtc", "SELECT current_setting('cluster_name'), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=slow(30), check=False)
    assert (done.returncode != 0) == fails, done.stderr + done.stdout
    return done.stderr if fails else done.stdout.strip()


def ends(one, n=1):
    return [{key: line[key] for key in ("protocol", "sni", "service", "end", "rule", "error") if key in line} for line in one.wait_connections(n)]


def test_psql_comes_to_the_server_that_its_hello_names_with_the_certificate_checked_and_scram_bound_to_it(usher, postgres):
    certificate, servers = postgres
    ports = {"5432": free_port(), "5433": servers["shop"].port, "5434": servers["wiki"].port}
    one = usher(f"decide_timeout = {NEVER};\n" + moved(BLOCKS["PostgreSQL"], ports))
    one.ports["port"] = ports["5432"]
    checked = f"sslmode=verify-full sslrootcert={certificate} channel_binding=require"
    assert psql(one, "shop.example", checked) == "shop|t"
    assert psql(one, "wiki.example", checked) == "wiki|t"
    assert psql(one, "shop.example", "sslmode=require gssencmode=disable") == "shop|t"
    assert [(line["protocol"], line["sni"], line["service"]) for line in one.wait_connections(3)] == [
        ("postgres", "shop.example", "shop"), ("postgres", "wiki.example", "wiki"), ("postgres", "shop.example", "shop")]
    psql(one, "other.example", "sslmode=require", fails=True)
    psql(one, "shop.example", "sslmode=disable gssencmode=disable", fails=True)
    assert ends(one, 5)[3:] == [{"sni": "other.example", "end": "no-service"}, {"end": "no-service"}]


# What a server says first, and what to each beginning of what a client says; the last one is the answer to the request for TLS.
STREAM = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='x' version='1.0'>"
NS = b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
SERVERS = {
    "ldap": (b"", {bytes.fromhex("301d020101"): bytes.fromhex("300c02010178070a010004000400")}),
    "xmpp": (b"", {b"<?xml": STREAM + b"<stream:features><starttls " + NS + b"/></stream:features>", b"<starttls": b"<proceed " + NS + b"/>"}),
    "smtp": (b"220-{name}\r\n220 ESMTP\r\n", {b"EHLO": b"250-{name}\r\n250-STARTTLS\r\n250 8BITMIME\r\n", b"STARTTLS": b"220 go\r\n"}),
    "imap": (b"* OK {name}\r\n", {b"u STARTTLS": b"u OK go\r\n"}),
    "pop3": (b"+OK {name}\r\n", {b"STLS": b"+OK go\r\n"}),
    "ftp": (b"220 {name}\r\n", {b"AUTH TLS": b"234 go\r\n"}),
}
PORTS = {"smtp": "587", "imap": "143", "ftp": "587", "pop3": "143", "ldap": "389", "xmpp": "5222"}


class Talking:
    """A server of such a protocol: with its certificate, and its name for who has come inside TLS."""

    def __init__(self, name, protocol, certificate):
        self.name, self.heard = name, []
        self.greeting, self.answers = SERVERS[protocol]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                try:
                    client.sendall(self.greeting.replace(b"{name}", self.name.encode()))
                    for asked, answer in self.answers.items():
                        self.heard.append(client.recv(4096))
                        assert self.heard[-1].startswith(asked), self.heard
                        client.sendall(answer.replace(b"{name}", self.name.encode()))
                    with self.context.wrap_socket(client, server_side=True) as inside:
                        inside.recv(4096)
                        inside.sendall(f"I am {self.name}\r\n".encode())
                        inside.unwrap()
                except OSError:
                    pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.mark.parametrize("protocol", sorted(SERVERS))
def test_clients_of_openssl_come_to_the_server_that_their_hello_names(usher, certificate, protocol):
    servers = {name: Talking(name, protocol, certificate) for name in ("shop", "wiki")}
    config = BLOCKS["LDAP and XMPP" if protocol in ("ldap", "xmpp") else "Mail and FTP"]
    config = config.replace('"imap"', '"pop3"').replace('"smtp"', '"ftp"') if protocol in ("pop3", "ftp") else config
    port = PORTS[protocol]
    ports = {number: free_port() for number in re.findall(r"(?:0\.0\.0\.0|127\.0\.0\.1):(\d+)", config)}
    ports |= {"1" + port: servers["shop"].port, "2" + port: servers["wiki"].port}
    one = usher(re.sub(r"decide_timeout = \d+", f"decide_timeout = {NEVER}", moved(config, ports)))
    one.ports["port"] = ports[port]
    shown = subprocess.run([one.command()[0], "check", "-c", str(one.file)], capture_output=True, text=True, check=True).stdout
    assert f"connect 127.0.0.1:{servers['shop'].port} (STARTTLS)" in shown
    assert ("greeted for: shop-" in shown) == (SERVERS[protocol][0] != b"")
    for name in ("shop", "wiki"):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{ports[port]}", "-starttls", protocol, "-quiet",
                               "-servername", f"{name}.example", *(["-xmpphost", f"{name}.example"] if protocol == "xmpp" else [])],
                              input=b"who\n", capture_output=True, timeout=slow(20), check=False)
        assert f"I am {name}".encode() in done.stdout, done.stderr.decode()
    assert [(line["protocol"], line["sni"], line["to"]) for line in one.wait_connections(2)] == [
        (protocol, f"{name}.example", f"127.0.0.1:{servers[name].port}") for name in ("shop", "wiki")]
    if protocol == "xmpp":
        assert b"to='wiki.example'" in servers["wiki"].heard[0]
    for server in servers.values():
        server.close()


class Answering:
    """A server that takes one client, reads the request of the test's protocol and answers; the rest it keeps."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def take(self):
        self.listener.settimeout(slow(10))
        client, _ = self.listener.accept()
        client.settimeout(slow(10))
        return client


@pytest.fixture
def answering():
    server = Answering()
    yield server
    server.listener.close()


CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = {decide};  connect_timeout = {decide};
services = ( { name = "db"; match = { protocol = "postgres"; sni = "shop.example"; }; starttls = true; connect = "{to}"; {more} } );
"""


def hello(name):
    """A ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError


def test_the_proxy_header_comes_before_the_request_and_the_hello_after_the_answer(usher, answering):
    one = usher(CONFIG, decide=NEVER, to=answering.address, more="send_proxy = 1;")
    with one.connect() as client:
        client.sendall(GSS_REQUEST)
        assert read_exactly(client, 1) == b"N"
        client.sendall(SSL_REQUEST)
        assert read_exactly(client, 1) == b"S"
        said = hello("shop.example")
        client.sendall(said[:50])
        client.sendall(said[50:])
        with answering.take() as server:
            source = client.getsockname()
            header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {source[1]} {one.port}\r\n".encode()
            assert read_exactly(server, len(header) + 8) == header + SSL_REQUEST
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.recv(1)  # the hello waits for the answer
            server.setblocking(True)
            server.sendall(b"S")
            assert read_exactly(server, len(said)) == said
            server.sendall(b"tls")
            assert read_exactly(client, 3) == b"tls"


@pytest.mark.parametrize("at_once", [True, False])
def test_plain_text_behind_the_request_reaches_nobody(usher, answering, at_once):
    one = usher(CONFIG, decide=NEVER, to=answering.address, more="")
    with one.connect() as client:
        injected = b"\0\0\0\x25\0\3\0\0user\0mallory\0database\0x\0\0"
        client.sendall(SSL_REQUEST + (injected if at_once else b""))
        assert read_exactly(client, 1) == b"S"
        if not at_once:
            client.sendall(injected)
        assert read_all(client) == b""
    assert ends(one) == [{"end": "starttls", "rule": "plaintext"}]
    answering.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        answering.listener.accept()


def test_a_hello_in_one_segment_with_the_request_is_a_hello(usher, answering):
    one = usher(CONFIG, decide=NEVER, to=answering.address, more="")
    with one.connect() as client:
        client.sendall(SSL_REQUEST + hello("shop.example"))
        with answering.take() as server:
            assert read_exactly(server, 8) == SSL_REQUEST


def test_a_client_that_stops_half_way_is_closed_at_the_deadline(usher, answering):
    one = usher(CONFIG, decide=1, to=answering.address, more="")
    for sent in (GSS_REQUEST, SSL_REQUEST, SSL_REQUEST + hello("shop.example")[:20]):
        with one.connect() as client:
            client.sendall(sent)
            assert len(read_all(client)) == 1
    assert ends(one, 3) == [{"end": "starttls", "rule": "late"}] * 3


def test_the_fallback_takes_whom_a_server_refuses_or_leaves(usher, answering):
    other = Answering()
    second = '{ name = "other"; match = { protocol = "postgres"; sni = "other.example"; }; starttls = true; connect = "{other}"; }'
    one = usher(CONFIG.replace(" } );", " }, " + second + " );"), decide=NEVER, to=answering.address, other=other.address,
                more='fallback = "other";')
    for says in (b"N", b""):
        with one.connect() as client:
            said = hello("shop.example")
            client.sendall(SSL_REQUEST + said)
            with answering.take() as server:
                assert read_exactly(server, 8) == SSL_REQUEST
                server.sendall(says) if says else server.shutdown(socket.SHUT_WR)
                with other.take() as instead:
                    assert read_exactly(instead, 8) == SSL_REQUEST
                    instead.sendall(b"S")
                    assert read_exactly(instead, len(said)) == said
    other.listener.close()
    assert [(line["service"], line["protocol"]) for line in one.wait_connections(2)] == [("other", "postgres")] * 2


def test_a_server_that_refuses_tls_gets_nothing_of_the_client(usher, answering):
    one = usher(CONFIG, decide=NEVER, to=answering.address, more="")
    with one.connect() as client:
        client.sendall(SSL_REQUEST + hello("shop.example"))
        assert read_exactly(client, 1) == b"S"
        with answering.take() as server:
            assert read_exactly(server, 8) == SSL_REQUEST
            server.sendall(b"N")
            assert read_all(server) == b""
    assert ends(one) == [{"protocol": "postgres", "sni": "shop.example", "service": "db", "end": "delivery-failed", "error": "The backend refuses TLS"}]


def test_a_reload_in_the_middle_of_the_conversation_ends_nobody(usher, answering):
    one = usher(CONFIG, decide=NEVER, to=answering.address, more="")
    with one.connect() as client:
        client.sendall(SSL_REQUEST)
        assert read_exactly(client, 1) == b"S"
        one.reload()
        said = hello("shop.example")
        client.sendall(said)
        with answering.take() as server:
            assert read_exactly(server, 8) == SSL_REQUEST
            server.sendall(b"S")
            assert read_exactly(server, len(said)) == said
            client.sendall(b"more")
            assert read_exactly(server, 4) == b"more"


def test_usher_explain_follows_the_conversation_to_the_service(usher, answering):
    one = usher(CONFIG, decide=NEVER, to=answering.address, more="")
    told = {sent: subprocess.run([one.command()[0], "explain", "-c", str(one.file), "-"], input=sent, capture_output=True, check=False).stdout.decode()
            for sent in (SSL_REQUEST, SSL_REQUEST + hello("shop.example"), SSL_REQUEST + hello("other.example"), SSL_REQUEST + b"SELECT 1")}
    request, shop, other, plain = told.values()
    assert "its ClientHello says which service it goes to" in request
    assert re.search(r"service +db\n", shop) and re.search(r"protocol +postgres\n", shop) and "shop.example" in shop
    assert re.search(r"service +none\n", other) and "other.example" in other
    assert re.search(r"service +none\n", plain)


def test_kept_evidence_has_what_was_consumed_and_the_hello(usher, answering):
    one = usher(CONFIG + 'keep_evidence = 4096;  control = "{dir}/control";', decide=NEVER, to=answering.address, more="")
    with one.connect() as client:
        client.sendall(GSS_REQUEST)
        assert read_exactly(client, 1) == b"N"
        client.sendall(SSL_REQUEST + hello("shop.example"))
        assert read_exactly(client, 1) == b"S"
        answering.take().close()
    one.wait_connections(1)
    told = subprocess.run([one.command()[0], "explain", "-s", one.control, "--id", one.connections()[0]["id"]], capture_output=True, text=True, check=True).stdout
    assert re.search(r"service +db\n", told) and "shop.example" in told and "04 d2 16 30" in told
