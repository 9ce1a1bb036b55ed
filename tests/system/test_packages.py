"""What is installed beside the program: put in place and taken away again, systemd's units, completions, fail2ban's filter.

The Debian packages themselves have `make test-deb`.
"""

import configparser
import datetime
import functools
import json
import os
import pty
import re
import shutil
import subprocess
import time

import pytest
from harness import BINARY, BUILD, SOURCE, connect, read_all, ready, run_usher, slow, wait_until, write_config

UNITS = ("usher.service", "usher.socket")
LOGROTATE = shutil.which("logrotate", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
STRICT = SOURCE / "etc/systemd/usher-strict.conf"


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=slow(60), check=False, **options)


# ---- installed, and removed


@pytest.fixture
def destination(tmp_path):
    """A DESTDIR with usher in it."""
    result = run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", tmp_path / "dest")
    assert result.returncode == 0, result.stdout + result.stderr
    return tmp_path / "dest"


@functools.lru_cache
def prefix():
    options = json.loads(run("meson", "introspect", "--buildoptions", BUILD).stdout)
    return next(option["value"] for option in options if option["name"] == "prefix").lstrip("/")


def files(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_what_is_installed(destination):
    found = files(destination)
    under = {name.removeprefix(prefix() + "/") for name in found}
    assert under >= {
        "sbin/usher", "libexec/usher/usher-access", "include/usher/handover.h", "include/usher/module.h",
        "share/man/man8/usher.8", "share/man/man5/usher.conf.5", "share/man/man3/libusher-handover.3",
        "lib/systemd/system/usher.service", "lib/systemd/system/usher.socket", "lib/sysusers.d/usher.conf",
        "lib/systemd/system-preset/80-usher.preset", "share/doc/usher/examples/usher.conf",
        "share/bash-completion/completions/usher", "share/zsh/site-functions/_usher",
        "share/doc/usher/examples/minimal.conf", "share/doc/usher/examples/systemd/usher-strict.conf",
        "share/doc/usher/examples/fail2ban/jail.d/usher.conf", "share/doc/usher/examples/tcpmux/tcpmux.cfg",
    }
    assert any(name.endswith("/libusher-handover.so") for name in under)
    assert {"bin/usher-accept", "share/man/man1/usher-accept.1"} <= under
    assert any(name.endswith("/usher/libusher-accept.so") for name in under)
    assert any(name.endswith("/pkgconfig/libusher-handover.pc") for name in under)
    assert "etc/logrotate.d/usher" in found
    assert not any(name.endswith(("meson.build", ".in")) for name in found)
    examples = {str(path.relative_to(SOURCE / "examples")) for path in (SOURCE / "examples").rglob("*.conf")}
    assert {f"share/doc/usher/examples/{name}" for name in examples} <= under
    # Without a link, tcpmux and portsplit stay whatever else is called so.
    assert not [name for name in under if name.endswith(("/tcpmux", "/portsplit"))]


@functools.lru_cache
def configuration_path():
    """Where this usher looks."""
    return re.search(r"without it (/\S+)", run_usher("help", "check").stdout).group(1)


def test_the_configuration_is_installed_where_usher_looks(destination):
    file = destination / configuration_path().lstrip("/")
    assert file.read_text() == (SOURCE / "etc/usher.conf").read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    if prefix() in ("usr", "usr/local"):
        assert configuration_path() == "/etc/usher/usher.conf"


def install(destination):
    assert run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", destination).returncode == 0


def uninstall(destination):
    result = run(SOURCE / "scripts/uninstall", BUILD, destination)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_a_configuration_that_was_edited_stays(destination):
    file = destination / configuration_path().lstrip("/")
    file.write_text("# mine\n")
    install(destination)
    assert file.read_text() == "# mine\n"
    # Nor is a link replaced, or written through, whose target is missing.
    file.unlink()
    file.symlink_to("elsewhere.conf")
    install(destination)
    assert file.is_symlink() and not file.exists()
    uninstall(destination)
    assert file.is_symlink()


def test_a_configuration_that_was_never_edited_is_replaced_by_the_next_version_s(destination):
    file = destination / configuration_path().lstrip("/")
    (destination / f"{prefix()}/share/doc/usher/examples/usher.conf").write_text("# of an older version\n")
    file.write_text("# of an older version\n")
    install(destination)
    assert file.read_text() == (SOURCE / "etc/usher.conf").read_text()


def test_uninstall_leaves_nothing(destination):
    assert uninstall(destination) == ""
    assert list(destination.iterdir()) == []


def test_uninstall_leaves_what_is_others_and_an_edited_configuration(destination):
    configuration = configuration_path().lstrip("/")
    theirs = f"{prefix()}/share/doc/usher/examples/mine.conf"
    (destination / theirs).write_text("")
    (destination / configuration).write_text("# mine\n")
    assert uninstall(destination) == f"{destination}/{configuration} was edited: it stays\n"
    assert files(destination) == {configuration, theirs}
    (destination / theirs).unlink()
    uninstall(destination)
    assert files(destination) == {configuration}
    assert not [path for path in destination.rglob("*") if path.is_dir() and not list(path.iterdir())]


# ---- systemd


@pytest.fixture
def units(destination, tmp_path):
    """Folder of the installed units, with the usher under test as their program."""
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        text = (destination / prefix() / "lib/systemd/system" / name).read_text()
        (folder / name).write_text(text.replace(f"/{prefix()}/sbin/usher", str(BINARY.resolve())))
    return folder


@pytest.mark.skipif(not shutil.which("systemctl"), reason="systemctl, of the package systemd, is missing")
def test_presets_that_enable_everything_leave_the_socket_alone(destination):
    root = f"--root={destination}"
    others = destination / "etc/systemd/system-preset/90-distribution.preset"
    others.parent.mkdir(parents=True)
    others.write_text("enable *\n")
    assert run("systemctl", root, "preset-all").returncode == 0
    states = {unit: run("systemctl", root, "is-enabled", unit).stdout.strip() for unit in UNITS}
    assert states == {"usher.service": "enabled", "usher.socket": "disabled"}


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze, of the package systemd, is missing")


def test_the_unit_names_what_is_installed(destination):
    text = (destination / prefix() / "lib/systemd/system/usher.service").read_text()
    assert f"ExecStart=/{prefix()}/sbin/usher run\n" in text
    assert configuration_path() in text and "@" not in text


@needs_systemd
@pytest.mark.parametrize("strict", [False, True], ids=["plain", "strict"])
def test_systemd_has_nothing_to_say_about_the_units(units, strict):
    if strict:
        (units / "usher.service.d").mkdir()
        shutil.copy(STRICT, units / "usher.service.d/strict.conf")
    result = run("systemd-analyze", "verify", "--man=no", *(units / name for name in UNITS))
    assert result.returncode == 0
    assert not [line for line in result.stderr.splitlines() if "usher" in line or "strict" in line], result.stderr


@needs_systemd
def test_the_strict_policy_leaves_little_open(units, tmp_path):
    root = tmp_path / "root"
    for folder, files_there in (("usr/lib/systemd/system", [units / "usher.service"]), ("etc/systemd/system/usher.service.d", [STRICT])):
        (root / folder).mkdir(parents=True)
        for file in files_there:
            shutil.copy(file, root / folder)
    # Out of 100; the plain unit, which leaves room for sessions of an sshd, has 95.
    result = run("systemd-analyze", "security", "--offline=true", f"--root={root}", "--threshold=30", "usher.service")
    assert result.returncode == 0, result.stdout[-200:] + result.stderr


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers, of the package systemd, is missing")
def test_the_user_is_made(destination, tmp_path):
    (tmp_path / "root/etc").mkdir(parents=True)
    file = destination / prefix() / "lib/sysusers.d/usher.conf"
    result = run("systemd-sysusers", f"--root={tmp_path / 'root'}", file)
    if result.returncode and os.geteuid() != 0:
        pytest.skip("needs root: systemd-sysusers wants to be root")
    assert result.returncode == 0, result.stderr
    (line,) = (tmp_path / "root/etc/passwd").read_text().splitlines()
    assert re.fullmatch(r"usher:[^:]*:\d+:\d+:[^:]*:/:/usr/sbin/nologin", line)


# ---- completions


@pytest.fixture
def usher_in_path(place):
    """An environment in which `usher` is the one under test, and a folder with two files."""
    (place / "bin").mkdir()
    (place / "bin/usher").symlink_to(BINARY.resolve())
    (place / "here").mkdir()
    for name in ("first.conf", "second.conf"):
        (place / "here" / name).write_text("")
    return {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PWD": str(place / "here")}


def options():
    """{command: its options} as the help has them."""
    commands = re.findall(r"^  ([a-z-]+)  ", run_usher("help").stdout, re.M)
    return {name: {option for line in re.findall(r"^ +(-.*?)   *\S", run_usher("help", name).stdout, re.M)
                   for option in re.findall(r"--?[a-z]+", line)} for name in commands}


def bash(words, env):
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _usher "$1" "${@: -1}" "${@: -2:1}"; ' \
             'printf "%s\\n" "${COMPREPLY[@]}"'
    result = run("bash", "-c", script, "bash", SOURCE / "etc/completions/usher", "usher", *words, env=env, cwd=env["PWD"])
    assert (result.returncode, result.stderr) == (0, "")
    return set(result.stdout.split())


def test_bash_completes_commands_and_options(usher_in_path):
    assert len(options()) > 10
    for command, known in options().items():
        assert command in bash([""], usher_in_path)
        assert bash([command[:-1]], usher_in_path) >= {command}
        if command != "help":
            assert bash([command, "-"], usher_in_path) == known
        assert command in bash(["help", ""], usher_in_path)
    assert bash(["--"], usher_in_path) == {"--help", "--version", "--config", "--daemon", "--inetd", "--port", "--test", "--watch"}
    assert bash(["-d", "-"], usher_in_path) == bash(["run", "-"], usher_in_path) >= {"-c", "-d", "-i", "-p"}


def test_bash_completes_files_where_files_belong(usher_in_path):
    both = {"first.conf", "second.conf"}
    for words in (["-c", ""], ["run", "-d", "-c", ""], ["check", "-c", ""], ["portsplit", ""], ["tcpmux", "x", ""], ["check", "--config", ""],
                  ["status", "-s", ""], ["explain", ""]):
        assert bash(words, usher_in_path) == both, words
    assert bash(["check", "-c", "f"], usher_in_path) == {"first.conf"}
    assert bash(["convert", ""], usher_in_path) == {"sslh", "tcpmux", "portsplit", "sniproxy"}
    assert bash(["convert", "sslh", ""], usher_in_path) == both
    for words in (["run", "-p", ""], ["check", ""], ["run", ""], ["nothing", ""]):
        assert bash(words, usher_in_path) == set(), words


def zsh(line, env):
    """What a terminal shows after the line and a tab, and last [[the line as it is then]]."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(env["PWD"])
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**env, "TERM": "dumb"})
    shown = ""

    def read_until(text, timeout=10):
        nonlocal shown
        end = time.monotonic() + slow(timeout)
        while text not in shown and time.monotonic() < end:
            if ready(terminal, 0.1):
                shown += os.read(terminal, 65536).decode(errors="replace")
        assert text in shown, shown

    try:
        os.write(terminal, f"stty cols 200; PROMPT=; fpath=({SOURCE}/etc/completions $fpath); autoload -U compinit; compinit -u -D; "
                 "show() { print -r \"[[$BUFFER]]\" }; zle -N show; bindkey '^G' show; echo rea''dy\n".encode())
        read_until("ready")
        shown = ""
        os.write(terminal, f"{line}\t\a".encode())
        read_until("]]")
        return shown
    finally:
        os.write(terminal, b"\x15exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes(usher_in_path):
    shown = zsh("usher ", usher_in_path)
    assert all(re.search(rf"^{command} +-- ", shown, re.M) for command in options()), shown
    assert set(re.findall(r"(?<!\S)-\w\b", zsh("usher run -", usher_in_path))) == {"-c", "-d", "-h", "-i", "-p", "-t"}
    for typed, completed in (("ch", "check "), ("check -c f", "check -c first.conf "), ("portsplit s", "portsplit second.conf "),
                             ("convert ss", "convert sslh "), ("convert sslh f", "convert sslh first.conf "), ("run -p f", "run -p f"), ("check f", "check f")):
        assert f"[[usher {completed}]]" in zsh(f"usher {typed}", usher_in_path)


# ---- logrotate


def test_logrotate_loses_no_line(destination, usher, echo, place):
    """The rule as it is installed, for another folder and another socket."""
    logs = place / "logs"
    logs.mkdir()
    one = usher('listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control"; log = { to = "{logs}/usher.log"; };'
                'services = ( { name = "web"; match = "http"; connect = "{echo}"; } );', logs=logs, echo=echo.tcp4)
    rule = (destination / "etc/logrotate.d/usher").read_text()
    assert f"{prefix()}/sbin/usher reopen" in rule or "/sbin/usher reopen" in rule
    rule = re.sub(r"/\S*/usher reopen", f"{BINARY.resolve()} reopen -s {one.control}", rule).replace("/var/log/usher", str(logs))
    config = write_config(place, rule, "logrotate.conf")
    config.chmod(0o644)

    def rotate():
        assert run(LOGROTATE, "-f", "-s", place / "state", config).returncode == 0

    def lines():
        return sum(path.read_text().count(" connection id=") for path in logs.iterdir() if path.suffix != ".gz")

    for number in (1, 2):
        for _ in range(5):
            with one.connect() as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                client.recv(1)
        wait_until(lambda: lines() == 5, 30, "five lines in the files that are not compressed")
        rotate()
        wait_until((logs / "usher.log").exists, 30, "a new file")
        if number == 1:
            (logs / "usher.log.1").unlink()
    assert (logs / "usher.log.1").read_text().count(" connection id=") == 5


# ---- fail2ban

FILTER = SOURCE / "etc/fail2ban/filter.d/usher.conf"
HAS_FAIL2BAN = shutil.which("fail2ban-regex") is not None

REFUSING = """
listen = [ "127.0.0.1:{port}", "[::1]:{port}" ];
log = { to = "stderr"; format = "{format}"; };
services = (
  { name = "denied"; match = { protocol = "http"; host = "deny.example"; }; connect = "127.0.0.1:{port_dead}";
    deny = [ "127.0.0.0/8", "::/0" ]; },
  { name = "never"; match = { protocol = "http"; host = "never.example"; }; connect = "127.0.0.1:{port_dead}";
    hours = "Mon {minute}-{next}"; },
  { name = "rarely"; match = { protocol = "tls"; }; reject = "close"; rate = "1/hour"; },
  { name = "others"; match = "http"; connect = "127.0.0.1:{port_dead}"; } );
"""
GET = "GET / HTTP/1.1\r\nHost: {}\r\n\r\n"


def client_hello(name):
    """A TLS ClientHello that asks for this name, whatever bytes it holds."""
    name = name.encode()
    sni = len(name).to_bytes(2, "big") + name
    sni = (len(sni) + 1).to_bytes(2, "big") + b"\0" + sni
    extensions = b"\0\0" + len(sni).to_bytes(2, "big") + sni
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + len(extensions).to_bytes(2, "big") + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake


def real_lines(usher, form):
    """The log of clients that are refused and of some that are not, and how many of the first there are."""
    now = datetime.datetime.now() + datetime.timedelta(days=2)
    two = [moment.strftime("%H:%M") for moment in (now, now + datetime.timedelta(minutes=1))]
    day = now.strftime("%a")
    one = usher(REFUSING.replace("Mon", day), format=form, minute=two[0], next=two[1].replace("00:00", "24:00"))
    for host in ("127.0.0.1", "::1"):
        for said in (GET.format("deny.example"), GET.format("never.example"), "\0\1\2\3 no protocol", GET.format("else.example"), ""):
            with connect((host, one.port)) as client:
                client.sendall(said.encode())
                if said:
                    try:
                        read_all(client)
                    except ConnectionResetError:
                        pass
        for name in ("rare.example", "rare.example end=refused rule=deny", 'x","end":"refused","rule":"deny'):
            with connect((host, one.port)) as client:
                client.sendall(client_hello(name))
                try:
                    read_all(client)
                except ConnectionResetError:
                    pass
    one.stop()
    return one.output()


def matches(lines, mode="normal"):
    """The addresses that the filter finds, by the expressions themselves."""
    parser = configparser.RawConfigParser(delimiters="=", comment_prefixes="#")
    parser.read(FILTER)
    words = {**parser.defaults(), "mode": mode, "ADDR": r"(?P<host>[0-9a-fA-F.:]+?)", "F-CONTENT": "(?P<content>", "/F-CONTENT": ")"}

    def compiled(text):
        while (more := re.sub(r"<([A-Za-z0-9_/-]+)>", lambda tag: words.get(tag.group(1).lower(), words.get(tag.group(1), tag.group())),
                              text)) != text:
            text = more
        return re.compile(text.replace("%%", "%"))

    prefix_of_all, date = compiled(words["prefregex"]), re.compile(r'^(?:\{"time":"[^"]*Z",|\d{4}-\S+Z)')
    found = []
    for line in lines:
        rest = prefix_of_all.search(date.sub("", line))
        hits = [compiled(one).search(rest["content"]) for one in words["failregex"].split("\n") if one.strip()] if rest else []
        found += [hit["host"] for hit in hits if hit]
    return sorted(found)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_filter_finds_who_was_refused(usher, form, place):
    text = real_lines(usher, form)
    lines = text.splitlines()
    # deny, rate twice, and bytes of no protocol, in both families; not hours, not those served, not who left.
    expected = sorted(["127.0.0.1", "::1"] * 4)
    assert matches(lines) == expected, text
    assert matches(lines, "aggressive") == sorted(expected + ["127.0.0.1", "::1"]), text
    # The way that syslog and the journal have them.
    bare = [re.sub(r'^\S+Z |"time":"[^"]*",', "", line) for line in lines]
    for head in ("", "host usher[12]: "):
        assert matches([head + line for line in lines + bare]) == sorted(expected * 2), text
    if HAS_FAIL2BAN:
        log = place / "log"
        log.write_text(text)
        for mode, count in (("normal", 8), ("aggressive", 10)):
            result = run("fail2ban-regex", "--print-no-missed", log, f"{FILTER}[mode={mode}]")
            assert f" {count} matched" in result.stdout, result.stdout


def test_the_filter_finds_what_usher_access_refused():
    head = "host usher-access[12]: "
    assert matches([head + "refused protocol=ssh client=198.51.100.7:40312 rule=allow"]) == ["198.51.100.7"]
    assert matches([head + "refused protocol=ssh client=[2001:db8::7]:40312 rule=rate"]) == ["2001:db8::7"]
    assert matches([head + "refused protocol=ssh client=198.51.100.7:40312 rule=hours"]) == []


@pytest.mark.parametrize("line", [
    'connection id=1 client=192.0.2.1:5 sni="x end=refused rule=deny" end=finished',
    'connection id=1 client=192.0.2.1:5 sni="x\\" end=refused rule=deny" end=finished',
    'connection id=1 client=192.0.2.1:5 host=end=refused end=finished',
    'warning connection id=1 client=192.0.2.1:5 end=refused rule=deny',
    '"level":"info","event":"connection","id":1,"client":"192.0.2.1:5","sni":"x\\",\\"end\\":\\"no-service\\"","end":"finished"}',
])
def test_nobody_forges_a_refusal(line):
    assert matches(["2026-11-22T00:18:28.694Z " + line, line]) == []
