"""`usher check` looks at the paths that a running usher writes to, all of them at once, as `usher run` would meet them."""

import os
import re
import shlex
import shutil
import subprocess

import pytest
from harness import BINARY, ENVIRONMENT, IS_ROOT, write_config

SERVICES = 'services = ( { name = "web"; match = "http"; connect = "127.0.0.1:80"; } );'


def check(place, settings, *command):
    config = write_config(place, f"{settings} {SERVICES}")
    return subprocess.run([*command, BINARY, "check", "-c", config], capture_output=True, text=True, check=False, env=ENVIRONMENT)


def test_every_path_that_cannot_be_written_is_said_at_once(place):
    (place / "file").write_text("")
    result = check(
        place,
        f'listen = ( "unix:{place}/none/socket", "unix:{place}/file" ); pid_file = "{place}/file/pid";'
        f' control = "{place}/none/two/control"; log = {{ to = "{place}/none/log"; }};',
    )
    assert result.returncode == 2
    assert result.stderr.replace(str(place), "DIR").splitlines() == [
        "DIR/usher.conf: log DIR/none/log: folder DIR/none: No such file or directory",
        "DIR/usher.conf: pid file DIR/file/pid: DIR/file is no folder",
        "DIR/usher.conf: warning: control socket DIR/none/two: folder DIR/none: No such file or directory",
        "DIR/usher.conf:1: listener DIR/none/socket: folder DIR/none: No such file or directory",
        "DIR/usher.conf:1: listener DIR/file: something else stands there, expected a socket or nothing",
    ]


def test_paths_that_can_be_written_are_left_as_they_are(place):
    result = check(
        place,
        f'listen = "unix:{place}/socket"; pid_file = "{place}/pid"; control = "{place}/made/control";'
        f' log = {{ to = "{place}/log"; }};',
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert os.listdir(place) == ["usher.conf"]


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket"])
def test_what_stands_in_the_place_of_the_pid_file_or_the_log(place, kind):
    path = place / "there"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o600 | 0o140000)
    for settings in (f'pid_file = "{path}";', f'log = {{ to = "{path}"; }};'):
        result = check(place, 'listen = "127.0.0.1:1"; ' + settings)
        assert result.returncode == 2 and str(path) in result.stderr, result


@pytest.mark.skipif(not IS_ROOT or not shutil.which("setpriv"), reason="needs root")
def test_what_only_this_user_may_not_write_is_a_warning(place):
    (place / "log").mkdir()
    result = check(place, f'listen = "127.0.0.1:1"; log = {{ to = "{place}/log/file"; }};',
                   "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert result.returncode == 0
    assert f"warning: log {place}/log/file: cannot write in folder {place}/log: Permission denied, for the user that asks" in result.stderr


def test_a_log_that_is_a_standard_stream_is_no_path(place):
    for name in ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2", "/dev/fd/77"):
        result = check(place, f'listen = "127.0.0.1:1"; log = {{ to = "{name}"; }};')
        assert (result.returncode, result.stderr) == (0, ""), name
        assert "cap_dac_override" not in result.stdout




def test_the_control_socket_and_kept_evidence_are_shown(place):
    result = check(place, f'listen = "127.0.0.1:1"; control = {{ path = "{place}/control"; mode = "0640"; }}; keep_evidence = 64;')
    assert f"Control   {place}/control, mode 0640\n" in result.stdout
    assert "Evidence  the first 64 bytes of each connection are kept\n" in result.stdout


def check_program(place, service):
    config = write_config(place, f'listen = "127.0.0.1:1"; services = ( {{ name = "a"; match = "http"; {service} }} );')
    return subprocess.run([BINARY, "check", "-c", config], capture_output=True, text=True, check=False, env=ENVIRONMENT)


def test_a_program_is_quoted_as_a_shell_reads_it(place):
    words = ["/bin/echo", "a b", "it's", "$HOME", "", "plain-1", 'say "x"']
    listed = ", ".join('"' + word.replace('"', '\\"') + '"' for word in words)
    line = re.search(r"exec (.*?)(?:  |$)", check_program(place, f"exec = [ {listed} ];").stdout, re.M)[1]
    assert shlex.split(line) == words


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_a_program_that_runs_as_root_unasked_is_warned_of(place):
    for service, warned in (('exec = "/bin/cat";', True), ('exec = "/bin/cat"; user = "root";', False),
                            ('exec = "/bin/cat"; user = "nobody";', False)):
        result = check_program(place, service)
        assert result.returncode == 0
        assert ("warning: service `a' runs its program as root for every client" in result.stderr) == warned, service
