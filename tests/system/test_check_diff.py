"""usher check --diff: what a reload would change."""

import pytest
from harness import run_usher, write_config

CONFIG = """
listen = ( "127.0.0.1:{port}", "127.0.0.1:{port_b}" ); workers = 1; control = "{dir}/control";
idle_timeout = 60;
services = (
  { name = "ssh"; match = "ssh"; connect = "127.0.0.1:22"; },
  { name = "web"; match = "http"; connect = "127.0.0.1:80"; allow = "file:{dir}/allowed"; } );
"""


@pytest.fixture
def running(usher, place):
    (place / "allowed").write_text("127.0.0.0/8\n")
    return usher(CONFIG, directory=place)


def diff(one, *replacements):
    text = one.text()
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    result = run_usher("check", "--diff", "-c", write_config(one.dir, text, "next.conf"))
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


@pytest.mark.parametrize("before, after, lines", [
    ('idle_timeout = 60;', 'idle_timeout = 90;', ["~ idle_timeout = 60 -> 90"]),
    ('idle_timeout = 60;', '', ["- idle_timeout = 60"]),
    ('idle_timeout = 60;', 'idle_timeout = 60.0; drain_timeout = 5;', ["+ drain_timeout = 5"]),
    ('"127.0.0.1:22"', '[ "127.0.0.1:22", "127.0.0.1:2222" ]', ["+ services `ssh': connect `127.0.0.1:2222'"]),
    ('"127.0.0.1:22"', '"127.0.0.1:2222"', ['~ services `ssh\': connect = "127.0.0.1:22" -> "127.0.0.1:2222"']),
    ('"ssh"; match', '"git"; match',
     ["- services `ssh'", '+ services `git\' = {"name": "git", "match": "ssh", "connect": "127.0.0.1:22"}']),
    ('services = (', 'services = ( { name = "first"; match = "tls"; connect = "[::1]:443"; },',
     ['+ services `first\' = {"name": "first", "match": "tls", "connect": "[::1]:443"}']),
    ("workers = 1;", "workers = 1; /* a comment */", ["a reload would change nothing"]),
])
def test_each_difference_is_a_line(running, before, after, lines):
    assert diff(running, (before, after)) == lines


def test_listeners_come_and_go(running):
    old = f'"127.0.0.1:{running.ports["port_b"]}"'
    assert diff(running, (old, '{ address = "127.0.0.1:9"; }')) == [
        f"- listen `{old[1:-1]}'", '+ listen `127.0.0.1:9\' = {"address": "127.0.0.1:9"}']


def test_another_order_of_services_is_a_difference(running):
    first, second = (line for line in running.text().splitlines() if "{ name" in line)
    text = running.text().replace(first, "FIRST").replace(second, first.rstrip(",") + " );")
    text = text.replace("FIRST", second.removesuffix(" );") + ",")
    result = run_usher("check", "--diff", "-c", write_config(running.dir, text, "next.conf"))
    assert result.stdout.splitlines() == ["~ services in another order"]


def test_a_list_of_addresses_with_other_contents_is_a_difference(running):
    (running.dir / "allowed").write_text("192.0.2.0/24\n")
    (line,) = diff(running)
    assert line.startswith(f'~ services `web\': allow = "file:{running.dir}/allowed (contents ')


def test_after_a_reload_there_is_no_difference(running):
    running.reload(running.text().replace("idle_timeout = 60", "idle_timeout = 90"))
    result = run_usher("check", "--diff", "-c", running.file)
    assert (result.returncode, result.stdout) == (0, "a reload would change nothing\n")


def test_a_wrong_file_and_an_usher_that_does_not_run_are_errors(running):
    wrong = write_config(running.dir, running.text().replace('"http"', '"htpp"'), "wrong.conf")
    result = run_usher("check", "--diff", "-c", wrong)
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean `http'?" in result.stderr
    result = run_usher("check", "--diff", "-s", running.dir / "nothing", "-c", running.file)
    assert (result.returncode, result.stdout) == (1, "")
    assert "is usher running" in result.stderr
