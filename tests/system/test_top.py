"""usher top, by what is on the screen of a terminal (tmux), and usher status --watch."""

import os
import signal
import subprocess

import pytest
from harness import BINARY as USHER, new_directory, read_exactly, remove_directory, slow, wait_until

CONFIG = """
listen = "127.0.0.1:{port}";  workers = 1;
control = "{dir}/control";
services = (
    { name = "echo"; match = "ssh"; connect = "{echo}"; },
    { name = "web"; match = "http"; connect = "{echo}"; },
    { name = "no"; match = "tls"; reject = "close"; }
);
"""
HELLO = b"SSH-2.0-x\r\n"


class Terminal:
    """A command in a terminal of a server of tmux's of its own. LINES and COLUMNS, which readline exports, would hide the terminal's size."""

    def __init__(self, *command, width=80, height=24, term="tmux-256color"):
        self.folder = new_directory()
        self.socket = os.path.join(self.folder, "tmux")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-s", "one", "-x", str(width), "-y", str(height),
                  "env", "-u", "LINES", "-u", "COLUMNS", f"TERM={term}", *command)

    def tmux(self, *words, check=True):
        return subprocess.run(["tmux", "-S", self.socket, *words], stdout=subprocess.PIPE, text=True, check=check,
                              timeout=slow(10)).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", "one", check=False)

    def keys(self, *keys):
        self.tmux("send-keys", "-t", "one", *keys)

    def type(self, text):
        self.tmux("send-keys", "-t", "one", "-l", text)

    def wait(self, *texts):
        """The screen, once it has all of these."""
        seen = ""

        def shows():
            nonlocal seen
            seen = self.screen()
            return all(text in seen for text in texts)

        try:
            wait_until(shows, 10.0, f"{texts} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{seen}") from None
        return seen

    def wait_gone(self, text):
        wait_until(lambda: text not in self.screen(), 10.0, f"no {text!r} on the screen")

    def wait_end(self):
        """Its one window is closed where the command has ended."""
        wait_until(lambda: subprocess.run(["tmux", "-S", self.socket, "has-session"], stderr=subprocess.DEVNULL,
                                          check=False).returncode != 0, 10.0, "the end of the command")

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], stderr=subprocess.DEVNULL, check=False)
        remove_directory(self.folder)


