"""Flows that the kernel forwards (through = "kernel"), between three network namespaces. Needs root and a kernel with nftables; says so where
that is not there."""

import collections
import contextlib
import re
import signal
import subprocess

import namespaces
import pytest
from datagrams import Server, client
from harness import SOURCE, run_usher, wait_until
from namespaces import CLIENT, SERVER, USHER
from test_explain import chromium_datagrams

RULES = """table inet try {
	set s { type ipv4_addr; flags dynamic,timeout; }
	ct timeout t { protocol udp; l3proto ip; policy = { unreplied : 9 }; }
	chain a {
		type filter hook prerouting priority -300;
		fib daddr type local ct original zone set 1 notrack
	}
	chain b {
		type nat hook output priority -100;
		meta l4proto udp ct timeout set "t" dnat ip to 192.0.2.9:9
	}
}
"""


def why_not():
    reason = namespaces.why_not()
    if reason:
        return reason
    with namespaces.Network() as network:
        try:
            done = subprocess.run(network.inside(network.usher, "nft", "-f", "-"), input=RULES, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return "there is no nft(8)"
        return done.stderr.strip().partition("\n")[0] if done.returncode else None


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

CONFIG = """
listen = ( "udp:0.0.0.0:4443", "udp:[::]:4443" ); workers = %d; decide_timeout = 30.0; control = "{dir}/control";
protocols = ( { name = "plain"; string = "PLAIN"; } );
services = ( { name = "game"; match = { protocol = "quic"; sni = "shop.example.com"; }; connect = [ "{four}", "{six}" ]; through = "kernel"; %s },
             { name = "relayed"; match = "plain"; connect = "{four}"; } );
"""


@pytest.fixture
def net():
    with namespaces.Network() as network:
        network.run(network.usher, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        yield network


@pytest.fixture
def servers(net):
    both = {family: net.call(net.server, Server, (SERVER[family], 4431)) for family in (4, 6)}
    yield both
    for one in both.values():
        net.call(net.server, one.close)


@pytest.fixture
def start(usher, net, servers):
    def begin(more="", workers=2, config=CONFIG, prefix=(), **options):
        one = usher(config % (workers, more), four=servers[4].text(), six=servers[6].text(),
                    wrapper=lambda command: net.inside(net.usher, *prefix, *command), **options)
        one.table = table_of(one)
        return one

    return begin


def table_of(one):
    done = run_usher("check", "-c", str(one.file))
    return re.search(r"^table inet (\S+)", done.stdout, re.M).group(1)


def tables(net):
    return sorted(re.findall(r"table \S+ (\S+)", net.output(net.usher, "nft", "list", "tables")))


def wait_rules(net, one):
    """Until the kernel has the table: a client that comes before that is served later, but then kept datagrams may be too many."""
    wait_until(lambda: one.table in tables(net), 20.0, "the table")


def flows(net, one):
    return re.findall(r"\S+ \. \d+ \. \S+ \. \d+ timeout", net.output(net.usher, "nft", "list", "table", "inet", one.table))


def talker(net, family, port=0):
    return net.call(net.client, lambda: client(4443, USHER[family], (CLIENT[family], port)))


OPENING = chromium_datagrams()  # of which the first one decides nothing


def opened(net, family, port=0):
    """A client whose flow is decided, with the answers to what decided it."""
    one = talker(net, family, port)
    for datagram in OPENING:
        one.send(datagram)
    assert [one.recv(2000) for _ in OPENING] == OPENING
    return one


@pytest.mark.parametrize("family", [4, 6])
def test_the_backend_sees_the_client_and_all_its_first_datagrams_in_order(start, net, servers, family):
    one = start()
    wait_rules(net, one)
    with opened(net, family, 5353) as talking:
        (line,) = one.wait_connections(1, end="given-to-kernel")
        assert line["service"] == "game" and line["datagrams_up"] == str(len(OPENING))
        talking.send(b"later")
        assert talking.recv(100) == b"later"  # from the address that was asked: the socket is connected
        assert servers[family].datagrams() == [*OPENING, b"later"]
        assert {(host, port) for _, (host, port, *_), _ in servers[family].got} == {(CLIENT[family], 5353)}
        assert len(flows(net, one)) == 1
    # Nothing of it is left with usher, and nothing new came there.
    assert len(one.connections()) == 1
    assert one.ask(b"sessions") == []


def test_a_client_may_have_the_port_of_the_listener_or_a_low_one(start, net, servers):
    one = start()
    wait_rules(net, one)
    for port in (4443, 123):
        with opened(net, 4, port):
            assert servers[4].got[-1][1] == (CLIENT[4], port)


def test_what_is_undecided_or_for_others_is_not_tracked(start, net, servers):
    one = start()
    wait_rules(net, one)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(talker(net, 4)).send(OPENING[0])
            stack.enter_context(talker(net, 4)).send(b"what nobody wants")
        plain = stack.enter_context(talker(net, 4))
        plain.send(b"PLAIN")
        assert plain.recv(100) == b"PLAIN"
        assert servers[4].got[0][1][0] == "198.51.100.1"  # usher relays that
        tracked = net.output(net.usher, "cat", "/proc/net/nf_conntrack") if has_list(net) else ""
        assert "dport=4443" not in tracked and "sport=4443" not in tracked


def has_list(net):
    return subprocess.run(net.inside(net.usher, "test", "-r", "/proc/net/nf_conntrack"), check=False).returncode == 0


def test_flows_go_on_when_usher_has_ended(start, net, servers):
    one = start()
    wait_rules(net, one)
    with opened(net, 4) as talking, opened(net, 6) as other:
        one.wait_connections(2, end="given-to-kernel")
        one.stop()
        assert "stays for them" in one.output()
        for i in range(10):
            for each in (talking, other):
                each.send(b"on %d" % i)
                assert each.recv(100) == b"on %d" % i
    assert one.table in tables(net)


def test_flows_go_on_when_usher_was_killed_and_the_next_one_takes_the_table_over(start, net, servers):
    one = start(may_crash=True, status=-signal.SIGKILL)
    wait_rules(net, one)
    with opened(net, 4) as talking:
        one.wait_connections(1, end="given-to-kernel")
        one.send_signal(signal.SIGKILL)
        one.process.wait()
        talking.send(b"on")
        assert talking.recv(100) == b"on"
        next_one = start(directory=one.dir)
        wait_until(lambda: len(flows(net, next_one)) == 1, 10.0)
        talking.send(b"on and on")
        assert talking.recv(100) == b"on and on"
        assert next_one.connections() == []


def test_no_table_is_left_and_no_other_is_touched(start, net, servers):
    other = "table ip other {\n\tchain c {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tcounter packets 0 bytes 0\n\t}\n}\n"
    net.run(net.usher, "nft", "-f", "-", input=other.replace("counter packets 0 bytes 0", "tcp dport 1 accept"), text=True)
    before = net.output(net.usher, "nft", "list", "ruleset")
    one = start()
    wait_rules(net, one)
    assert before in net.output(net.usher, "nft", "list", "ruleset")
    one.reload()
    one.stop()
    assert net.output(net.usher, "nft", "list", "ruleset") == before


def test_a_reload_keeps_flows_and_takes_those_of_backends_that_are_gone(start, net, servers):
    one = start()
    wait_rules(net, one)
    with opened(net, 4) as talking, opened(net, 6) as other:
        one.wait_connections(2, end="given-to-kernel")
        one.reload()
        one.send_signal(signal.SIGUSR2)
        one.wait_log("serving: ", count=3, timeout=30.0)
        for each in (talking, other):
            each.send(b"on")
            assert each.recv(100) == b"on"
        # Without the backend of IPv6 its flow is undecided, and usher gets its datagrams.
        one.reload(CONFIG.replace(', "{six}"', "") % (2, ""))
        wait_until(lambda: len(flows(net, one)) == 1, 10.0, "one flow to be left")
        talking.send(b"still")
        assert talking.recv(100) == b"still"
        other.send(b"lost")
        with pytest.raises(TimeoutError):
            other.settimeout(1.0)
            other.recv(100)
        # And without a service of the kind the table goes.
        one.reload('listen = "udp:0.0.0.0:4443"; services = ( { name = "x"; match = "dns"; connect = "{four}"; } );')
        wait_until(lambda: tables(net) == [], 10.0, "the table to go")


def test_a_client_comes_to_another_backend_when_its_own_is_gone(start, net, servers):
    one = start()
    wait_rules(net, one)
    with net.call(net.server, Server, (SERVER[4], 4432)).socket as second, opened(net, 4) as talking:
        one.wait_connections(1, end="given-to-kernel")
        one.reload(CONFIG.replace("{four}", f"{SERVER[4]}:4432").replace("{six}", "{six}") % (2, ""))
        wait_until(lambda: not flows(net, one), 10.0)
        for datagram in OPENING:
            talking.send(datagram)
        assert [talking.recv(2000) for _ in OPENING] == OPENING
        assert servers[4].datagrams() == OPENING  # the kernel tracks the old way still, and does not take it
        assert second.getsockname()[1] == 4432


def test_many_flows_at_once_each_whole(start, net, servers):
    one = start(workers=2)
    wait_rules(net, one)
    with contextlib.ExitStack() as stack:
        talkers = [stack.enter_context(talker(net, 4)) for _ in range(100)]
        for datagram in OPENING:
            for talking in talkers:
                talking.send(datagram)
        for i in range(3):
            for talking in talkers:
                talking.send(b"%d" % i)
        wait_until(lambda: len(servers[4].got) >= 100 * (len(OPENING) + 3), 20.0, "all datagrams")
        one.wait_connections(100, end="given-to-kernel", timeout=20.0)
        got = collections.defaultdict(list)
        for datagram, peer, _ in servers[4].got:
            got[peer[1]].append(datagram)
        assert {talking.getsockname()[1] for talking in talkers} == set(got)
        for datagrams in got.values():
            assert [each for each in datagrams if each in OPENING] == OPENING
            assert sorted(datagrams) == sorted([*OPENING, b"0", b"1", b"2"])


def test_rules_that_somebody_took_away_are_put_in_again(start, net, servers):
    one = start()
    wait_rules(net, one)
    net.run(net.usher, "nft", "flush", "ruleset")
    with opened(net, 4):
        (line,) = one.wait_connections(1)
        assert line["end"] == "given-to-kernel"
        one.wait_log("is not in the kernel any more")
        assert servers[4].datagrams() == OPENING
        assert {peer[0] for _, peer, _ in servers[4].got} == {CLIENT[4]}
        assert one.table in tables(net)


def test_a_full_set_fails_the_delivery(start, net, servers):
    one = start()
    wait_rules(net, one)
    rules = net.output(net.usher, "nft", "-s", "list", "table", "inet", one.table).replace("size 65535", "size 1").replace("size 65536", "size 1")
    net.run(net.usher, "nft", "-f", "-", input=f"delete table inet {one.table}\n" + rules, text=True)
    with opened(net, 4):
        with talker(net, 4) as talking:
            for datagram in OPENING:
                talking.send(datagram)
            one.wait_connections(1, end="delivery-failed")
            assert "Operation not permitted" in one.output()


def test_clients_of_this_machine_are_not_forwarded(start, net, servers):
    one = start(more='fallback = "relayed";')
    wait_rules(net, one)

    with net.call(net.usher, client, 4443, USHER[4]) as local:
        for datagram in OPENING:
            local.send(datagram)
        assert [local.recv(2000) for _ in OPENING] == OPENING
    one.wait_log("service game failed .*, falling back to relayed")


def test_without_the_capability_the_log_says_so(start, net, servers):
    one = start(prefix=("setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin"))
    one.wait_log("flows cannot be given to the kernel: usher needs root or CAP_NET_ADMIN")
    with talker(net, 4) as talking:
        for datagram in OPENING:
            talking.send(datagram)
        one.wait_connections(1, end="delivery-failed")
    assert tables(net) == []


def test_a_kernel_that_does_not_forward_is_told_of(start, net, servers):
    net.run(net.usher, "sysctl", "-qw", "net.ipv4.ip_forward=0")
    one = start()
    one.wait_log(r"the kernel will not forward flows of service game to .*: net\.ipv4\.ip_forward is 0, expected 1")


def test_the_example_does_what_it_says(start, net, servers):
    text = (SOURCE / "examples/forwarded.conf").read_text()
    for found, by in (("udp:0.0.0.0:443", "udp:0.0.0.0:4443"), ("198.51.100.2:443", servers[4].text())):
        assert found in text
        text = text.replace(found, by)
    one = start(config=text + "# %d %s\n")
    wait_rules(net, one)
    with opened(net, 4):
        (line,) = one.wait_connections(1, end="given-to-kernel")
        assert line["service"] == "shop" and servers[4].got[0][1][0] == CLIENT[4]


def test_access_rules_hold_before_the_kernel_gets_it(start, net, servers):
    one = start(more=f'deny = [ "{CLIENT[4]}" ];')
    wait_rules(net, one)
    with talker(net, 4) as talking:
        for datagram in OPENING:
            talking.send(datagram)
        one.wait_connections(1, end="refused")
    assert not flows(net, one) and not servers[4].got
