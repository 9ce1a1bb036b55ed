"""What is wrong with a configuration is told with file and line, all of it at once, and exit status 2."""

import os
import re

import pytest
from harness import IS_ROOT, free_port, run_usher

GOOD = """listen = [ "127.0.0.1:{port}" ];
protocols = ( { name = "go"; string = "go"; } );
services = (
  { name = "go"; match = "go"; reject = "close"; },
  { name = "web"; match = "http"; connect = "127.0.0.1:1"; }
);
"""


@pytest.fixture
def judge(place):
    """judge(text): exit status, stdout, errors as (line, words) of `usher check`; `run` must say the same."""

    def check(text, name="usher.conf"):
        path = place / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        done = run_usher("check", "-c", path)
        if done.returncode:
            run = run_usher("run", "-c", path)
            assert (run.returncode, run.stdout, run.stderr) == (done.returncode, "", done.stderr)
            assert done.stdout == ""
        found = []
        for line in done.stderr.splitlines():
            match = re.fullmatch(re.escape(str(path)) + r"(?::(\d+))?: (.*)", line)
            assert match, f"no file and line in {line!r}"
            found.append((int(match.group(1) or 0), match.group(2)))
        return done.returncode, done.stdout, found

    return check


def good(old=None, new=None, port=None):
    text = GOOD.replace("{port}", str(port or 40001))
    if old is None:
        return text
    assert old in text
    return text.replace(old, new)


def test_a_good_file_is_printed_as_a_routing_table(judge):
    status, table, complaints = judge(good() + 'on_silence = "go";')
    assert status == 0 and complaints == []
    assert "127.0.0.1:40001" in table and re.search(r"1 +go +go +reject \(close\)", table)
    assert re.search(r"2 +web +http +connect 127\.0\.0\.1:1", table) and re.search(
        r"silent for 3 s +go", table
    )


