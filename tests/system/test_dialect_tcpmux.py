"""tcpmux's configuration and command line, and the test section of its document, through real clients; and its defects, which
usher does not have."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from dialects import WAYS, complaints_of, fixture_of
from harness import (
    BINARY,
    BUILD,
    ENVIRONMENT,
    SOURCE,
    children,
    end_process,
    free_port,
    process_stat,
    read_all,
    run_usher,
    slow,
    wait_for_server,
    wait_until,
)
from servers import listening, output_of

tcpmux = fixture_of("tcpmux")

EXAMPLE = SOURCE / "examples/tcpmux/tcpmux.cfg"

# The seed's form: the protocol, the real program and its arguments; the socket on 0 and 1.
ACCESS = """#!/bin/sh
protocol=$1; shift
[ "$protocol" = ssh ] && [ -n "$TCPREMOTEIP" ] && [ ! -e "$(dirname "$0")/deny" ] && exec "$@"
"""

ECHO_TXT = b"echo hello, world\ncould you hear me?\nBye\n"


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(place):
    """What the example's configuration names, beside it."""
    for name in ("echo-server", "identifier-once", "xprotocol.so", "usher-proxy"):
        built = BUILD / "examples" / name
        if not built.exists():
            pytest.skip("the examples are not built")
        shutil.copy(built, place / name)
    program(place / "usher-access", ACCESS)
    return place


@pytest.fixture
def proxy():
    """proxy(path, port) starts usher-proxy there."""
    running = []

    def start(path, port):
        running.append(subprocess.Popen([BUILD / "examples/usher-proxy", "-m", "666", "-l", path, "-a", "127.0.0.1", "-p",
                                         str(port)], stdin=subprocess.DEVNULL))
        wait_for_server(path)
        return running[-1]

    yield start
    for process in running:
        end_process(process)


def conversation(client, data):
    with client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def ask(one, data):
    """What comes back; nothing where the connection was closed or reset."""
    try:
        return conversation(one.connect(), data)
    except OSError:
        return b""


# ---- the document's own test


def example(sshd):
    return EXAMPLE.read_text().replace("ssh,/usr/sbin/sshd,-i", "ssh," + ",".join(sshd.inetd))


@pytest.mark.parametrize("way", ["dialect", "printed", "link"])
def test_the_documents_test_section(tcpmux, way, folder, proxy, sshd, nginx, middle):
    proxy(folder / "unix.proxy.0", nginx.http)
    one = tcpmux(example(sshd), way=way, directory=folder, args=["-p", "{port}"])
    echo_txt = folder / "echo.txt"
    echo_txt.write_bytes(ECHO_TXT)
    with open(echo_txt, "rb") as text:
        assert output_of(["nc", "-N", "127.0.0.1", one.port], stdin=text) == ECHO_TXT
    assert sshd.ssh(one.port, "echo from ssh").stdout == b"from ssh\n"
    assert output_of(["wget", "-q", "-O-", f"http://127.0.0.1:{one.port}/small"]) == b"small\n"
    output_of(["wget", "-q", "-O", folder / "middle", f"http://127.0.0.1:{one.port}/middle"])
    assert (folder / "middle").read_bytes() == middle[0].read_bytes()
    seen = [(line["service"], line["delivery"]) for line in one.wait_connections(4)]
    assert seen == [("echo", "exec"), ("ssh", "exec"), ("http", "handover"), ("http", "handover")]

    (folder / "deny").touch()
    assert sshd.ssh(one.port, "echo from ssh").returncode == 255, "the access program says no"


@WAYS
@pytest.mark.parametrize("allow, status", [("127.0.0.0/8", 0), ("192.0.2.0/24", 255)])
def test_ssh_through_usher_access(tcpmux, way, folder, sshd, allow, status):
    """The ready access program in the place of the sample one."""
    shutil.copy(BUILD / "src/usher-access", folder / "usher-access")
    policy = folder / "access.conf"
    policy.write_text(f'state = "{folder}/rates"; rules = ( {{ protocol = "ssh"; allow = "{allow}"; }} );')
    text = example(sshd).replace('para:"ssh,', f'para:"-c,{policy},ssh,')
    one = tcpmux(text, way=way, directory=folder, args=["-p", "{port}"])
    done = sshd.ssh(one.port, "echo from ssh")
    assert (done.returncode, done.stdout) == (status, b"" if status else b"from ssh\n")


