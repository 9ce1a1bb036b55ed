"""Real clients behind a router that gives them another address and port in the middle of their sessions: QUIC, WireGuard and OpenVPN. Each has two
backends. The first was not there when the session began; now it is, and knows nothing of it: a datagram that goes there is lost."""

import os
import signal
import subprocess

import pytest
from datagrams import Server
from harness import NEVER, slow, wait_until
from namespaces import CLIENT, SERVER, USHER, Nat, Network, why_not
from test_datagrams_servers import WHY_NO_TUNNEL, needs, wireguard_keys

pytestmark = needs("nft", "conntrack")

CONFIG = """
listen = "udp:192.0.2.1:443"; workers = %d; drain_timeout = 0.1; control = "{dir}/control";
services = ( { name = "service"; match = "{protocol}"; connect = [ "198.51.100.2:1111", "198.51.100.2:2222" ]; idle_timeout = {never}; } );
"""


class Way:
    """usher between a client behind a router and two backends, of which the second one is the real one."""

    def __init__(self, net, usher, protocol):
        self.net = net
        self.usher = usher(CONFIG % 2, wrapper=lambda command: net.inside(net.usher, *command), protocol=protocol, never=NEVER)
        self.nat = Nat(net, 443)
        self.nat.rebind(CLIENT[4], 20000)
        self.moves = 0
        self.stranger = None

    def sessions(self):
        return [session for session in self.usher.ask(b"sessions") if "client" in session]

    def wait_proven(self, datagrams=4):
        wait_until(lambda: any(session["datagrams_up"] >= datagrams and session["datagrams_down"] for session in self.sessions()), 30, "the session")

    def begin(self):
        """From now on the first backend is there."""
        self.stranger = self.net.call(self.net.server, lambda: Server((SERVER[4], 1111), answer=lambda _: []))

    def move(self):
        self.moves += 1
        self.nat.rebind(f"192.0.2.{20 + self.moves % 10}", 20000 + self.moves)

    def reload(self, workers):
        self.usher.reload(CONFIG % workers)

    def upgrade(self):
        before = self.usher.workers
        self.usher.send_signal(signal.SIGUSR2)
        wait_until(lambda: self.usher.workers_but(before), 15.0, "the workers of the new binary")

    def end(self, known_by):
        """Each address had a flow, the first one by the rules."""
        got = self.stranger.datagrams()
        self.net.call(self.net.server, self.stranger.close)
        self.usher.stop()
        lines = self.usher.connections(service="service")
        assert [line.get("known_by") for line in lines] == [None] + [known_by] * (len(lines) - 1)
        assert len({line["client"] for line in lines}) > 1
        assert got == []


@pytest.fixture
def way(usher):
    with Network() as net:
        yield lambda protocol: Way(net, usher, protocol)


WHY_NOT = why_not()


@pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "-")
@needs("gtlsserver", "gtlsclient")
@pytest.mark.parametrize("address, change", [(CLIENT[4], "nothing"), ("192.0.2.20", "reload"), ("192.0.2.20", "upgrade")],
                         ids=["port", "address-reload", "address-upgrade"])
def test_a_request_by_http3_comes_from_another_address_than_the_handshake(way, start, place, certificate, address, change):
    one = way("quic")
    net = one.net
    folder, into = place / "site", place / "downloads"
    folder.mkdir()
    into.mkdir()
    file = os.urandom(100000)
    (folder / "file").write_bytes(file)
    start(*net.inside(net.server, "gtlsserver", "-q", "-d", folder, SERVER[4], "2222", certificate[1], certificate[0]))
    wait_until(lambda: ":2222" in net.output(net.server, "ss", "-lun"), what="a server of HTTP/3")
    client = start(*net.inside(net.client, "gtlsclient", "-q", "--exit-on-all-streams-close", "--delay-stream=5s", "--timeout=120s",
                               f"--download={into}", USHER[4], "443", f"https://{USHER[4]}/file"))
    one.wait_proven()
    client.process.send_signal(signal.SIGSTOP)
    one.begin()
    if change == "reload":
        one.reload(3)
    elif change == "upgrade":
        one.upgrade()
    one.nat.rebind(address, 20001)
    client.process.send_signal(signal.SIGCONT)
    assert client.process.wait(slow(120)) == 0, client.log_path.read_text(errors="replace")
    assert (into / "file").read_bytes() == file
    one.end("connection_id")