CASES = {
    "unknown key": (
        good("services", "bogus = 1;\nservices"),
        3,
        "unknown key `bogus' in the configuration, expected one of listen",
    ),
    "unknown key with a near one": (
        good('connect =', 'conect ='),
        5,
        "unknown key `conect' in a service (did you mean `connect'?)",
    ),
    "unknown key in a protocol": (
        good('string =', 'strings ='),
        2,
        "unknown key `strings' in a protocol (did you mean `string'?)",
    ),
    "unknown key in match": (
        good('match = "http"', 'match = { snii = "a"; }'),
        5,
        "unknown key `snii' in match (did you mean `sni'?)",
    ),
    "unknown key in log": (
        good() + 'log = {\n  leve = "info"; };',
        8,
        "unknown key `leve' in log (did you mean `level'?)",
    ),
    "unknown key in a listener": (
        good('[ "127.0.0.1:40001" ]', '( { address = "127.0.0.1:40001"; port = 1; } )'),
        1,
        "unknown key `port'",
    ),
    "wrong type: number for string": (
        good('name = "web"', "name = 7"),
        5,
        "`name' is a whole number, expected a string in double quotes",
    ),
    "wrong type: string for number": (
        good() + 'workers = "two";',
        7,
        "`workers' is a string, expected a whole number from 1 to 256",
    ),
    "wrong type: string for seconds": (
        good() + 'decide_timeout = "3s";',
        7,
        "`decide_timeout' is a string, expected seconds",
    ),
    "wrong type: group for string": (
        good() + "on_silence = { };",
        7,
        "`on_silence' is a group, expected a string",
    ),
    "wrong type: bool": (good() + "pid_file = true;", 7, "`pid_file' is true or false, expected a string"),
    "wrong type: services a group": (
        'listen = "127.0.0.1:40001";\nservices = { };',
        2,
        "`services' is a group, expected a list of groups",
    ),
    "wrong type in a list": (
        good('"127.0.0.1:1"', '( "127.0.0.1:1", 2 )'),
        5,
        "`connect' holds a whole number, expected a string",
    ),
    "out of range": (good() + "workers = 0;", 7, "`workers' is 0, expected a whole number from 1 to 256"),
    "out of range above": (
        good() + "workers = 257;",
        7,
        "`workers' is 257, expected a whole number from 1 to 256",
    ),
    "negative": (
        good() + "connect_timeout = -1.0;",
        7,
        "`connect_timeout' is -1, expected seconds from 0.01 to 3600",
    ),
    "not one of the choices": (
        good() + 'log = { level = "loud"; };',
        7,
        '`level\' is "loud", expected one of "error", "warning", "notice", "info", "debug"',
    ),
    "log target": (
        good() + 'log = { to = "usher.log"; };',
        7,
        '`to\' is "usher.log", expected one of "stderr", "syslog", "journal", an absolute path, or a log server such as "udp:192.0.2.1:514" or "tcp:[2001:db8::1]:601"',
    ),
    "relative pid file": (
        good() + 'pid_file = "usher.pid";',
        7,
        "`pid_file' is \"usher.pid\", expected an absolute path",
    ),
    "no delivery": (
        good(' reject = "close";', ""),
        4,
        "service `go' has no delivery, expected one of connect, handover, exec, reject",
    ),
    "two deliveries": (
        good('reject = "close";', 'reject = "close"; exec = "/bin/cat";'),
        4,
        "has both `exec' and `reject', expected one delivery",
    ),
    "service twice": (good('name = "web"', 'name = "go"'), 5, "service `go' is there twice, first on line 4"),
    "service without a name": (good('name = "web"; ', ""), 5, "service without `name'"),
    "service of a bad name": (
        good('name = "web"', 'name = "we b"'),
        5,
        "name `we b' of a service, expected 1 to 63",
    ),
    "protocol twice": (
        good('} );', '},\n { name = "go"; string = "x"; } );'),
        3,
        "protocol `go' is there twice, first on line 2",
    ),
    "protocol that matches nothing": (
        good('string = "go"; ', ""),
        2,
        "protocol `go' matches nothing, expected `string', `bytes', `contains' or `regex'",
    ),
    "listener twice": (
        good('"127.0.0.1:40001" ]', '"127.0.0.1:40001",\n "127.0.0.1:40001" ]'),
        2,
        "listener `127.0.0.1:40001' is there twice, first on line 1",
    ),
    "the same listener in other words": (
        good('"127.0.0.1:40001" ]', '"[::1]:5",\n "[0:0::1]:5" ]'),
        2,
        "is there twice",
    ),
    "regex": (
        good('string = "go"', 'regex = "a(b"'),
        2,
        'regex "a(b" does not compile: at offset 3: missing closing parenthesis',
    ),
    "regex in a list": (
        good('string = "go"', 'regex = [ "fine",\n "[z-a]" ]'),
        3,
        'regex "[z-a]" does not compile',
    ),
    "string with no bytes": (
        good('string = "go"', 'string = ""'),
        2,
        "a `string' with no bytes, expected at least one",
    ),
    "bytes with no bytes": (good('string = "go"', 'bytes = "  "'), 2, "`bytes' with no bytes"),
    "bytes that are no hex": (good('string = "go"', 'bytes = "00 0g"'), 2, "is no hex at `0g'"),
    "bytes with half a byte": (good('string = "go"', 'bytes = "00 0"'), 2, "is no hex"),
    "a NUL in a string": (good('string = "go"', 'string = "a\\x00b"'), 2, ""),
    "own listener": (
        good("127.0.0.1:1", "127.0.0.1:40001"),
        5,
        "`127.0.0.1:40001' is usher's own listener `127.0.0.1:40001' (line 1)",
    ),
    "own listener by localhost": (good("127.0.0.1:1", "localhost:40001"), 5, "is usher's own listener"),
    "own listener on all addresses": (
        good("127.0.0.1:40001", "0.0.0.0:40001").replace("127.0.0.1:1", "127.0.0.9:40001"),
        5,
        "is usher's own listener",
    ),
    "own listener on UNIX": (
        good('"127.0.0.1:40001"', '"unix:/tmp/a"').replace('"127.0.0.1:1"', '"unix:/tmp/a"'),
        5,
        "is usher's own listener",
    ),
    "own listener by handover": (
        good('"127.0.0.1:40001"', '"unix:/tmp/a"').replace('connect = "127.0.0.1:1"', 'handover = "/tmp/a"'),
        5,
        "is usher's own listener",
    ),
    "fallback circle": (
        good('"127.0.0.1:1";', '"127.0.0.1:1"; fallback = "web";'),
        5,
        "fallback of service `web' leads back to itself",
    ),
    "unknown fallback": (
        good('"127.0.0.1:1";', '"127.0.0.1:1"; fallback = "got";'),
        5,
        "unknown service `got' in `fallback', did you mean `go'?",
    ),
    "unknown on_silence": (good() + 'on_silence = "nobody";', 7, "unknown service `nobody' in `on_silence'"),
    "unknown on_unknown": (good() + 'on_unknown = "nobody";', 7, "unknown service `nobody' in `on_unknown'"),
    "unknown protocol": (
        good('match = "http"', 'match = "htttp"'),
        5,
        "unknown protocol `htttp', did you mean `http'?",
    ),
    "the name of what is inside TLS": (
        good('match = "http"', 'match = "https"'),
        5,
        "unknown protocol `https', expected `tls' (HTTP inside TLS, which is told by `sni' and `alpn')",
    ),
    "another name of TLS": (good('match = "http"', 'match = "ssl"'), 5, "unknown protocol `ssl', expected `tls'"),
    "unknown listener": (
        good('match = "http"', 'match = { protocol = "http"; listener = "1.2.3.4:5"; }'),
        5,
        "unknown listener `1.2.3.4:5'",
    ),
    "listener alone": (
        good('match = "http"', 'match = { listener = "127.0.0.1:40001"; }'),
        5,
        "a `listener' alone does not tell a service",
    ),
    "empty match": (good('match = "http"', "match = { }"), 5, "an empty `match'"),
    "no match and nothing leads to it": (
        good('match = "http"; ', ""),
        5,
        "service `web' has no `match' or `banner', and no `on_silence'",
    ),
    "glob without an end": (
        good('match = "http"', 'match = { sni = "a.[b"; }'),
        5,
        "sni `a.[b' is no glob, expected `]' behind `['",
    ),
    "host with a port": (good('match = "http"', 'match = { host = "a:80"; }'), 5, "host `a:80' has a port"),
    "host that is none": (
        good('match = "http"', 'match = { host = "a b"; }'),
        5,
        "host `a b' is no host name",
    ),
    "address that is none": (
        good('"127.0.0.1:1"', '"127.0.0.1"'),
        5,
        "`127.0.0.1' is no address to connect to, expected",
    ),
    "address with a port too high": (
        good('"127.0.0.1:1"', '"127.0.0.1:65536"'),
        5,
        "is no address to connect to",
    ),
    "address with port 0": (good('"127.0.0.1:1"', '"127.0.0.1:0"'), 5, "backend `127.0.0.1:0' has port 0"),
    "listener with port 0": (good("40001", "0"), 1, "listener `127.0.0.1:0' has port 0, expected 1 to 65535"),
    "listener that is a name": (
        good("127.0.0.1", "localhost"),
        1,
        "listener `localhost:40001' is a name, expected the address in digits",
    ),
    "listener that is nothing": (
        good("127.0.0.1:40001", "here"),
        1,
        "`here' is no address to listen on, expected",
    ),
    "path of datagrams": (
        good("127.0.0.1:40001", "udp:unix:/run/x"),
        1,
        "listener `udp:unix:/run/x' is a path, which has no datagrams here, expected",
    ),
    "silence on UDP": (
        good('[ "127.0.0.1:40001" ]', '( { address = "udp:127.0.0.1:40001"; on_silence = "a"; } )'),
        1,
        "`on_silence' on listener `udp:127.0.0.1:40001', expected only on a TCP address or",
    ),
    "accept_proxy of somebody without an address": (
        good('[ "127.0.0.1:40001" ]', '( { address = "127.0.0.1:40001"; accept_proxy = [ "unix:" ]; } )'),
        1,
        "`accept_proxy' of listener `127.0.0.1:40001' has \"unix:\"",
    ),
    "mode on an IP address": (
        good('[ "127.0.0.1:40001" ]', '( { address = "127.0.0.1:40001"; mode = 0600; } )'),
        1,
        "mode",
    ),
    "mode that is none": (
        good('[ "127.0.0.1:40001" ]', '( { address = "unix:/tmp/a"; mode = 0999; } )'),
        1,
        "`mode' is 999, expected permission bits",
    ),
    "path too long": (
        good('"127.0.0.1:1"', '"unix:/' + "a" * 200 + '"'),
        5,
        "is too long, expected at most 107 bytes",
    ),
    "program that is missing": (
        good('connect = "127.0.0.1:1"', 'exec = "/no/such/program"'),
        5,
        "program `/no/such/program': No such file or directory",
    ),
    "program that is no program": (
        good('connect = "127.0.0.1:1"', 'exec = "/etc/passwd"'),
        5,
        "program `/etc/passwd': not executable",
    ),
    "program that is a directory": (
        good('connect = "127.0.0.1:1"', 'exec = "/tmp"'),
        5,
        "program `/tmp': Is a directory",
    ),
    "program that is not in PATH": (
        good('connect = "127.0.0.1:1"', 'exec = "no-such-program"'),
        5,
        "program `no-such-program' is not in PATH",
    ),
    "stdio without exec": (
        good('"127.0.0.1:1";', '"127.0.0.1:1"; stdio = "pty";'),
        5,
        "`stdio' goes with `exec' only",
    ),
    "format without handover": (
        good('"127.0.0.1:1";', '"127.0.0.1:1"; format = "usher";'),
        5,
        "`format' goes with `handover' only",
    ),
    "within without regex": (
        good('string = "go";', 'string = "go"; within = 9;'),
        2,
        "`within' of protocol `go' goes with `regex' and `contains' only",
    ),
    "unknown user": (good() + 'user = "no-such-user";', 7, "unknown user `no-such-user'"),
    "unknown user of a program": (
        good('connect = "127.0.0.1:1"', 'exec = "/bin/cat"; user = "no-such-user"'),
        5,
        "unknown user `no-such-user'",
    ),
    "unknown group": (
        good()
        + f'user = "{"root" if IS_ROOT else os.environ.get("USER", "root")}"; group = "no-such-group";',
        7,
        "unknown group",
    ),
    "key twice": (good() + "workers = 1;\nworkers = 2;", 8, "duplicate setting name"),
    "no services": ('listen = "127.0.0.1:40001";', 0, "no `services'"),
    "no listen": (good().split("\n", 1)[1], 0, "no `listen'"),
    "an empty file": ("", 0, "no `listen'"),
    "empty lists": ("listen = [ ];\nservices = ( );", 1, "`listen' is an empty list"),
    "unclosed string": (good() + 'user = "root;\n', 7, ""),
    "unclosed group": (good("; }\n);", "; \n);"), 0, ""),
    "no semicolon or rubbish": (good() + "workers == 1;", 7, ""),
    "rubbish": (b"\x7fELF\x02\x01\x01" + bytes(range(256)), 0, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_an_error_names_its_line_and_what_was_expected(judge, case):
    text, line, words = CASES[case]
    status, _, complaints = judge(text)
    assert status == 2 and complaints
    if line:
        assert any(at == line and words in said for at, said in complaints), complaints
    else:
        assert any(words in said for _, said in complaints), complaints


def test_all_errors_are_told_at_once_in_the_order_of_the_file(judge):
    status, _, complaints = judge(
        """listen = [ "here", "127.0.0.1:0", "127.0.0.1:40001" ];
workers = "many";
protocols = ( { name = "a"; string = ""; },
  { name = "b"; regex = "("; },
  { name = "b"; bytes = "xx"; } );
services = ( { name = "one"; match = "nothing"; },
  { name = "one"; match = "a"; connect = "127.0.0.1:40001"; },
  { name = "two"; matsch = "a"; reject = "sometimes"; } );
on_silence = "three";
pid_file = 5;
bogus = 1;
"""
    )
    assert status == 2
    lines = [line for line, _ in complaints]
    assert lines == sorted(lines) and set(lines) == {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, complaints
    assert len(complaints) >= 15, complaints
    assert all(
        "expected" in said or "does not compile" in said or "unknown" in said or "twice" in said
        for _, said in complaints
    ), complaints


def test_missing_and_unreadable_files(place):
    for path, why in ((place / "missing", "No such file or directory"), (place, "Is a directory")):
        for command in ("check", "run"):
            done = run_usher(command, "-c", path)
            assert done.returncode == 2 and done.stderr == f"{path}: cannot be read: {why}\n", done


def test_an_included_file_is_named_in_its_errors(place):
    (place / "part").write_text('workers = 1;\nbogus = 2;\n')
    (place / "c").write_text('@include "part"\n' + good())
    done = run_usher("check", "-c", place / "c")
    assert done.returncode == 2 and re.match(r"\S*part:2: unknown key `bogus'", done.stderr), done.stderr
    (place / "c").write_text(good() + '@include "gone"\n')
    done = run_usher("check", "-c", place / "c")
    assert done.returncode == 2 and re.match(re.escape(str(place)) + r"/c:7: ", done.stderr), done.stderr


def test_warnings_do_not_keep_it_from_serving(judge):
    status, table, complaints = judge(
        good("\n);", ',\n  { name = "late"; match = "go"; reject = "close"; }\n);')
    )
    assert status == 0 and table
    assert complaints == [
        (6, "warning: service `late' is never reached: service `go' (line 4) takes all that it matches")
    ]


def test_control_bytes_of_the_file_do_not_reach_the_terminal(place):
    (place / "c").write_bytes(good().encode() + b'on_silence = "\x1b[2J\x07";\n')
    done = run_usher("check", "-c", place / "c")
    assert done.returncode == 2 and "\x1b" not in done.stderr and "\x07" not in done.stderr


def test_a_file_without_an_end_of_line_and_with_other_line_ends(judge):
    assert judge(good().rstrip("\n"))[0] == 0
    assert judge(good().replace("\n", "\r\n"))[0] == 0
    assert judge(good().replace("\n", "\r\n") + "bogus = 1;\r\n")[2][0][0] == 7


def test_ten_thousand_services_are_checked(judge):
    services = ",\n".join(
        '{ name = "s%d"; match = { sni = "s%d.example"; }; connect = "127.0.0.1:1"; }' % (n, n)
        for n in range(10000)
    )
    assert judge(f'listen = "127.0.0.1:40001";\nservices = (\n{services}\n);')[0] == 0
    broken = services.replace('"s77.example"', '"s77..example"').replace('name = "s88"', 'name = "s99"')
    status, _, complaints = judge(f'listen = "127.0.0.1:40001";\nservices = (\n{broken}\n);')
    assert status == 2 and [line for line, _ in complaints] == [80, 102], complaints


def test_check_listens_nowhere_and_writes_nothing(place):
    port = free_port()
    (place / "c").write_text(good(port=port) + f'pid_file = "{place}/pid"; log = {{ to = "{place}/log"; }};')
    assert run_usher("check", "-c", place / "c").returncode == 0
    assert os.listdir(place) == ["c"]
