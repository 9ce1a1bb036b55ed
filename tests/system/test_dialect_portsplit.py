"""portsplit's configuration, every key and every rule of it, through real connections; and its defects, which usher does not
have."""

import contextlib
import os
import signal
import socket
import subprocess
import time

import pytest
from dialects import WAYS, complaints_of, fixture_of
from harness import NEVER, SOURCE, read_all, read_exactly, run_usher, slow, wait_until

portsplit = fixture_of("portsplit")

UPPER = "exec = tr\nexecarg = a-z\nexecarg = A-Z\n"


def conversation(client, data, half_close=True):
    """All that comes back."""
    with client:
        client.sendall(data)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return read_all(client)


def ask(one, data, **where):
    return conversation(one.connect(**where), data)


# ---- what a client gets


SERVICES = """
# The special sections may stand anywhere.
bind = 127.0.0.1:{port}
bind=::1:{port}
  bind  =  127.0.0.1:{port_second}
timeout = 1

[fallback]
exec = echo
execarg = fallback

[web]
string = GET
string = POST
connect = {web}

[openvpn]
string = \\00\\0E\\38
string = \\ff\\FE
connect = {vpn}
[slash]
string = back\\slash
string = end\\4
exec = echo
execarg = slash

[spaces]
string = two words\x20
exec = echo
execarg =  an  argument, "quoted" # and no comment
execarg = $HOME;`id`

[timeout]
exec = sh
execarg = -c
execarg = printf timeout; exec cat"""


@pytest.fixture
def services(portsplit, named_echoes):
    def start(way, text=SERVICES, **options):
        web, vpn = named_echoes("web", "vpn")
        return portsplit(text, way=way, web=f"127.0.0.1:{web.port4}", vpn=f"::1:{vpn.port6}", **options)

    return start


@WAYS
def test_each_string_leads_to_its_service(services, way):
    one = services(way)
    assert ask(one, b"GET / HTTP/1.0\r\n") == b"web\nGET / HTTP/1.0\r\n"
    assert ask(one, b"POSTAL") == b"web\nPOSTAL"
    assert ask(one, b"\0\x0e\x38 and more\0") == b"vpn\n\0\x0e\x38 and more\0", "a NUL byte is a byte"
    assert ask(one, b"\xff\xfe") == b"vpn\n\xff\xfe"
    assert ask(one, b"back\\slash") == b"slash\n", "a backslash before no two digits of hex is itself"
    assert ask(one, b"end\\4") == b"slash\n"
    assert ask(one, b"two words !") == b'an  argument, "quoted" # and no comment $HOME;`id`\n'
    assert ask(one, b"two wordsX") == b"fallback\n", "a blank at the end of a string belongs to it"
    assert ask(one, b"get /") == b"fallback\n"
    services_seen = [line["service"] for line in one.wait_connections(9)]
    assert services_seen == ["web", "web", "openvpn", "openvpn", "slash", "slash", "spaces", "fallback", "fallback"]


@WAYS
def test_every_bind_of_both_families_serves(services, way):
    one = services(way)
    for where in ({}, {"host": "::1"}, {"port": one.ports["port_second"]}):
        assert ask(one, b"GET", **where) == b"web\nGET"


@WAYS
def test_all_addresses_of_both_families_on_one_port(portsplit, way):
    one = portsplit("bind = 0.0.0.0:{port}\nbind = :::{port}\n[any]\nstring = a\nexec = echo\nexecarg = yes", way=way)
    assert ask(one, b"a") == ask(one, b"a", host="::1") == b"yes\n"


@WAYS
def test_a_silent_client_gets_the_timeout_service(services, way):
    one = services(way)
    before = time.monotonic()
    with one.connect() as client:
        assert read_exactly(client, 7) == b"timeout"
        assert time.monotonic() - before > 0.95
        client.sendall(b"back")
        assert read_exactly(client, 4) == b"back"


@WAYS
def test_the_timeout_service_gets_the_bytes_that_came_before(services, way):
    one = services(way)
    with one.connect() as client:
        client.sendall(b"PO")
        assert read_exactly(client, 9) == b"timeoutPO"


