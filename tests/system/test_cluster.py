"""Several machines, as docs/cluster.md has them: which clients are cut when one dies or drains, and that new ones are served."""

import re
import signal
import time

import pytest
from clusters import Cluster, Flow, Serving, Stream, have_nexthops
from harness import SOURCE, slow, wait_until
from namespaces import why_not
from recipes import HAPROXY, Program
from servers import have

NO_NAMES = why_not()
pytestmark = pytest.mark.skipif(NO_NAMES is not None, reason=NO_NAMES or "-")

_, *PARTS = re.split(r"^## (.*)\n", (SOURCE / "docs/cluster.md").read_text(), flags=re.M)
BLOCKS = {heading: re.findall(r"^```(?:conf|sh|)\n(.*?)^```", part, re.M | re.S) for heading, part in zip(PARTS[::2], PARTS[1::2])}
STREAMS = 24


class Site:
    """Three ushers in a cluster, with what brings clients to them."""

    def __init__(self, net, usher, place):
        self.net, self.place, self.programs = net, place, []
        self.usher, self.ushers = usher, []

    def start(self, text=None):
        for machine in self.net.machines:
            self.ushers.append(self.usher((text or BLOCKS["usher"][0]) + "workers = 1; control = \"{dir}/control\";\n",
                                          wrapper=lambda command, machine=machine: self.net.inside(machine, *command)))

    def run(self, where, name, text, *command):
        self.programs.append(Program(self.place, name, text, self.net.inside(where, *command)))

    def stream(self, address, timeout=1.0):
        return self.net.call(self.net.client, Stream, address, timeout)

    def streams(self, *addresses):
        return [self.stream(addresses[number % len(addresses)], slow(5)) for number in range(STREAMS)]

    def flows(self, *addresses):
        made = [self.net.call(self.net.client, Flow, addresses[number % len(addresses)]) for number in range(8)]
        servers = {wait_until(flow.server, what="an answer") for flow in made}
        assert len(servers) == 1, "all of one source have one server"
        return made, servers.pop()

    def serves(self, address, timeout=0.3):
        try:
            self.stream(address, timeout).sock.close()
            return True
        except (OSError, EOFError):
            return False

    def said_by(self, number):
        """What that machine's keepalived has logged."""
        return self.programs[number - 1].log_path.read_text()

    def end(self):
        for program in self.programs:
            program.process.terminate()
        for program in self.programs:
            program.end()
        for one in self.ushers:
            one.stop(signal.SIGINT)


@pytest.fixture
def site(usher, place):
    place.chmod(0o755)
    with Cluster() as net:
        servers = Serving(net)
        one = Site(net, usher, place)
        try:
            yield one
        finally:
            one.end()
            servers.close()


def divided(site, streams):
    """(those of machine 1, all others), by the ports of the clients that it knows."""
    ports = {int(one["client"].rpartition(":")[2]) for one in site.ushers[0].ask(b"sessions") if "client" in one and "datagrams_up" not in one}
    theirs = [stream for stream in streams if stream.sock.getsockname()[1] in ports]
    rest = [stream for stream in streams if stream not in theirs]
    assert theirs and rest
    return theirs, rest


def check(site, streams, cut, kept, flows, address):
    """`cut' are, `kept' are not, new streams and all flows are served as before."""
    assert [stream for stream in kept if not stream.lives()] == []
    assert [stream for stream in cut if stream.lives()] == []
    made, server = flows
    for flow in made:
        assert wait_until(flow.server, what="an answer") == server
    assert site.stream(address, slow(5)).server == streams[0].server == server


# ---- keepalived

ADDRESSES = ("192.0.2.101", "192.0.2.102", "192.0.2.103")


def held(site, machine):
    """Which of the addresses it has."""
    return set(re.findall(r"192\.0\.2\.10\d", site.net.output(machine, "ip", "-o", "addr", "show", "dev", "eth0")))


@pytest.fixture
def floating(site):
    if not have("keepalived"):
        pytest.skip("keepalived: not installed")
    site.start()
    (text,) = BLOCKS["keepalived"]
    for number, machine in enumerate(site.net.machines):
        priorities = iter(((150, 130, 140), (140, 150, 130), (130, 140, 150))[number])
        (site.place / f"{number}").mkdir()
        site.run(machine, f"keepalived-{number}.conf", re.sub(r"\bpriority \d+", lambda _: f"priority {next(priorities)}", text),
                 "keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", "FILE", "-p", site.place / f"{number}/pid", "-r", site.place / f"{number}/vrrp")
    wait_until(lambda: [held(site, machine) for machine in site.net.machines] == [{address} for address in ADDRESSES], 20, "each to have its address")
    return site