@WAYS
def test_nc_as_the_document_has_it_ends_when_told_to(tcpmux, way, folder):
    """Without -N nc never says that its input ended."""
    one = tcpmux(EXAMPLE.read_text().replace("ssh,/usr/sbin/sshd,-i", "ssh,/bin/true"), way=way, directory=folder,
                 args=["-p", "{port}"])
    (folder / "echo.txt").write_bytes(ECHO_TXT)
    with open(folder / "echo.txt", "rb") as text:
        done = subprocess.run(["nc", "-w", "1", "127.0.0.1", str(one.port)], stdin=text, stdout=subprocess.PIPE, check=False,
                              timeout=slow(20))
    assert done.stdout == ECHO_TXT


# ---- keys


HEAD = 'version = "1.0"\nbind_addr = "127.0.0.1"\nlisten_port = {port}\n'
INTERNAL = 'proto_identifier: ( {name:"internal";identifier:"internal";priority:1} )\n'
ALL = 'internal_identifer: ( {name:"http"}, {name:"echo"}, {name:"ssh"} )\n'


def servers(**programs):
    """proto_server entries that say their name: http="./say"."""
    entries = ", ".join(f'{{proto:"{name}";server:"{words[0]}"' + (f';para:"{words[1]}"' if len(words) > 1 else "") + "}"
                        for name, words in programs.items())
    return f"proto_server: ( {entries} )\n"


@pytest.fixture
def say(place):
    """A program that says its arguments and everything that it reads."""
    program(place / "say", '#!/bin/sh\nprintf "%s|" "$@"; exec cat\n')
    return place


