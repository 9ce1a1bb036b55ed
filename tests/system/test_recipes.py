"""docs/recipes with real programs on both sides. inside-tls and udp-443 have files of their own."""

import importlib.util
import re
import signal
import sys

import proxy_header
import pytest
import test_clients_services
from harness import IS_ROOT, connect, free_port, read_exactly, wait_for_server, wait_until
from peers import client_hello
from recipes import HAPROXY, Program, Recipe, backwards, haproxy, nginx, nginx_file
from servers import NGINX, Process, have, output_of, run
from test_clients_services import UNPRIVILEGED, Daemon

postgres = test_clients_services.postgres


def needs(*programs):
    missing = [name for name in programs if not have(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)}: not installed")


@pytest.fixture
def serve(usher):
    """serve(recipe): usher under its first configuration."""
    def start(recipe, text=None):
        one = usher(text or recipe.moved())
        one.ports["port"] = next(recipe.ports[port] for port in (443, 5432) if port in recipe.ports)
        return one
    return start


@pytest.fixture
def keep():
    """keep(program) is ended with the test."""
    kept = []

    def one(program):
        kept.append(program)
        return program

    yield one
    for program in reversed(kept):
        program.end()


def curl(one, address, *more):
    return output_of(["curl", "-sSk", "--noproxy", "*", "--connect-to", f"::127.0.0.1:{one.port}", "-w", "%{redirect_url}", *more, address]).decode()


# ---- web


@pytest.fixture
def web(serve, place, certificate, keep):
    recipe = Recipe("web")
    sites = recipe.moved("nginx")
    for port, name in ((8443, "web"), (8444, "wiki")):
        sites = sites.replace(f"{recipe.ports[port]} ssl;", f'{recipe.ports[port]} ssl; return 200 "{name} $ssl_server_name\\n";')
    keep(nginx(place, sites, *(recipe.ports[port] for port in (8081, 8443, 8444)), certificate=certificate))
    one = serve(recipe)
    one.recipe = recipe
    return one


@needs(NGINX, "curl")
def test_http_becomes_https_for_any_host_and_path_on_both_ports(web):
    assert curl(web, "https://wiki.example/") == "wiki wiki.example\n"
    assert curl(web, "https://www.example/") == "web www.example\n"
    for port in (80, 443):
        web.ports["port"] = web.recipe.ports[port]
        assert curl(web, "http://any.example/a/b?c=d").endswith("https://any.example/a/b?c=d")


