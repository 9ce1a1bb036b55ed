"""What the documents show is so.

The fenced blocks of README.md and docs/ are marked by a comment on the line before them:

    <!-- doctest: file PATH -->  the block is written to that file
    <!-- doctest: serve -->      the command of its "$ " line is started and left running; it prints the other lines
    <!-- doctest: served -->     the running one has printed these lines, in this order
    <!-- doctest: run -->        each "$ " line is run by sh, and prints what stands below it
    <!-- doctest: run soon -->   the same, again and again for some seconds until it does

In all of them ports, /tmp/tour and /etc/usher become others, `build/src/usher` and `usher` become the program under test, and
`make run` what that target runs. Outputs are compared after times, ports of clients, process ids, users and the like were
replaced, on both sides. The blocks of one document are run in their order, in a folder of its own.

A fenced block of `conf` is a configuration, or services of one, and passes `usher check`, as do those in the manual pages.
"""

import os
import pwd
import re
import signal
import subprocess
import time

import pytest
from harness import (
    BINARY,
    BUILD,
    ENVIRONMENT,
    IS_ROOT,
    SOURCE,
    end_process,
    free_port,
    run_usher,
    slow,
    wait_until,
    write_config,
)
from servers import have

DOCUMENTS = [SOURCE / "README.md", *sorted((SOURCE / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- doctest: ([a-z]+) ?(\S*) -->\n)?```([a-z-]*)\n(.*?)^```$", re.M | re.S)
PAGES = sorted((SOURCE / "man").glob("*.[0-9]"))
ROOM_READMES = sorted(SOURCE.glob("src/**/README.md"))


def name_of(document):
    return str(document.relative_to(SOURCE))


def blocks(document):
    return [match.groups() for match in BLOCK.finditer(document.read_text())]


# Only root can become another user.
NO_USER = re.compile(r'(user|group) = "[^"]+";')
RUN = [document for document in DOCUMENTS if any(what for what, *_ in blocks(document))]


# ---- what is run

SAME = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'\b((?:decided|total)_ms|bytes_up|bytes_down|id)("?[=:])[\d.]+', r"\1\2N"),
    (r'\b(client"?[=:]"?127\.0\.0\.[19]:)\d+', r"\1N"),
    (r"\[\d\d/\w{3}/\d{4} [\d:]+\]", "[TIME]"),
    (r"(client +127\.0\.0\.1 port )\d+", r"\1N"),
    (r"\d+ workers", "N workers"),
    (r"(?m)^TIME notice sandbox: .*\n", ""),  # what this kernel or this build has not
    (r"(?m)^TIME info privileges of the master: .*\n?", ""),  # root's alone
    (r"(?m)^ +(?:cap_[a-z_, ]+: |not started by root: ).*\n?", ""),
    (r"room: \d+ descriptors a process, 161 of a worker's own: \d+ connections a worker, \d+ in all, of these \d+ undecided",
     "room: what this machine has"),
    (r"usher [\d.]+, process \d+, serving, up for [\d.]+ s", "usher VERSION"),
    (r"(?m)(plain +0 +1 +0 +)\d+ B +\d+ B", r"\1N"),
    (r"\bto=\S*/usher\b", "to=USHER"),
    (r"/tmp/usher-demo-\w+", "DEMO"),
    (r"(?m)^ *\d+ +\d+ \S+ +(?=usher: )", "PID PPID USER "),
    (r"(?m)^(Workers +\d+, as ).*", r"\1SOMEBODY"),
    (r"(?m)^( +localhost +)\S.*", r"\1HOW"),  # nsswitch.conf's
    (r"[ \t]+", " "),
]


