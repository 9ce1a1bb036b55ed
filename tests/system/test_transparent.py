"""Backends that see the client's own address (transparent), between three network namespaces, with the routing rules that
the manual shows. Needs root; says so where it is not."""

import os
import re
import signal
import socket
import subprocess
import time

import namespaces
import proxy_header
import pytest
from harness import SOURCE, connect, count_fds, free_port, read_exactly, run_usher, slow, wait_until
from namespaces import CLIENT, LOOPBACK, SERVER, USHER
from peers import cpu_of, exchange, how_it_ends, reset
from servers import NGINX, SSHD, Server, listening

WHY_NOT = namespaces.why_not()
needs_namespaces = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def manual_rules():
    """The commands that the manual shows: one string of lines for each block."""
    page = (SOURCE / "man/usher.conf.5").read_text()
    section = page[page.index(".Ss Transparent services") :]
    section = section[: section.index(".Sh ")]
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", section, re.M | re.S)
    assert [block.count("lookup") for block in found] == [2, 2]
    return found


@pytest.fixture(scope="module")
def net():
    with namespaces.Network() as network:
        for block in manual_rules():
            network.run(network.usher, "sh", "-ec", block.replace("443", "4431"))
        yield network


@pytest.fixture
def start(usher, net):
    """start(config, ...): an usher in its namespace."""

    def begin(config, prefix=(), **options):
        options.setdefault("wrapper", lambda command: net.inside(net.usher, *prefix, *command))
        return usher(config, **options)

    return begin


def connect_from(net, family, port, source=None, where=None):
    return net.call(net.client, connect, ((where or USHER)[family], port), 10.0, source)