def ping(net, count, every, address):
    return subprocess.Popen(net.inside(net.client, "ping", "-q", "-c", count, "-i", every, "-W", f"{slow(5):.0f}", address), stdout=subprocess.PIPE,
                            text=True)


@pytest.mark.skipif(WHY_NO_TUNNEL is not None, reason=WHY_NO_TUNNEL or "-")
@needs("wireguard-go", "wg", "ping")
def test_a_wireguard_tunnel_goes_on_from_whatever_address(way, start, place):
    one = way("wireguard")
    net = one.net
    ends = {"client": (net.client, "10.9.0.1", wireguard_keys()), "server": (net.server, "10.9.0.2", wireguard_keys())}
    for name, (where, address, (private, _)) in ends.items():
        other = "server" if name == "client" else "client"
        device = f"wg{os.getpid() % 10000}{name[0]}"
        (place / f"key-{name}").write_text(private)
        tunnel = start(*net.inside(where, "wireguard-go", "--foreground", device))
        wait_until(lambda: tunnel.process.poll() is not None or
                   subprocess.run(net.inside(where, "wg", "show", device), capture_output=True, check=False).returncode == 0, what="wireguard-go")
        peer = ["peer", ends[other][2][1], "allowed-ips", ends[other][1] + "/32"] + (["endpoint", "192.0.2.1:443"] if name == "client" else [])
        net.run(where, "wg", "set", device, "listen-port", "2222", "private-key", place / f"key-{name}", *peer)
        net.ip(where, f"addr add {address}/24 dev {device}")
        net.ip(where, f"link set {device} up")
    net.run(net.client, "ping", "-q", "-c", "5", "-i", "0.2", "-W", f"{slow(5):.0f}", "10.9.0.2")
    one.wait_proven()
    one.begin()
    pings = ping(net, "200", "0.02", "10.9.0.2")
    for workers in (1, 3, 2):
        one.move()
        one.reload(workers)
        one.move()
        one.upgrade()
    said, _ = pings.communicate(timeout=slow(60))
    one.move()
    net.run(net.client, "ping", "-q", "-c", "3", "-i", "0.2", "-W", f"{slow(5):.0f}", "10.9.0.2")
    # What is on its way to an address that the router has just forgotten is lost.
    received = int(said.split(" received")[0].split()[-1])
    assert received >= 200 - 2 * one.moves, said
    one.end("receiver_index")


@pytest.mark.skipif(WHY_NO_TUNNEL is not None, reason=WHY_NO_TUNNEL or "-")
@needs("openvpn", "ping")
def test_an_openvpn_client_goes_on_from_whatever_address(way, start, certificate):
    one = way("openvpn")
    net = one.net
    common = ["openvpn", "--ca", certificate[0], "--cert", certificate[0], "--key", certificate[1], "--verb", "3", "--dev-type", "tun"]
    server = start(*net.inside(net.server, *common, "--proto", "udp4", "--local", SERVER[4], "--lport", "2222", "--server", "10.9.0.0", "255.255.255.0",
                               "--topology", "subnet", "--dh", "none", "--dev", f"ov{os.getpid() % 10000}s"))
    wait_until(lambda: server.said("Initialization Sequence Completed"), 20, "openvpn's server")
    client = start(*net.inside(net.client, *common, "--proto", "udp4", "--remote", USHER[4], "443", "--nobind", "--client",
                               "--dev", f"ov{os.getpid() % 10000}c"))
    wait_until(lambda: client.said("Initialization Sequence Completed"), 20, "the tunnel")
    net.run(net.client, "ping", "-q", "-c", "5", "-i", "0.2", "-W", f"{slow(5):.0f}", "10.9.0.1")
    one.wait_proven()
    one.begin()
    for workers in (1, 3, 2):
        one.move()
        one.reload(workers)
        net.run(net.client, "ping", "-q", "-c", "3", "-i", "0.2", "-W", f"{slow(5):.0f}", "10.9.0.1")
        one.move()
        one.upgrade()
        net.run(net.client, "ping", "-q", "-c", "3", "-i", "0.2", "-W", f"{slow(5):.0f}", "10.9.0.1")
    one.end("peer_id")