def same(text):
    for pattern, by in SAME:
        text = re.sub(pattern, by, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


class Tour:
    """Runs a document's blocks in their order."""

    def __init__(self, place, text):
        self.place = place
        self.log = place / "served"
        self.server = None
        self.words = {"/tmp/tour": str(place), "/etc/usher": str(place), "build/src/usher": str(BINARY), "build/lib/": f"{BUILD}/lib/"}
        for port in sorted(set(re.findall(r"127\.0\.0\.1:(80\d\d)|0\.0\.0\.0:(8\d\d\d)", text))):
            self.words[max(port)] = str(free_port())
        programs = place / "bin"
        programs.mkdir()
        (programs / "usher").symlink_to(BINARY)
        self.env = {**ENVIRONMENT, "LC_ALL": "C", "PATH": f"{programs}:{ENVIRONMENT.get('PATH', os.defpath)}"}

    def translate(self, text):
        return re.sub("|".join(map(re.escape, self.words)), lambda match: self.words[match.group()], text)

    def command(self, line):
        if line == "make run":
            assert re.search(r"^run:.*\n(?:\t.*\n)*\t@\$\(BUILD\)/src/usher demo$", (SOURCE / "Makefile").read_text(), re.M)
            line = "exec build/src/usher demo -p 8080"
        return self.translate(line)

    def steps(self, block):
        """(command, what it shall print)"""
        first, *pieces = re.split(r"^\$ (.*)\n", block, flags=re.M)
        assert not first and pieces, f"the block does not begin with a command: {block}"
        return list(zip(pieces[::2], pieces[1::2]))

    def take_file(self, path, block):
        target = self.translate(path)
        assert target.startswith(str(self.place)), path
        with open(target, "w", encoding="utf-8") as file:
            file.write(self.translate(block if IS_ROOT else NO_USER.sub("", block)))

    def take_serve(self, _, block):
        ((line, expected),) = self.steps(block)
        with open(self.log, "wb") as log:
            # The program itself, or the signal that ends it would end its shell alone.
            command = "exec " + self.command(line).removeprefix("exec ")
            self.server = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=SOURCE,
                                           env=self.env)
        expected = same(self.translate(expected))
        # The log has a process of its own, so that its lines may come before or after the others.
        wait_until(lambda: len(self.served()) >= len(expected) or self.server.poll() is not None, 20, "it to serve")
        assert sorted(self.served()) == sorted(expected)
        shown, real = (re.search(r"/tmp/usher-demo-\w+", text) for text in (block, self.log.read_text()))
        if shown:
            self.words[shown.group()] = real.group()

    def served(self):
        return same(self.log.read_text(errors="replace"))

    def take_served(self, _, block):
        expected = same(self.translate(block))
        wait_until(lambda: self.served()[-len(expected):] == expected, 5, "\n".join(expected) + "\nin\n" + self.log.read_text())

    def take_run(self, soon, block):
        for line, expected in self.steps(block):
            expected = same(self.translate(expected))
            end = time.monotonic() + (slow(5) if soon else 0)
            while True:
                # A file, not a pipe: a program in the background would keep the pipe open.
                with open(self.place / "printed", "w+b") as printed:
                    subprocess.run(["sh", "-c", self.command(line)], stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
                                   cwd=SOURCE, env=self.env, timeout=slow(30), check=False)
                    printed.seek(0)
                    found = same(printed.read().decode())
                if found == expected or time.monotonic() > end:
                    break
                time.sleep(0.05)
            assert found == expected, line

    def end(self):
        for name in ("usher.pid", "accept.pid", "web.pid"):
            try:
                os.kill(int((self.place / name).read_text()), signal.SIGINT)
            except (OSError, ValueError):
                pass  # it ended as the tour says
        if self.server:
            end_process(self.server, signal_number=signal.SIGINT)


@pytest.mark.skipif(not have("sshd"), reason="the tour was taken with sshd installed")
@pytest.mark.skipif(pwd.getpwuid(os.geteuid()).pw_shell.endswith(("nologin", "false")), reason="sshd lets such a user not in")
@pytest.mark.parametrize("document", RUN, ids=name_of)
def test_a_document_prints_what_it_says(document, place):
    tour = Tour(place, document.read_text())
    place.chmod(0o777)
    take = {"file": tour.take_file, "serve": tour.take_serve, "served": tour.take_served, "run": tour.take_run}
    try:
        for what, argument, _, text in blocks(document):
            if what:
                take[what](argument, text)
        wait_until(lambda: not (place / "usher.pid").exists(), 5, "the usher in the background to end")
    finally:
        tour.end()