class Backend:
    """Listens in a namespace, on the port that the manual's rules are for."""

    def __init__(self, net, name, host, port=4431):
        self.host, self.port = host, port
        self.listener = net.call(name, listening, (host, port))

    @property
    def text(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def accept(self):
        self.listener.settimeout(slow(5))
        server, peer = self.listener.accept()
        server.settimeout(slow(10))
        return server, peer[:2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


CONFIG = """
listen = ( "0.0.0.0:{port}", "[::]:{port}", {{ address = "0.0.0.0:{port_proxied}"; accept_proxy = "0.0.0.0/0"; }} );
workers = {workers};  connect_timeout = {connect_timeout};
protocols = ( {{ name = "go"; string = "go"; }} );
services = ( {{ name = "go"; match = "go"; connect = {backends}; transparent = true; {more} }} );
""".replace("{{", "{").replace("}}", "}")


def config_for(start, *backends, more="", workers=2, connect_timeout=5.0, **options):
    names = ", ".join(f'"{name}"' for name in backends)
    return start(CONFIG, backends=f"[ {names} ]", more=more, workers=workers, connect_timeout=connect_timeout, **options)


# ---- real servers

NGINX_CONFIG = """
daemon off; master_process off; user root; pid {place}/{name}.pid; error_log {place}/{name}.error;
events {{ }}
http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
	uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
	server {{ listen {four}:{port}; listen [{six}]:{port}; location / {{ return 200 "{name} $remote_addr $remote_port\\n"; }} }} }}
"""


class Inside(Server):
    """A server in a namespace."""

    def __init__(self, net, name, place, word, *command):
        self.launch(net.inside(name, *command), place / f"{word}.log")


@pytest.fixture
def nginx(net, place):
    """One behind and one on usher's own machine."""
    running = []
    for name, word, hosts in ((net.server, "behind", SERVER), (net.usher, "here", LOOPBACK)):
        file = place / f"{word}.conf"
        file.write_text(NGINX_CONFIG.format(place=place, name=word, four=hosts[4], six=hosts[6], port=4431))
        running.append(Inside(net, name, place, word, NGINX, "-p", place, "-e", place / f"{word}.error", "-c", file))
        for family in (4, 6):
            wait_until(lambda: net.call(name, lambda: accepts(hosts[family], 4431)), 10, f"nginx {word}")
    yield
    for one in running:
        one.end()


def accepts(host, port):
    try:
        connect((host, port), timeout=1).close()
        return True
    except OSError:
        return False


REAL = """
listen = [ "0.0.0.0:{port}", "[::]:{port}" ];
services = (
  { name = "behind"; match = { host = "behind.example"; }; connect = [ "198.51.100.2:4431", "[2001:db8:2::2]:4431" ];
    transparent = true; },
  { name = "here"; match = { host = "here.example"; }; connect = [ "[::1]:4431", "127.0.0.1:4431" ]; transparent = true; } );
"""


def ask_nginx(net, one, family, word):
    """What it saw, and the client's own port."""
    host = f"[{USHER[family]}]" if family == 6 else USHER[family]
    page = net.output(net.client, "curl", "-sS", "--max-time", int(slow(20)), "-H", f"Host: {word}.example",
                      "-w", "%{local_port}", f"http://{host}:{one.port}/")
    return page.split("\n")


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("word", ["behind", "here"])
def test_nginx_sees_the_clients_address_and_port(start, net, nginx, word, family):
    one = start(REAL)
    for _ in range(20):
        answer, port = ask_nginx(net, one, family, word)
        assert answer == f"{word} {CLIENT[family]} {port}"
    assert {line["end"] for line in one.wait_connections(20)} == {"finished"}


@needs_namespaces
def test_a_reload_makes_a_service_transparent_and_back(start, net, nginx):
    one = start(REAL.replace("transparent = true;", ""))
    assert ask_nginx(net, one, 4, "here")[0].startswith("here ::1 ")
    one.reload(REAL)
    for family in (4, 6):
        assert ask_nginx(net, one, family, "here")[0].startswith(f"here {CLIENT[family]} ")
    one.reload(REAL)
    assert ask_nginx(net, one, 4, "behind")[0].startswith(f"behind {CLIENT[4]} ")
    one.reload(REAL.replace("transparent = true;", ""))
    assert ask_nginx(net, one, 4, "behind")[0].startswith("behind 198.51.100.1 ")


SSHD_CONFIG = """
Port 4431
ListenAddress {four}
ListenAddress {six}
HostKey {dir}/host_key
AuthorizedKeysFile {dir}/client_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
"""


@needs_namespaces
@pytest.mark.parametrize("word", ["behind", "here"])
def test_sshd_sees_the_clients_address(start, net, sshd, place, word):
    """Also a client that waits for the server to speak, for which on_silence stands in."""
    name, hosts = {"behind": (net.server, SERVER), "here": (net.usher, LOOPBACK)}[word]
    file = place / "sshd_config"
    file.write_text(SSHD_CONFIG.format(dir=sshd.dir, four=hosts[4], six=hosts[6]))
    server = Inside(net, name, place, "sshd", SSHD, "-D", "-e", "-f", file)
    try:
        for family in (4, 6):
            wait_until(lambda: net.call(name, lambda: accepts(hosts[family], 4431)), 10, "sshd")
        one = start("""
            listen = [ "0.0.0.0:{port}", "[::]:{port}" ];  decide_timeout = 1.0;
            services = ( { name = "ssh"; match = "ssh"; connect = [ "{four}:4431", "[{six}]:4431" ]; transparent = true; } );
            on_silence = "ssh";
        """, four=hosts[4], six=hosts[6])
        for family in (4, 6):
            done = subprocess.run(net.inside(net.client, "ssh", *sshd.options(one.port), USHER[family], "echo", "$SSH_CONNECTION"),
                                  capture_output=True, text=True, timeout=slow(30), check=False)
            assert done.stdout.split()[:1] == [CLIENT[family]], done.stderr
            assert done.stdout.split()[2:] == [hosts[family], "4431"]
            with connect_from(net, family, one.port) as silent:
                assert silent.recv(8) == b"SSH-2.0-"
        assert f"from {CLIENT[4]} port" in server.log_path.read_text()
    finally:
        server.end()


# ---- addresses and ports


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_the_backend_of_the_clients_family_is_taken(start, net, family):
    with Backend(net, net.server, SERVER[4]) as four, Backend(net, net.server, SERVER[6]) as six:
        one = config_for(start, six.text, four.text)
        with connect_from(net, family, one.port) as client:
            client.sendall(b"go")
            server, peer = {4: four, 6: six}[family].accept()
            with server:
                assert peer == client.getsockname()[:2]


@needs_namespaces
def test_a_client_of_the_other_family_cannot_be_shown(start, net):
    with Backend(net, net.server, SERVER[6]) as six:
        one = config_for(start, six.text)
        with connect_from(net, 4, one.port) as client:
            client.sendall(b"go")
            assert how_it_ends(client) == "reset"  # with its bytes unread
    (line,) = one.wait_connections(1)
    assert (line["end"], line["error"]) == ("delivery-failed", "Address family not supported by protocol")


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_a_backend_of_the_other_family_takes_none_of_the_time(start, net, family):
    """The only one that can be has all of it: here to be silent for."""
    gone = {4: "198.51.100.9", 6: "2001:db8:2::9"}[family]
    silent, other = {4: (f"{gone}:4431", f"[{SERVER[6]}]:4431"), 6: (f"[{gone}]:4431", f"{SERVER[4]}:4431")}[family]
    net.ip(net.usher, f"neigh replace {gone} lladdr 02:00:00:00:00:09 dev eth1 nud permanent")
    one = config_for(start, silent, other, connect_timeout=2)
    begin = time.monotonic()
    with connect_from(net, family, one.port) as client:
        client.sendall(b"go")
        how_it_ends(client)
    assert time.monotonic() - begin > 1.9
    (line,) = one.wait_connections(1)
    assert (line["end"], line["error"]) == ("delivery-failed", "Connection timed out")


@needs_namespaces
def test_what_else_is_wrong_is_told_before_that(start, net):
    one = config_for(start, f"{SERVER[4]}:4431", f"[{SERVER[6]}]:4431")
    with connect_from(net, 4, one.port) as client:
        client.sendall(b"go")
        assert how_it_ends(client) == "reset"  # with its bytes unread
    assert one.wait_connections(1)[0]["error"] == "Connection refused"


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_a_client_on_the_same_machine_keeps_its_address(start, net, family):
    """Its port is taken, by itself."""
    with Backend(net, net.usher, LOOPBACK[family]) as backend:
        one = config_for(start, backend.text)
        with net.call(net.usher, connect, (LOOPBACK[family], one.port)) as client:
            client.sendall(b"go")
            server, peer = backend.accept()
            with server:
                assert peer[0] == LOOPBACK[family] and peer != client.getsockname()[:2]
                assert read_exactly(server, 2) == b"go"


@needs_namespaces
def test_a_privileged_port_is_left_alone(start, net):
    """Workers may not bind below 1024."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text)
        with connect_from(net, 4, one.port, source=("", 777)) as client:
            client.sendall(b"go")
            server, peer = backend.accept()
            with server:
                assert peer[0] == CLIENT[4] and peer[1] > 1023


@needs_namespaces
def test_one_port_of_a_client_for_two_connections(start, net):
    """To two listeners of usher, and from there to one backend: the second cannot have the port as well."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = start("""
            listen = [ "0.0.0.0:{port}", "0.0.0.0:{port_b}" ];
            protocols = ( { name = "go"; string = "go"; } );
            services = ( { name = "go"; match = "go"; connect = "198.51.100.2:4431"; transparent = true; } );
        """)
        seen = []
        source = ("192.0.2.7", 20123)

        def twin(port):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.settimeout(slow(10))
            client.bind(source)
            client.connect((USHER[4], port))
            return client

        clients = [net.call(net.client, twin, one.ports[name]) for name in ("port", "port_b")]
        servers = []
        for client in clients:
            client.sendall(b"go")
            server, peer = backend.accept()
            servers.append(server)
            seen.append(peer)
            assert read_exactly(server, 2) == b"go"
        assert seen[0] == source and seen[1][0] == source[0] and seen[1][1] != source[1]
        for sock in clients + servers:
            sock.close()
        # The port is free again at once, though both ends have just closed.
        one.wait_connections(2)
        client = net.call(net.client, twin, one.ports["port"])
        client.sendall(b"go")
        server, peer = backend.accept()
        assert peer[0] == source[0]
        server.close()
        client.close()


@needs_namespaces
@pytest.mark.parametrize("version", [None, 1, 2])
def test_who_is_named_by_a_proxy_is_shown(start, net, version):
    """Anybody's address will do: the rules bring the answers back. With send_proxy the backend is told as well."""
    named = ("203.0.113.9", 40123)
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, more=f"send_proxy = {version};" if version else "")
        with connect_from(net, 4, one.ports["port_proxied"]) as client:
            client.sendall(proxy_header.v2(named, ("198.51.100.99", 443)) + b"go")
            server, peer = backend.accept()
            with server:
                assert peer == named
                if version:
                    assert proxy_header.take(server).source == named
                assert read_exactly(server, 2) == b"go"
                server.sendall(b"hello")
                assert read_exactly(client, 5) == b"hello"


@needs_namespaces
def test_no_client_of_a_unix_socket_can_be_shown(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = start("""
            listen = { address = "unix:{dir}/in.sock"; mode = 0666; };
            protocols = ( { name = "go"; string = "go"; } );
            services = ( { name = "go"; match = "go"; connect = "198.51.100.2:4431"; transparent = true; } );
        """)
        with connect(one.dir / "in.sock") as client:
            client.sendall(b"go")
            assert how_it_ends(client) == "reset"  # with its bytes unread
        assert one.wait_connections(1)[0]["error"] == "Address family not supported by protocol"
        assert "clients of listener" in one.output() and backend


# ---- relayed like any other


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_bytes_both_ways(start, net, family):
    with Backend(net, net.server, SERVER[family]) as backend:
        one = config_for(start, backend.text)
        with connect_from(net, family, one.port) as client:
            client.sendall(b"go")
            server, _ = backend.accept()
            with server:
                assert read_exactly(server, 2) == b"go"
                exchange(client, server, 10_000_000, 10_000_000)
        line = one.wait_connections(1)[0]
        assert (line["end"], line["bytes_up"]) == ("finished", "10000002")


@needs_namespaces
def test_resets_go_through(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text)
        for by in (0, 1):
            pair = [connect_from(net, 4, one.port)]
            pair[0].sendall(b"go")
            pair.append(backend.accept()[0])
            assert read_exactly(pair[1], 2) == b"go"
            reset(pair[by])
            assert how_it_ends(pair[1 - by]) == "reset"
            pair[1 - by].close()


@needs_namespaces
def test_many_at_once_outrun_the_stock_and_wait_for_more(start, net):
    """Each worker keeps 16 sockets; 400 clients come together, and the workers' descriptors stay bounded."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, workers=2)
        clients = [connect_from(net, 4, one.port) for _ in range(400)]
        for client in clients:
            client.sendall(b"go")
        servers = [backend.accept() for _ in clients]
        assert {peer for _, peer in servers} == {client.getsockname() for client in clients}
        for sock in clients + [server for server, _ in servers]:
            sock.close()
        one.wait_connections(400)
        assert max(one.fds()[pid] for pid in one.workers) < 100


@needs_namespaces
def test_workers_have_no_capabilities(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text)
        with connect_from(net, 4, one.port) as client:
            client.sendall(b"go")
            backend.accept()[0].close()
        for pid in one.workers:
            status = open(f"/proc/{pid}/status", encoding="ascii").read()
            assert re.search(r"^CapEff:\s*0+$", status, re.M) and not re.search(r"^Uid:\s+0\s", status, re.M)


@needs_namespaces
def test_the_sockets_count_as_the_workers_users(start, net):
    """Rules of a firewall that go by a socket's owner, as those in sslh's documents do, find it."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text)
        with connect_from(net, 4, one.port) as client:
            client.sendall(b"go")
            server, _ = backend.accept()
            with server:
                (worker, *_) = one.workers
                uid = re.search(r"^Uid:\s+(\d+)", open(f"/proc/{worker}/status", encoding="ascii").read(), re.M).group(1)
                listed = subprocess.run(net.inside(net.usher, "ss", "-Htne", "dst", f"{SERVER[4]}:{backend.port}"),
                                        capture_output=True, text=True, check=True).stdout
                assert uid != "0" and f"uid:{uid} " in listed


@needs_namespaces
def test_routes_that_are_missing_are_a_timeout(start, net):
    """The manual's rules are for another port."""
    with Backend(net, net.server, SERVER[4], port=4432) as backend:
        one = config_for(start, backend.text, connect_timeout=0.5)
        with connect_from(net, 4, one.port) as client:
            client.sendall(b"go")
            assert how_it_ends(client) == "reset"  # with its bytes unread
        assert one.wait_connections(1)[0]["error"] == "Connection timed out"


@needs_namespaces
def test_names_have_the_addresses_of_both_families(start, net):
    """Of which each client is shown to the one of its own."""
    with Backend(net, net.usher, LOOPBACK[4]) as four, Backend(net, net.usher, LOOPBACK[6]) as six:
        one = config_for(start, "both.example:4431")
        for family, backend in ((4, four), (6, six)):
            with connect_from(net, family, one.port) as client:
                client.sendall(b"go")
                server, peer = backend.accept()
                with server:
                    assert peer == client.getsockname()[:2]


@needs_namespaces
def test_a_worker_that_gets_no_sockets_waits_no_longer_than_for_a_backend(start, net):
    """The master does not answer for a while: who waits too long has failed, who came late is served after all."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, workers=1, connect_timeout=0.6)
        os.kill(one.pid, signal.SIGSTOP)
        try:
            early = connect_from(net, 4, one.port)
            early.sendall(b"go")
            gone = connect_from(net, 4, one.port)
            gone.sendall(b"go")
            time.sleep(0.1)
            reset(gone)
            assert how_it_ends(early) == "reset"
            late = connect_from(net, 4, one.port)
            late.sendall(b"go")
            time.sleep(0.1)
        finally:
            os.kill(one.pid, signal.SIGCONT)
        server, peer = backend.accept()
        assert peer == late.getsockname()
        for sock in (early, late, server):
            sock.close()
        ends = [(line["end"], line.get("error")) for line in one.wait_connections(3)]
    assert ends[:2] == [("delivery-failed", "Connection timed out"), ("client-reset", None)]


# ---- who may


CAPABILITIES = ("--inh-caps=-net_admin,-net_raw", "--bounding-set=-net_admin,-net_raw")


@needs_namespaces
def test_a_master_that_may_not_says_so(start, net):
    """Its other services work, and nobody asks again and again."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, prefix=("setpriv", *CAPABILITIES))
        assert one.wait_log("error transparent services will fail for clients that are not on this machine: Operation not permitted; "
                            "usher needs root, CAP_NET_ADMIN")
        for _ in range(3):
            with connect_from(net, 4, one.port) as client:
                client.sendall(b"go")
                assert how_it_ends(client) == "reset"  # with its bytes unread
        assert {line["error"] for line in one.wait_connections(3)} == {"Operation not permitted"}
        before = cpu_of([one.pid, *one.workers])
        time.sleep(0.5)
        assert cpu_of([one.pid, *one.workers]) - before < 0.2


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_a_client_on_the_same_machine_takes_no_right(start, net, family):
    """Whoever it is may speak from this machine's own addresses."""
    with Backend(net, net.usher, LOOPBACK[family]) as backend:
        one = config_for(start, backend.text, prefix=("setpriv", *CAPABILITIES))
        for _ in range(5):
            with net.call(net.usher, connect, (LOOPBACK[family], one.port)) as client:
                client.sendall(b"go")
                server, peer = backend.accept()
                with server:
                    assert peer[0] == LOOPBACK[family]
                    assert read_exactly(server, 2) == b"go"


@needs_namespaces
@pytest.mark.parametrize("capability", ["net_raw", "net_admin"])
def test_one_capability_is_enough(start, net, place, capability):
    place.chmod(0o777)
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, directory=place, prefix=(
            "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", f"--inh-caps=+{capability}",
            f"--ambient-caps=+{capability}"))
        with connect_from(net, 4, one.port) as client:
            client.sendall(b"go")
            server, peer = backend.accept()
            with server:
                assert peer == client.getsockname()
        for pid in one.workers:
            assert re.search(r"^CapEff:\s*0+$", open(f"/proc/{pid}/status", encoding="ascii").read(), re.M)


@needs_namespaces
def test_a_master_that_is_gone_leaves_what_is_in_stock(start, net):
    """Connections that are open go on."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, workers=1, may_crash=True, status=-9)
        client = connect_from(net, 4, one.port)
        client.sendall(b"go")
        server, _ = backend.accept()
        worker = one.workers[0]
        before = count_fds(worker)
        undecided = connect_from(net, 4, one.port)
        undecided.sendall(b"g")
        wait_until(lambda: count_fds(worker) > before, what="it to be accepted")
        one.seen.look()
        os.kill(one.pid, 9)
        one.process.wait()
        undecided.sendall(b"o")
        second, peer = backend.accept()
        assert peer == undecided.getsockname()
        client.sendall(b"more")
        assert read_exactly(server, 6) == b"gomore"
        for sock in (client, server, undecided, second):
            sock.close()
        wait_until(lambda: worker not in one.seen.alive(), 5, "the worker to end")


# ---- configuration


def test_the_check_says_what_it_takes(place):
    file = place / "usher.conf"
    file.write_text(f"""listen = [ "0.0.0.0:{free_port()}", "[::]:{free_port()}" ];
        services = ( {{ name = "a"; match = "ssh"; connect = "127.0.0.1:1"; transparent = true; }} );""")
    result = run_usher("check", "-c", file)
    assert result.returncode == 0
    assert "connect 127.0.0.1:1 (transparent)" in result.stdout
    assert "cap_net_raw: services are transparent" in result.stdout
    assert re.search(r":2: warning: clients of listener `\[::\]:\d+' cannot be shown to service `a', which has no backend of IPv6",
                     result.stderr)


@needs_namespaces
def test_the_example_does_what_it_says(start, net):
    text = (SOURCE / "examples/transparent.conf").read_text()
    for found, by in (("7443", "{port}"), ("127.0.0.1:22", "127.0.0.1:4431"), ("[::1]:22", "[::1]:4431"),
                      ("198.51.100.2:443", "198.51.100.2:4431"), ("[2001:db8:2::2]:443", "[2001:db8:2::2]:4431")):
        assert found in text, found
        text = text.replace(found, by)
    one = start(re.sub("#.*", "", text))
    for family in (4, 6):
        with Backend(net, net.usher, LOOPBACK[family]) as ssh, Backend(net, net.server, SERVER[family]) as web:
            for backend, said in ((ssh, b"SSH-2.0-x\r\n"), (web, bytes.fromhex("16030100310100002d0303") + bytes(32) +
                                                            b"\0\0\2\x13\1\1\0\0\0")):
                with connect_from(net, family, one.port) as client:
                    client.sendall(said)
                    server, peer = backend.accept()
                    with server:
                        assert peer == client.getsockname()[:2]
