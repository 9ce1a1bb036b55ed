"""What a local user may do to the files of usher's sockets, and what a reload heals. His folder is one that he owns, as the folder of
a socket may be: there he can move, remove and replace what he likes."""

import json
import os
import pathlib
import signal
import socket
import stat

import pytest
from harness import IS_ROOT, connect, read_all, read_exactly, slow
from test_master_files import as_nobody, users_folder

HELD = ('listen = ( "127.0.0.1:{port}", { address = "unix:{dir}/users/in"; mode = {mode}; } ); workers = 1; '
        'control = { path = "{dir}/users/control"; mode = {mode}; }; pid_file = "{dir}/users/pid"; '
        'drain_timeout = 1; services = ( { name = "all"; connect = "{echo}"; } ); on_unknown = "all";')

as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: to become somebody else")


@pytest.fixture
def held(usher, place, echo):
    """An usher whose sockets are in a folder of the user nobody."""
    users_folder(place)
    return usher(HELD, directory=place, echo=echo.tcp4, mode="0666")


def ask(path, line):
    with connect(path) as client:
        client.sendall(line + b"\n")
        return json.loads(read_all(client))


def says(address):
    with connect(address) as client:
        client.sendall(b"hello")
        return read_exactly(client, 5) == b"hello"


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def busy_socket(path):
    """A listening socket with a full queue, and what fills it."""
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(path))
    one.listen(0)
    queue = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        queue.append(client)
        try:
            client.connect(str(path))
        except BlockingIOError:
            return one, queue


@pytest.mark.parametrize("what", ["listen", "control"])
def test_a_path_whose_owner_is_busy_is_not_waited_for(held, what):
    busy, queue = busy_socket(held.dir / "busy")
    if what == "listen":
        held.write(HELD.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "unix:{dir}/busy"'))
        answer = ask(held.dir / "users/control", b"reload")
        assert "Address already in use" in held.wait_log("cannot listen on unix:")[0].text, answer
        assert "error" in answer
    else:
        held.reload(HELD.replace("users/control", "busy"))
        held.wait_log("control socket .*/busy: another usher answers there")
    assert ask(held.dir / "users/control", b"status")["state"] == "serving", "what was there before stays"
    held.send_signal(signal.SIGTERM)
    assert held.process.wait(slow(20)) == 0
    assert (held.dir / "busy").is_socket()
    for one in (busy, *queue):
        one.close()


@as_root
@pytest.mark.parametrize("name", ["control", "in"])
def test_a_link_in_the_place_of_a_socket_is_not_followed(held, name):
    secret = held.dir / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    as_nobody("import os, sys; os.rename(sys.argv[1], sys.argv[1] + '.old'); os.symlink(sys.argv[2], sys.argv[1])",
              held.dir / "users" / name, secret)
    held.send_signal(signal.SIGHUP)
    held.wait_log("control socket .*: File exists" if name == "control" else "cannot listen on unix:.*: File exists")
    assert mode(secret) == 0o600
    held.stop()
    assert secret.read_text() == "root's"
    assert (held.dir / "users" / name).is_symlink(), "another's, so it stays"


@as_root
def test_a_socket_of_root_in_the_place_of_ours_keeps_its_mode(held):
    """Moved there by whoever may write to both folders."""
    other = held.dir / "users" / "root"
    theirs = socket.socket(socket.AF_UNIX)
    theirs.bind(str(other))
    other.chmod(0o600)
    theirs.listen()
    as_nobody("import os, sys; os.rename(sys.argv[1], sys.argv[2])", other, held.dir / "users/control")
    held.reload(HELD)
    held.wait_log("control socket .*: another usher answers there")
    assert mode(held.dir / "users/control") == 0o600
    held.stop()
    assert (held.dir / "users/control").is_socket()
    theirs.close()


def test_a_reload_makes_again_what_somebody_removed(held):
    for name in ("in", "control", "pid"):
        (held.dir / "users" / name).unlink()
    held.reload()
    assert says(held.dir / "users/in") and says(("127.0.0.1", held.port))
    assert ask(held.dir / "users/control", b"status")["pid"] == held.pid
    assert int((held.dir / "users/pid").read_text()) == held.pid
    held.reload()
    assert says(held.dir / "users/in")
    held.stop()
    assert not list((held.dir / "users").iterdir())


def test_sockets_of_other_processes_at_our_paths_are_left_alone(held):
    theirs = []
    for name in ("in", "control"):
        path = held.dir / "users" / name
        path.unlink()
        one = socket.socket(socket.AF_UNIX)
        one.bind(str(path))
        one.listen()
        theirs.append(one)
    held.stop()
    for name, one in zip(("in", "control"), theirs):
        with connect(held.dir / "users" / name):
            one.accept()[0].close()
        one.close()


def test_modes_follow_a_reload(held):
    names = ("in", "control")
    assert [mode(held.dir / "users" / name) for name in names] == [0o666, 0o666]
    held.words["mode"] = "0600"
    held.write(HELD)
    assert ask(held.dir / "users/control", b"reload") == {"done": "reloaded"}
    assert [mode(held.dir / "users" / name) for name in names] == [0o600, 0o600]


def test_modes_follow_a_reload_after_an_upgrade(held):
    held.send_signal(signal.SIGUSR2)
    held.wait_log("serving:", count=2, timeout=30)
    held.words["mode"] = "0600"
    held.write(HELD)
    held.reload()
    assert [mode(held.dir / "users" / name) for name in ("in", "control")] == [0o600, 0o600]
    held.stop()
    assert not list((held.dir / "users").iterdir())


def test_what_cannot_be_moved_stays_where_it_was(held):
    held.reload(HELD.replace("users/control", "nowhere/deep/control").replace("users/pid", "nowhere/deep/pid"))
    held.wait_log("control socket .*nowhere")
    held.wait_log("cannot write the pid file .*nowhere")
    assert ask(held.dir / "users/control", b"status")["pid"] == held.pid
    assert int((held.dir / "users/pid").read_text()) == held.pid
    held.stop()
    assert not list((held.dir / "users").iterdir())


def test_a_stale_socket_of_another_user_is_not_removed(usher, place, echo):
    if not IS_ROOT:
        pytest.skip("needs root: to become somebody else")
    folder = users_folder(place)
    as_nobody("import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])", folder / "in")
    one = usher(HELD, directory=place, echo=echo.tcp4, mode="0600", serving=False, status=1)
    assert one.process.wait(slow(20)) == 1
    assert "Address already in use" in one.output()
    assert (folder / "in").is_socket()


def test_the_control_socket_goes_to_the_next_usher_when_the_first_is_gone(usher, echo):
    config = ('listen = "127.0.0.1:{port}"; workers = 1; control = "{control}"; '
              'services = ( { name = "all"; connect = "{echo}"; } ); on_unknown = "all";')
    first = usher(config.replace("{control}", "{dir}/control"), echo=echo.tcp4)
    client = first.connect()
    client.sendall(b"open")
    assert read_exactly(client, 4) == b"open"
    second = usher(config, echo=echo.tcp4, control=first.control)
    second.wait_log("another usher answers there")
    assert ask(first.control, b"drain") == {"done": "draining"}
    assert ask(first.control, b"status")["pid"] == first.pid
    client.close()
    first.process.wait(slow(20))
    second.wait_log("control socket .*: served now", timeout=20)
    assert ask(first.control, b"status")["pid"] == second.pid
    second.stop()
    assert not pathlib.Path(first.control).exists()
