"""Backends that see the address and the port of clients over UDP (transparent), between three network namespaces, with the routing rules
that the manual shows. Needs root; says so where it is not."""

import os
import re
import signal
import socket
import subprocess

import namespaces
import pytest
from datagrams import client, dns_question, exchange
from harness import NEVER, SOURCE, free_port, run_usher, slow, wait_until
from namespaces import CLIENT, LOOPBACK, SERVER, USHER
from test_transparent import CAPABILITIES, Inside, manual_rules

WHY_NOT = namespaces.why_not()
needs_namespaces = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

DNSMASQ = "/usr/sbin/dnsmasq"
PORT = 4431


@pytest.fixture(scope="module")
def net():
    with namespaces.Network() as network:
        for block in manual_rules():
            network.run(network.usher, "sh", "-ec", block.replace("443", str(PORT)).replace("ipproto tcp", "ipproto udp"))
        yield network


@pytest.fixture
def start(usher, net):
    """start(config, ...): an usher in its namespace."""

    def begin(config, prefix=(), **options):
        return usher(config, wrapper=lambda command: net.inside(net.usher, *prefix, *command), never=NEVER, **options)

    return begin


def bound(host, port, timeout=10.0):
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(slow(timeout))
    one.bind((host, port))
    return one


class Backend:
    """A socket in a namespace, on the port that the rules are for."""

    def __init__(self, net, name, host, port=PORT):
        self.host, self.port = host, port
        self.socket = net.call(name, bound, host, port)

    @property
    def text(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def receive(self):
        datagram, peer = self.socket.recvfrom(65536)
        return datagram, peer[:2]

    def echo(self):
        """One datagram and back; who sent it."""
        datagram, peer = self.socket.recvfrom(65536)
        self.socket.sendto(datagram, peer)
        return peer[:2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def client_from(net, family, port, source=None, name=None, where=None):
    return net.call(name or net.client, client, port, (where or USHER)[family], source)


def queued(net, port):
    """Bytes that wait in usher's sockets."""
    lines = net.output(net.usher, "ss", "-Hulnm", "sport", str(port)).splitlines()
    return sum(int(found.group(1)) for found in map(re.compile(r"skmem:\(r(\d+)").search, lines) if found)


CONFIG = """
listen = [ "udp:0.0.0.0:{port}", "udp:[::]:{port}" ];
workers = {workers}; control = "{dir}/control";
services = ( {{ name = "all"; connect = {backends}; transparent = true; idle_timeout = {never}; answer_timeout = {never}; {more} }} );
on_unknown = "all";
""".replace("{{", "{").replace("}}", "}")


def config_for(start, *backends, more="", workers=2, **options):
    names = ", ".join(f'"{name}"' for name in backends)
    return start(CONFIG, backends=f"[ {names} ]", more=more, workers=workers, **options)


# ---- a real server


@pytest.fixture
def dnsmasq(net, place):
    """One behind and one on usher's own machine: dnsmasq.logs[word]."""
    running, logs = [], {}
    for name, word, hosts in ((net.server, "behind", SERVER), (net.usher, "here", LOOPBACK)):
        running.append(Inside(net, name, place, word, DNSMASQ, "--no-daemon", "--conf-file=/dev/null", f"--port={PORT}", "--user=root",
                              "--no-resolv", "--no-hosts", "--log-queries=extra", "--log-facility=-", "--bind-interfaces",
                              f"--listen-address={hosts[4]},{hosts[6]}", "--address=/www.example/203.0.113.5"))
        logs[word] = place / f"{word}.log"
        for family in (4, 6):
            def answers(name=name, host=hosts[family]):
                with net.call(name, client, PORT, host, None, 1.0) as c:
                    try:
                        return exchange(c, dns_question("probe.example"))
                    except OSError:
                        return None
            wait_until(answers, 10, f"dnsmasq {word}")
    yield logs
    for one in running:
        one.end()


REAL = """
listen = [ "udp:0.0.0.0:{port}", "udp:[::]:{port}" ];
services = ( { name = "dns"; match = "dns"; connect = %s; transparent = true; answers = 1; } );
"""


@needs_namespaces
@pytest.mark.parametrize("word", ["behind", "here"])
def test_a_name_server_sees_the_clients_address_and_port(start, net, dnsmasq, word):
    hosts = {"behind": SERVER, "here": LOOPBACK}[word]
    one = start(REAL % f'[ "[{hosts[6]}]:{PORT}", "{hosts[4]}:{PORT}" ]')
    for family in (4, 6):
        for number in range(20):
            with client_from(net, family, one.port) as c:
                answer = exchange(c, dns_question("www.example", number))
                assert answer[:2] == number.to_bytes(2, "big") and socket.inet_aton("203.0.113.5") in answer
                host, port = c.getsockname()[:2]
                assert host == CLIENT[family]
                wait_until(lambda: f" {host}/{port} query[A] www.example " in dnsmasq[word].read_text(), what="the server's line")
    assert {line["end"] for line in one.wait_connections(40)} == {"finished"}


# ---- addresses and ports


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_datagrams_both_ways(start, net, family):
    with Backend(net, net.server, SERVER[4]) as four, Backend(net, net.server, SERVER[6]) as six:
        one = config_for(start, four.text, six.text)
        with client_from(net, family, one.port) as c:
            for size in (0, 1, 1400):
                c.send(b"x" * size)
                assert {4: four, 6: six}[family].echo() == c.getsockname()[:2]
                assert c.recv(2000) == b"x" * size


@needs_namespaces
def test_many_at_once_outrun_the_stock_and_none_is_overtaken(start, net):
    """Each worker keeps 16 sockets; 300 flows come together, each with three datagrams."""
    with Backend(net, net.server, SERVER[4]) as backend:
        backend.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one = config_for(start, backend.text)
        clients = [client_from(net, 4, one.port) for _ in range(300)]
        for c in clients:
            for number in range(3):
                c.send(b"%d" % number)
        got = {}
        for _ in range(900):
            datagram, peer = backend.receive()
            got.setdefault(peer, []).append(datagram)
        assert got == {c.getsockname(): [b"0", b"1", b"2"] for c in clients}
        for c in clients:
            c.close()


@needs_namespaces
def test_one_port_of_a_client_for_two_flows(start, net):
    """To two listeners of usher, and from there to one backend: the second flow has another port of the client's address, and each gets its
    own answers."""
    with Backend(net, net.server, SERVER[4]) as backend:
        one = start("""
            listen = [ "udp:0.0.0.0:{port}", "udp:0.0.0.0:{port_b}" ];
            services = ( { name = "all"; connect = "198.51.100.2:4431"; transparent = true; idle_timeout = {never}; } );
            on_unknown = "all";
        """)
        with net.call(net.client, bound, "192.0.2.7", 20123) as c:
            seen = []
            for port in (one.ports["port"], one.ports["port_b"], one.ports["port"]):
                c.sendto(b"to %d" % port, (USHER[4], port))
                seen.append(backend.echo())
                assert c.recvfrom(100) == (b"to %d" % port, (USHER[4], port))
            assert seen[0] == seen[2] == c.getsockname()
            assert seen[1][0] == CLIENT[4] and seen[1] != seen[0]


@needs_namespaces
def test_a_port_that_a_server_of_this_machine_has_is_left_to_it(start, net):
    with Backend(net, net.server, SERVER[4]) as backend, net.call(net.usher, bound, "0.0.0.0", 20124):
        one = config_for(start, backend.text)
        for source in (("192.0.2.7", 20124), ("192.0.2.7", 777)):  # below 1024: workers may not bind there
            with client_from(net, 4, one.port, source=source) as c:
                c.send(b"hello")
                host, port = backend.echo()
                assert host == CLIENT[4] and port not in (20124, 777)
                assert c.recv(100) == b"hello"


@needs_namespaces
def test_only_the_backend_can_answer(start, net):
    """Another port of the server's machine is routed to usher's machine as well here."""
    net.run(net.usher, "ip", "rule", "add", "iif", "eth1", "ipproto", "udp", "sport", "4432", "lookup", "100")
    with Backend(net, net.server, SERVER[4]) as backend, Backend(net, net.server, SERVER[4], port=4432) as other:
        one = config_for(start, backend.text)
        with client_from(net, 4, one.port) as c:
            c.send(b"hello")
            peer = backend.receive()[1]
            for _ in range(3):
                other.socket.sendto(b"forged", peer)
            backend.socket.sendto(b"answer", peer)
            assert c.recv(100) == b"answer"
            c.send(b"again")
            assert backend.echo() == peer
            assert c.recv(100) == b"again"


@needs_namespaces
def test_the_next_backend_gets_the_first_datagrams_from_the_same_address(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, "198.51.100.2:4432", backend.text)
        net.run(net.usher, "ip", "rule", "add", "iif", "eth1", "ipproto", "icmp", "lookup", "100")
        with client_from(net, 4, one.port) as c:
            c.send(b"first")
            assert backend.receive() == (b"first", c.getsockname())
            backend.socket.sendto(b"answer", c.getsockname())
            assert c.recv(100) == b"answer"


@needs_namespaces
def test_flows_keep_their_address_and_port_across_reload_and_upgrade(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text)
        clients = [client_from(net, 4, one.port) for _ in range(8)]
        for turn in range(3):
            for c in clients:
                c.send(b"hello")
                assert backend.echo() == c.getsockname()
                assert c.recv(100) == b"hello"
            if turn == 0:
                one.reload()
            elif turn == 1:
                before = one.workers
                one.send_signal(signal.SIGUSR2)
                wait_until(lambda: one.workers_but(before), 15.0, "the workers of the new binary")
        assert one.connections() == []
        for c in clients:
            c.close()


@needs_namespaces
def test_first_datagrams_are_kept_while_the_master_makes_no_sockets(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, workers=1)
        os.kill(one.pid, signal.SIGSTOP)
        try:
            with client_from(net, 4, one.port) as c:
                for number in range(5):
                    c.send(b"%d" % number)
                wait_until(lambda: queued(net, one.port) == 0, what="the worker to read them")
                os.kill(one.pid, signal.SIGCONT)
                assert [backend.receive() for _ in range(5)] == [(b"%d" % number, c.getsockname()) for number in range(5)]
        finally:
            os.kill(one.pid, signal.SIGCONT)


@needs_namespaces
def test_a_name_with_addresses_of_the_other_family_only(start, net):
    one = start(REAL % '"127.0.0.1:4431"')
    assert "clients of listener" in one.output() and "cannot be shown to service `dns', which has no backend of IPv6" in one.output()
    with client_from(net, 6, one.port) as c:
        c.send(dns_question())
        assert one.wait_connections(1)[0]["error"] == "Address family not supported by protocol"


# ---- who may


@needs_namespaces
def test_a_master_that_may_not_says_so(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text, prefix=("setpriv", *CAPABILITIES))
        assert one.wait_log("error transparent services will fail for clients that are not on this machine")
        with client_from(net, 4, one.port) as c:
            c.send(b"hello")
            assert one.wait_connections(1)[0]["error"] == "Operation not permitted"


@needs_namespaces
@pytest.mark.parametrize("family", [4, 6])
def test_a_client_on_the_same_machine_takes_no_right(start, net, family):
    """Its port is its own socket's."""
    with Backend(net, net.usher, LOOPBACK[family]) as backend:
        one = config_for(start, backend.text, prefix=("setpriv", *CAPABILITIES))
        with client_from(net, family, one.port, name=net.usher, where=LOOPBACK) as c:
            c.send(b"hello")
            peer = backend.echo()
            assert peer[0] == LOOPBACK[family] and peer != c.getsockname()[:2]
            assert c.recv(100) == b"hello"


@needs_namespaces
def test_workers_have_no_capabilities_and_own_the_sockets(start, net):
    with Backend(net, net.server, SERVER[4]) as backend:
        one = config_for(start, backend.text)
        with client_from(net, 4, one.port) as c:
            c.send(b"hello")
            backend.echo()
            status = open(f"/proc/{one.workers[0]}/status", encoding="ascii").read()
            assert re.search(r"^CapEff:\s*0+$", status, re.M)
            uid = re.search(r"^Uid:\s+(\d+)", status, re.M).group(1)
            listed = subprocess.run(net.inside(net.usher, "ss", "-Hune", "dst", f"{SERVER[4]}:{backend.port}"),
                                    capture_output=True, text=True, check=True).stdout
            assert uid != "0" and f"uid:{uid} " in listed


# ---- configuration


def test_the_check_says_what_it_takes(place):
    file = place / "usher.conf"
    file.write_text(f"""listen = [ "udp:0.0.0.0:{free_port()}" ];
        services = ( {{ name = "a"; match = "dns"; connect = "127.0.0.1:1"; transparent = true; }} );""")
    result = run_usher("check", "-c", file)
    assert result.returncode == 0, result.stderr
    assert "connect 127.0.0.1:1 (transparent)" in result.stdout
    assert "cap_net_raw: services are transparent" in result.stdout


@needs_namespaces
def test_the_example_does_what_it_says(start, net):
    text = (SOURCE / "examples/transparent.conf").read_text()
    for found, by in (("7443", "{port}"), ("127.0.0.1:53", "127.0.0.1:4431"), ("[::1]:53", "[::1]:4431")):
        assert found in text, found
        text = text.replace(found, by)
    one = start(re.sub("#.*", "", text))
    for family in (4, 6):
        with Backend(net, net.usher, LOOPBACK[family]) as backend, client_from(net, family, one.port) as c:
            c.send(dns_question())
            assert backend.receive() == (dns_question(), c.getsockname()[:2])
