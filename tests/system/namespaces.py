"""Three machines on this one: a client, the one that usher runs on, and a server behind it, each a network namespace.

    client  192.0.2.7      -- eth0 --  usher  192.0.2.1  198.51.100.1  -- eth1 --  server  198.51.100.2
            2001:db8:1::7                     2001:db8:1::1  2001:db8:2::1                 2001:db8:2::2
"""

import ctypes
import itertools
import os
import pathlib
import shutil
import subprocess
import threading

from harness import IS_ROOT, slow

CLIENT = {4: "192.0.2.7", 6: "2001:db8:1::7"}
USHER = {4: "192.0.2.1", 6: "2001:db8:1::1"}
SERVER = {4: "198.51.100.2", 6: "2001:db8:2::2"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}

CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)


def why_not():
    """Why there can be no namespaces here; None: there can."""
    if not IS_ROOT:
        return "needs root"
    name = f"usher-try-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        return "no network namespaces here: " + done.stderr.strip()
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


HOSTS = "127.0.0.1 localhost both.example\n::1 localhost both.example\n"


class Network:
    """net.client, net.usher and net.server are the names of the namespaces. On usher's, both.example is the loopback address
    of either family."""

    def __init__(self):
        number = next(_numbers)
        self.client, self.usher, self.server = (f"usher-{os.getpid()}-{number}-{name}" for name in ("c", "u", "s"))
        self.files = pathlib.Path("/etc/netns") / self.usher

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.client, self.usher, self.server):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self.files, ignore_errors=True)

    def _build(self):
        # What `ip netns exec' puts in the place of /etc/hosts.
        self.files.mkdir(parents=True)
        (self.files / "hosts").write_text(HOSTS)
        for name in (self.client, self.usher, self.server):
            self.host("ip", "netns", "add", name)
            self.ip(name, "link set lo up")
            # A packet's source must be where an answer to it would go: the strict form of it.
            for where in ("all", "default"):
                self.run(name, "sysctl", "-qw", f"net.ipv4.conf.{where}.rp_filter=1")
        for side, device, other in (("1", "eth0", self.client), ("2", "eth1", self.server)):
            self.host("ip", "link", "add", device, "netns", self.usher, "type", "veth", "peer", "name", "eth0", "netns", other)
            prefix4, prefix6 = ("192.0.2", "198.51.100")[side == "2"], f"2001:db8:{side}:"
            last = "7" if side == "1" else "2"
            for name, on, number in ((self.usher, device, "1"), (other, "eth0", last)):
                self.ip(name, f"addr add {prefix4}.{number}/24 dev {on}")
                self.ip(name, f"-6 addr add {prefix6}:{number}/64 dev {on} nodad")
                self.ip(name, f"link set {on} up")
            self.ip(other, f"route add default via {prefix4}.1")
            self.ip(other, f"-6 route add default via {prefix6}:1")

    @staticmethod
    def host(*command):
        subprocess.run(command, check=True)

    def ip(self, name, words):
        self.host("ip", "-n", name, *words.split())

    def inside(self, name, *command):
        """The command line that runs the command there; the process keeps its number."""
        return ["ip", "netns", "exec", name, *map(str, command)]

    def run(self, name, *command, timeout=30, **options):
        return subprocess.run(self.inside(name, *command), check=True, timeout=slow(timeout), **options)

    def output(self, name, *command):
        return self.run(name, *command, capture_output=True, text=True).stdout

    def call(self, name, function, *arguments):
        """Calls it in a thread that is there: sockets that it makes stay there."""
        result = []

        def there():
            with open(pathlib.Path("/run/netns") / name, "rb") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    result.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                result.append(function(*arguments))
            except Exception as error:  # the caller's affair, in its own thread
                result.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]


class Nat:
    """The client's datagrams to that port of usher's come from another address and port, as behind a router, which at rebind() forgets what it
    gave them before."""

    def __init__(self, net, port):
        self.net, self.rule = net, f"ip daddr {USHER[4]} udp dport {port}"
        for number in range(20, 30):
            net.ip(net.client, f"addr add 192.0.2.{number}/24 dev eth0")
        net.run(net.client, "nft", "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }")

    def rebind(self, address, port):
        rules = f"flush chain ip nat out; add rule ip nat out {self.rule} snat to {address}:{port}"
        self.net.run(self.net.client, "nft", rules)
        self.net.run(self.net.client, "conntrack", "-F", capture_output=True)
