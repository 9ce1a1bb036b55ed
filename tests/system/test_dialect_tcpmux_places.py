"""The places that are written into tcpmux: /etc/tcpmux.cfg, ./tcpmux.cfg, /usr/local/etc/tcpmux.cfg for its configuration
and, in its sample one, /tmp/unix.proxy.0 for a proxy. They are the machine's, so each test has /etc, /usr/local/etc and /tmp
of its own, in a mount namespace that only root can make."""

import os
import shlex
import signal
import subprocess

import pytest
from dialects import Foreign
from harness import BINARY, BUILD, ENVIRONMENT, IS_ROOT, SOURCE, connect, end_process, read_all, slow, wait_for_server

SEED = """version = "1.0"
bind_addr = "127.0.0.1"
listen_port = {port}
log_level = 1
proto_identifier: ( {{name:"internal";identifier:"internal";priority:0;disabled:0}} )
internal_identifer: ( {{name: "http";priority:0;disabled: 0}}, {{name: "echo";priority:1;disabled: 0}} )
proxy_server: ( {{proto:"http"; channel:"/tmp/unix.proxy.0"}} )
proto_server: ( {{proto: "echo"; server:"/bin/cat"}} )
"""

# The directory of each test has a folder for each of the three; what /tmp had of ours is in the new one too.
PRIVATE = """
set -e
cd "$0"
mount --bind /etc etc/.real
for ours in @OURS@; do
	case $ours in /tmp/*) mkdir -p "tmp${ours#/tmp}"; mount --bind "$ours" "tmp${ours#/tmp}" ;; esac
done
mount --rbind etc /etc
mount --bind local /usr/local/etc
mount --rbind tmp /tmp
cd "$1"
shift
exec "$@"
"""


@pytest.fixture
def private(place):
    """private(folder, command...): the command line by which it runs there, in that folder of the test's directory."""
    if not IS_ROOT:
        pytest.skip("needs root: makes a mount namespace with another /etc and /tmp")
    if not os.path.isdir("/usr/local/etc"):
        pytest.skip("this machine has no /usr/local/etc to put another in its place")
    for folder in ("etc/.real", "local", "tmp", "here"):
        (place / folder).mkdir(parents=True)
    for entry in set(os.listdir("/etc")) - {"tcpmux.cfg"}:
        (place / "etc" / entry).symlink_to(f".real/{entry}")
    script = PRIVATE.replace("@OURS@", " ".join(shlex.quote(str(path)) for path in (BUILD, SOURCE, place)))

    def wrap(folder, command):
        return ["unshare", "-m", "/bin/sh", "-c", script, str(place), str(place / folder), *map(str, command)]

    tried = subprocess.run(wrap(".", ["/bin/true"]), capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("no such mount namespace can be made here: " + tried.stderr.decode().strip())
    return wrap


def put(file, port):
    file.write_text(SEED.format(port=port))


def test_the_default_places_are_tried_in_their_order(private, place):
    def printed():
        return subprocess.run(private("here", [BINARY, "tcpmux", "--print"]), capture_output=True, text=True, timeout=slow(20),
                              env=ENVIRONMENT, check=False)

    places = [place / "etc/tcpmux.cfg", place / "here/tcpmux.cfg", place / "local/tcpmux.cfg"]
    for number, file in enumerate(places):
        put(file, 7001 + number)
    for number, file in enumerate(places):
        done = printed()
        assert done.returncode == 0, done.stderr
        assert f'listen = [ "127.0.0.1:{7001 + number}" ];' in done.stdout
        file.unlink()
    done = printed()
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected -c FILE or one of /etc/tcpmux.cfg, ./tcpmux.cfg, /usr/local/etc/tcpmux.cfg" in done.stderr


class Placed(Foreign):
    """Started without -c."""

    def __init__(self, private, directory, file, **options):
        super().__init__("tcpmux", SEED.format(port="{port}").replace("{{", "{").replace("}}", "}"), directory=directory, **options)
        self.placed = file
        self.wrapper = lambda command: private("here", command)

    def write(self, config=None):
        self.placed.write_text(self.text(config))
        return self.placed

    def arguments(self):
        return []


@pytest.fixture
def placed(private, place):
    started = []

    def start(file):
        started.append(Placed(private, place, place / file))
        return started[-1].start()

    yield start
    for one in started:
        one.stop()


def ask(port, data):
    with connect(port) as client:
        client.sendall(data)
        client.shutdown(1)
        return read_all(client)


@pytest.mark.parametrize("file", ["etc/tcpmux.cfg", "here/tcpmux.cfg", "local/tcpmux.cfg"])
def test_what_is_in_a_default_place_is_served_and_read_again(placed, file):
    one = placed(file)
    assert ask(one.port, b"echo in its place\n") == b"echo in its place\n"
    one.reload(one.config.replace("/bin/cat", "/usr/bin/rev"), signal_number=signal.SIGUSR2)
    assert ask(one.port, b"echo\n") == b"ohce\n"


def test_the_literal_path_of_the_sample_proxy(placed, place, nginx):
    program = BUILD / "examples/usher-proxy"
    if not program.exists():
        pytest.skip("the examples are not built")
    one = placed("etc/tcpmux.cfg")
    path = place / "tmp/unix.proxy.0"  # /tmp/unix.proxy.0 to usher
    proxy = subprocess.Popen([program, "-m", "666", "-l", path, "-a", "127.0.0.1", "-p", str(nginx.http)],
                             stdin=subprocess.DEVNULL)
    try:
        wait_for_server(path)
        answer = ask(one.port, b"GET /small HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"small\n")
        (line,) = one.wait_connections(1)
        assert line.items() >= {"delivery": "handover", "to": "/tmp/unix.proxy.0", "end": "handed-over"}.items()
        assert not os.path.exists("/tmp/unix.proxy.0"), "it is not the machine's own /tmp"
    finally:
        end_process(proxy)
