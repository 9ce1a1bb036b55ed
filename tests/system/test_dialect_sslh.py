"""sslh's configurations and command lines: what usher makes of them beside what sslh itself does, and where sslh is known to be
weak and usher must not be."""

import getpass
import os
import re
import signal
import socket
import subprocess
import tempfile

import pytest
from dialects import fixture_of
from harness import BINARY, ENVIRONMENT, NEVER, connect, free_port, run_usher, slow, wait_until
from peers import client_hello
from servers import output_of
from sslhs import HAVE_SSLH, SAYS, SSLH_VERSION, RealSslh, ask, at, echoes, entry, listen, name_of, protocols  # noqa: F401

sslh = fixture_of("sslh")

needs_sslh = pytest.mark.skipif(not HAVE_SSLH, reason="sslh is not installed")


# ---- the shapes of sslh's own files, beside sslh


def shape_basic(echoes):
    """As basic.cfg: one server each, and anybody else to that of tls."""
    ssh, openvpn, xmpp, http, tls = echoes("ssh", "openvpn", "xmpp", "http", "tls")
    text = f'timeout: 1;\n{listen()}' + protocols(
        entry("ssh", ssh, 'service: "ssh"; fork: true;'), entry("openvpn", openvpn), entry("xmpp", xmpp), entry("http", http),
        entry("tls", tls, "log_level: 0;"), entry("anyprot", tls))
    tls_names = {name: "tls" for name in SAYS if name.startswith("tls")}
    return text, {"ssh": "ssh", "openvpn": "openvpn", "xmpp": "xmpp", "http": "http", "unknown": "tls", "silent": "ssh",
                  "socks5": "tls", **tls_names}


def shape_example(echoes):
    """As example.cfg: names, application protocols, expressions, a catch-all, and a server for silent clients."""
    ssh, http, both, alpn, mail, tls, openvpn, jabber, rest, daytime = echoes(
        "ssh", "http", "both", "alpn", "mail", "tls", "openvpn", "jabber", "rest", "daytime")
    text = f"""
verbose: false; foreground: true; inetd: false; numeric: false; transparent: false;
timeout: 1;
user: "{getpass.getuser()}";
syslog_facility: "auth";
{listen("keepalive: true;")}""" + protocols(
        entry("ssh", ssh, 'service: "ssh"; keepalive: true; fork: true;'), entry("http", http),
        entry("tls", both, 'alpn_protocols: [ "xmpp-client" ]; sni_hostnames: [ "im.example" ]; log_level: 0;'),
        entry("tls", alpn, 'alpn_protocols: [ "h2", "http/1.1", "spdy/1", "spdy/2", "spdy/3" ]; log_level: 0;'),
        entry("tls", mail, 'sni_hostnames: [ "mail.example", "*.b.example" ]; log_level: 0;'),
        entry("tls", tls),
        entry("regex", openvpn, r'regex_patterns: [ "^\x00[\x0D-\xFF]$", "^\x00[\x0D-\xFF]\x38" ];'),
        entry("regex", jabber, 'regex_patterns: [ "jabber" ];'),
        entry("regex", rest, 'regex_patterns: [ "" ];'),
        entry("timeout", daytime, 'service: "daytime";')) + 'on-timeout: "timeout";\n'
    return text, {"ssh": "ssh", "http": "http", "tls im xmpp-client": "both", "tls im h2": "alpn", "tls mail": "mail",
                  "tls a.b.example": "mail", "tls other h2": "alpn", "tls other": "tls", "tls": "tls", "xmpp": "jabber",
                  "unknown": "rest", "silent": "daytime", "openvpn": "openvpn"}