@WAYS
def test_without_the_special_sections_the_connection_is_closed(portsplit, way):
    text = "bind = 127.0.0.1:{port}\ntimeout = 1\n[a]\nstring = ab\nexec = cat\n"
    one = portsplit(text.replace("timeout = 1", f"timeout = {NEVER}"), way=way)
    with one.connect() as client:
        client.sendall(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert read_all(client) == b""
    one = portsplit(text, way=way)
    before = time.monotonic()
    with one.connect() as client:
        assert read_all(client) == b""
    assert time.monotonic() - before > 0.95


@WAYS
def test_without_a_timeout_a_silent_client_is_waited_for(portsplit, way):
    one = portsplit("bind = 127.0.0.1:{port}\n[a]\nstring = ab\n" + UPPER, way=way)
    with one.connect() as client:
        client.settimeout(4)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(slow(5))
        assert conversation(client, b"abc") == b"ABC"


@WAYS
def test_the_first_service_of_the_file_wins(portsplit, way):
    text = "bind = 127.0.0.1:{port}\ntimeout = 1\n"
    for name, string in (("one", "ab"), ("two", "abc"), ("three", "a")):
        text += f"[{name}]\nstring = {string}\nexec = echo\nexecarg = {name}\n"
    one = portsplit(text, way=way)
    assert ask(one, b"abcd") == b"one\n"
    assert ask(one, b"ax") == b"three\n"


@WAYS
def test_names_of_sections_may_be_anything_and_the_same(portsplit, way):
    sections = ["http", "ssh", "my own!", "my own!", "my_own_", "x" * 100, "\u00e4"]
    text = "bind = 127.0.0.1:{port}\n"
    for number, name in enumerate(sections):
        text += f"[{name}]\nstring = {number}\nexec = echo\nexecarg = {number}\n"
    one = portsplit(text, way=way)
    for number in range(len(sections)):
        assert ask(one, b"%d" % number) == b"%d\n" % number
    assert [line["service"] for line in one.wait_connections(7)][:5] == ["http", "ssh", "my_own_", "my_own_-2", "my_own_-3"]


# ---- programs


@WAYS
def test_the_first_bytes_are_fed_in_first(portsplit, way):
    one = portsplit("bind = 127.0.0.1:{port}\n[up]\nstring = up\n" + UPPER, way=way)
    assert ask(one, b"up and away") == b"UP AND AWAY"


@WAYS
def test_the_output_of_a_short_command_comes_whole(portsplit, way):
    """portsplit cuts both directions when either ends."""
    one = portsplit("bind = 127.0.0.1:{port}\n[a]\nstring = a\nexec = seq\nexecarg = 200000\n", way=way)
    expected = b"".join(b"%d\n" % n for n in range(1, 200001))
    for half_close in (False, True):
        assert conversation(one.connect(), b"a", half_close) == expected


@WAYS
def test_a_client_that_ends_first_still_gets_its_answer(portsplit, way):
    one = portsplit("bind = 127.0.0.1:{port}\n[a]\nstring = a\nexec = sh\nexecarg = -c\nexecarg = wc -c; sleep 0.3; echo end\n",
                    way=way)
    assert ask(one, b"a" * 300000).split() == [b"300000", b"end"]


@WAYS
@pytest.mark.parametrize("pty", ["yes", "no", ""])
def test_a_terminal_where_one_is_asked_for(portsplit, way, pty):
    one = portsplit("bind = 127.0.0.1:{port}\n[a]\nstring = a\nexec = sh\nexecarg = -c\nexecarg = read x; tty; exit 3\n" +
                    (f"pty = {pty}\n" if pty else ""), way=way)
    text = conversation(one.connect(), b"a\n", half_close=False)
    assert (b"/dev/pts/" in text) == (pty == "yes")
    assert (b"not a tty" in text) == (pty != "yes")


@WAYS
def test_programs_are_looked_for_in_path_and_in_the_current_folder(portsplit, way, place):
    program = place / "own-program"
    program.write_text("#!/bin/sh\necho own\n")
    program.chmod(0o755)
    text = ("bind = 127.0.0.1:{port}\n[a]\nstring = a\nexec = own-program\n[b]\nstring = b\nexec = bin/own\n")
    env = {"PATH": f"{place}:{os.environ['PATH']}"}
    (place / "bin").mkdir()
    (place / "bin/own").symlink_to(program)
    one = portsplit(text, way=way, env=env, directory=place)
    assert ask(one, b"a") == ask(one, b"b") == b"own\n"


@WAYS
def test_a_program_that_cannot_start_any_more_tells_the_client_nothing(portsplit, way, place):
    program = place / "gone"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    one = portsplit("bind = 127.0.0.1:{port}\n[a]\nstring = a\nexec = ./gone\n", way=way, directory=place)
    program.unlink()
    with one.connect() as client:
        client.sendall(b"a")
        try:
            assert read_all(client) == b""
        except ConnectionResetError:
            pass
    assert one.wait_connections(1)[0]["end"] == "delivery-failed"


def test_connect_goes_before_exec_and_a_section_with_neither_closes(portsplit, echo):
    one = portsplit("bind = 127.0.0.1:{port}\n[a]\nstring = a\nexec = false\nconnect = {echo}\n[b]\nstring = b\n",
                    echo=echo.tcp4)
    assert ask(one, b"abc") == b"abc"
    with one.connect() as client:
        client.sendall(b"b")
        try:
            assert read_all(client) == b""
        except ConnectionResetError:
            pass
    assert "portsplit.conf:4: warning: `exec' in [a] is left out" in one.output()
    assert "portsplit.conf:6: warning: [b] has no `connect' and no `exec'" in one.output()


@WAYS
def test_a_backend_by_name(portsplit, echo, way):
    one = portsplit("bind = 127.0.0.1:{port}\n[a]\nstring = a\nconnect = localhost:{echo}\n", way=way, echo=echo.port4)
    assert ask(one, b"abc") == b"abc"


# ---- limits


def is_closed_at_once(one):
    try:
        with one.connect() as client:
            return client.recv(1) == b""
    except ConnectionResetError:
        return True


def is_served(client):
    client.sendall(b"a")
    try:
        return client.recv(1) == b"a"
    except ConnectionResetError:
        return False


@WAYS
@pytest.mark.parametrize("maxconn, limit", [("maxconn = 2", 2), ("", 10)])
def test_more_than_maxconn_are_accepted_and_closed(portsplit, way, echo, maxconn, limit):
    one = portsplit(f"{maxconn}\nbind = 127.0.0.1:{{port}}\n[a]\nstring = a\nconnect = {echo.tcp4}\n", way=way)
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(one.connect()) for _ in range(limit)]
        assert all(is_served(client) for client in clients)
        assert is_closed_at_once(one)
        clients.pop().close()
        wait_until(lambda: one.connections(end="finished"), 5)
        assert ask(one, b"abc") == b"abc"