def test_an_address_of_keepalived_moves_and_cuts_the_streams_of_its_machine_alone(floating):
    settled = len(floating.said_by(3))
    streams, flows = floating.streams(*ADDRESSES), floating.flows(*ADDRESSES)
    for address in ADDRESSES[:2]:
        theirs = [stream for stream in streams if stream.sock.getpeername()[0] == address]
        began = time.monotonic()
        if address == ADDRESSES[0]:
            floating.ushers[0].send_signal(signal.SIGTERM)
            wait_until(lambda: not floating.serves(ADDRESSES[0]), what="the end of its service")
        else:
            floating.net.unplug(2)
        wait_until(lambda: floating.serves(address), 20, "another machine")
        print(f"keepalived, {'drains' if address == ADDRESSES[0] else 'dies'}: {time.monotonic() - began:.2f} s")
        streams = [stream for stream in streams if stream not in theirs]
        if "(usher3) Entering" in floating.said_by(3)[settled:]:
            pytest.skip("this machine is too busy for keepalived: it moved another address as well")
        check(floating, streams, theirs, streams, flows, address)


# ---- equal-cost routes


def test_an_equal_cost_route_that_is_taken_away_cuts_the_streams_of_its_machine_alone(site):
    if not have_nexthops():
        pytest.skip("iproute2 without resilient groups of next hops")
    site.start()
    on_machines, on_router, changes = BLOCKS["Equal-cost routes"]
    for machine in site.net.machines:
        site.net.run(machine, "sh", "-ec", on_machines)
    site.net.run(site.net.router, "sh", "-ec", on_router)
    address = "203.0.113.1"
    streams, flows = site.streams(address), site.flows(address)
    theirs, rest = divided(site, streams)
    site.net.unplug(1)
    began = time.monotonic()
    away, back = changes.splitlines()
    site.net.run(site.net.router, *away.split())
    wait_until(lambda: all(site.serves(address) for _ in range(8)), 20, "the others")
    print(f"equal-cost routes: {time.monotonic() - began:.2f} s")
    check(site, streams, theirs, rest, flows, address)
    site.net.run(site.net.router, *back.split())
    assert all(stream.lives() for stream in rest), "a machine that comes back takes none away"


# ---- HAProxy


@pytest.fixture
def balanced(site):
    if not have(HAPROXY):
        pytest.skip(f"{HAPROXY}: not installed")
    lines, config = BLOCKS["A load balancer"]
    site.start(re.sub(r"^listen = .*\n", lines, BLOCKS["usher"][0], flags=re.M))

    def start(config):
        site.run(site.net.router, "haproxy.cfg", config, HAPROXY, "-db", "-f", "FILE")
        wait_until(lambda: site.serves("10.0.0.1"), what="HAProxy")

    site.balance, site.config = start, config
    return site


def test_a_load_balancer_ends_the_streams_of_a_machine_that_dies_alone(balanced):
    balanced.balance(balanced.config)
    streams = balanced.streams("10.0.0.1")
    theirs, rest = divided(balanced, streams)
    balanced.net.unplug(1)
    began = time.monotonic()
    wait_until(lambda: all(balanced.serves("10.0.0.1", 3) for _ in range(6)), 20, "the others")
    print(f"HAProxy, a client that is served by a retry: {time.monotonic() - began:.2f} s")
    assert all(stream.lives() for stream in rest)
    assert not any(stream.lives() for stream in theirs)
    print(f"HAProxy, dies: {time.monotonic() - began:.2f} s")


def test_a_load_balancer_cuts_nobody_when_a_machine_drains(balanced):
    balanced.balance(balanced.config.replace(" on-marked-down shutdown-sessions", ""))
    streams = balanced.streams("10.0.0.1")
    theirs, rest = divided(balanced, streams)
    balanced.ushers[0].send_signal(signal.SIGTERM)
    assert all(balanced.serves("10.0.0.1", slow(5)) for _ in range(12))
    assert all(stream.lives() for stream in theirs + rest)