@WAYS
def test_the_built_in_identifiers(tcpmux, way, say):
    one = tcpmux(HEAD + INTERNAL + ALL + servers(http=("./say", "web"), ssh=("./say", "shell"), echo=("./say", "echo")),
                 way=way, directory=say)
    for data, name in ((b"GET / HTTP/1.0\r\n\r\n", b"web"), (b"POST", b"web"), (b"SSH-2.0-", b"shell"), (b"echo", b"echo"),
                       (b"SSH-2.0-x\r\n", b"shell"), (b"GETTER", b"web")):
        assert ask(one, data) == name + b"|" + data
    for method in (b"HEAD", b"PUT", b"OPTIONS", b"DELETE"):
        data = method + b" / HTTP/1.1\r\nHost: x\r\n\r\n"
        assert ask(one, data) == b"web|" + data, "tcpmux knows only GET and POST"
    assert ask(one, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").startswith(b"web|")
    assert ask(one, b"SSH-1.99-old\r\n") == b"shell|SSH-1.99-old\r\n"
    assert ask(one, b"HELO there\r\n") == b""


@WAYS
def test_an_identifier_that_is_off_or_not_listed_does_not_identify(tcpmux, way, say):
    internal = 'internal_identifer: ( {name:"http";disabled:1}, {name:"echo";disabled:0} )\n'
    one = tcpmux(HEAD + INTERNAL + internal + servers(http=("./say",), ssh=("./say",), echo=("./say", "e")), way=way,
                 directory=say)
    assert ask(one, b"echo") == b"e|echo"
    assert ask(one, b"GET / HTTP/1.0\r\n\r\n") == ask(one, b"SSH-2.0-x\r\n") == b""


@WAYS
@pytest.mark.parametrize("para, words", [
    (None, []), ("", [""]), ("one", ["one"]), ("one,two words,three", ["one", "two words", "three"]),
    ("one,", ["one"]), (",one", ["", "one"]), ("one,,two", ["one", "", "two"]), (r"a\\,b", ["a\\", "b"]), (r"\"x\"", ['"x"'])])
def test_para_is_cut_at_commas(tcpmux, way, say, para, words):
    program(say / "words", '#!/bin/sh\ncat >/dev/null; for word in "$@"; do printf "<%s>" "$word"; done\n')
    entry = ("./words",) if para is None else ("./words", para)
    one = tcpmux(HEAD + INTERNAL + ALL + servers(echo=entry), way=way, directory=say)
    assert ask(one, b"echo").decode() == "".join(f"<{word}>" for word in words)


@WAYS
def test_a_server_without_a_slash_is_in_the_current_folder(tcpmux, way, say):
    one = tcpmux(HEAD + INTERNAL + ALL + servers(echo=("say", "here")), way=way, directory=say)
    assert ask(one, b"echo") == b"here|echo"


@WAYS
def test_the_proxy_goes_before_the_program_and_the_program_before_the_end(tcpmux, way, say, proxy, named_echoes):
    (web,) = named_echoes("web")
    one = tcpmux(HEAD + INTERNAL + ALL + 'proxy_server: ( {proto:"http";channel:"./web.channel"}, '
                 f'{{proto:"ssh";channel:"{say}/ssh.channel"}} )\n' + servers(http=("./say", "program")), way=way, directory=say)
    assert ask(one, b"GET /") == b"program|GET /"
    assert ask(one, b"SSH-2.0-x\r\n") == b""
    running = proxy(say / "web.channel", web.port4)
    assert ask(one, b"GET /") == ask(one, b"HEAD / HTTP/1.0\r\n\r\n")[:4] + b"GET /" == b"web\nGET /"
    end_process(running)
    assert ask(one, b"GET /") == b"program|GET /", "the receiver has gone"
    proxy(say / "web.channel", web.port4)
    assert ask(one, b"GET /") == b"web\nGET /", "it is found again"


@WAYS
def test_a_program_has_the_socket_and_a_session_of_its_own(tcpmux, way, say):
    program(say / "tell", "#!/bin/sh\nread -r x; readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2; ps -o sid= -p $$; echo $$; ls /proc/$$/fd\n")
    one = tcpmux(HEAD + INTERNAL + ALL + servers(echo=("./tell",)), way=way, directory=say)
    zero, first, second, session, pid, *fds = ask(one, b"echo").decode().split()
    assert zero == first and zero.startswith("socket:") and second == "/dev/null"
    assert session == pid
    assert set(fds) <= {"0", "1", "2", "10", "255"}, "the shell's own among them"


# ---- external identifiers


def externals(*entries):
    """proto_identifier with internal at priority 10: externals((name, program, priority), ...)"""
    text = "".join(f', {{name:"{name}";identifier:"{path}";priority:{priority};disabled:0}}' for name, path, priority in entries)
    return f'proto_identifier: ( {{name:"internal";identifier:"internal";priority:10}}{text} )\n'


@WAYS
def test_the_example_identifier_is_asked_for_what_the_built_in_ones_do_not_know(tcpmux, way, folder, say):
    one = tcpmux(HEAD + externals(("x", "./identifier-once", 20)) + ALL +
                 servers(smtp=("./say", "mail"), echo=("./say", "echo")), way=way, directory=folder)
    assert ask(one, b"EHLO me\r\n") == b"mail|EHLO me\r\n"
    assert ask(one, b"echo") == b"echo|echo"
    assert ask(one, b"NICK me\r\n") == b"", "it says irc, which has no server"
    assert ask(one, b"nothing") == b""


@WAYS
def test_an_identifier_may_give_the_names_of_built_in_ones(tcpmux, way, say):
    program(say / "ident", '#!/bin/sh\nread -r name rest; printf %s "$name"\n')
    one = tcpmux(HEAD + externals(("x", "ident", 20)) + ALL +
                 servers(http=("./say", "web"), ssh=("./say", "shell"), echo=("./say", "echo")), way=way, directory=say)
    for data, name in ((b"http is what I am\n", b"web"), (b"ssh too\n", b"shell"), (b"echo me\n", b"echo"), (b"GET it\n", b"web")):
        assert ask(one, data) == name + b"|" + data
    assert ask(one, b"NOTFOUND\n") == ask(one, b"nobody knows\n") == b""


@WAYS
def test_without_the_built_in_ones_identifiers_decide_alone(tcpmux, way, say):
    program(say / "ident", '#!/bin/sh\nread -r first rest; [ "$first" = GET ] && printf ssh || printf NOTFOUND\n')
    one = tcpmux(HEAD + 'proto_identifier: ( {name:"x";identifier:"./ident";priority:0} )\n' + ALL +
                 servers(http=("./say", "web"), ssh=("./say", "shell")), way=way, directory=say)
    assert ask(one, b"GET / HTTP/1.0\r\n\r\n").startswith(b"shell|")
    assert ask(one, b"SSH-2.0-x\r\n") == b""


@WAYS
def test_identifiers_are_asked_in_the_order_of_their_priorities(tcpmux, way, say):
    for name in ("first", "second"):
        program(say / name, f'#!/bin/sh\nread -r word; [ "$word" = both -o "$word" = {name} ] && printf {name} || printf NOTFOUND\n')
    programs = servers(first=("./say", "1"), second=("./say", "2"), echo=("./say", "e"))
    behind = tcpmux(HEAD + externals(("b", "./second", 30), ("a", "./first", 20)) + ALL + programs, way=way, directory=say)
    assert [ask(behind, data)[:1] for data in (b"both\n", b"first\n", b"second\n", b"echo\n")] == [b"1", b"1", b"2", b"e"]
    behind.stop()
    program(say / "second", "#!/bin/sh\ncat >/dev/null; printf second\n")
    before = tcpmux(HEAD + externals(("b", "./second", 3), ("a", "./first", 2)) + ALL + programs, way=way, directory=say)
    assert [ask(before, data)[:1] for data in (b"both\n", b"echo\n")] == [b"1", b"2"], "they go before the built-in ones"


@WAYS
@pytest.mark.parametrize("wrong", [
    "printf NOTFOUND", "printf smtp; exit 1", "exit 0", "printf no-server", "printf 'smtp and more'", "head -c 300 /dev/zero",
    "kill -9 $$", "printf smtp >&2", "yes"])
def test_an_identifier_that_knows_nothing_fails_or_babbles_counts_as_no(tcpmux, way, say, wrong):
    program(say / "ident", f"#!/bin/sh\n{wrong}\n")
    one = tcpmux(HEAD + externals(("x", "./ident", 20)) + ALL + servers(smtp=("./say", "mail"), echo=("./say", "e")), way=way,
                 directory=say)
    assert ask(one, b"what is this\n") == b""
    assert ask(one, b"echo") == b"e|echo"


@WAYS
def test_a_slow_identifier_keeps_only_those_waiting_that_it_is_asked_about(tcpmux, way, say):
    program(say / "ident", f"#!/bin/sh\nuntil test -e {say}/answer; do sleep 0.05; done; printf smtp\n")
    one = tcpmux(HEAD + externals(("x", "./ident", 20)) + ALL + servers(smtp=("./say", "mail"), echo=("./say", "e")), way=way,
                 directory=say)
    with one.connect() as slow_one:
        slow_one.sendall(b"who am I\n")
        for _ in range(20):
            assert ask(one, b"echo") == b"e|echo"
        (say / "answer").touch()
        slow_one.shutdown(socket.SHUT_WR)
        assert read_all(slow_one) == b"mail|who am I\n"


def test_identifications_leave_no_descriptors_behind(tcpmux, folder, say):
    one = tcpmux(HEAD + externals(("x", "./identifier-once", 20)) + ALL + servers(smtp=("./say", "mail")), directory=folder)
    for _ in range(10):
        ask(one, b"EHLO me\r\n")
    one.wait_connections(10)
    before = one.fds()
    for _ in range(100):
        assert ask(one, b"EHLO me\r\n") == b"mail|EHLO me\r\n"
    one.wait_connections(110)
    wait_until(lambda: all(now <= before[pid] + 2 for pid, now in one.fds().items()), 3, "descriptors to go")


@WAYS
def test_a_modules_probes_are_built_in_identifiers(tcpmux, way, folder, say):
    module = 'extension_module: ( {name:"sample";file:"./xprotocol.so"} )\n'
    internal = 'internal_identifer: ( {name:"echo";priority:1}, {name:"xecho";priority:0}, {name:"xssh";disabled:1} )\n'
    one = tcpmux(HEAD + INTERNAL + module + internal + servers(xecho=("./say", "x"), echo=("./say", "e")), way=way,
                 directory=folder)
    assert ask(one, b"xecho name\n") == b"x|xecho name\n"
    assert ask(one, b"echo\n") == b"e|echo\n"
    assert ask(one, b"SSH-2.0-x\r\n") == b""


# ---- patience


@WAYS
def test_silent_clients_keep_nobody_waiting(tcpmux, way, say):
    one = tcpmux(HEAD + INTERNAL + ALL + servers(echo=("./say", "e")), way=way, directory=say)
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(one.connect())
        for _ in range(10):
            assert ask(one, b"echo") == b"e|echo"


@WAYS
def test_a_hello_in_two_segments_is_still_known(tcpmux, way, say):
    one = tcpmux(HEAD + INTERNAL + ALL + servers(echo=("./say", "e"), ssh=("./say", "s"), http=("./say", "w")), way=way,
                 directory=say)
    for pieces in ((b"ec", b"ho"), (b"SSH-", b"2.0-x\r\n"), (b"G", b"E", b"T /")):
        with one.connect() as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.1)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client)[2:] == b"".join(pieces)