@WAYS
def test_maxconn_0_is_no_limit(portsplit, way, echo):
    one = portsplit(f"maxconn = 0\nbind = 127.0.0.1:{{port}}\n[a]\nstring = a\nconnect = {echo.tcp4}\n", way=way)
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(one.connect()) for _ in range(50)]
        assert all(is_served(client) for client in clients)


@WAYS
def test_silent_clients_keep_nobody_waiting(services, way):
    one = services(way, SERVICES.replace("timeout = 1", "timeout = 0\nmaxconn = 0"))
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(one.connect())
        for _ in range(10):
            assert ask(one, b"GET") == b"web\nGET"


@WAYS
def test_a_string_may_come_in_pieces(services, way):
    one = services(way)
    for pieces, answer in (((b"G", b"E", b"T it"), b"web\nGET it"), ((b"\0", b"\x0e", b"\x38"), b"vpn\n\0\x0e\x38")):
        with one.connect() as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.05)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == answer


# ---- the file


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_last_line_needs_no_line_end(portsplit, ending):
    text = "bind = 127.0.0.1:{port}\n[a]\nstring = a\nexec = echo\nexecarg = last".replace("\n", ending)
    one = portsplit(text)
    assert ask(one, b"a") == b"last\n"


WRONG = [
    ("", ["FILE: no `bind', expected addresses such as bind = 0.0.0.0:443 before the first section",
          "FILE: no section with a `string', and no [fallback] or [timeout], expected one"]),
    ("bind = 127.0.0.1\n[a]\nstring = a\nexec = cat",
     ["FILE:1: `bind' is `127.0.0.1', expected IP:port such as 192.0.2.1:443 or ::1:443"]),
    ("bind = 127.0.0.1:70000\nbind = :80\nbind = here:80x\n[a]\nstring = a\nexec = cat",
     ["FILE:1: `bind' is `127.0.0.1:70000', expected IP:port such as 192.0.2.1:443 or ::1:443",
      "FILE:2: `bind' is `:80', expected IP:port such as 192.0.2.1:443 or ::1:443",
      "FILE:3: `bind' is `here:80x', expected IP:port such as 192.0.2.1:443 or ::1:443"]),
    ("bind = 127.0.0.1:1\nmaxconn = many\ntimeout = -1\nhello\npid =\nlog = x\n[a]\nstring =\nstrings = x\npty = maybe\n"
     "execarg = x\nconnect = nowhere\n[fallback]\nstring = x\n[\n",
     ["FILE:2: `maxconn' is `many', expected a whole number from 0 to 10000000",
      "FILE:3: `timeout' is `-1', expected a whole number from 0 to 86400",
      "FILE:4: `hello' has no `=', expected `key = value', `[section]' or `# comment'",
      "FILE:5: an empty `pid', expected a path",
      "FILE:6: warning: unknown key `log' is left out, expected one of bind, maxconn, timeout, pid",
      "FILE:7: warning: [a] has no `string': nothing can match it",
      "FILE:8: an empty `string', expected at least one byte",
      "FILE:9: unknown key `strings' in [a], expected one of string, connect, exec, execarg, pty",
      "FILE:10: `pty' is `maybe', expected `yes' or `no'",
      "FILE:11: `execarg' before `exec', expected it behind",
      "FILE:13: warning: [fallback] has no `connect' and no `exec': it closes the connection",
      "FILE:14: `string' in [fallback], expected none: that section takes what no string matches",
      "FILE:15: `[' is no section, expected a name between brackets: [name]"]),
    ("bind = 127.0.0.1:1\n[a]\nstring = a\nexec = no-such-program\n\n\n[b]\nstring = b\nexec = ./neither",
     ["FILE:4: program `no-such-program' is not in PATH, expected an executable file",
      "FILE:9: program `DIR/./neither': No such file or directory, expected an executable file"]),
    ("bind = 127.0.0.1:1\n\nbind = 127.0.0.1:1\n[a]\nstring = a\n\nconnect = 127.0.0.1:1",
     ["FILE:3: listener `127.0.0.1:1' is there twice, first on line 1",
      "FILE:7: `127.0.0.1:1' is usher's own listener `127.0.0.1:1' (line 1), expected another server"]),
    (b"bind = 127.0.0.1:1\n[a]\nstring = a\0\nexec = cat",
     ["FILE:2: warning: [a] has no `string': nothing can match it",
      "FILE:3: a NUL byte, expected text: a byte of value zero is written \\00",
      "FILE: no section with a `string', and no [fallback] or [timeout], expected one"]),
    ("bind = 127.0.0.1:1\n[timeout]\nexec = cat\n[a]\nstring = a\nexec = no-such\n[timeout]\nexec = tac\n",
     ["FILE:7: warning: [timeout] is there twice: the one on line 2 is used",
      "FILE:6: program `no-such' is not in PATH, expected an executable file"]),
]


