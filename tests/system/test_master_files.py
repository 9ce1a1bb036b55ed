"""What a local user may put in the place of a file that the master reads: the master never waits for it."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest
from harness import IS_ROOT, run_usher, slow

NOBODY = 65534
REJECTS = 'services = ( { name = "r"; reject = "close"; } ); on_silence = "r"; on_unknown = "r";'
LISTED = ('listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; services = ( { name = "r"; '
          'reject = "close"; deny = "file:{dir}/users/list"; } ); on_silence = "r"; on_unknown = "r";')
INCLUDING = ('listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control";\n'
             '@include "{dir}/users/list"\n' + REJECTS)


def as_nobody(code, *arguments):
    """Runs Python code as the user nobody, where this process may become another; else as the same."""
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if IS_ROOT else {}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, cwd="/",
                          timeout=slow(30), **identity)


def users_folder(place):
    """A folder that belongs to the user nobody."""
    folder = place / "users"
    folder.mkdir()
    if IS_ROOT:
        os.chown(folder, NOBODY, NOBODY)
    return folder


def refuses_and_serves(one, why):
    """A reload is refused at once for this reason; control socket and signals work as before."""
    (answer,) = one.ask(b"reload")
    assert why in answer["error"]
    assert one.ask(b"status")[0]["listeners"]
    one.send_signal(signal.SIGTERM)
    assert one.process.wait(slow(10)) == 0


PUT = {
    "fifo": "import os, sys; os.mkfifo(sys.argv[1])",
    "link-to-a-fifo": "import os, sys; os.mkfifo(sys.argv[1] + '2'); os.symlink(sys.argv[1] + '2', sys.argv[1])",
    "socket": "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])",
    "folder": "import os, sys; os.mkdir(sys.argv[1])",
    "link-to-a-terminal": "import os, sys; os.symlink('/dev/ptmx', sys.argv[1])",
}


@pytest.mark.parametrize("config", [LISTED, INCLUDING], ids=["list", "include"])
@pytest.mark.parametrize("kind", PUT)
def test_what_is_no_file_is_not_waited_for(usher, place, kind, config):
    folder = users_folder(place)
    (folder / "list").write_text("# empty\n")
    one = usher(config, directory=place)
    (folder / "list").unlink()
    as_nobody(PUT[kind], folder / "list")
    refuses_and_serves(one, "Is a directory" if kind == "folder" else "it is not a regular file")


def test_a_fifo_as_the_configuration_is_not_waited_for(usher):
    one = usher('listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control";' + REJECTS)
    one.file.unlink()
    os.mkfifo(one.file)
    refuses_and_serves(one, "it is not a regular file")


def test_a_lease_of_another_is_not_waited_for(usher, place):
    """Who owns a file may have the kernel hold up everybody who opens it, for 45 seconds."""
    folder = users_folder(place)
    (folder / "list").write_text("# empty\n")
    one = usher(LISTED, directory=place)
    with open(folder / "list", "r+b") as held:
        try:
            fcntl.fcntl(held, fcntl.F_SETSIG, 0)
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases here: {error}")
        refuses_and_serves(one, "another process holds a lease on it")


@pytest.mark.parametrize("command", ["sslh", "tcpmux", "portsplit"])
def test_a_fifo_as_a_foreign_configuration_is_refused(place, command):
    os.mkfifo(place / "conf")
    arguments = {"sslh": ["-F", place / "conf"], "tcpmux": ["-c", place / "conf"], "portsplit": [place / "conf"]}
    ended = run_usher(command, *arguments[command])
    assert ended.returncode == (6 if command == "sslh" else 2)
    assert "it is not a regular file" in ended.stderr