# ---- the command line


def test_the_command_line_wins_over_the_file(tcpmux, say):
    text = HEAD + "log_level = 2\n" + INTERNAL + ALL + servers(echo=("./say", "e"))
    one = tcpmux(text.replace("{port}", "1").replace("127.0.0.1", "192.0.2.77"), directory=say,
                 args=["-b", "127.0.0.1", "-p", "{port}", "-l", "1"])
    assert ask(one, b"echo") == b"e|echo"
    one.wait_connections(1)
    assert not any(line.level == "debug" for line in one.log)
    printed = one.run("--print").stdout
    assert f'listen = [ "127.0.0.1:{one.port}" ];' in printed and 'level = "info"' in printed
    one.reload(signal_number=signal.SIGUSR2)
    assert ask(one, b"echo") == b"e|echo"


@pytest.mark.parametrize("level, native", [(None, "info"), (0, "notice"), (1, "info"), (2, "debug"), (3, "debug")])
def test_log_levels(tcpmux, say, level, native):
    text = HEAD + INTERNAL + ALL + servers(echo=("./say",))
    (say / "a.cfg").write_text(text.replace("{port}", "1") + (f"log_level = {level}\n" if level is not None else ""))
    (say / "b.cfg").write_text(text.replace("{port}", "1"))
    printed = run_usher("tcpmux", "-c", "a.cfg", "--print", cwd=say)
    assert f'level = "{native}"' in printed.stdout and printed.returncode == 0
    if level is not None:
        assert f'level = "{native}"' in run_usher("tcpmux", "--print", "-c", "b.cfg", "-l", level, cwd=say).stdout