@pytest.mark.parametrize("text, expected", WRONG)
def test_all_that_is_wrong_is_said_at_once_with_its_line(place, text, expected):
    status, complaints = complaints_of(place, "portsplit", text)
    assert status == 2
    assert sorted(complaints) == sorted(line.replace("DIR", str(place)) for line in expected)


def test_usage():
    for args in ([], ["--print"], ["-x"], ["a", "b"], ["--print", "a", "b"]):
        done = run_usher("portsplit", *args)
        assert (done.returncode, done.stdout) == (2, "") and "usage: usher portsplit" in done.stderr
    done = run_usher("portsplit", "/no/such/file")
    assert done.returncode == 2 and "/no/such/file: cannot be read: No such file or directory" in done.stderr


def test_the_example_has_every_key_and_loads(place):
    example = SOURCE / "examples/portsplit/portsplit.conf"
    keys = {line.split("=")[0].strip() for line in example.read_text().splitlines() if "=" in line and line[0] != "#"}
    assert keys == {"bind", "maxconn", "timeout", "pid", "string", "connect", "exec", "execarg", "pty"}
    printed = run_usher("portsplit", "--print", example, cwd=place)
    assert (printed.returncode, printed.stderr) == (0, "")
    native = place / "usher.conf"
    native.write_text(printed.stdout)
    checked = run_usher("check", "-c", native, cwd=place)
    assert checked.returncode == 0
    assert all(" runs its program as root for every client" in line for line in checked.stderr.splitlines())