def shape_probes(echoes):
    """Every probe, and the last entry for the rest: there is no `anyprot'."""
    ssh, socks5, http, tinc, openvpn, xmpp, adb, foo, tls, last = echoes(
        "ssh", "socks5", "http", "tinc", "openvpn", "xmpp", "adb", "foo", "tls", "last")
    text = "timeout: 1; numeric: true;\n" + listen() + protocols(
        entry("ssh", ssh), entry("socks5", socks5), entry("http", http), entry("tinc", tinc), entry("openvpn", openvpn),
        entry("xmpp", xmpp), entry("adb", adb), entry("regex", foo, 'regex_patterns: [ "^foo", "^bar" ];'), entry("tls", tls), entry("regex", last,
                                                                                            'regex_patterns: [ "^last" ];'))
    return text, {"ssh": "ssh", "socks5": "socks5", "http": "http", "tinc": "tinc", "openvpn": "openvpn", "xmpp": "xmpp",
                  "adb": "adb", "tls": "tls", "tls other h2": "tls", "unknown": "last", "silent": "ssh"}


SHAPES = {"basic": shape_basic, "example": shape_example, "probes": shape_probes}

# Where sslh does something else than what its configuration says. libconfig 1.5, which 1.20 has, loses the \x00 of this expression,
# and 1.7 ends it there, so that all clients match; both hope for xmpp with less than fifty bytes until the time for silent
# clients is over. The sslh-select of 2.1.4 loses all these clients.
SSLH_ERRS = {("basic", "socks5"): "ssh"}
if SSLH_VERSION < "2":
    SSLH_ERRS[("example", "openvpn")] = "rest"
    SSLH_BINARIES = ["sslh", "sslh-select"]
else:
    SSLH_ERRS |= {("example", who): "openvpn" for who in ("openvpn", "xmpp", "unknown")}
    SSLH_BINARIES = ["sslh"]


