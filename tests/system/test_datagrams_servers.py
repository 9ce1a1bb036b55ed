"""Real clients and servers over UDP: DNS, HTTP/3 by server name, DTLS, OpenVPN and a WireGuard tunnel, on one port."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from harness import IS_ROOT, NEVER, end_process, free_port, slow, wait_until
from namespaces import Network, why_not

NO_NAMES = None if IS_ROOT else "needs root: a mount namespace with another /etc/hosts"


def needs(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def udp_is_bound(port):
    return any(line.split()[1].endswith(f":{port:04X}") for table in ("udp", "udp6")
               for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:])


# ---- DNS


@needs("dig", "dnsmasq")
def test_dig_is_answered_by_a_dns_server(usher, start):
    port = free_port()
    start("dnsmasq", "--no-daemon", f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv",
          "--no-hosts", "--edns-packet-max=4096", "--address=/usher.test/192.0.2.7", "--txt-record=long.usher.test," + ",".join(["x" * 200] * 8))
    wait_until(lambda: udp_is_bound(port), what="dnsmasq")
    one = usher('listen = ("udp:127.0.0.1:{port}", "udp:[::1]:{port}"); '
                'services = ({ name = "dns"; match = "dns"; connect = "127.0.0.1:%d"; answers = 1; });' % port)
    for server in ("127.0.0.1", "::1"):
        done = subprocess.run(["dig", f"@{server}", "-p", str(one.port), "+short", "+tries=1", f"+timeout={slow(5):.0f}", "a.usher.test"],
                              capture_output=True, text=True, check=True)
        assert done.stdout == "192.0.2.7\n"
    done = subprocess.run(["dig", "@127.0.0.1", "-p", str(one.port), "+tries=1", f"+timeout={slow(5):.0f}", "+bufsize=4096", "+ignore",
                           "+short", "TXT", "long.usher.test"], capture_output=True, text=True, check=True)
    assert done.stdout.count("x" * 200) == 8
    lines = one.wait_connections(3)
    assert {(line["protocol"], line["end"], line["datagrams_up"], line["datagrams_down"]) for line in lines} == {
        ("dns", "finished", "1", "1")}


# ---- HTTP/3


class Site:
    """A server of HTTP/3 with one file."""

    def __init__(self, start, place, certificate, name, size):
        self.port = free_port()
        self.folder = place / name
        self.folder.mkdir()
        self.file = os.urandom(size)
        (self.folder / "file").write_bytes(self.file)
        start("gtlsserver", "-q", "-d", self.folder, "127.0.0.1", self.port, certificate[1], certificate[0])
        wait_until(lambda: udp_is_bound(self.port), what="a server of HTTP/3")


def get(place, name, port, *options):
    """The file by HTTP/3, from the server that has this name."""
    (place / "hosts").write_text(f"127.0.0.1 localhost {name}\n")
    into = place / "downloads"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    subprocess.run(["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(place / "hosts"),
                    "gtlsclient", "-q", "--exit-on-all-streams-close", f"--download={into}", *options, name, str(port),
                    f"https://{name}/file"],
                   check=True, capture_output=True, timeout=slow(60))
    return (into / "file").read_bytes()


HTTP3 = """
listen = "udp:127.0.0.1:{port}"; workers = %d; drain_timeout = 0.1; control = "{dir}/control";
services = ( { name = "one"; match = { protocol = "quic"; sni = "one.example"; }; connect = "127.0.0.1:{one}"; idle_timeout = {never}; },
             { name = "two"; match = { protocol = "quic"; sni = "*.two.example"; }; connect = "127.0.0.1:{two}"; idle_timeout = {never}; } );