@pytest.fixture
def terminal():
    made = []

    def start(*command, **options):
        made.append(Terminal(*command, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def one(usher, echo):
    return usher(CONFIG, echo=echo.tcp4)


@pytest.fixture
def top(one, terminal):
    def start(**options):
        shown = terminal(USHER, "top", "-s", one.control, "-d", "0.2", **options)
        shown.wait("[1 Services]", "echo")
        return shown

    return start


def enter(one, hello=HELLO):
    client = one.connect()
    client.sendall(hello)
    assert read_exactly(client, len(hello)) == hello
    return client


def row(screen, name):
    (line,) = [line for line in screen.splitlines() if line.startswith(name + " ")]
    return line.split()


def names(screen):
    """The first column of the table."""
    lines = screen.splitlines()
    (head,) = [i for i, line in enumerate(lines) if line.startswith(("SERVICE", " ")) and ("OPEN" in line or "CLIENT" in line)]
    return [line.split()[0] for line in lines[head + 1:-1] if line.strip()]


def test_top_shows_the_services_and_what_they_serve(one, top):
    shown = top()
    client = enter(one)
    screen = shown.wait("connections 1, undecided 0")
    assert "serving, up for" in screen.splitlines()[0] and "accepted" in screen and "q quit" in screen
    shown.wait("  1      ")
    assert all(len(line) <= 80 for line in screen.splitlines())
    client.close()
    shown.wait("connections 0,")
    assert row(shown.screen(), "echo")[1] == "0"
    shown.keys("q")
    shown.wait_end()


def test_top_sorts_and_filters(one, top):
    shown = top()
    enter(one).close()
    shown.keys("s", "s")  # by new/s, then by total
    shown.wait("TOTAL*")
    wait_until(lambda: names(shown.screen())[0] == "echo", 10.0, "the service with most on top")
    shown.keys("r")
    shown.wait("TOTAL^")
    wait_until(lambda: names(shown.screen())[-1] == "echo", 10.0, "the service with most at the end")
    shown.keys("/")
    shown.type("WE")
    shown.wait("filter: WE_", "1 of 3")
    assert names(shown.screen()) == ["web"]
    shown.keys("BSpace")
    shown.type("b")
    shown.wait("filter: Wb_", "0 of 3")
    shown.keys("Escape")
    shown.wait("3 of 3", "q quit")


def test_top_shows_more_of_a_session_on_a_wide_terminal(one, top):
    shown = top(width=140)
    client = enter(one)
    shown.keys("Tab", "Tab")
    screen = shown.wait("[3 Sessions]", "1 of 1", "PROTOCOL", "relaying")
    assert " ssh " in screen and "DOWN/s" in screen
    client.close()


def test_top_closes_a_session_after_a_question(one, top):
    shown = top()
    clients = [enter(one), enter(one)]
    shown.keys("3")
    screen = shown.wait("[3 Sessions]", "2 of 2")
    assert len(names(screen)) == 2
    shown.keys("Down", "c")
    closed = shown.wait("Close session").splitlines()[-1].split()[2]
    shown.keys("n")
    shown.wait("q quit", "2 of 2")
    shown.keys("c")
    shown.wait(f"Close session {closed} of 127.0.0.1:")
    shown.keys("y")
    screen = shown.wait("closed", "1 of 1")
    assert closed not in names(screen)
    one.wait_connections(1, end="closed")
    for client in clients:
        client.close()


def test_top_drains_a_backend_after_a_question(one, top):
    shown = top()
    enter(one).close()
    shown.keys("2")
    screen = shown.wait("[2 Backends]", "2 of 2")
    address = row(screen, "echo")[1]
    shown.keys("/")
    shown.type("echo")
    shown.keys("Enter", "d")
    shown.wait(f"Drain backend {address} of echo? (y/n)")
    shown.keys("n")
    shown.wait("q quit")
    assert one.ask(b"backends")[0]["state"] == "up"
    shown.keys("d")
    shown.wait("Drain backend")
    shown.keys("y")
    wait_until(lambda: row(shown.screen(), "echo")[2] == "drain", 10.0, "a backend that drains")
    (drained,) = [one for one in one.ask(b"backends") if one["service"] == "echo"]
    assert drained["state"] == "drain" and drained["why"] == "operator"
    shown.keys("u")
    shown.wait("Take up backend")
    shown.keys("y")
    wait_until(lambda: row(shown.screen(), "echo")[2] == "up", 10.0, "a backend that is up")


def test_top_pauses(one, top):
    shown = top()
    shown.keys("p")
    shown.wait("PAUSED")
    client = enter(one)
    wait_until(lambda: one.ask(b"status")[0]["connections"] == 1, 10.0, "a connection")
    assert "connections 0," in shown.screen()
    shown.keys("p")
    shown.wait("connections 1,")
    client.close()


def test_top_follows_the_size_of_the_terminal(one, top):
    shown = top()
    assert "UP/s" in shown.screen() and "DOWN/s" in shown.screen()
    shown.tmux("resize-window", "-t", "one", "-x", "40", "-y", "10")
    shown.wait_gone("UP/s")
    screen = shown.wait("SERVICE", "OPEN", "echo")
    assert all(len(line) <= 40 for line in screen.splitlines()) and len(screen.splitlines()) <= 10
    shown.tmux("resize-window", "-t", "one", "-x", "140", "-y", "30")
    assert "DOWN/s" in shown.wait("UP/s")
    for width, height in ((5, 2), (1, 1), (80, 24)):
        shown.tmux("resize-window", "-t", "one", "-x", str(width), "-y", str(height))
    shown.wait("echo", "q quit")


def test_top_says_so_while_usher_does_not_answer_and_goes_on_when_it_does(one, top):
    shown = top()
    os.kill(one.process.pid, signal.SIGSTOP)
    try:
        shown.wait("no answer for")
        shown.keys("?")
        shown.wait("close the selected session")  # it does not hang
        shown.keys("?")
    finally:
        os.kill(one.process.pid, signal.SIGCONT)
    shown.wait_gone("no answer")
    one.stop()
    shown.wait("is usher running")
    shown.keys("q")
    shown.wait_end()


def test_top_needs_a_terminal_and_says_so(one, terminal):
    nowhere = subprocess.run([USHER, "top", "-s", one.control], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=slow(10), check=False)
    assert nowhere.returncode == 1
    assert nowhere.stderr == "usher: top needs a terminal; without one: usher status --watch\n"
    unknown = terminal("sh", "-c", f"{USHER} top -s {one.control}; echo ended $?; sleep 1000", term="no-such-terminal")
    unknown.wait("whose type is known (TERM)", "ended 1")


def test_top_without_usher_says_so(terminal):
    shown = terminal("sh", "-c", f"{USHER} top -s /nowhere/control; echo ended $?; sleep 1000")
    shown.wait("usher: /nowhere/control: No such file or directory (is usher running", "ended 1")


def test_status_is_shown_again_and_again(one, terminal):
    watching = subprocess.Popen([USHER, "status", "-s", one.control, "--watch=0.1"], stdout=subprocess.PIPE, text=True)
    heads = 0
    while heads < 3:
        heads += watching.stdout.readline().startswith("usher 0.")
    one.stop()
    watching.stdout.read()
    assert watching.wait(slow(10)) == 1
    wrong = subprocess.run([USHER, "status", "--watch=x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "expected seconds from 0.1 to 3600" in wrong.stderr


def test_drain_waits_for_the_end_and_shows_how_many_are_left(one, terminal):
    clients = [enter(one), enter(one)]
    shown = terminal("sh", "-c", f"{USHER} drain --wait -s {one.control}; echo ended $?; sleep 1000")
    shown.wait("waiting for 2 connections")
    clients.pop().close()
    screen = shown.wait("waiting for 1 connections")
    assert screen.count("waiting") == 1 and "ended 0" not in screen
    clients.pop().close()
    screen = shown.wait("ended 0")
    assert "waiting" not in screen
    assert one.process.wait(slow(10)) == 0


def test_where_there_is_no_terminal_drain_waits_without_a_word(one):
    client = enter(one)
    waiting = subprocess.Popen([USHER, "drain", "--wait", "-s", one.control], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = waiting.stdout.readline()
    assert said and waiting.poll() is None
    client.close()
    assert waiting.communicate(timeout=slow(20)) == ("", "") and waiting.returncode == 0


def test_status_that_is_watched_replaces_what_a_terminal_shows(one, terminal):
    shown = terminal(USHER, "status", "-s", one.control, "--watch=0.1")
    shown.wait("0 connections")
    client = enter(one)
    screen = shown.wait("1 connections")
    assert screen.count("usher 0.") == 1
    client.close()
