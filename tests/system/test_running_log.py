"""The log: its forms, its targets, what hostile bytes in it can do, and how a file of it is rotated."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest
from harness import (
    BINARY,
    ENVIRONMENT,
    IS_ROOT,
    connect,
    end_process,
    free_port,
    read_exactly,
    ready,
    slow,
    wait_for_server,
    wait_until,
)
from peers import RELAY, client_hello, how_it_ends, reset

HOSTILE = [
    b"\n2026-01-01T00:00:00.000Z error forged",
    b"a\r\nforged=1",
    b'"',
    b'" end=finished x="',
    b"\\",
    b"\x00\x01\x7f\x80\xff",
    b"\x1b[2J\x1b]0;owned\x07",
    b"{}",
    b'","event":"forged',
    b"\xe2\x80\xae\xc2\x85",
    b"%s%n%n",
    b"a" * 255,
    b"<0>kernel: oops",
]

SINK = """
listen = [ "127.0.0.1:{port}" ];  workers = 2;  decide_timeout = 1.0;
services = ( { name = "tls"; match = "tls"; reject = "close"; },
             { name = "web"; match = "http"; reject = "close"; } );
log = { format = "{format}"; level = "debug"; };
"""


def say(port, data):
    with connect(port) as client:
        client.sendall(data)
        how_it_ends(client)


def hostile_hellos():
    for value in HOSTILE:
        yield client_hello(value[:250])
        yield client_hello("plain.example", (value[:255],))
        yield client_hello(b"a.example\0" + value[:200], (value[:255], b"h2"))


def hostile_requests():
    for value in HOSTILE:
        yield b"GET /" + value + b" HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
        yield b"GET / HTTP/1.1\r\nHost: " + value.replace(b"\n", b"") + b"\r\n\r\n"
        yield b"GET http://" + value + b"/ HTTP/1.1\r\nHost: a\r\n\r\n"
        yield b"CONNECT " + value + b" HTTP/1.1\r\n\r\n"
        yield b"GET / HTTP/1.1\r\nUser-Agent: " + value + b"\r\nHost: plain.example\r\n\r\n"


@pytest.mark.parametrize("format", ["text", "json"])
def test_hostile_bytes_never_forge_a_line(usher, format):
    one = usher(SINK, format=format)
    sent = [*hostile_hellos(), *hostile_requests()]
    for data in sent:
        say(one.port, data)
    event = '"event":"connection"' if format == "json" else " info connection "
    wait_until(lambda: one.output().count(event) >= len(sent), 5, "a line each")
    raw = one.log_path.read_bytes()
    assert all(
        0x20 <= byte < 0x7F or byte == 0x0A for byte in raw
    ), "a control byte or one beyond ASCII in the log"
    lines = raw.decode().splitlines()
    if format == "json":
        entries = [json.loads(line) for line in lines]
        assert all(list(entry)[:3] == ["time", "level", "event"] for entry in entries)
        ended = [entry for entry in entries if entry["event"] == "connection"]
        assert len({entry["id"] for entry in ended}) == len(ended) == len(sent)
        assert all(isinstance(entry["total_ms"], float) and isinstance(entry["id"], int) for entry in ended)
        assert {entry["end"] for entry in ended} <= {"rejected", "no-service"}
    else:
        assert all(
            re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warning|notice|info|debug) ", line)
            for line in lines
        )
        ended = [line for line in lines if event in line]
        assert len(ended) == len(sent)
        # A value either has only plain characters, or stands in quotation marks without another one in it.
        for line in ended:
            assert re.fullmatch(
                r'\S+ info connection( [a-z_]+=([A-Za-z0-9._:/@+*,-]+|"([^"\\]|\\x[0-9a-f]{2})*"))+', line
            ), line
            assert re.sub(r'"[^"]*"', "", line).count(" end=") == 1, line


def test_json_values_are_what_was_sent(usher):
    one = usher(SINK, format="json")
    say(one.port, client_hello("plain.example", (b'a"b\\c',)))
    say(one.port, b"GET / HTTP/1.1\r\nHost: www.Example.org\r\n\r\n")
    wait_until(lambda: one.output().count('"event":"connection"') == 2, 3)
    tls, web = sorted(
        (json.loads(line) for line in one.output().splitlines() if '"event":"connection"' in line),
        key=lambda e: e["id"],
    )
    assert tls["sni"] == "plain.example" and tls["alpn"] == 'a"b\\c'
    assert (
        web["host"] == "www.example.org"
        and web["protocol"] == "http"
        and web["service"] == "web"
        and web["delivery"] == "reject"
    )
    assert web["listener"] == f"127.0.0.1:{one.port}" and web["client"].startswith("127.0.0.1:")


def test_hostile_names_do_not_reach_a_programs_environment(usher):
    one = usher(
        """
        listen = [ "127.0.0.1:{port}" ];  workers = 1;
        services = ( { name = "tls"; match = "tls"; stdio = "pipe";
                       exec = [ "/bin/sh", "-c", "cat > /dev/null & env; sleep 0.05" ]; } );
    """
    )
    for hello in hostile_hellos():
        with connect(one.port) as client:
            client.sendall(hello)
            got = bytearray()
            while piece := client.recv(65536):
                got += piece
        lines = got.decode("latin-1").splitlines()
        names = [line.split("=")[0] for line in lines]
        assert len(set(names)) == len(names) and "forged" not in got.decode("latin-1"), got
        for line in lines:
            if line.startswith("USHER_SNI="):
                assert re.fullmatch(r"USHER_SNI=[a-z0-9._-]+", line), line


def test_levels(usher, echo):
    seen = {}
    for level in ("error", "warning", "notice", "info", "debug"):
        one = usher(RELAY + f'log = {{ level = "{level}"; }};', backend=echo.port4)
        with one.connect() as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
        if level in ("info", "debug"):
            one.wait_connections(1)
        one.stop()
        seen[level] = {line.level for line in one.log}
    assert seen["error"] == seen["warning"] == set()
    assert seen["notice"] == {"notice"} and {"notice", "info"} <= seen["info"] <= seen["debug"]


@pytest.mark.parametrize(
    "settings, level",
    [("", "info"), ('on_silence = "rest";', "debug"), ('log = { level = "debug"; empty_level = "notice"; }; on_silence = "rest";', "notice")],
)
def test_clients_that_leave_without_a_byte_have_a_level_of_their_own(usher, echo, settings, level):
    """A load balancer looks every few seconds whether the port is there."""
    one = usher(
        'listen = "127.0.0.1:{port}"; workers = 1;' + (settings if "log" in settings else 'log = { level = "debug"; };' + settings)
        + 'services = ( { name = "web"; match = "http"; connect = "{echo}"; },'
        ' { name = "rest"; match = "tls"; reject = "close"; log_level = "debug"; } );', echo=echo.tcp4)
    connect(one.port).close()
    if "on_silence" in settings:  # else the kernel keeps who says nothing, and this one is never seen
        reset(connect(one.port))
    with connect(one.port) as client:
        client.sendall(b"G")
    levels = [level, level, "info"] if "on_silence" in settings else [level, "info"]
    assert [line.level for line in one.wait_connections(len(levels), 30)] == levels


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_operator_chooses_the_keys_of_the_line_and_their_order(usher, echo, log_format):
    one = usher('listen = "127.0.0.1:{port}"; log = { format = "{format}"; fields = [ "end", "service", "rule", "client", "to" ]; };'
                'services = ( { name = "echo"; match = "ssh"; connect = "{echo}"; } );', echo=echo.tcp4, format=log_format)
    with one.connect() as client:
        client.sendall(b"SSH-2.0-x\r\n")
        assert read_exactly(client, 11) == b"SSH-2.0-x\r\n"
        name = f"127.0.0.1:{client.getsockname()[1]}"
    wait_until(lambda: name in one.output(), 30.0, "the line")
    (line,) = [line for line in one.output().splitlines() if name in line]
    if log_format == "json":
        assert list(json.loads(line).items())[3:] == [("end", "finished"), ("service", "echo"), ("client", name), ("to", echo.tcp4)]
    else:
        assert line.split(" connection ")[1] == f"end=finished service=echo client={name} to={echo.tcp4}"


def test_a_listener_has_levels_of_its_own(usher, echo):
    """What goes well there is quiet, and so is who says nothing; whom a service refuses is not."""
    one = usher(
        'listen = ( "127.0.0.1:{port}", { address = "127.0.0.1:{port_quiet}"; log_level = "debug"; empty_level = "notice"; } );'
        'workers = 1; on_silence = "echo"; log = { level = "debug"; empty_level = "debug"; };'
        'services = ( { name = "echo"; match = "ssh"; connect = "{echo}"; log_level = "notice"; },'
        ' { name = "denied"; match = "http"; connect = "{echo}"; deny = "127.0.0.0/8"; } );', echo=echo.tcp4)
    expected = []
    for port, well, empty in ((one.ports["port"], "notice", "debug"), (one.ports["port_quiet"], "debug", "notice")):
        with connect(port) as client:
            client.sendall(b"SSH-2.0-x\r\n")
            assert read_exactly(client, 11) == b"SSH-2.0-x\r\n"
        one.wait_connections(len(expected) + 1, 30)
        say(port, b"GET / HTTP/1.1\r\n\r\n")
        one.wait_connections(len(expected) + 2, 30)
        reset(connect(port))
        expected += [well, "info", empty]
        one.wait_connections(len(expected), 30)
    assert [line.level for line in one.connections()] == expected


def test_a_delivery_that_failed_names_the_backend(usher):
    one = usher('listen = "127.0.0.1:{port}"; services = ( { name = "a"; match = "ssh"; '
                'connect = [ "127.0.0.1:{port_dead}", "127.0.0.1:{port_too}" ]; } );')
    say(one.ports["port"], b"SSH-2.0-x\r\n")
    (line,) = one.wait_connections(1, 30)
    assert (line["end"], line["to"]) == ("delivery-failed", f"127.0.0.1:{one.ports['port_too']}")


# ---- files


def file_log(usher, echo, path, **options):
    return usher(RELAY + 'log = { to = "{path}"; };', backend=echo.port4, path=path, **options)


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


def one_connection(one):
    with one.connect() as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"


def test_a_log_file(usher, echo, place):
    path = place / "log"
    path.write_text("what was there\n")
    one = file_log(usher, echo, path)
    one_connection(one)
    wait_until(lambda: any(" connection " in line for line in lines_of(path)), 3)
    one.stop()
    lines = lines_of(path)
    assert lines[0] == "what was there" and "serving: " in lines[1]
    assert one.output() == "", "nothing on stderr then"


def test_a_new_log_file_is_not_for_everybody(usher, echo, place):
    one = file_log(usher, echo, place / "log")
    assert (place / "log").stat().st_mode & 0o777 == 0o640
    one_connection(one)


def test_sigusr1_reopens_a_renamed_log_file(usher, echo, place):
    """As logrotate does it: not a line is lost, none is in both."""
    path, old = place / "log", place / "log.1"
    one = file_log(usher, echo, path)
    for number in range(20):
        one_connection(one)
    path.rename(old)
    one_connection(one)
    wait_until(
        lambda: sum(" connection " in line for line in lines_of(old)) == 21, 3, "the renamed file to go on"
    )
    assert not path.exists()
    one.send_signal(signal.SIGUSR1)
    wait_until(path.exists, 3, "a new file")
    for number in range(20):
        one_connection(one)
    wait_until(
        lambda: sum(" connection " in line for line in lines_of(old) + lines_of(path)) == 41, 3, "all lines"
    )
    assert sum(" connection " in line for line in lines_of(path)) >= 19
    ids = [
        re.search(r" id=(\d+) ", line).group(1)
        for line in lines_of(old) + lines_of(path)
        if " connection " in line
    ]
    assert len(set(ids)) == 41


def test_sigusr1_where_the_file_cannot_be_opened_keeps_the_old_one(usher, echo, place):
    directory = place / "logs"
    directory.mkdir()
    one = file_log(usher, echo, directory / "log")
    directory.rename(place / "moved")
    one.send_signal(signal.SIGUSR1)
    moved = place / "moved" / "log"
    wait_until(
        lambda: any(
            "cannot reopen" in line and "No such file or directory" in line for line in lines_of(moved)
        ),
        3,
    )
    one_connection(one)
    wait_until(lambda: any(" connection " in line for line in lines_of(moved)), 3)


def test_sigusr1_before_the_workers_are_ready_is_not_lost(usher, place):
    """Patterns are compiled by each worker, which takes a while."""
    names = [f"p{number}" for number in range(3000)]
    protocols = ",".join(f'{{ name = "{name}"; regex = "^(a|{name}){{1,50}}[^c]{{1,60}}x$"; }}' for name in names)
    services = ",".join(f'{{ name = "{name}"; match = "{name}"; reject = "close"; }}' for name in names)
    path, moved = place / "log", place / "log.1"
    one = usher('listen = "127.0.0.1:{port}"; log = { to = "{path}"; }; protocols = ( {protocols} ); services = ( {services} );',
                protocols=protocols, services=services, path=path)
    path.rename(moved)
    one.send_signal(signal.SIGUSR1)
    wait_until(path.exists, 10, "a new file")
    before = moved.read_bytes()
    with one.connect() as client:
        client.sendall(b"no pattern's")
    wait_until(lambda: any(" connection " in line for line in lines_of(path)), 10)
    assert moved.read_bytes() == before


def test_sigusr1_without_a_log_file_does_no_harm(usher, echo):
    one = usher(RELAY, backend=echo.port4)
    one.send_signal(signal.SIGUSR1)
    one_connection(one)
    one.wait_connections(1)


@pytest.mark.parametrize("kind", ["directory", "missing directory", "fifo"])
def test_a_log_file_that_cannot_be(usher, echo, place, kind):
    path = place / "log"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = place / "no" / "log"
    one = file_log(usher, echo, path, serving=False, status=1)
    assert one.process.wait(slow(5)) == 1
    assert f"cannot log to {path}: " in one.output()


@pytest.mark.skipif(not IS_ROOT, reason="needs root: a directory that only root may enter")
def test_a_log_file_is_reopened_where_only_root_may(usher, echo, place):
    """The logger is unprivileged: the master opens the file for it."""
    place.chmod(0o700)
    one = file_log(usher, echo, place / "log")
    (place / "log").rename(place / "log.1")
    one.send_signal(signal.SIGUSR1)
    wait_until((place / "log").exists, 3)
    one_connection(one)
    wait_until(lambda: any(" connection " in line for line in lines_of(place / "log")), 3)
    place.chmod(0o755)


def test_a_fifo_with_a_reader_that_goes_away(usher, echo, place):
    path = place / "log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    one = file_log(usher, echo, path)
    one_connection(one)
    wait_until(lambda: ready(reader, 0) and b"connection" in os.read(reader, 65536), 3)
    os.close(reader)
    for _ in range(20):
        one_connection(one)
    assert one.loggers and one.process.poll() is None


# ---- syslog and the journal


@pytest.mark.parametrize("facility, number", [("", 30), ('facility = "authpriv"; ', 86), ('facility = "local7"; ', 190)])
def test_syslog_gets_the_lines(echo, place, facility, number):
    """usher has no option for where syslog listens, and the system's /dev/log is not ours to replace: so this
    needs a mount namespace of its own, with a /dev/log that the test listens on."""
    socket_path = place / "dev-log"
    port = free_port()
    (place / "c").write_text(
        RELAY.replace("{port}", str(port)).replace("{backend}", str(echo.port4)) + f'log = {{ to = "syslog"; {facility}}};'
    )
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs root: to make a mount namespace, because /dev/log is the system's")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(socket_path))
    socket_path.chmod(0o777)
    listener.settimeout(slow(5))
    script = (
        'mkdir -p "$0/dev" && mount -t tmpfs none "$0/dev" && touch "$0/dev/null" && '
        'mount --bind /dev/null "$0/dev/null" && ln -sf "$0/dev-log" "$0/dev/log" && '
        'mount --bind "$0/dev" /dev && '
        'exec "$1" run -c "$0/c"'
    )
    process = subprocess.Popen(
        ["unshare", "-m", "/bin/sh", "-c", script, str(place), str(BINARY)],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    try:
        try:
            wait_for_server(("127.0.0.1", port), 3)
        except AssertionError:
            process.kill()
            pytest.skip("no /dev of its own can be made here: " + process.stderr.read().decode()[-200:])
        with connect(port) as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
        got = []
        while not any(b"service=go" in line for line in got):
            got.append(listener.recv(4096))
        line = next(line for line in got if b"service=go" in line).decode()
        # <daemon.info> or another facility, its own time and "usher", and then ours without a time of its own.
        assert re.match(
            rf"<{number}>\w{{3}} [ \d]\d [\d:]{{8}} usher(\[\d+\])?: (info )?connection id=\d+ client=", line
        ), line
    finally:
        end_process(process)
        listener.close()


def test_a_log_that_is_missing_is_told_at_the_start(usher, echo):
    """The journal, where there is none."""
    if pathlib.Path("/run/systemd/journal/socket").exists():
        pytest.skip("there is a journal here")
    one = usher(RELAY + 'log = { to = "journal"; };', backend=echo.port4, serving=False, status=1)
    assert one.process.wait(slow(5)) == 1
    assert "cannot log to the journal" in one.output()