def test_the_address_is_any_where_none_is_given(place):
    (place / "a.cfg").write_text('version = "1"; listen_port = 7;' + INTERNAL + ALL)
    assert 'listen = [ "0.0.0.0:7" ];' in run_usher("tcpmux", "--print", "-c", "a.cfg", cwd=place).stdout
    assert 'listen = [ "[::1]:8" ];' in run_usher("tcpmux", "--print", "-b", "::1", "-p", 8, "-c", "a.cfg", cwd=place).stdout


@pytest.mark.skipif(os.path.exists("/etc/tcpmux.cfg"), reason="this machine has a configuration of tcpmux")
def test_the_file_of_the_current_folder_is_a_default_place(place):
    done = run_usher("tcpmux", "--print", cwd=place)
    assert done.returncode == 2
    assert "expected -c FILE or one of /etc/tcpmux.cfg, ./tcpmux.cfg, /usr/local/etc/tcpmux.cfg" in done.stderr
    (place / "tcpmux.cfg").write_text('version = "1"; listen_port = 7;' + INTERNAL + ALL)
    assert run_usher("tcpmux", "--print", cwd=place).returncode == 0


def test_usage(place):
    done = run_usher("tcpmux", "-h")
    assert (done.returncode, done.stderr) == (0, "") and "usage: usher tcpmux" in done.stdout
    for args in (["-x"], ["more"], ["-d", "-i"], ["-p", "0"], ["-p", "99999"], ["-p", "x"], ["-b", "here"], ["-l", "loud"]):
        done = run_usher("tcpmux", *args, cwd=place)
        assert (done.returncode, done.stdout) == (2, "") and done.stderr


def test_in_the_background(folder):
    """The process that starts it ends when it serves."""
    port = free_port()
    text = HEAD.replace("{port}", "1") + INTERNAL + ALL + servers(echo=("./echo-server",))
    (folder / "tcpmux.cfg").write_text(text)
    before = set(children(os.getpid()))
    done = run_usher("tcpmux", "-c", "tcpmux.cfg", "-p", port, "-d", cwd=folder)
    masters = [pid for pid in set(children(os.getpid())) - before if (process_stat(pid) or [""])[0] == "usher: master"]
    try:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert conversation(client, b"echo 1") == b"echo 1"
        assert len(masters) == 1
    finally:
        for pid in masters:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 10, "the daemon to end")