"""


@pytest.mark.skipif(NO_NAMES is not None, reason=NO_NAMES or "-")
@needs("gtlsserver", "gtlsclient")
def test_http3_goes_to_the_server_of_its_name_also_across_reloads(usher, start, place, certificate):
    one_site, two_site = (Site(start, place, certificate, name, size) for name, size in (("one", 100000), ("two", 20 << 20)))
    one = usher(HTTP3 % 2, one=one_site.port, two=two_site.port, never=NEVER)
    assert get(place, "one.example", one.port) == one_site.file
    into = place / "later"
    into.mkdir()
    (place / "hosts").write_text("127.0.0.1 localhost www.two.example\n")
    download = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(place / "hosts"), "gtlsclient", "-q",
         "--exit-on-all-streams-close", f"--download={into}", "www.two.example", str(one.port), "https://www.two.example/file"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    reloads = 0
    try:
        while download.poll() is None and reloads < 10:
            one.reload(HTTP3 % (1 + reloads % 3))
            reloads += 1
        assert download.wait(slow(60)) == 0
    finally:
        end_process(download)
    assert (into / "file").read_bytes() == two_site.file
    assert {session["service"] for session in one.ask(b"sessions") if "client" in session} == {"one", "two"}


# ---- DTLS


@needs("openssl")
def test_dtls_reaches_its_server(usher, start, place, certificate):
    port = free_port()
    server = start("openssl", "s_server", "-dtls", "-accept", f"127.0.0.1:{port}", "-cert", certificate[0], "-key", certificate[1], "-quiet",
                   stdin=subprocess.PIPE)
    wait_until(lambda: udp_is_bound(port), what="a server of DTLS")
    one = usher('listen = "udp:127.0.0.1:{port}"; drain_timeout = 0.1; control = "{dir}/control"; services = '
                '({ name = "dtls"; match = { protocol = "dtls"; sni = "one.example"; }; connect = "127.0.0.1:%d"; });' % port)
    client = subprocess.Popen(["openssl", "s_client", "-dtls", "-connect", f"127.0.0.1:{one.port}", "-servername", "one.example", "-quiet"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        client.stdin.write(b"a question\n")
        client.stdin.flush()
        wait_until(lambda: server.said("a question"), 20, "the question at the server")
        server.process.stdin.write(b"an answer\n")
        server.process.stdin.flush()
        assert client.stdout.readline() == b"an answer\n"
    finally:
        end_process(client, signal_number=signal.SIGKILL)
    (session,) = [line for line in one.ask(b"sessions") if "client" in line]
    assert (session["protocol"], session["service"]) == ("dtls", "dtls")


# ---- OpenVPN


@needs("openvpn")
def test_openvpn_over_udp_reaches_its_server(usher, start, place, certificate):
    port = free_port()
    common = ["openvpn", "--dev", "null", "--ca", certificate[0], "--cert", certificate[0], "--key", certificate[1], "--ifconfig-noexec",
              "--verb", "3"]
    one = usher('listen = "udp:127.0.0.1:{port}"; drain_timeout = 0.1; services = '
                '({ name = "vpn"; match = "openvpn"; connect = "127.0.0.1:%d"; });' % port)
    start(*common, "--proto", "udp", "--local", "127.0.0.1", "--lport", port, "--tls-server", "--dh", "none")
    wait_until(lambda: udp_is_bound(port), what="openvpn's server")
    client = start(*common, "--proto", "udp", "--remote", "127.0.0.1", one.port, "--nobind", "--tls-client")
    wait_until(lambda: client.said("Peer Connection Initiated"), 20, "the tunnel")


# ---- WireGuard


WHY_NO_TUNNEL = why_not() or (None if os.path.exists("/dev/net/tun") else "no /dev/net/tun here")


def wireguard_keys():
    private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip()
    public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout.strip()
    return private, public


@pytest.mark.skipif(WHY_NO_TUNNEL is not None, reason=WHY_NO_TUNNEL or "-")
@needs("wireguard-go", "wg", "ping")
def test_a_wireguard_tunnel_lives_through_reloads_and_another_port_of_its_client(usher, start, place):
    """ping goes through it all the while, a datagram every 20 ms, and none of them is lost. From the other port the client goes on with
    data: its next handshake is minutes away."""
    with Network() as net:
        ends = {"client": (net.client, "10.9.0.1", wireguard_keys()), "server": (net.server, "10.9.0.2", wireguard_keys())}
        config = """
            listen = "udp:192.0.2.1:51820"; workers = %d; drain_timeout = 0.1;
            services = ({ name = "wireguard"; match = "wireguard"; connect = "198.51.100.2:51820"; });"""
        one = usher(config % 2, wrapper=lambda command: net.inside(net.usher, *command))
        for name, (where, address, (private, _)) in ends.items():
            other = "server" if name == "client" else "client"
            device = f"wg{os.getpid() % 10000}{name[0]}"
            (place / f"key-{name}").write_text(private)
            tunnel = start(*net.inside(where, "wireguard-go", "--foreground", device))
            wait_until(lambda: tunnel.process.poll() is not None or
                       subprocess.run(net.inside(where, "wg", "show", device), capture_output=True, check=False).returncode == 0,
                       what="wireguard-go")
            assert tunnel.process.poll() is None, tunnel.log_path.read_text(errors="replace")
            peer = ["peer", ends[other][2][1], "allowed-ips", ends[other][1] + "/32"]
            if name == "client":
                client_device = device
                peer += ["endpoint", "192.0.2.1:51820"]
            net.run(where, "wg", "set", device, "listen-port", "51820", "private-key", place / f"key-{name}", *peer)
            net.ip(where, f"addr add {address}/24 dev {device}")
            net.ip(where, f"link set {device} up")
        net.run(net.client, "ping", "-q", "-c", "3", "-i", "0.2", "-W", f"{slow(5):.0f}", "10.9.0.2")
        ping = subprocess.Popen(net.inside(net.client, "ping", "-q", "-c", "100", "-i", "0.02", "-W", f"{slow(5):.0f}", "10.9.0.2"),
                                stdout=subprocess.PIPE, text=True)
        for workers in (1, 3, 2, 1, 2):
            one.reload(config % workers)
        said, _ = ping.communicate(timeout=slow(30))
        assert "100 packets transmitted, 100 received" in said, said
        net.run(net.client, "wg", "set", client_device, "listen-port", "51821")
        net.run(net.client, "ping", "-q", "-c", "3", "-i", "0.2", "-W", f"{slow(5):.0f}", "10.9.0.2")
    one.stop()
    assert {line["client"] for line in one.connections(service="wireguard")} == {"192.0.2.7:51820", "192.0.2.7:51821"}
