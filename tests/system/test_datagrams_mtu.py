"""Datagrams that are larger than the way to the backend or to the client has room for, and a way that gets narrower while a flow is open: by a link
of usher's own machine, which its kernel knows, and by one behind it, of which a router's report comes (ICMP)."""

import contextlib
import socket
import time

import pytest
from datagrams import Server, client
from harness import NEVER, slow, wait_until
from namespaces import SERVER, USHER, Network, why_not
from test_explain import chromium_datagrams

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "-")

FAR = {4: "203.0.113.2", 6: "2001:db8:3::2"}  # the backend's, behind the server's machine, which is a router
ROUTER = {4: "203.0.113.1", 6: "2001:db8:3::1"}
BIG, SMALL, NARROW = b"B" * 1400, b"S" * 900, 1300

CONFIG = """
listen = ( "udp:192.0.2.1:443", "udp:[2001:db8:1::1]:443" ); workers = 1; control = "{dir}/control"; drain_timeout = 0.1;
services = ( { name = "whole"; match = "quic"; connect = [ "{host}:1111", "{host}:2222" ]; idle_timeout = {never}; },
             { name = "plain"; connect = [ "{host}:1111", "{host}:2222" ]; idle_timeout = {never}; } );
on_unknown = "plain";
"""


class Way:
    """usher and a backend behind a router; a second backend would get what leaves the first."""

    def __init__(self, net, far, usher, family):
        self.net, self.far, self.family = net, far, family
        host = f"[{FAR[6]}]" if family == 6 else FAR[4]
        self.servers = [net.call(far, lambda port=port: Server((FAR[family], port))) for port in (1111, 2222)]
        self.usher = usher(CONFIG, wrapper=lambda command: net.inside(net.usher, *command), host=host, never=NEVER)

    def client(self):
        one = self.net.call(self.net.client, client, 443, USHER[self.family])
        one.setsockopt(*((socket.IPPROTO_IPV6, 23) if self.family == 6 else (socket.IPPROTO_IP, 10)), 0)  # may be fragmented
        return one

    def narrow(self, *links):
        for name, link in links:
            self.net.ip(name, f"link set {link} mtu {NARROW}")

    def counts(self):
        return self.usher.ask(b"status")[0]["datagrams"]

    def assert_unhurt(self, n=1):
        """The flows that there were are open, went to the first backend, and nobody takes that for broken."""
        assert len([line for line in self.usher.ask(b"sessions") if "client" in line]) == n
        assert self.usher.connections() == []
        assert all(service["failed"] == 0 for service in self.usher.ask(b"status")[0]["services"])
        assert self.servers[1].datagrams() == []

    def close(self):
        for server in self.servers:
            self.net.call(self.far, server.close)


@pytest.fixture(params=[4, 6], ids=["ip4", "ip6"])
def way(usher, request):
    with Network() as net, contextlib.ExitStack() as after:
        far = net.server + "-far"
        net.host("ip", "netns", "add", far)
        after.callback(net.host, "ip", "netns", "del", far)
        net.ip(far, "link set lo up")
        net.host("ip", "link", "add", "eth1", "netns", net.server, "type", "veth", "peer", "name", "eth0", "netns", far)
        for name, link, address in ((net.server, "eth1", ROUTER), (far, "eth0", FAR)):
            net.ip(name, f"addr add {address[4]}/24 dev {link}")
            net.ip(name, f"-6 addr add {address[6]}/64 dev {link} nodad")
            net.ip(name, f"link set {link} up")
        net.ip(far, f"route add default via {ROUTER[4]}")
        net.ip(far, f"-6 route add default via {ROUTER[6]}")
        net.ip(net.usher, f"route add 203.0.113.0/24 via {SERVER[4]}")
        net.ip(net.usher, f"-6 route add 2001:db8:3::/64 via {SERVER[6]}")
        net.run(net.server, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        one = Way(net, far, usher, request.param)
        after.callback(one.close)
        yield one


def hear(one, datagram):
    """Sent until the answer comes: what meets a narrower way first is lost there."""
    one.settimeout(0.2)
    for _ in range(int(slow(30) / 0.2)):
        one.send(datagram)
        with contextlib.suppress(TimeoutError):
            while one.recv(65536) != datagram:
                pass
            one.settimeout(slow(10))
            return
    raise AssertionError("no answer")


def begin(one, protocol):
    """A flow that was answered."""
    for datagram in chromium_datagrams() if protocol == "quic" else [SMALL]:
        hear(one, datagram)


def test_a_link_of_this_machine_gets_narrower(way):
    with way.client() as plain, way.client() as whole:
        begin(plain, "any")
        begin(whole, "quic")
        hear(plain, BIG)
        hear(whole, BIG)
        way.narrow((way.net.usher, "eth1"), (way.net.server, "eth0"))
        before = way.counts()
        hear(plain, BIG)
        wait_until(lambda: way.counts()["fragmented"] > before["fragmented"], 10, "the fragments to be counted")
        assert way.counts()["too_big"] == before["too_big"]
        whole.send(BIG)
        hear(whole, SMALL)
        assert way.counts()["too_big"] == before["too_big"] + 1
        assert way.servers[0].datagrams()[-1] == SMALL
        way.assert_unhurt(2)


def test_a_link_to_the_clients_gets_narrower(way):
    with way.client() as plain:
        begin(plain, "any")
        way.narrow((way.net.usher, "eth0"), (way.net.client, "eth0"))
        before = way.counts()
        hear(plain, BIG)  # the client's kernel sends it in fragments
        wait_until(lambda: way.counts()["fragmented"] > before["fragmented"], 10, "the fragments to be counted")
        way.assert_unhurt()


def test_a_link_on_the_way_gets_narrower_for_what_may_be_fragmented(way):
    with way.client() as one:
        begin(one, "any")
        hear(one, BIG)
        way.narrow((way.net.server, "eth1"), (way.far, "eth0"))
        hear(one, BIG)
        assert way.counts()["fragmented"] > 0
        way.assert_unhurt()


def test_a_link_on_the_way_gets_narrower_for_what_may_not(way):
    """The client's endpoint finds out by what is lost. However long it tries, the router's reports are nothing that the backend says."""
    with way.client() as one:
        begin(one, "quic")
        hear(one, BIG)
        way.narrow((way.net.server, "eth1"), (way.far, "eth0"))
        for _ in range(30):
            one.send(BIG)
            time.sleep(0.1)
        hear(one, SMALL)
        assert way.counts()["fragmented"] == 0
        way.assert_unhurt()


def test_a_router_s_report_before_the_first_answer_is_no_refusal(way):
    """What is sent first is lost; the client sends it again, and gets an answer from the backend that was chosen."""
    way.narrow((way.net.server, "eth1"), (way.far, "eth0"))
    with way.client() as one:
        hear(one, BIG)
        wait_until(lambda: way.counts()["fragmented"] > 0, what="fragments")
        way.assert_unhurt()