@pytest.mark.parametrize("level", ["1", "2"])
@pytest.mark.parametrize("data, answer", [(b"echo hello", b"echo hello"), (b"unknown", b"")])
def test_by_inetd(folder, level, data, answer):
    """One connection, on descriptors 0, 1 and 2: nothing of the log may reach it. No port is needed."""
    (folder / "tcpmux.cfg").write_text('version = "1.0"\n' + INTERNAL + ALL + servers(echo=("./echo-server",)))
    with listening(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        process = subprocess.Popen([BINARY, "tcpmux", "-c", "tcpmux.cfg", "-i", "-l", level], cwd=folder, stdin=server,
                                   stdout=server, stderr=server, env=ENVIRONMENT)
        server.close()
        try:
            try:
                assert conversation(client, data) == answer
            except ConnectionResetError:
                assert answer == b""
            assert process.wait(slow(10)) == 0
        finally:
            end_process(process)


# ---- signals


def test_usr1_prints_the_configuration(tcpmux, say):
    one = tcpmux(HEAD + INTERNAL + ALL + servers(echo=("./say", "e")), directory=say)
    one.send_signal(signal.SIGUSR1)
    one.wait_log(r"exec = \[ ./say., .e. \]|exec = \[ \"./say\"")
    printed = [line for line in one.run("--print").stdout.splitlines() if line]
    start = next(n for n, line in enumerate(one.log) if "as usher's own:" in line.text)
    texts = [re.sub(r"^\S+ notice ", "", line.text) for line in one.log[start + 1 : start + 1 + len(printed)]]
    assert [text.strip() for text in texts] == [line.strip() for line in printed]
    assert ask(one, b"echo") == b"e|echo"


def test_usr2_reads_the_configuration_again(tcpmux, say):
    text = HEAD + INTERNAL + ALL + servers(echo=("./say", "before"))
    one = tcpmux(text, directory=say)
    one.reload(text.replace("before", "after"), signal_number=signal.SIGUSR2)
    assert ask(one, b"echo") == b"after|echo"


def test_a_bad_configuration_on_usr2_changes_nothing(tcpmux, say):
    text = HEAD + INTERNAL + ALL + servers(echo=("./say", "before"))
    one = tcpmux(text, directory=say)
    for number, bad in enumerate((text.replace("./say", "./missing"), text + "broken", "")):
        one.write(bad)
        one.send_signal(signal.SIGUSR2)
        one.wait_log("reload refused", count=number + 1)
        assert ask(one, b"echo") == b"before|echo"
    one.wait_log(r"tcpmux.conf:6: program .*missing': No such file")
    one.write(text)
    one.send_signal(signal.SIGUSR1)
    one.wait_log("as usher's own")
    one.reload(text.replace("before", "after"), signal_number=signal.SIGUSR2)
    assert ask(one, b"echo") == b"after|echo"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_end_it_though_clients_are_silent(tcpmux, say, number):
    one = tcpmux(HEAD + INTERNAL + ALL + servers(echo=("./say", "e")), directory=say)
    with one.connect():
        one.stop(number)


# ---- what is wrong


GOOD = 'version = "1"; listen_port = 7;\n' + INTERNAL + ALL

WRONG = [
    ("", ["FILE: no string `version', expected version = \"1.0\"",
          "FILE: no `listen_port', expected listen_port = 8080 or -p 8080",
          'FILE: no identifier is enabled: expected `proto_identifier\' with "internal" or a program, and for "internal" names in '
          "`internal_identifer'"]),
    ("version = 1\nlisten_port = \"7\"\nbind_addr = 5\nlog_level = \"x\"\n" + INTERNAL + ALL,
     ["FILE:1: no string `version', expected version = \"1.0\"",
      "FILE:2: `listen_port' is no whole number, expected 1 to 65535",
      "FILE:3: `bind_addr' is no string, expected an address such as \"0.0.0.0\"",
      "FILE:4: `log_level' is no whole number, expected 1 (info) or 2 (debug)",
      "FILE: no `listen_port', expected listen_port = 8080 or -p 8080"]),
    ('version = "1"\nlisten_port = 70000\nbind_addr = "here"\n' + INTERNAL + ALL,
     ["FILE:2: `listen_port' is 70000, expected 1 to 65535",
      "FILE:3: `bind_addr' is \"here\", expected an address such as \"0.0.0.0\""]),
    (GOOD + 'proto_server = "x"\nproxy_server = ( "x" )\n',
     ["FILE:4: `proto_server' is no list, expected ( { proto: \"...\"; ... }, ... )",
      "FILE:5: `proxy_server' holds something else than groups, expected { proto: \"...\"; ... }"]),
    (GOOD + 'proto_server: (\n{proto:"echo";server:"./no/such"},\n{proto:"ssh";server:"./nor/this"} )\n',
     ["FILE:5: program `DIR/./no/such': No such file or directory, expected an executable file",
      "FILE:6: program `DIR/./nor/this': No such file or directory, expected an executable file",
      "FILE:6: program `DIR/./nor/this': No such file or directory, expected an executable file"]),
    (GOOD + 'proto_server: ( {proto:"echo";server:"x"}', ["SYNTAX"]),
]


@pytest.mark.parametrize("text, expected", WRONG)
def test_all_that_is_wrong_is_said_at_once_with_its_line(place, text, expected):
    status, complaints = complaints_of(place, "tcpmux", text)
    assert status == 2
    if expected == ["SYNTAX"]:
        assert len(complaints) == 1 and re.match(r"FILE:4: ", complaints[0])
    else:
        assert sorted(complaints) == sorted(line.replace("DIR", str(place)) for line in expected)


def test_what_tcpmux_passes_over_is_passed_over_with_a_warning(place):
    file = place / "a.cfg"
    file.write_text("""version = "1"; listen_port = 7; log-level = 2;
proto_identifier: ( {name:"internal";identifier:"internal"},
 {name:"internal";identifier:"internal";priority:0}, {name:"internal";identifier:"internal";priority:0} )
internal_identifier: ( {name:"http"} )
internal_identifer: ( {name:"http";prio:1}, {priority:1},
 {name:"gopher"} )
proto_server: ( {proto:"http"} )
""")
    done = run_usher("tcpmux", "--print", "-c", "a.cfg", cwd=place)
    assert done.returncode == 0 and done.stdout
    assert sorted(done.stderr.splitlines()) == sorted([
        "a.cfg:1: warning: unknown key `log-level' in the configuration is left out, did you mean `log_level'?",
        "a.cfg:2: warning: an entry of `proto_identifier' without the whole number `priority' is left out",
        "a.cfg:3: warning: `internal' is in `proto_identifier' already, on line 3: this one is left out",
        "a.cfg:4: warning: unknown key `internal_identifier' in the configuration is left out, did you mean "
        "`internal_identifer'?",
        "a.cfg:5: warning: unknown key `prio' in internal_identifer is left out",
        "a.cfg:5: warning: an entry of `internal_identifer' without the string `name' is left out",
        "a.cfg:6: warning: identifier `gopher' is not built in and no `extension_module' is there to bring it: left out",
        "a.cfg:7: warning: an entry of `proto_server' without the string `server' is left out"])


def test_identifiers_on_both_sides_of_the_built_in_ones_are_told_of(place):
    for name in ("a", "b"):
        (place / name).symlink_to("/bin/true")
    (place / "a.cfg").write_text('version = "1"; listen_port = 7;\n' + ALL +
                                 externals(("before", "./a", 1), ("behind", "./b", 20)).replace("},", "},\n"))
    done = run_usher("tcpmux", "--print", "-c", "a.cfg", cwd=place)
    assert done.returncode == 0
    assert done.stderr == "a.cfg:5: warning: identifier `behind' is asked before `internal', as another one is\n"


def test_the_printed_example_is_what_it_says(place):
    """Its programs are not here, which is said; the text is there all the same."""
    done = run_usher("tcpmux", "--print", "-c", EXAMPLE, cwd=place)
    (warning,) = [line for line in done.stderr.splitlines() if ": warning: " in line]
    others = [line for line in done.stderr.splitlines() if line != warning]
    assert re.fullmatch(r"\S+tcpmux.cfg:\d+: warning: protocol `xssh', which a module's identifier of that name gives, has no "
                        r"server: it is closed", warning)
    assert done.returncode == 2 and others
    assert all("No such file or directory" in line and str(place) in line for line in others), others
    printed = done.stdout
    services = re.findall(r'name = "([a-z-]+)"; match', printed)
    assert services == ["http", "echo", "ssh", "xssh", "http-external", "ssh-external", "echo-external", "http-any", "ssh-any"]
    assert f'handover = "{place}/unix.proxy.0"; format = "tcpmux"' in printed
    assert 'exec = [ "./usher-access", "ssh", "/usr/sbin/sshd", "-i" ]' in printed
    assert "open_ident" not in printed and "xecho" not in printed
