"""Identifier modules in a running usher: their names in `match`, their faults, and nDPI's answers."""

import os
import re
import shutil
import socket
import subprocess

import pytest
from harness import BUILD, ENVIRONMENT, IS_ROOT, run_usher, slow, wait_until
from peers import client_hello

XPROTOCOL = BUILD / "examples/xprotocol.so"
NDPI = BUILD / "modules/ndpi.so"


def odd(name):
    return BUILD / f"tests/modules/odd_{name}.so"


CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = {timeout};
identifiers = ( {modules} );
services = ( {services} );
on_unknown = "other";  on_silence = "other";
"""


@pytest.fixture
def modules(usher, named_echoes, place):
    """modules([(file, settings)...], [(name, match)...]): usher before servers that say their name. The modules are
    copied to where every user may read them."""

    def start(files, services, timeout=1.0, **options):
        entries = []
        for file, settings in files:
            shutil.copy(file, place / file.name)
            (place / file.name).chmod(0o755)
            entries.append(f'{{ module = "{place / file.name}"; {settings} }}')
        services = [*services, ("other", "")]
        servers = named_echoes(*[name for name, _ in services])
        lines = [
            f'{{ name = "{name}"; {f"match = {match};" if match else ""} connect = "{server.tcp4}"; }}'
            for (name, match), server in zip(services, servers)
        ]
        return usher(
            CONFIG, modules=", ".join(entries), services=", ".join(lines), timeout=timeout, **options
        )

    return start


def greeting(client):
    data = b""
    while not data.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            return None
        data += byte
    return data[:-1].decode()


def ask(one, *pieces):
    with one.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        return greeting(client)


def bytewise(data):
    return [data[i : i + 1] for i in range(len(data))]


# ---- names


def test_names_of_a_module_are_protocols(modules):
    one = modules(
        [(XPROTOCOL, 'software = [ "OpenSSH_", "libssh" ];')],
        [("xssh", '"xssh"'), ("ssh", '"ssh"'), ("xecho", '"xecho"')],
    )
    assert ask(one, b"SSH-2.0-OpenSSH_9.2\r\n") == "xssh"
    assert ask(one, *bytewise(b"SSH-2.0-libssh_0.10")) == "xssh"
    assert ask(one, b"SSH-2.0-PuTTY\r\n") == "ssh"
    assert ask(one, *bytewise(b"xecho shop.example\n")) == "xecho"
    assert ask(one, b"xecho bad name\n") == "other"
    protocols = [line.get("protocol") for line in one.wait_connections(5)]
    assert protocols == ["xssh", "xssh", "ssh", "xecho", None]


# ---- attributes


def test_a_host_that_a_module_learns_is_matched(modules):
    one = modules(
        [(XPROTOCOL, "")],
        [
            ("requests", '{ protocol = "http"; host = "shop.example"; }'),
            ("shop", '{ host = "shop.example"; }'),
            ("mine", '{ protocol = "xecho"; host = [ "*.mine.example", "mine.example" ]; }'),
            ("theirs", '{ host = "*.example"; }'),
            ("rest", '"xecho"'),
        ],
    )
    for name, service in (("shop.example", "shop"), ("Shop.Example.", "shop"), ("a.mine.example", "mine"),
                          ("mine.example", "mine"), ("a.shop.example", "theirs"), ("elsewhere", "rest")):
        line = b"xecho " + name.encode() + b"\r\n"
        assert ask(one, line) == service, name
        assert ask(one, *bytewise(line)) == service, f"{name}, a byte at a time"
        found = one.wait_connections(2, service=service, host=name.lower().rstrip("."))
        assert {line["protocol"] for line in found} == {"xecho"}
    # What the built-in probe learns is the same attribute.
    for host, service in (("shop.example", "requests"), ("a.mine.example", "theirs"), ("elsewhere", "other")):
        request = b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n"
        assert ask(one, request) == service
        assert ask(one, *bytewise(request)) == service
    # The name is not whole yet, so nobody can tell.
    with one.connect() as client:
        client.sendall(b"xecho shop.example")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_server_name_and_a_protocol_that_a_module_learns_are_matched(modules):
    one = modules(
        [(odd("sound"), "")],
        [
            ("tls", '{ protocol = "tls"; sni = "both.example"; }'),
            ("set", '{ protocol = "set"; sni = "both.example"; }'),
            ("named", '{ sni = "*.named.example"; }'),
            ("h2", '{ alpn = "h2"; }'),
            ("rest", '"set"'),
        ],
    )
    assert ask(one, b"1yboth.example") == "set"
    assert ask(one, b"1ya.named.example") == "named"
    assert ask(one, b"2yh2") == "h2"
    assert ask(one, b"2yhttp/1.1") == "rest"
    assert ask(one, b"1yelse.example") == "rest"
    assert ask(one, b"1y-not a name-") == "other", "the probe says no"
    assert ask(one, client_hello("both.example")) == "tls"
    assert ask(one, client_hello("a.named.example")) == "named"
    lines = one.wait_connections(8)
    assert [line.get("sni") for line in lines] == [
        "both.example", "a.named.example", None, None, "else.example", None, "both.example", "a.named.example"]
    assert [line.get("alpn") for line in lines[2:4]] == ["h2", "http/1.1"]


def test_check_names_what_is_wrong_with_a_module(place):
    def complaint(entry):
        file = place / "usher.conf"
        file.write_text(
            f'listen = "127.0.0.1:4443";\n{"user = " + chr(34) + "root" + chr(34) + ";" if os.geteuid() == 0 else ""}\n'
            f"identifiers = ( {entry} );\n"
            'services = ( { name = "a"; match = "ssh"; connect = "127.0.0.1:22"; } );\n'
        )
        result = run_usher("check", "-c", file)
        assert result.returncode == 2, result
        assert f"{file}:3: " in result.stderr, result.stderr
        return result.stderr

    assert "No such file" in complaint(f'{{ module = "{place}/none.so"; }}')
    assert "version 99 of usher's module interface, expected version 1" in complaint(
        f'{{ module = "{odd("version")}"; }}'
    )
    assert "has no `usher_module_init'" in complaint(f'{{ module = "{odd("no_init")}"; }}')
    assert "crashed in its init" in complaint(f'{{ module = "{odd("crash")}"; }}')
    assert "no luck today" in complaint(f'{{ module = "{odd("fail")}"; }}')
    assert "unknown key `sofware'" in complaint(f'{{ module = "{XPROTOCOL}"; sofware = "x"; }}')
    assert "invalid ELF header" in complaint(f'{{ module = "{place}/usher.conf"; }}')


def test_module_that_hangs_in_init_is_given_up_after_five_seconds(place):
    file = place / "usher.conf"
    file.write_text(
        f'listen = "127.0.0.1:4443"; identifiers = ( {{ module = "{odd("hang")}"; }} );\n'
        'services = ( { name = "a"; match = "ssh"; connect = "127.0.0.1:22"; } );\n'
    )
    shutil.copy(odd("hang"), place / "hang.so")
    (place / "hang.so").chmod(0o755)
    file.write_text(file.read_text().replace(str(odd("hang")), str(place / "hang.so")))
    result = run_usher("check", "-c", file)
    assert result.returncode == 2
    assert "is not ready after 5 s, in its init" in result.stderr


# ---- faults


def test_worker_whose_probe_crashes_is_replaced_and_the_probe_is_named(modules):
    options = os.environ.get("ASAN_OPTIONS", "exitcode=99") + ":handle_segv=0"  # let it crash as it would
    one = modules(
        [(odd("sound"), "")], [("obey", '"obey"')], may_crash=True, env={"ASAN_OPTIONS": options}
    )
    (worker,) = one.workers
    waiting = one.connect()
    assert ask(one, b"y") == "obey"
    with one.connect() as client:
        client.sendall(b"c")
        with pytest.raises((ConnectionResetError, EOFError)):
            if client.recv(1) == b"":
                raise EOFError
    waiting.close()
    one.wait_log(f"worker {worker} was killed by signal 11")
    one.wait_log("in probe obey of module ")
    wait_until(lambda: one.workers_but([worker]), 10, "a new worker")
    assert ask(one, b"y") == "obey"


def test_lines_of_a_module_are_in_the_log_and_limited(modules):
    one = modules([(odd("sound"), "")], [("obey", '"obey"')])
    assert ask(one, b"l") == "obey"
    one.wait_log("line 9")
    assert 10 <= one.output().count(": line ") <= 21
    assert "\nline" not in one.output(), "a line break of the module's is escaped"


def test_reload_with_a_module_that_fails_changes_nothing(modules):
    one = modules([(odd("sound"), "")], [("obey", '"obey"')])
    good = one.text()
    one.write(good.replace('odd_sound.so"; ', 'odd_sound.so"; whole = "many"; '))
    one.send_signal(1)
    one.wait_log("reload refused")
    assert "`whole' is a string" in one.output()
    assert "unknown protocol" not in one.output(), "what a broken module would have had is not known"
    assert ask(one, b"y") == "obey"

    other = good.replace('odd_sound.so"; ', 'odd_sound.so"; names = [ "third" ]; ')
    one.reload(other.replace('match = "obey"', 'match = "third"'))
    assert ask(one, b"y") == "obey"
    assert one.wait_connections(2)[-1]["protocol"] == "third"


@pytest.mark.skipif(not IS_ROOT, reason="needs root: modules are loaded from folders of root's alone")
def test_a_module_that_is_named_without_a_path_is_in_the_folder_of_modules(place):
    text = 'listen = "127.0.0.1:40001"; identifiers = ( { module = "xprotocol"; } );'
    (place / "usher.conf").write_text(text + 'services = ( { name = "x"; match = "xssh"; reject = "close"; } );')
    command = [BUILD / "src/usher", "check", "-c", place / "usher.conf"]
    missing = run_usher(*command[1:])
    folder, name = re.search(r"module `(/.*)/([^/]*)': No such file or directory", missing.stderr).groups()
    assert folder.endswith("/lib/usher/modules") and name == "xprotocol.so"

    # In a view of the file system of its own there is one.
    if not folder.startswith("/usr/local/"):
        pytest.skip(f"built for {folder}, in place of which nothing can be mounted")
    script = 'umask 022 && mount -t tmpfs tmpfs "$1" && mkdir -p "$2" && cp "$3" "$2" && shift 3 && exec "$@"'
    own = ["unshare", "--mount", *([] if IS_ROOT else ["--map-root-user"])]
    if subprocess.run([*own, "mount", "-t", "tmpfs", "tmpfs", "/usr/local"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    found = subprocess.run([*own, "sh", "-c", script, "sh", "/usr/local", folder, XPROTOCOL, *command], capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=slow(60))
    assert found.returncode == 0, found.stderr
    assert "xssh" in found.stdout


# ---- nDPI

needs_ndpi = pytest.mark.skipif(not NDPI.exists(), reason="built without libndpi")

HELLOS = {
    "bittorrent": b"\x13BitTorrent protocol" + bytes(8) + b"\xa5" * 20 + b"-TR2940-123456789012",
    "mqtt": b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test",
    "rdp": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x0b\x00\x00\x00",
    "sip": b"OPTIONS sip:a@b.example SIP/2.0\r\nVia: SIP/2.0/TCP c.example\r\nCSeq: 1 OPTIONS\r\n\r\n",
    "ldap": bytes.fromhex("300c020101600702010304008000"),
    "jabber": b"<?xml version='1.0'?><stream:stream to='a.example' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
}


@needs_ndpi
def test_ndpi_names_what_it_knows_however_the_bytes_are_cut(modules):
    one = modules([(NDPI, "")], [(name, f'"{name}"') for name in HELLOS])
    for name, hello in HELLOS.items():
        assert ask(one, hello) == name
        assert ask(one, *bytewise(hello)) == name
        assert ask(one, hello + hello) == name, "what comes behind changes nothing"
    assert all(line["protocol"] == line["service"] for line in one.wait_connections(3 * len(HELLOS)))


@needs_ndpi
def test_ndpi_does_not_hold_back_what_usher_knows(modules):
    one = modules(
        [(NDPI, "")], [("mqtt", '"mqtt"'), ("ssh", '"ssh"'), ("http", '"http"'), ("tls", '"tls"')], timeout=30
    )
    assert ask(one, b"SSH-2.0-x\r\n") == "ssh"
    assert ask(one, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n") == "http"
    assert ask(one, *bytewise(client_hello("a.example"))) == "tls"
    assert ask(one, bytes(range(256)) * 2) == "other", "after 512 bytes it is no protocol of nDPI's"


@needs_ndpi
def test_a_client_does_not_change_what_another_one_is_taken_for(modules):
    one = modules([(NDPI, "")], [("bittorrent", '"bittorrent"'), ("mqtt", '"mqtt"')], timeout=0.3)
    for _ in range(3):
        assert ask(one, HELLOS["bittorrent"]) == "bittorrent"
        assert ask(one, HELLOS["mqtt"]) == "mqtt"
        with one.connect() as client:
            client.sendall(b"hello world, is anybody there?\r\n")
            assert greeting(client) == "other"