def test_by_a_symbolic_link(services):
    one = services("link")
    assert ask(one, b"GET") == b"web\nGET"
    printed = subprocess.run([one.dir / "portsplit", "--print", one.file], capture_output=True, text=True, check=True,
                             env=one.env)
    assert printed.stdout == one.run("--print").stdout != ""


# ---- signals and the pid file


PID = "bind = 127.0.0.1:{port}\npid = the.pid\n[a]\nstring = a\n" + UPPER


@WAYS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_pid_file_is_there_while_it_runs(portsplit, way, number):
    one = portsplit(PID, way=way)
    assert int((one.dir / "the.pid").read_text()) == one.pid
    one.stop(number)
    assert not (one.dir / "the.pid").exists()


@WAYS
def test_a_stale_pid_file_is_no_obstacle(portsplit, way, place):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (place / "the.pid").write_text(f"{dead.pid}\n")
    one = portsplit(PID, way=way, directory=place)
    assert int((place / "the.pid").read_text()) == one.pid


@WAYS
def test_hup_writes_the_pid_file_again_also_elsewhere(portsplit, way):
    one = portsplit(PID, way=way)
    (one.dir / "the.pid").unlink()
    one.reload()
    assert int((one.dir / "the.pid").read_text()) == one.pid
    one.reload(PID.replace("the.pid", "other.pid"))
    assert int((one.dir / "other.pid").read_text()) == one.pid
    assert not (one.dir / "the.pid").exists()
    one.reload(PID.replace("pid = the.pid\n", ""))
    assert not (one.dir / "other.pid").exists()


@WAYS
def test_hup_reads_again_and_leaves_open_connections_alone(portsplit, way, echo):
    before = f"bind = 127.0.0.1:{{port}}\n[a]\nstring = a\nconnect = {echo.tcp4}\n"
    one = portsplit(before, way=way)
    with one.connect() as open_one:
        assert is_served(open_one)
        one.reload("bind = ::1:{port}\nbind = 127.0.0.1:{port_new}\n[b]\nstring = b\n" + UPPER)
        assert ask(one, b"bc", host="::1") == b"BC"
        assert ask(one, b"bc", port=one.ports["port_new"]) == b"BC"
        with pytest.raises(ConnectionRefusedError):
            one.connect().close()
        open_one.sendall(b"still")
        assert read_exactly(open_one, 5) == b"still"


def test_a_bad_configuration_on_hup_changes_nothing(portsplit):
    one = portsplit(PID)
    one.write(PID + "\n[b]\nstring = b\nexec = no-such-program\n")
    one.send_signal(signal.SIGHUP)
    one.wait_log("reload refused")
    assert any("portsplit.conf:11: program `no-such-program' is not in PATH" in line.text for line in one.log)
    assert ask(one, b"abc") == b"ABC"
    assert int((one.dir / "the.pid").read_text()) == one.pid
    one.reload(PID)
    assert ask(one, b"abc") == b"ABC"
