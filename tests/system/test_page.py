"""The exporter's page: its HTML, what it may load, and in a real Chromium that it is accessible, fits a phone, and updates in place."""

import base64
import contextlib
import hashlib
import html.parser
import http.client
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from harness import SOURCE, read_exactly, slow, wait_until

HELLO = b"SSH-2.0-x\r\n"
CONFIG = """
listen = "127.0.0.1:{port}";
workers = 1;
metrics = "127.0.0.1:{port_metrics}";
services = (
    { name = "echo"; match = { protocol = "ssh"; }; connect = "{echo}"; },
    { name = "no"; match = { protocol = "tls"; }; reject = "close"; }
);
"""


@pytest.fixture
def shown(usher, echo):
    one = usher(CONFIG, echo=echo.tcp4)
    wait_until(lambda: one._named("exporter"), 20.0, "the exporter")
    return one


def say_hello(one):
    with one.connect() as client:
        client.sendall(HELLO)
        assert read_exactly(client, len(HELLO)) == HELLO


def get(one):
    client = http.client.HTTPConnection("127.0.0.1", one.ports["port_metrics"], timeout=20)
    with contextlib.closing(client):
        client.request("GET", "/")
        answer = client.getresponse()
        return dict(answer.getheaders()), answer.read().decode()


class Elements(html.parser.HTMLParser):
    """Every element is closed, in its order."""

    EMPTY = {"meta", "link"}

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_in_itself_and_allows_nothing_else(shown):
    say_hello(shown)
    headers, text = get(shown)
    elements = Elements(text)
    assert {"h1", "h2", "table", "th", "ul", "svg"} <= set(elements.seen)
    assert not {"img", "link", "iframe", "form", "button"} & set(elements.seen)
    assert not [name for name, _ in elements.attributes if name in ("src", "href", "style") or name.startswith("on")]
    policy = dict(rule.strip().partition(" ")[::2] for rule in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"] and "*" not in headers["Content-Security-Policy"]
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_a_browser_shows_it_and_has_nothing_to_complain_of(shown, tmp_path):
    """Without packages of npm: what the page has become after its script ran, and what is on the console."""
    say_hello(shown)
    shown.wait_connections(1)
    done = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--user-data-dir={tmp_path}",
                           "--enable-logging=stderr", "--window-size=360,800", "--virtual-time-budget=3000", "--dump-dom",
                           f"http://127.0.0.1:{shown.ports['port_metrics']}/"], capture_output=True, text=True, timeout=slow(60), check=False,
                          env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "<h1" in done.stdout and "echo" in done.stdout and "<svg" in done.stdout and 'id="stale" role="status" hidden' in done.stdout


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A directory with the packages for page_check.mjs, and the browser."""
    chromium = shutil.which("chromium")
    if not chromium or not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("chromium, node and npm are needed")
    place = tmp_path_factory.mktemp("packages")
    done = subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", place, "axe-core@4", "playwright-core@1"],
                          capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        pytest.skip("npm cannot fetch axe-core and playwright-core: " + done.stderr.strip()[-200:])
    return place, chromium


def test_in_a_browser_it_is_accessible_fits_a_phone_and_updates_in_place(shown, browser):
    place, chromium = browser
    say_hello(shown)
    shown.wait_connections(1)
    environment = {**os.environ, "HOME": str(place)}
    process = subprocess.Popen(["node", SOURCE / "tests/system/page_check.mjs", chromium, f"http://127.0.0.1:{shown.ports['port_metrics']}/"],
                               cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr.readline() == "ready\n"
        for _ in range(3):
            say_hello(shown)
        process.stdin.write("4\n")
        process.stdin.flush()
        assert process.stderr.readline() == "gone?\n"
        (pid,) = shown._named("exporter")
        os.kill(pid, signal.SIGSTOP)
        output, complaint = process.communicate(timeout=120)
        os.kill(pid, signal.SIGCONT)
        assert process.returncode == 0, complaint
        result = json.loads(output)
    finally:
        process.kill()
        process.wait()
    assert result["violations"] == [] and result["errors"] == [] and result["wider"] == []
    assert "echo" in result["without"] and "serving" in result["without"] and "127.0.0.1" in result["without"]
    assert int(result["refresh"]) > 0
    assert result["kept"] and result["stale"].startswith("usher does not answer")