@needs_sslh
@pytest.mark.parametrize("binary", SSLH_BINARIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_sslh_does_with_these_shapes(shape, binary, echoes, place):
    """The yardstick of the test below."""
    text, expected = SHAPES[shape](echoes)
    with RealSslh(text, place, binary=f"/usr/sbin/{binary}") as real:
        found = {who: ask(real, SAYS[who])[0] for who in expected}
    assert found == {who: SSLH_ERRS.get((shape, who), name) for who, name in expected.items()}


@pytest.mark.parametrize("way", ["dialect", "printed", "link"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_of_sslhs_own_files(sslh, shape, way, echoes):
    text, expected = SHAPES[shape](echoes)
    one = sslh(text, way=way)
    name, took = ask(one, b"")
    assert name == expected.pop("silent") and took > 0.95
    patient = sslh(text.replace("timeout: 1;", f"timeout: {NEVER};"), way=way)
    assert {who: ask(patient, SAYS[who])[0] for who in expected} == expected


def test_the_probes_that_came_later(sslh, echoes):
    """Those of 1.21 and 2."""
    syslog, rdp, rest = echoes("syslog", "rdp", "rest")
    one = sslh(listen() + protocols(entry("syslog", syslog), entry("msrdp", rdp), entry("anyprot", rest)))
    assert [ask(one, SAYS[who])[0] for who in ("syslog", "rdp", "unknown")] == ["syslog", "rdp", "rest"]


# ---- real clients and servers


def web_shape(sshd, nginx, ssh_more=""):
    """ssh, two sites by name, HTTP/2 and HTTP/1 by ALPN, plain HTTP."""
    return "timeout: 1;\n" + listen() + protocols(
        f'{{ name: "ssh"; host: "localhost"; port: "{sshd.port}"; {ssh_more} }}',
        f'{{ name: "http"; host: "localhost"; port: "{nginx.http}"; }}',
        f'{{ name: "tls"; host: "localhost"; port: "{nginx.https_two}"; sni_hostnames: [ "two.example", "*.two.example" ]; }}',
        f'{{ name: "tls"; host: "localhost"; port: "{nginx.https_two}"; alpn_protocols: [ "h2" ]; sni_hostnames: [ "rev.example" ]; }}',
        f'{{ name: "tls"; host: "localhost"; port: "{nginx.https_one}"; }}',
        f'{{ name: "anyprot"; host: "localhost"; port: "{nginx.http}"; }}')


def curl(port, name, path, certificate, *options, scheme="https"):
    return output_of(["curl", "-sS", "--max-time", int(slow(20)), "--cacert", certificate[0], "--resolve",
                      f"{name}:{port}:127.0.0.1", *options, f"{scheme}://{name}:{port}/{path}"]).decode()


def visit_everything(port, sshd, certificate):
    """What real clients get to see."""
    found = {
        "ssh": sshd.ssh(port, "echo from ssh").stdout.decode(),
        "plain": curl(port, "one.example", "who", certificate, scheme="http"),
        "one": curl(port, "one.example", "who", certificate),
        "two": curl(port, "two.example", "who", certificate),
        "below two": curl(port, "a.two.example", "who", certificate),
        "two, HTTP/1": curl(port, "two.example", "who", certificate, "--http1.1"),
        "two, TLS 1.2": curl(port, "two.example", "who", certificate, "--tls-max", "1.2"),
        "rev, h2": curl(port, "rev.example", "who", certificate),
        "rev, HTTP/1": curl(port, "rev.example", "who", certificate, "--http1.1"),
        "by address": output_of(["curl", "-sSk", f"https://127.0.0.1:{port}/who"]).decode(),
    }
    with connect(port) as client:  # a client that lets the server speak first
        found["shy"] = client.recv(8).decode()
    return found


SEEN = {
    "ssh": "from ssh\n", "plain": "plain GET one.example HTTP/1.1\n",
    "one": "one one.example HTTP/2.0 TLSv1.3\n", "two": "two two.example HTTP/2.0 TLSv1.3\n",
    "below two": "two a.two.example HTTP/2.0 TLSv1.3\n", "two, HTTP/1": "two two.example HTTP/1.1 TLSv1.3\n",
    "two, TLS 1.2": "two two.example HTTP/2.0 TLSv1.2\n", "rev, h2": "two rev.example HTTP/2.0 TLSv1.3\n",
    "rev, HTTP/1": "one rev.example HTTP/1.1 TLSv1.3\n", "by address": "one  HTTP/2.0 TLSv1.3\n", "shy": "SSH-2.0-",
}


@needs_sslh
def test_what_real_clients_see_through_sslh(sshd, nginx, certificate, place):
    with RealSslh(web_shape(sshd, nginx), place) as real:
        assert visit_everything(real.port, sshd, certificate) == SEEN


@pytest.mark.parametrize("way", ["dialect", "printed", "link"])
def test_real_clients_see_the_same_through_usher(sslh, way, sshd, nginx, certificate, middle):
    one = sslh(web_shape(sshd, nginx), way=way)
    assert visit_everything(one.port, sshd, certificate) == SEEN
    with open(one.dir / "middle", "wb") as copy:
        copy.write(output_of(["curl", "-sS", f"http://127.0.0.1:{one.port}/middle"]))
    assert (one.dir / "middle").read_bytes() == middle[0].read_bytes()


# ---- globs

SERVERS = ["x.example", "a.x.example", "example", "b.c.acme.invalid", "acme.invalid", "c.acme.invalid", "mail1.x", "mail12.x", "a.q",
           "d.q", "7.q"]
PROTOCOLS = ["h2", "http/1.1", "http/1.0", "spdy/3"]
GLOBS = [("sni_hostnames", glob) for glob in (
    "*", "*.example", "*example", "*.*.acme.invalid", "mail?.x", "[a-c].q", "[!a-c].q", "[^a-c].q", "x.*", "?.example", "*.x*",
    "[[:alpha:]].q", "[[:digit:]b-d].q", "x*mple", "*.*", "a.q", r"a\\.q", "[]a].q")] + [
    ("alpn_protocols", glob) for glob in ("*", "http/*", "h?", "spdy/[1-3]", "*1.?", "h2")]


def who_matches(one, key):
    """Which of the names go to the entry that has the glob."""
    if key == "sni_hostnames":
        return {name for name in SERVERS if ask(one, client_hello(name))[0] == "a"}
    return {name for name in PROTOCOLS if ask(one, client_hello(None, [name.encode()]))[0] == "a"}


@needs_sslh
@pytest.mark.parametrize("key, glob", GLOBS)
def test_globs_take_what_sslhs_take(sslh, echoes, place, key, glob):
    a, b = echoes("a", "b")
    text = "timeout: 5;\n" + listen() + protocols(entry("tls", a, f'{key}: [ "{glob}" ];'), entry("anyprot", b))
    with RealSslh(text, place) as real:
        expected = who_matches(real, key)
    assert who_matches(sslh(text), key) == expected
    assert expected or glob in ("[]a].q",)


def test_names_that_no_client_can_send_are_left_out_with_a_word(place):
    """To sslh they are like any other, and never match."""
    file = place / "a.cfg"
    file.write_text("""listen: ( { host: "127.0.0.1"; port: "443"; } );
protocols: ( { name: "ssh"; host: "h"; port: "1"; }, { name: "tls"; host: "h"; port: "2"; sni_hostnames: [ "good.example",
 "dot.example.", "", "with:443", "[a", "ba\\d.example" ]; },
 { name: "tls"; host: "h"; port: "3"; alpn_protocols: [ "" ]; },
 { name: "regex"; host: "h"; port: "4"; },
 { name: "anyprot"; host: "h"; port: "5"; } );
""")
    done = run_usher("sslh", "--print", f"-F{file}")
    assert done.returncode == 0
    assert re.findall(r'name = "(\S+)"', done.stdout) == ["ssh", "tls", "anyprot"]
    assert 'sni = [ "good.example", "bad.example" ]' in done.stdout
    assert done.stderr.replace(str(file), "FILE").splitlines() == [
        "FILE:3: warning: `dot.example.' is left out: no client can ask for it",
        "FILE:3: warning: `' is left out: no client can ask for it",
        "FILE:3: warning: `with:443' is left out: no client can ask for it",
        "FILE:3: warning: `[a' is left out: no client can ask for it",
        "FILE:4: warning: `' is left out: no client can ask for it",
        "FILE:4: warning: `tls' is left out: nothing can reach it, because it matches nothing",
        "FILE:5: warning: `regex' is left out: nothing can reach it, because it matches nothing"]


# ---- the command line


class ByCommandLine:
    """usher sslh with options alone; also under another name."""

    def __init__(self, *options, binary=(str(BINARY), "sslh"), **more):
        self.port = free_port()
        self.log = tempfile.TemporaryFile()
        command = [*binary, "-f", "-n", "--control=", "-p", f"127.0.0.1:{self.port}", *map(str, options)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=ENVIRONMENT, **more)
        wait_until(lambda: "notice serving: " in self.said() or self.process.poll() is not None, 10, "it to serve")
        assert self.process.poll() is None, self.said()

    def said(self):
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def connect(self, timeout=10.0):
        return connect(self.port, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(slow(10))
        said = self.said()
        self.log.close()
        assert status == 0 and "Sanitizer" not in said, said


def test_protocols_of_the_command_line_are_tried_in_its_order(echoes):
    a, b, c = echoes("a", "b", "c")
    with ByCommandLine("--tls", at(a), "--ssh", at(b), "--http", at(c), "-t", "1") as one:
        assert [ask(one, SAYS[who])[0] for who in ("tls", "ssh", "http", "unknown", "silent")] == ["a", "b", "c", "c", "b"]
    with ByCommandLine("--tls", at(a), "--http", at(c), "-t1") as one:
        assert ask(one, b"")[0] == "a", "without an entry of the name ssh, the first one"
    with ByCommandLine("--anyprot", at(a), "--ssh", at(b), "--tls", at(c)) as one:
        assert [ask(one, SAYS[who])[0] for who in ("ssh", "tls", "unknown")] == ["b", "c", "a"], "anyprot comes last"


@pytest.mark.parametrize("option", ["--on-timeout", "--on_timeout", "-on-timeout", "--on-timeout=", "--on_timeout=", "--on-t"])
def test_names_of_options_may_be_written_in_several_ways(echoes, option):
    a, b = echoes("a", "b")
    words = [option + "tls"] if option.endswith("=") else [option, "tls"]
    with ByCommandLine("--ssh", at(a), "-tls", at(b), "--timeout=1", *words) as one:
        assert [ask(one, SAYS[who])[0] for who in ("ssh", "silent")] == ["a", "b"]


@needs_sslh
def test_the_command_line_does_what_sslhs_does(echoes, place):
    a, b, c = echoes("a", "b", "c")
    options = ["--tls", at(a), "--ssh", at(b), "--anyprot", at(c), "-t", "1", "--on-timeout", "tls", "-p", "127.0.0.1:{port}"]
    with RealSslh(None, place, options) as real:
        expected = [ask(real, SAYS[who])[0] for who in ("tls", "ssh", "http", "unknown", "silent")]
    with ByCommandLine(*options[:-2]) as one:
        assert [ask(one, SAYS[who])[0] for who in ("tls", "ssh", "http", "unknown", "silent")] == expected
    assert expected == ["a", "b", "c", "c", "a"]


def test_the_command_line_goes_before_the_file(sslh, echoes):
    a, b, c, d = echoes("a", "b", "c", "d")
    text = 'timeout: 9; on-timeout: "ssh";\n' + listen() + protocols(
        entry("tls", a, 'sni_hostnames: [ "only.example" ];'), entry("ssh", b), entry("http", b))
    one = sslh(text, args=["--tls", at(c), "--socks5", at(d), "-t", "1", "--on-timeout", "tls", "--listen",
                           "127.0.0.1:{port_more}"])
    assert [ask(one, SAYS[who])[0] for who in ("tls", "ssh", "http", "socks5", "silent", "unknown")] == [
        "c", "b", "b", "d", "c", "d"], "replaced where it stands, added behind the others"
    with connect(one.ports["port_more"]) as client:
        client.sendall(SAYS["ssh"])
        assert name_of(client) == "b", "listens there as well"


def printed_of(*args, status=0, **options):
    done = run_usher("sslh", "--print", *args, **options)
    assert done.returncode == status, done.stderr
    return done


def test_a_file_is_named_in_several_ways(place):
    (place / "a.cfg").write_text(listen().replace("{port}", "443") + protocols('{ name: "ssh"; host: "h"; port: "22"; }'))
    for words in (["-Fa.cfg"], ["-F", "a.cfg"], ["--config=a.cfg"], ["--config", "a.cfg"], ["-f", "-Fa.cfg", "-v"]):
        assert '"127.0.0.1:443"' in printed_of(*words, cwd=place).stdout


@pytest.mark.skipif(any(os.path.exists(path) for path in ("/etc/sslh/sslh.cfg", "/etc/sslh.cfg")),
                    reason="this machine has a configuration of sslh")
def test_without_a_name_the_files_of_the_system_are_meant(place):
    for words in (["-F"], ["-F", "-f"]):
        assert "/etc/sslh.cfg: cannot be read" in printed_of(*words, status=6, cwd=place).stderr


SSH = ("-p", "127.0.0.1:443", "--ssh", "localhost:22")


@pytest.mark.parametrize("words, level", [
    (["-v"], "debug"), (["-v", "3"], "debug"), (["-v0"], "info"), (["-vv"], "debug"), (["--verbose"], "debug"), ([], "info"),
    (["--verbose=1"], "debug"), (["--verbose-connections", "0", "--verbose-connections-error=0"], "notice"),
    (["--verbose_probe_info", "2"], "debug"), (["--verbose-config", "1"], "info")])
def test_verbose_with_and_without_a_number(words, level):
    assert f'level = "{level}"' in printed_of("-f", *words, *SSH).stdout


def test_listening_in_several_places():
    done = printed_of("-p", "127.0.0.1:443", "--listen", "[::1]:https", "-p", "::1:444", "-p", "192.0.2.1:443", "--ssh", "a.b:ssh")
    assert done.stdout.startswith("""# From a configuration of sslh, by `usher sslh --print'.
listen = (
	"127.0.0.1:443",
	{ address = "[::1]:443"; freebind = true; },
	{ address = "[::1]:444"; freebind = true; },
	{ address = "192.0.2.1:443"; freebind = true; }
);
""")
    assert 'connect = "a.b:22"' in done.stdout and done.stderr == ""


def test_a_host_to_listen_on_stands_for_all_its_addresses():
    addresses = {info[4][0] for info in socket.getaddrinfo("localhost", 443, type=socket.SOCK_STREAM)}
    text = printed_of("-p", "localhost:443", "--ssh", "h:22").stdout
    assert set(re.findall(r'"\[?([0-9a-f.:]+?)\]?:443"', text)) == addresses


def test_usage_and_version(place):
    for word in ("-h", "--help"):
        done = run_usher("sslh", word)
        assert (done.returncode, done.stderr) == (0, "") and "usage: usher sslh" in done.stdout
        assert all(f"--{name}" in done.stdout for name in ("ssh", "tls", "openvpn", "anyprot"))
    for word in ("-V", "--version"):
        done = run_usher("sslh", word)
        assert (done.returncode, done.stderr) == (0, "") and re.match(r"usher \S+, as sslh\n", done.stdout)
    done = run_usher("sslh", "--nope")
    assert done.returncode == 6 and "unrecognized option '--nope'" in done.stderr and "usage:" in done.stderr
    assert "`stray' belongs to no option" in printed_of(*SSH, "stray").stderr


@pytest.mark.parametrize("words, status, expected", [
    ([], 1, ["nowhere to listen, expected `listen' in the file or -p HOST:PORT",
          "no protocol to serve, expected `protocols' in the file or options such as --ssh HOST:PORT"]),
    (["-p", "127.0.0.1:1"], 1, ["no protocol to serve, expected `protocols' in the file or options such as --ssh HOST:PORT"]),
    (["--ssh", "h:22"], 1, ["nowhere to listen, expected `listen' in the file or -p HOST:PORT"]),
    ([*SSH, "--tls", "h"], 6, ["--tls h, expected HOST:PORT such as localhost:443"]),
    ([*SSH, "-p", "8083"], 6, ["--listen 8083, expected HOST:PORT such as localhost:443"]),
    ([*SSH, "-F/no/such/file"], 6, []),
    ([*SSH, "-u", "nobody-of-that-name"], 2, ["there is no user `nobody-of-that-name'"]),
    ([*SSH, "--tls", "h:"], 6, ["--tls h:, expected HOST:PORT such as localhost:443"]),
    ([*SSH, "--tls", "h:nosuchservice"], 4, ["port `nosuchservice' of `tls', expected 1 to 65535 or a name of services(5)"]),
    ([*SSH, "--tls", "h:0"], 4, ["port `0' of `tls', expected 1 to 65535 or a name of services(5)"]),
    ([*SSH, "-p", "nohost.invalid:1"], 4, ["host `nohost.invalid' to listen on: "]),
    ([*SSH, "-t", "x"], 6, ["--timeout x, expected a whole number"]),
    ([*SSH, "-t", "-1"], 1, ["`timeout' is -1, expected seconds from 0"]),
    ([*SSH, "--syslog-facility", "nope"], 1, ['`syslog_facility\' is "nope", expected one such as "auth" or "none"']),
])
def test_what_is_wrong_with_a_command_line_and_the_status_that_sslh_has_for_it(words, status, expected):
    done = run_usher("sslh", *words)
    assert (done.returncode, done.stdout) == (status, "")
    lines = [line for line in done.stderr.splitlines() if line.startswith("the command line: ")]
    assert len(lines) == len(expected)
    assert all(line.startswith("the command line: " + text) for line, text in zip(sorted(lines), sorted(expected))), lines


def test_an_option_that_is_there_twice():
    done = printed_of(*SSH, "--tls", "a:1", "--http", "b:2", "--tls", "c:3")
    assert 'connect = "a:1"' in done.stdout and "c:3" not in done.stdout
    assert done.stderr == "the command line: warning: --tls is there twice: the first one is used\n"


@pytest.mark.parametrize("name", ["sslh", "sslh-select", "sslh-ev", "sslh-fork"])
def test_by_a_link_of_its_names(name, echoes, place):
    (a,) = echoes("a")
    (place / name).symlink_to(BINARY)
    with ByCommandLine("--ssh", at(a), binary=(str(place / name),)) as one:
        assert ask(one, SAYS["ssh"])[0] == "a"
