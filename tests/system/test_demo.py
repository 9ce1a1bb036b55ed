"""The demonstration: what it prints can be pasted, and works."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from harness import (
    BINARY,
    ENVIRONMENT,
    accepts,
    children,
    connect,
    end_process,
    free_port,
    process_stat,
    read_all,
    run_usher,
    slow,
    wait_until,
)


class Demo:
    def __init__(self, *options, env=None):
        self.port = free_port()
        self.process = subprocess.Popen(
            [BINARY, "demo", "-p", str(self.port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **(env or {})},
        )
        self.text = ""
        while "Ctrl-C" not in self.text:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.text += line

    @property
    def commands(self):
        """The lines that are there to be pasted."""
        return [line.strip() for line in self.text.splitlines() if line.startswith("  ")]

    def stop(self, number=signal.SIGINT):
        if self.process.poll() is None:
            below = children(self.process.pid)
            self.process.send_signal(number)
            assert self.process.wait(slow(5)) == 0
            wait_until(
                lambda: all((process_stat(pid) or ("", "Z"))[1] == "Z" for pid in below),
                5,
                "all of it to end",
            )
        end_process(self.process)


@pytest.fixture
def demo():
    running = []

    def start(*options, **more):
        running.append(Demo(*options, **more))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def paste(command, timeout=15):
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=slow(timeout),
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.skipif(not shutil.which("nc"), reason="the lines use nc, of netcat-openbsd")
def test_every_printed_line_works(demo):
    one = demo()
    assert f"127.0.0.1:{one.port}" in one.text
    page, echo, third = one.commands
    for _ in range(2):
        done = paste(page)
        assert done.returncode == 0 and re.search(
            r"service +page\n +protocol +http\n +client +127\.0\.0\.1 port \d+\n", done.stdout
        ), done
        assert f"port {one.port}" in done.stdout
        done = paste(echo)
        assert done.returncode == 0 and done.stdout == "echo hello\n", done
        done = paste(third)
        if third.startswith("ssh "):
            assert done.returncode == 0 and done.stdout == "hello from sshd\n", done
        else:
            assert "you said nothing" in done.stdout, done


@pytest.mark.skipif(not shutil.which("nc"), reason="the lines use nc, of netcat-openbsd")
def test_without_ssh_the_third_line_shows_on_silence(demo, place):
    """Without ssh-keygen there are no keys, and so no ssh: everything else goes on."""
    for name in ("sh", "env"):
        (place / name).symlink_to(shutil.which(name))
    one = demo(env={"PATH": str(place)})
    assert not any(line.startswith("ssh ") for line in one.commands)
    done = paste(one.commands[2])
    assert "you said nothing" in done.stdout and "on_silence" in done.stdout, done
    with connect(one.port) as client:
        client.sendall(b"\0\1\2\3")
        assert b"no service knows what you sent" in read_all(client)


def test_print_is_a_configuration_that_check_accepts(place):
    for options in (["--print"], ["-p", "8099", "--print"], ["--print", "-p", "8099"]):
        done = run_usher("demo", *options)
        assert done.returncode == 0 and done.stderr == ""
        assert ('"127.0.0.1:8099"' if "-p" in options else '"127.0.0.1:8080"') in done.stdout
        (place / "c").write_text(done.stdout)
        checked = run_usher("check", "-c", place / "c")
        assert checked.returncode == 0 and checked.stderr == "", checked.stderr
        assert re.search(r"page +http", checked.stdout)


def test_print_is_what_serves(demo, usher):
    """But for the end of the name of the folder with the keys."""
    one = demo()
    port = free_port()
    printed = run_usher("demo", "-p", port, "--print").stdout
    found = re.search(r"ssh -F (\S+)/ssh_config", one.text)
    assert bool(found) == ('name = "ssh"' in printed)
    if not found:
        pytest.skip("no sshd here")
    second = usher(printed.replace("/tmp/usher-demo-XXXXXX", found.group(1)), serving=False)
    second.wait_log("serving: ")
    done = paste(f"ssh -F {found.group(1)}/ssh_config -p {port} demo 'echo hello from sshd'")
    assert done.returncode == 0 and done.stdout == "hello from sshd\n", done


def test_print_is_a_configuration_that_serves(usher):
    port = free_port()
    one = usher(run_usher("demo", "-p", port, "--print").stdout, serving=False)
    one.wait_log("serving: ")
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"service    page" in read_all(client)


def test_keys_go_with_the_demonstration(demo):
    one = demo()
    found = re.search(r"ssh -F (\S+)/ssh_config", one.text)
    if not found:
        pytest.skip("no sshd here")
    directory = pathlib.Path(found.group(1))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o77 for path in directory.glob("*key")} == {0}
    paste(one.commands[2])
    one.stop(signal.SIGTERM)
    assert not directory.exists()


def test_keys_go_where_the_port_is_taken(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_usher("demo", "-p", taken.getsockname()[1], env={"TMPDIR": str(place)})
        assert done.returncode == 1 and "Address already in use, held by" in done.stderr and done.stdout == ""


def test_usage():
    for args in (["-x"], ["-p"], ["-p", "0"], ["-p", "http"], ["more"]):
        done = run_usher("demo", *args)
        assert done.returncode == 2 and done.stderr, args


def test_it_serves_this_machine_only(demo):
    one = demo()
    assert not accepts(("127.0.0.2", one.port)) and not accepts(("::1", one.port))


def test_a_slow_client_of_the_page_gets_it(demo):
    one = demo()
    with connect(one.port) as client:
        for piece in (b"GET / HT", b"TP/1.1\r\n", b"Host: a\r\n", b"X: " + b"y" * 20000 + b"\r\n", b"\r\n"):
            client.sendall(piece)
            time.sleep(0.05)
        got = read_all(client)
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        head, body = got.split(b"\r\n\r\n", 1)
        assert int(re.search(rb"Content-Length: (\d+)", head).group(1)) == len(body)