@needs(NGINX, "curl", "openssl")
def test_a_challenge_of_acme_finds_its_program_and_the_web_servers_while_there_is_none(web, keep, certificate):
    ask = ["openssl", "s_client", "-alpn", "acme-tls/1", "-servername", "wiki.example", "-connect", f"127.0.0.1:{web.port}"]
    assert b"No ALPN negotiated" in run(ask).stdout
    web.wait_connections(1, service="web")
    responder = keep(Process(["openssl", "s_server", "-accept", f"127.0.0.1:{web.recipe.ports[10443]}", "-alpn", "acme-tls/1", "-cert",
                              certificate[0], "-key", certificate[1], "-quiet"], web.dir / "responder"))
    wait_for_server(("127.0.0.1", web.recipe.ports[10443]))
    assert b"ALPN protocol: acme-tls/1" in run(ask).stdout, responder.log_path.read_text()
    token = web.dir / ".well-known/acme-challenge/x"
    token.parent.mkdir(parents=True)
    token.write_text("the token")
    challenge = Process([sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", web.dir, web.recipe.ports[10080]], web.dir / "challenge")
    with challenge:
        wait_for_server(("127.0.0.1", web.recipe.ports[10080]))
        assert curl(web, "http://wiki.example/.well-known/acme-challenge/x") == "the token"
    assert curl(web, "http://wiki.example/.well-known/acme-challenge/x").endswith("https://wiki.example/.well-known/acme-challenge/x")


# ---- mail


@needs("curl", "openssl")
@pytest.mark.skipif(not importlib.util.find_spec("aiosmtpd"), reason="aiosmtpd: not installed")
def test_mail_is_sent_to_a_server_that_speaks_first_on_a_port_with_ssh_and_tls(serve, keep, place, sshd, s_server):
    recipe = Recipe("mail")
    recipe.ports.update({22: sshd.port, 993: s_server().port, 8443: s_server().port})
    server = keep(Process([sys.executable, "-um", "aiosmtpd", "-n", "-l", f"127.0.0.1:{recipe.ports[2587]}"], place / "smtp"))
    wait_for_server(("127.0.0.1", recipe.ports[2587]))
    one = serve(recipe)
    output_of(["curl", "-sS", f"smtp://127.0.0.1:{recipe.ports[587]}", "--mail-from", "a@example", "--mail-rcpt", "b@example", "-T", "-"],
              input=b"Subject: hello\r\n\r\nby usher\r\n")
    wait_until(lambda: server.said("by usher"), what="the mail")
    assert sshd.ssh(one.port, "echo", "hello").stdout == b"hello\n"
    for name in ("imap.example", "www.example"):
        assert backwards(one.port, name) == b"cba\n"
    assert {line["service"] for line in one.wait_connections(4)} == {"submission", "ssh", "imaps", "web"}


# ---- databases


@pytest.fixture
def databases(serve, keep):
    def start(**ports):
        recipe = Recipe("databases")
        recipe.ports.update({int(name[1:]): port for name, port in ports.items()})
        return serve(recipe)
    return start


@needs("git", "/usr/lib/git-core/git-daemon")
def test_git_and_postgres_share_a_port(databases, postgres, keep, place):
    port = free_port()
    output_of(["git", "init", "-q", "--bare", place / "one.git"])
    keep(Process(["/usr/lib/git-core/git-daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all", f"--base-path={place}"], place / "git",
                 env={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*", "PATH": "/usr/bin:/bin"}))
    wait_for_server(("127.0.0.1", port))
    one = databases(p5433=postgres.port, p5434=postgres.port, p9418=port)
    output_of(["git", "-c", "protocol.version=2", "ls-remote", f"git://127.0.0.1:{one.port}/one.git"])
    for mode, database in (("prefer", "postgres"), ("disable", "postgres"), ("disable", "reports_2026")):
        done = run(["psql", "-Atc", "select 6*7", f"host=127.0.0.1 port={one.port} user=alice dbname={database} sslmode={mode}"])
        assert done.stdout == b"42\n" or b'database "reports_2026" does not exist' in done.stderr
    assert [line["service"] for line in one.wait_connections(4)] == ["git", "postgres", "postgres", "reports"]


@needs("openssl")
def test_direct_tls_of_postgres_is_told_by_its_alpn(databases, s_server):
    server = s_server("-alpn", "postgresql")
    one = databases(p5433=server.port)
    said = output_of(["openssl", "s_client", "-alpn", "postgresql", "-connect", f"127.0.0.1:{one.port}"])
    assert b"ALPN protocol: postgresql" in said
    if int(re.search(rb"\) (\d+)", output_of(["psql", "--version"]))[1]) >= 17:
        # Behind the handshake it waits for a server of PostgreSQL's.
        run(["timeout", "5", "psql", "-c", "select 1", f"host=127.0.0.1 port={one.port} user=alice sslmode=require sslnegotiation=direct"])
        one.wait_connections(2, service="postgres", protocol="tls")


@needs("mariadbd", "mariadb", "mariadb-install-db")
def test_mariadb_greets_on_the_same_port(databases, place):
    command = ["mariadbd", "--no-defaults", "--datadir={dir}/data", "--socket={dir}/socket", "--port={port}", "--bind-address=127.0.0.1",
               "--skip-grant-tables", "--skip-networking=0", "--innodb-flush-method=fsync"]
    prepare = ["mariadb-install-db", "--no-defaults", "--datadir={dir}/data", "--skip-test-db", "--auth-root-authentication-method=normal"]
    with Daemon(place / "mariadb", [*UNPRIVILEGED, *command], prepare=[[*UNPRIVILEGED, *prepare]]) as server:
        one = databases(p3306=server.port)
        said = output_of(["mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", one.port, "-u", "root", "-Ne", "select 6*7"])
        assert said == b"42\n"
        assert one.wait_connections(1)[0]["service"] == "mysql"


# ---- home-server, bridges


@needs("openssl")
def test_a_machine_at_home_that_is_off_is_woken(serve, place, s_server, sshd):
    recipe = Recipe("home-server")
    awake = place / "awake"
    recipe.ports.update({22: sshd.port, 8443: s_server().port})
    text = recipe.moved(**{"/usr/bin/wakeonlan": "/usr/bin/tee", "00:00:5e:00:53:01": awake, "/run/usher/": f"{place}/"})
    place.chmod(0o777)
    if not IS_ROOT:
        text = re.sub(r'user = "\w+";', "", text)
    one = serve(recipe, text)
    with connect(one.port) as client:
        client.sendall(client_hello("pictures.example"))
        wait_until(awake.exists, what="the program that wakes it")
    assert sshd.ssh(one.port, "echo", "hello").stdout == b"hello\n"
    assert one.wait_connections(1, service="wake")


@needs("tor")
def test_a_client_of_tor_meets_its_bridge_behind_the_port(serve, place, keep, named_servers):
    recipe = Recipe("bridges")
    (web,) = named_servers("web")
    recipe.ports[8443] = recipe.ports[8080] = web.port
    common = "DataDirectory {}\nSocksPort {}\nExitRelay 0\nLog notice stdout\nLog info file {}/info\nAssumeReachable 1\n"
    bridge, client = place / "bridge", place / "client"
    for folder in (bridge, client):
        folder.mkdir(mode=0o700)
    keep(Program(place, "bridge.rc", common.format(bridge, 0, bridge) + f"BridgeRelay 1\nPublishServerDescriptor 0\nNickname usher\nAddress 127.0.0.1\n"
                 f"ORPort {recipe.ports[443]} NoListen\nORPort 127.0.0.1:{recipe.ports[9001]} NoAdvertise\n", ["tor", "-f", "FILE"], recipe.ports[9001]))
    wait_until((bridge / "fingerprint").exists, 20, "the bridge's key")
    one = serve(recipe, recipe.moved() + 'control = "{dir}/control";')
    keep(Program(place, "client.rc", common.format(client, free_port(), client) +
                 f"UseBridges 1\nBridge 127.0.0.1:{one.port} {(bridge / 'fingerprint').read_text().split()[1]}\n", ["tor", "-f", "FILE"]))
    wait_until(lambda: "(handshake_done)" in (place / "client.rc.log").read_text(), 30, lambda: (place / "client.rc.log").read_text())
    assert {session["service"] for session in one.ask(b"sessions") if "client" in session} == {"tor"}


@pytest.mark.parametrize(("first", "service"), [(client_hello("cdn.example"), "mtproxy"), (client_hello("www.example"), "web"),
                                                (client_hello("www.other.example"), "other-names"), (bytes(range(255, 190, -1)), "obfs4")])
def test_what_is_neither_the_site_nor_a_bridge_of_tor(serve, named_servers, first, service):
    recipe = Recipe("bridges")
    server = named_servers("one")[0]
    recipe.ports.update({port: server.port for port in (8888, 8443, 9001, 9002, 8080)})
    one = serve(recipe)
    with connect(one.port) as client:
        client.sendall(first)
        assert read_exactly(client, 3) == b"one"
    one.wait_connections(1, service=service)


# ---- load-balancer


PROVIDERS = {
    "Spectrum": proxy_header.v1(("203.0.113.7", 1234), ("192.0.2.1", 443)),
    "Spectrum, version 2": proxy_header.v2(("2001:db8::7", 1234), ("2001:db8::1", 443)),
    "AWS": proxy_header.v2(("203.0.113.7", 1234), ("192.0.2.1", 443), checksum=True,
                           tlvs=proxy_header.tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9") + proxy_header.tlv(4, bytes(40))),
    "Google": proxy_header.v1(("203.0.113.7", 1234), ("198.51.100.1", 443)),
}


@pytest.fixture
def balanced(serve, backend):
    recipe = Recipe("load-balancer")
    text = recipe.moved("Providers").replace("10.0.0.0/8", "127.0.0.0/8")
    text = text.replace(f"127.0.0.1:{recipe.ports[8443]}", f"127.0.0.1:{backend.port}")
    one = serve(recipe, text)
    one.metrics = recipe.ports[9443]
    return one


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_client_of_a_provider_is_known_by_its_own_address_and_tlvs_go_on(balanced, backend, provider):
    given = proxy_header.parse(PROVIDERS[provider])
    with connect(balanced.port) as client:
        client.sendall(PROVIDERS[provider] + client_hello("one.example"))
        with backend.accept() as peer:
            sent = b""
            while client_hello("one.example") not in sent:
                sent += peer.recv(4096)
    header = proxy_header.parse(sent)
    assert (header.version, header.source, header.destination) == (2, given.source, given.destination)
    assert header.tlvs.get(0xEA) == given.tlvs.get(0xEA)
    (line,) = balanced.wait_connections(1)
    assert line["client"].rpartition(":")[0].strip("[]") == given.source[0]


@needs(HAPROXY)
def test_a_load_balancer_asks_whether_usher_is_ready_and_sends_none_while_it_drains(balanced, backend, place, keep):
    """HAProxy's checks of the port itself have a header without addresses, as those of AWS have."""
    port = free_port()
    proxy = keep(haproxy(place, f"""
defaults
	mode tcp
	timeout connect 5s
	timeout client 1m
	timeout server 1m
	default-server inter 100ms fall 1 rise 1
listen front
	bind 127.0.0.1:{port}
	option httpchk GET /readyz
	server usher 127.0.0.1:{balanced.port} send-proxy-v2 check port {balanced.metrics}
listen other
	bind 127.0.0.1:{free_port()}
	server usher 127.0.0.1:{balanced.port} send-proxy-v2 check check-send-proxy
""", port))
    with connect(port) as client:
        client.sendall(client_hello("one.example"))
        with backend.accept() as peer:
            assert peer.recv(100)
            balanced.send_signal(signal.SIGTERM)
            wait_until(lambda: "front/usher is DOWN" in proxy.log_path.read_text(), 10, "HAProxy to see that usher drains")
            assert refused(port)
            peer.sendall(b"still")
            assert read_exactly(client, 5) == b"still"
    balanced.stop()
    assert len(balanced.connections(service="web")) == 1


def refused(port):
    with connect(port) as client:
        client.sendall(client_hello("one.example"))
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True


# ---- migrating


CLIENTS = {"ssh": b"SSH-2.0-OpenSSH_9.2\r\n", "wiki": client_hello("wiki.example"), "wiki in capitals": client_hello("WIKI.example"),
           "another name": client_hello("www.example"), "no name": client_hello(), "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "silent": b""}
OTHERS = {"usher": None, "sslh": "sslh", "HAProxy": HAPROXY, "nginx": NGINX}
# Where the others differ: docs/recipes/migrating.md and docs/sslh.md say so.
DIFFERS = {("nginx", "http"): "ssh", ("nginx", "silent"): ""}


@pytest.mark.parametrize("other", OTHERS)
def test_four_configurations_of_the_same_give_clients_the_same_servers(usher, place, keep, named_servers, other):
    if OTHERS[other] and not have(OTHERS[other]):
        pytest.skip(f"{OTHERS[other]}: not installed")
    recipe = Recipe("migrating")
    for port, server in zip((22, 8444, 8443, 8080), named_servers("ssh", "wiki", "web", "http")):
        recipe.ports[port] = server.port
    port = recipe.ports[443]
    text = recipe.moved(other)
    if other == "usher":
        usher(text)
    elif other == "sslh":
        for there, here in list(recipe.ports.items()):
            text = text.replace(f'port: "{there}"', f'port: "{here}"')
        text = text.replace('host: "0.0.0.0"', 'host: "127.0.0.1"')
        keep(Program(place, "sslh.cfg", "foreground: true;\n" + text, ["sslh", "-FFILE"], port))
    elif other == "HAProxy":
        keep(haproxy(place, text, port))
    else:
        keep(nginx_file(place, text, port))
    got = {}
    clients = {name: connect(port) for name in CLIENTS}
    for name, first in CLIENTS.items():
        clients[name].sendall(first)
    for name, client in clients.items():
        with client:
            got[name] = client.recv(100).decode()
    wanted = {"ssh": "ssh", "wiki": "wiki", "wiki in capitals": "wiki", "another name": "web", "no name": "web", "http": "http", "silent": "ssh"}
    if other == "sslh":
        assert got.pop("wiki in capitals") in ("web", wanted.pop("wiki in capitals"))
    assert got == {name: DIFFERS.get((other, name), server) for name, server in wanted.items()}