def test_there_are_blocks_of_each_kind():
    assert {what for document in RUN for what, *_ in blocks(document) if what} == {"file", "serve", "served", "run"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_console_block_is_marked(document):
    for what, _, kind, text in blocks(document):
        assert (kind == "console") == (what in ("run", "serve", "served")), text


# ---- configurations


def roff_text(text):
    for escape, plain in ((r"\e", "\\"), (r"\(dq", '"'), (r"\-", "-"), (r"\&", "")):
        text = text.replace(escape, plain)
    return text


def shown_configurations():
    for document in DOCUMENTS:
        for number, (_, _, kind, text) in enumerate(blocks(document)):
            if kind == "conf":
                yield pytest.param(text, id=f"{name_of(document)}-{number}")
    for page in PAGES:
        for number, match in enumerate(re.finditer(r"^\.Bd -literal.*?\n(.*?)^\.Ed", page.read_text(), re.M | re.S)):
            if re.search(r"^(listen|services) = ", match.group(1), re.M):
                yield pytest.param(roff_text(match.group(1)), id=f"{page.name}-{number}")


def shown_module(name, place):
    """The module that usher-module(3) shows, built as it says there."""
    page = (SOURCE / "man/usher-module.3").read_text()
    source = next(text for text in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", page, re.M | re.S) if "usher_module_init" in text)
    (place / f"{name}.c").write_text(roff_text(source))
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{SOURCE}/include", "-o", place / f"{name}.so", place / f"{name}.c"], check=True)
    return place / f"{name}.so"


@pytest.mark.parametrize("text", shown_configurations())
def test_a_configuration_that_is_shown_passes_the_check(text, place):
    if "services =" not in text:
        text = f"services = (\n{text});\n"
    if "listen =" not in text:
        text = 'listen = "127.0.0.1:4443";\n' + text
    # Programs and users that a machine need not have.
    text = re.sub(r'(exec = \[ )"(/[^"]+)"', lambda match: match.group() if os.access(match.group(2), os.X_OK)
                  else match.group(1) + '"/bin/cat"', text)
    text = re.sub(r'(module = )"[^"]*/(\w+)\.so"', lambda match: f'{match.group(1)}"{shown_module(match.group(2), place)}"', text)
    file = place / "shown.conf"
    file.write_text(elsewhere(text, place))
    result = run_usher("check", "-c", file)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def elsewhere(text, place):
    """Its folders for logs and pid files may not be there; the tests' is."""
    if not IS_ROOT:
        text = NO_USER.sub("", text)
    for folder in ("/var/log/usher/", "/tmp/tour/", "/run/usher/"):
        text = text.replace(folder, f"{place}/")
    return text


def test_configurations_to_start_from_pass_the_check(place):
    files = [SOURCE / "etc/usher.conf", *sorted((SOURCE / "examples").glob("*.conf"))]
    for file in files:
        result = run_usher("check", "-c", write_config(place, elsewhere(file.read_text(), place)))
        assert (result.returncode, result.stderr) == (0, ""), file


# ---- the manual


def commands():
    return re.findall(r"^  ([a-z-]+)  ", run_usher("--help").stdout, re.M)


def test_the_manual_and_the_help_have_the_same_options():
    page = roff_text((SOURCE / "man/usher.8").read_text())
    in_manual = {"-" + name for name in re.findall(r"\bFl (-?[a-zA-Z]+)", page)}
    listed = {"-" + name for line in re.findall(r"^\.It (Fl .*)$", page, re.M) for name in re.findall(r"\bFl (-?[a-zA-Z]+)", line)}
    texts = [run_usher("help").stdout, *(run_usher("help", name).stdout for name in commands())]
    in_help = {"--version", "-V"} | {name for text in texts for name in re.findall(r"(?<![\w-])--?[a-z]+\b", text)}
    assert in_manual == in_help
    assert listed == in_help, "each has an entry of its own"


def test_the_manual_and_the_help_have_the_same_commands():
    page = (SOURCE / "man/usher.8").read_text()
    assert set(re.findall(r"^\.It Cm ([\w-]+)", page, re.M)) == set(commands())
    assert set(re.findall(r"\bCm ([\w-]+)", page)) == set(commands())


def test_the_manual_has_every_log_key_and_every_end():
    page = roff_text((SOURCE / "man/usher.8").read_text())
    code = (SOURCE / "src/session/session_log.c").read_text()
    keys = set(re.findall(r'record_\w+\(record, "(\w+)"', code))
    ends = set(re.findall(r'\[END_\w+\] = "([a-z-]+)"', (SOURCE / "src/shared/reasons.c").read_text()))
    assert keys == set(re.findall(r'\[FIELD_\w+\] = "(\w+)"', (SOURCE / "src/policy/log_fields.c").read_text()))
    assert keys and ends
    described = set(re.findall(r"^\.It Ic (.+)$", page, re.M))
    assert keys <= {key for line in described for key in line.split(" , ")}
    assert ends == set(re.findall(r"^\.It Ql ([a-z-]+)$", page, re.M))


def test_the_manual_has_every_key_of_the_configuration():
    page = roff_text((SOURCE / "man/usher.conf.5").read_text())
    keys = re.findall(r'^\t\[[\w +]+\] = \{ "(\w+)", KEY_[^}]*?\}', (SOURCE / "src/policy/keys.c").read_text(), re.M)
    entries = set(re.findall(r"^\.It Ic (\w+) No =", page, re.M))
    assert entries == set(keys)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_quotation_goes_on_into_the_sentence(page):
    """`.Ql one No and two' quotes all of it."""
    assert re.findall(r"^\.(?:.* )?[QD]l .*\bNo .*$", page.read_text(), re.M) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_manual_pages_are_sound(page):
    result = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


RENDERERS = {"mandoc": ["mandoc", "-Tutf8"], "groff": ["groff", "-Kutf8", "-Tutf8", "-mdoc", "-P-cbou"]}


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_quotation_in_a_rendered_page_ends_before_the_next_one_begins(page, renderer):
    """`.Pq Ql one , Ql two' puts the second into the first."""
    done = subprocess.run([*RENDERERS[renderer], page], capture_output=True, text=True, check=True)
    text = re.sub(".\b", "", done.stdout)
    for left, right in ("‘’", "“”"):
        for quoted in re.finditer(f"{left}([^{right}]*){right}", text):
            assert left not in quoted.group(1), quoted.group()
            assert not re.search(r",\s", quoted.group(1)), f"one end for several words: {quoted.group()}"
        assert text.count(left) == text.count(right), "an end without a beginning"
    assert not re.search("''|``|’’", text)
    assert done.stderr == ""


def heading_anchors(text):
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("document", [*SOURCE.glob("*.md"), *DOCUMENTS[1:], *SOURCE.glob("*/README.md"), *ROOM_READMES], ids=name_of)
def test_links_lead_somewhere(document):
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^):]*))?\)", document.read_text()):
        found = document.parent / target if target else document
        assert found.exists(), target
        assert not anchor or anchor in heading_anchors(found.read_text()), f"{target}#{anchor}"


def test_the_readme_is_short():
    assert len((SOURCE / "README.md").read_bytes()) <= 8192


def room_files(room):
    """Each .c file, and each header that is not one's own."""
    names = {file.name for file in room.glob("*.[ch]")}
    return {name for name in names if name.endswith(".c") or name[:-1] + "c" not in names}


def test_every_room_has_a_readme():
    assert {file.parent for file in ROOM_READMES} == {file.parent for file in SOURCE.glob("src/**/*.c")}


@pytest.mark.parametrize("readme", ROOM_READMES, ids=name_of)
def test_the_readme_of_a_room_has_every_file_and_no_other(readme):
    text = readme.read_text()
    rows = "".join(line for line in text.splitlines() if line.startswith("| "))
    listed = set(re.findall(r"`(\w+\.[ch])`", rows))
    assert room_files(readme.parent) - listed == set()
    assert listed - {file.name for file in readme.parent.glob("*.[ch]")} == set()
    paths = re.findall(r"`((?:src|tests|include|examples)/[\w./-]+)`", text)
    assert [path for path in paths if not (SOURCE / path).exists() and "NAME" not in path] == []
