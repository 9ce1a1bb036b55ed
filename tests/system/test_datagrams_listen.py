"""Listeners on UDP: their sockets are bound once, as a group that keeps its size and is shared out among the workers; `usher check` says
what each listener looks for."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest
from datagrams import udp_inodes
from harness import BINARY, IS_ROOT, connect, free_port, read_exactly, run_usher, slow, wait_until, write_config
from test_servers_activation import HAS_SYSTEMD, launched_with

needs_systemd = pytest.mark.skipif(not HAS_SYSTEMD, reason="built without libsystemd")

CONFIG = """
listen = ( {listen} ); workers = {workers}; {more}
services = ( {{ name = "go"; match = "http"; connect = "{{echo}}"; }},
             {{ name = "vpn"; match = "wireguard"; connect = "127.0.0.1:{{port_dead}}"; }} );
"""

BOTH = '"127.0.0.1:{port}", "udp:127.0.0.1:{port}", "udp:[::1]:{port}"'


def config(listen=BOTH, workers=2, more=""):
    return CONFIG.format(listen=listen, workers=workers, more=more)


needs_descriptors = pytest.mark.skipif(not IS_ROOT, reason="needs root: to look at the descriptors of an unprivileged worker")


def inodes_of(pid):
    """Of the sockets that a process has open."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if link.startswith("socket:["):
            found.add(int(link[8:-1]))
    return found


def shares(one, port):
    """The sockets of the port's group that each worker has."""
    group = set(udp_inodes(port))
    return [sorted(group & inodes_of(pid)) for pid in one.workers]


def speaks_http(port):
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return read_exactly(client, 3) == b"GET"


# ---- the group


def test_tcp_and_udp_share_a_port_in_both_families(usher, echo):
    one = usher(config(more='control = "{dir}/control";'), echo=echo.tcp4)
    assert len(udp_inodes(one.port)) == len(udp_inodes(one.port, "udp6")) == 16
    assert speaks_http(one.port)
    listeners = [listener["address"] for listener in one.ask(b"status")[0]["listeners"]]
    assert listeners == [f"127.0.0.1:{one.port}", f"udp:127.0.0.1:{one.port}", f"udp:[::1]:{one.port}"]


@needs_descriptors
@pytest.mark.parametrize("workers", [1, 3])
def test_each_socket_is_one_workers(usher, echo, workers):
    one = usher(config(workers=workers), echo=echo.tcp4)
    found = shares(one, one.port)
    assert len(found) == workers
    assert sorted(inode for share in found for inode in share) == udp_inodes(one.port)
    assert max(map(len, found)) - min(map(len, found)) <= 1


@needs_descriptors
def test_a_worker_that_dies_leaves_its_sockets_to_the_next(usher, echo):
    one = usher(config(), echo=echo.tcp4, may_crash=True)
    before = {pid: share for pid, share in zip(one.workers, shares(one, one.port))}
    victim = one.workers[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(one.workers_but([victim])) == 2, 10, "another worker")
    (fresh,) = set(one.workers) - set(before)
    wait_until(lambda: sorted(set(udp_inodes(one.port)) & inodes_of(fresh)) == before[victim], 10, "the same sockets")


@needs_descriptors
def test_a_reload_keeps_the_sockets_whatever_becomes_of_the_workers(usher, echo):
    one = usher(config(workers=2), echo=echo.tcp4)
    before = udp_inodes(one.port)
    for workers in (3, 1, 16):
        one.reload(config(workers=workers))
        assert udp_inodes(one.port) == before
        wait_until(lambda: len(one.workers) == workers, 10, "the workers of the reload alone")
        found = shares(one, one.port)
        assert sorted(inode for share in found for inode in share) == before
        assert max(map(len, found)) - min(map(len, found)) <= 1


def test_more_workers_than_sockets_are_logged(usher, echo):
    one = usher(config(workers=2), echo=echo.tcp4)
    before = udp_inodes(one.port)
    one.reload(config(workers=18))
    (line,) = one.wait_log(rf"udp:127\.0\.0\.1:{one.port} has 16 sockets: of the 18 workers 2 get no datagrams from it")
    assert line.level == "notice" and udp_inodes(one.port) == before
    assert speaks_http(one.port), "connections all workers accept"


def test_the_group_is_as_large_as_the_workers_are_many(usher, echo):
    one = usher(config(workers=17), echo=echo.tcp4)
    assert len(udp_inodes(one.port)) == 32


@needs_descriptors
def test_an_upgrade_keeps_the_sockets(copied, echo):
    one = copied(config(workers=2, more='control = "{dir}/control";'), echo=echo.tcp4)
    before = udp_inodes(one.port)
    (answer,) = one.ask(b"upgrade", 25)
    one.seen.look()
    assert answer == {"done": "upgraded"}
    assert udp_inodes(one.port) == before
    wait_until(lambda: sorted(i for share in shares(one, one.port) for i in share) == before, 10, "the new workers alone")


def test_a_listener_that_goes_gives_its_sockets_up(usher, echo):
    one = usher(config(), echo=echo.tcp4)
    one.reload(config('"127.0.0.1:{port}"'))
    wait_until(lambda: not udp_inodes(one.port) and not udp_inodes(one.port, "udp6"), 10, "no sockets")
    one.reload(config())
    assert len(udp_inodes(one.port)) == 16


# ---- what is in the way


def test_a_port_in_use_names_its_owner(usher, echo):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        one = usher(config(f'"udp:127.0.0.1:{port}"'), echo=echo.tcp4, serving=False, status=1)
        one.process.wait(slow(10))
        assert f"cannot listen on udp:127.0.0.1:{port}: Address already in use, held by python3, pid {os.getpid()}" in \
            one.output().replace(f"python3.{sys.version_info.minor}", "python3")


def test_the_group_of_another_program_of_the_same_user_is_not_joined(usher, echo):
    """With SO_REUSEPORT alone the kernel would let it in, and give it a part of the other's datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        one = usher(config(f'"udp:127.0.0.1:{port}"'), echo=echo.tcp4, serving=False, status=1)
        one.process.wait(slow(10))
        assert "Address already in use" in one.output()
        assert len(udp_inodes(port)) == 1


def test_a_reload_that_cannot_bind_leaves_no_sockets(usher, echo):
    one = usher(config('"127.0.0.1:{port}"'), echo=echo.tcp4)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", one.port))
        one.write(config())
        one.send_signal(signal.SIGHUP)
        one.wait_log(r"cannot listen on udp:\[::1\]")
        wait_until(lambda: not udp_inodes(one.port), 10, "those of the listener before it to be closed again")
    assert speaks_http(one.port)


def test_an_address_that_is_not_there_yet(usher, echo):
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    text = config('"127.0.0.1:{port}", { address = "udp:192.0.2.1:{port}"; freebind = true; }')
    one = usher(text, echo=echo.tcp4)
    assert len(udp_inodes(one.port)) == 16
    without = usher(text.replace(" freebind = true;", ""), echo=echo.tcp4, serving=False, status=1)
    without.process.wait(slow(10))
    assert "Cannot assign requested address" in without.output()


def receive_buffers(port):
    """What the kernel has for the sockets of the port: twice what was asked for."""
    done = subprocess.run(["ss", "-Hulnm", "src", f"127.0.0.1:{port}"], capture_output=True, text=True, check=True,
                          timeout=slow(10))
    return {int(word.split(",")[1][2:]) for word in done.stdout.split() if word.startswith("skmem:")}


def test_a_receive_buffer_is_set_and_taken_back(usher, echo):
    small = config('"127.0.0.1:{port}", { address = "udp:127.0.0.1:{port}"; receive_buffer = 20000; }')
    one = usher(small, echo=echo.tcp4)
    assert receive_buffers(one.port) == {40000}
    one.reload(config('"127.0.0.1:{port}", "udp:127.0.0.1:{port}"'))
    preset = int(pathlib.Path("/proc/sys/net/core/rmem_default").read_text())
    assert receive_buffers(one.port) == {preset}
    one.reload(small)
    assert receive_buffers(one.port) == {40000}


def test_a_receive_buffer_that_the_kernel_keeps_small_is_logged(usher, echo):
    """A reload has no CAP_NET_ADMIN, also not of root."""
    most = int(pathlib.Path("/proc/sys/net/core/rmem_max").read_text())
    one = usher(config('"127.0.0.1:{port}", "udp:127.0.0.1:{port}"'), echo=echo.tcp4)
    one.reload(config('"127.0.0.1:{port}", { address = "udp:127.0.0.1:{port}"; receive_buffer = %d; }' % (most + 1000)))
    (line,) = one.wait_log(f"a receive_buffer of {most} bytes instead of {most + 1000}")
    assert line.level == "warning" and receive_buffers(one.port) == {2 * most}


@pytest.mark.skipif(not IS_ROOT, reason="needs root: for more than net.core.rmem_max")
def test_root_starts_with_a_larger_receive_buffer_than_others_can_have(usher, echo):
    most = int(pathlib.Path("/proc/sys/net/core/rmem_max").read_text())
    text = config('"127.0.0.1:{port}", { address = "udp:127.0.0.1:{port}"; receive_buffer = %d; }' % (4 * most))
    one = usher(text, echo=echo.tcp4)
    assert receive_buffers(one.port) == {8 * most}
    one.reload()
    assert receive_buffers(one.port) == {8 * most}


def test_the_port_of_the_command_line_is_both(usher, echo):
    port = free_port()
    one = usher(config('"127.0.0.1:{port}", "udp:127.0.0.1:{port_other}"'), args=("-p", port), echo=echo.tcp4)
    assert len(udp_inodes(port)) == 16 and not udp_inodes(one.ports["port_other"])
    assert speaks_http(port)


# ---- systemd


@needs_descriptors
@needs_systemd
@pytest.mark.parametrize("count", [1, 3])
def test_handed_sockets_are_the_group(usher, echo, place, count):
    port = free_port()
    address = f"udp:127.0.0.1:{port}"
    one = usher(config('"%s", "127.0.0.1:{port}"' % address, workers=2), place=place, echo=echo.tcp4,
                wrapper=launched_with(*[address] * count))
    before = udp_inodes(port)
    assert len(before) == count
    assert sorted(inode for share in shares(one, port) for inode in share) == before
    if count == 1:
        one.wait_log(rf"{address} has 1 socket: of the 2 workers 1 get no datagrams from it")
    one.reload()
    assert udp_inodes(port) == before


@needs_systemd
def test_a_handed_udp_socket_that_no_listener_names_is_closed(usher, echo, place):
    port = free_port()
    one = usher(config('"127.0.0.1:{port}"'), place=place, echo=echo.tcp4, wrapper=launched_with(f"udp:127.0.0.1:{port}"))
    (line,) = one.wait_log("that was handed over for")
    assert f"udp:127.0.0.1:{port}" in line.text and not udp_inodes(port)


@needs_systemd
def test_the_receive_buffer_of_a_handed_socket_stays_unless_the_listener_says_otherwise(usher, echo, place):
    port = free_port()
    text = config('"127.0.0.1:{port}", { address = "udp:127.0.0.1:%d"; %%s }' % port)
    one = usher(text % "", place=place, echo=echo.tcp4, wrapper=launched_with("--receive-buffer=30000", f"udp:127.0.0.1:{port}"))
    assert receive_buffers(port) == {60000}
    one.reload(text % "receive_buffer = 20000;")
    assert receive_buffers(port) == {40000}


# ---- usher explain


def test_explain_asks_the_listener_that_takes_what_came(place):
    """The first of its transport, or the one that is named."""
    file = write_config(place, """listen = [ "127.0.0.1:1", "udp:127.0.0.1:1" ]; services = (
        { name = "streams"; match = { protocol = "stun"; listener = "127.0.0.1:1"; }; connect = "127.0.0.1:2"; },
        { name = "datagrams"; match = { protocol = "stun"; listener = "udp:127.0.0.1:1"; }; connect = "127.0.0.1:2"; } );""")
    request = b"\x00\x01\x00\x00\x21\x12\xa4\x42123456789012"
    for arguments, listener, service in (([], "127.0.0.1:1", "streams"), (["--udp"], "udp:127.0.0.1:1", "datagrams"),
                                         (["--udp", "--listener", "udp:127.0.0.1:1"], "udp:127.0.0.1:1", "datagrams")):
        done = subprocess.run([str(BINARY), "explain", "-c", str(file), *arguments, "-"], input=request, capture_output=True, check=False,
                              timeout=slow(20))
        text = done.stdout.decode()
        assert f"Services on {listener}, as they are tried" in text and f"`{service}'" in text, done


# ---- usher check


def check(place, text):
    return run_usher("check", "-c", str(write_config(place, text)))


def test_one_file_for_connections_and_datagrams_has_no_warning(place):
    done = check(place, """
        listen = [ "0.0.0.0:443", "[::]:443", "udp:0.0.0.0:443", "udp:[::]:443" ];
        services = (
            { name = "ssh"; match = "ssh"; exec = [ "/bin/cat" ]; user = "nobody"; },
            { name = "shop"; match = { protocol = [ "tls", "quic" ]; sni = "shop.example"; }; connect = "127.0.0.1:8443"; },
            { name = "https"; match = "tls"; connect = "unix:/run/web.sock"; },
            { name = "quic"; match = "quic"; connect = "192.0.2.1:443"; transparent = false; },
            { name = "mail"; match = "smtp"; handover = "/run/mail.sock"; },
            { name = "wireguard"; match = "wireguard"; connect = "127.0.0.1:51820"; idle_timeout = 180; } );
        on_silence = "ssh"; on_unknown = "ssh";""".replace('user = "nobody";', 'user = "nobody";' if IS_ROOT else ""))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("""Listeners
  0.0.0.0:443
    connections: ssh, tls, smtp
  [::]:443
    connections: ssh, tls, smtp
  udp:0.0.0.0:443  matches nothing: dropped
    datagrams: wireguard, quic
  udp:[::]:443  matches nothing: dropped
    datagrams: wireguard, quic
""")
    rows = {fields[1]: fields for fields in map(str.split, done.stdout.splitlines()) if len(fields) > 2 and fields[0].isdigit()}
    takes = {name: next(word for word in fields if word in ("connections", "datagrams", "both")) for name, fields in rows.items()}
    assert takes == {"ssh": "connections", "shop": "both", "https": "connections", "quic": "datagrams",
                     "mail": "connections", "wireguard": "datagrams"}


def test_a_file_without_udp_says_nothing_of_datagrams(place):
    done = check(place, 'listen = "127.0.0.1:443"; services = ( { name = "a"; match = "ssh"; connect = "127.0.0.1:22"; } );')
    assert done.stderr == "" and "datagrams" not in done.stdout and "connections:" not in done.stdout
