"""Fixtures of the system tests: `usher` starts ushers, `place` is a directory that their workers can reach,
and the servers behind them are one of each kind for the whole run of a pytest process."""

import collections
import os
import pathlib
import shutil

import harness
import migrations
import peers
import pytest
import servers


def pytest_make_parametrize_id(val, argname):
    """A long text is no name for a test."""
    if isinstance(val, (str, bytes)) and len(val) > 80:
        return f"{argname} of {len(val)}"
    return None


def pytest_configure(config):
    harness.become_reaper()
    if not harness.BINARY.exists():
        raise pytest.UsageError(f"no usher at {harness.BINARY}: build it, or say where it is with USHER=...")


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """What ran, and what did not by its reason (up to a colon and a space), between all else and pytest's own last line."""
    yield
    stats = terminalreporter.stats
    if "UNIT_TESTS" in os.environ:
        terminalreporter.write_line(pathlib.Path(os.environ["UNIT_TESTS"]).read_text().strip())
    skipped = [report.longrepr[2].removeprefix("Skipped: ") for report in stats.get("skipped", [])]
    total = sum(len(stats.get(key, [])) for key in ("passed", "failed", "skipped", "error", "xfailed", "xpassed"))
    terminalreporter.write_line(f"system tests: {len(stats.get('passed', []))} of {total} passed, {len(skipped)} skipped")
    for reason, count in collections.Counter(reason.partition(": ")[0] for reason in skipped).most_common():
        terminalreporter.write_line(f"  {count} skipped: {reason}")


@pytest.fixture(scope="session", autouse=True)
def none_left_by_modules():
    yield
    harness.end_left()


@pytest.fixture(autouse=True)
def none_left(none_left_by_modules):
    """No usher outlives its test, whichever shell or program started it. Those of wider fixtures were there before."""
    known = harness.ushers_below()
    yield
    harness.end_left(known)


@pytest.fixture
def place():
    """A directory with a short name that unprivileged processes can enter."""
    directory = harness.new_directory()
    yield directory
    harness.remove_directory(directory)


@pytest.fixture
def usher(request):
    """usher(config, args=(), ...) starts one and waits until it serves; see harness.Usher for the rest. All
    that a test started are ended with it, and must have behaved."""
    started = []

    def start(config, *, serving=True, **options):
        one = harness.Usher(config, **options)
        started.append(one)
        return one.start() if serving else one.launch()

    yield start
    peers.close_opened()  # or it would drain
    harness.end_ushers(started)


@pytest.fixture
def backend():
    """A listening socket of the test's own, to which nobody came yet."""
    with peers.Backend() as one:
        yield one


@pytest.fixture
def named_servers():
    """named_servers("a", "b") starts servers that say their names (peers.Named)."""
    made = []

    def start(*names, **options):
        made.extend(peers.Named(name, **options) for name in names)
        return made[-len(names):]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def relay(usher, backend):
    """An usher that relays to it."""
    return usher(peers.RELAY, backend=backend.port)


@pytest.fixture
def copied(usher, backend, place):
    """copied(): usher as a file of its own, which a test may replace."""
    binary = place / "usher"
    shutil.copy(harness.BINARY, binary)
    binary.chmod(0o755)

    def start(config=migrations.SERVICES, **options):
        words = {**migrations.WORDS, "backend": backend.port, "quiet": backend.port, **options}
        one = usher(config, wrapper=lambda command: [str(binary), *command[1:]], **words)
        one.binary = binary
        return one

    return start


@pytest.fixture(scope="session")
def shelf():
    """Where the servers of the whole run keep their files."""
    directory = harness.new_directory("usher-servers-")
    yield directory
    harness.remove_directory(directory)


@pytest.fixture(scope="session")
def echo(shelf):
    """An echo server: echo.tcp4, echo.tcp6, echo.unix are addresses as usher's configuration has them."""
    with servers.Echo(shelf / "echo.sock") as server:
        yield server


@pytest.fixture
def named_echoes(place):
    """named_echoes("ssh", "web") starts echo servers that first say their name and a newline."""
    running = []

    def start(*names):
        for name in names:
            running.append(servers.Echo(place / f"{name}.sock", greeting=f"{name}\n").__enter__())
        return running[-len(names):]

    yield start
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def certificate(shelf):
    """A self-signed certificate for several names: (certificate, key) paths."""
    return servers.make_certificate(shelf)


@pytest.fixture
def start(place):
    """start(*command) runs a program; all are ended with the test, the last one first."""
    made = []

    def one(*command, **options):
        made.append(servers.Process(command, place / f"log-{len(made)}", **options))
        return made[-1]

    yield one
    for process in reversed(made):
        process.end()


@pytest.fixture(scope="session")
def nginx(shelf, certificate):
    with servers.Nginx(shelf / "nginx", certificate) as server:
        yield server


@pytest.fixture(scope="session")
def sshd(shelf):
    with servers.Sshd(shelf / "sshd") as server:
        yield server


@pytest.fixture
def s_server(certificate):
    """s_server(*options) starts `openssl s_server -rev`, which answers lines backwards."""
    running = []

    def start(*options):
        running.append(servers.SServer(certificate, options).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def big(nginx):
    """A file of 200 MB that nginx serves as /big: (path, SHA-256)."""
    return nginx.www / "big", servers.make_file(nginx.www / "big", 200_000_000)


@pytest.fixture(scope="session")
def middle(nginx):
    """One of 8 MB, as /middle."""
    return nginx.www / "middle", servers.make_file(nginx.www / "middle", 8_000_000)


ONE_PORT = """
listen = [ "127.0.0.1:{port}" ];
workers = 2;
decide_timeout = {decide_timeout};
protocols = ( { name = "echo"; string = "echo"; },
              { name = "h2c"; string = "PRI * HTTP/2.0"; } );
services = (
  { name = "ssh"; match = "ssh"; {ssh_delivery}; },
  { name = "h2c"; match = "h2c"; connect = "127.0.0.1:{h2c}"; },
  { name = "web"; match = "http"; connect = "127.0.0.1:{http}"; },
  { name = "two"; match = { protocol = "tls"; sni = [ "two.example", "*.two.example" ]; };
    connect = "127.0.0.1:{two}"; },
  { name = "one"; match = "tls"; connect = "127.0.0.1:{one}"; },
  { name = "echo"; match = "echo"; connect = "{echo}"; } );
on_silence = "ssh";
"""


@pytest.fixture
def one_port(usher, sshd, nginx, echo):
    """one_port(exec_sshd=False, ...) starts an usher in front of sshd, nginx (HTTP/1, HTTP/2, two names over
    TLS) and the echo server, all on one port."""

    def start(exec_sshd=False, decide_timeout=10.0, **options):
        program = ", ".join(f'"{word}"' for word in sshd.inetd)
        ssh_delivery = f"exec = [ {program} ]" if exec_sshd else f'connect = "127.0.0.1:{sshd.port}"'
        return usher(ONE_PORT, decide_timeout=decide_timeout, http=nginx.http, h2c=nginx.h2c,
                     one=nginx.https_one, two=nginx.https_two, echo=echo.tcp4, ssh_delivery=ssh_delivery,
                     **options)

    return start
