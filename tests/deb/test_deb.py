"""The Debian packages in a system of their own: installed, started, upgraded, removed, purged, and what is left.

Not part of `make test`: `make test-deb` builds the packages and runs this, as root.
"""

import json
import os
import re
import subprocess
import time

import pytest
from system import DEBS, Booted, Chroot, deb, wait_until

CONFIGURATION = "/etc/usher/usher.conf"
UNIT = "/lib/systemd/system/usher.service"
PROGRAM = "/usr/libexec/usher/usher-next"  # see next_version
VERSION, NEXT = b"0.1.0", b"0.1.9"
HTTP = r"GET / HTTP/1.0\r\n\r\n"
LOOPBACK_ONLY = {"0100007F:115B", "00000000000000000000000001000000:115B"}  # 127.0.0.1 and ::1, port 4443


def pytest_configure():
    assert os.geteuid() == 0 and list(DEBS.glob("usher_*.deb")), "this needs root, and packages: make test-deb"


@pytest.fixture
def booted():
    system = Booted()
    yield system
    system.close()


@pytest.fixture
def chroot():
    system = Chroot()
    yield system
    system.close()


@pytest.fixture(scope="session")
def next_version(tmp_path_factory):
    """next_version(configuration=None, wrapper=None): the package once more as a later version, which says so; perhaps with
    another configuration, or with a script in the place of the program, which is then at PROGRAM."""

    def make(configuration=None, wrapper=None):
        place = tmp_path_factory.mktemp("next")
        subprocess.run(["dpkg-deb", "-R", deb("usher"), place / "tree"], check=True)
        control = place / "tree/DEBIAN/control"
        control.write_text(re.sub(r"(?m)^(Version: .*)", r"\1+next", control.read_text()))
        program = place / "tree/usr/sbin/usher"
        program.write_bytes(program.read_bytes().replace(VERSION, NEXT))
        if wrapper:
            program.rename(place / "tree" / PROGRAM[1:])
            program.write_text(wrapper)
            program.chmod(0o755)
        if configuration:
            (place / "tree" / CONFIGURATION[1:]).write_text(configuration)
        path = place / "usher_next.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", place / "tree", path], check=True, capture_output=True)
        return path

    return make


def check_user(system):
    name, _, uid, _, _, home, shell = system.run("getent passwd usher").strip().split(":")
    assert (name, home, shell) == ("usher", "/", "/usr/sbin/nologin") and 0 < int(uid) < 1000


def check_processes(system):
    users = sorted(system.processes().values())
    assert users.count("root") == 1 and users.count("usher") >= 2, users  # the master; logger and workers


def check_purged(system):
    """Nothing is left but the user."""
    assert not system.processes()
    assert system.files("usher") == set()
    for name in ("/run/usher", "/var/log/usher", "/etc/usher"):
        assert not system.path(name).exists(), name
    check_user(system)
    assert system.run("dpkg -l '*usher*' | grep -v ^[uD+|]", status=None).stdout == ""


# ---- with systemd


def start_of(system):
    system.install(deb("usher"))
    wait_until(lambda: system.unit()["ActiveState"] == "active", 10, "the service")


# One that root may log in with, in there.
KEYS = ("mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 && "
        "cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys")
SSH = "ssh -p 4443 -o StrictHostKeyChecking=no -o LogLevel=ERROR 127.0.0.1"


def configure(system, services, listen='"127.0.0.1:4443"', more=""):
    system.path(CONFIGURATION).write_text(f"listen = [ {listen} ];\nservices = ( {services} );\n{more}\n")


def test_it_installs_starts_and_goes(booted):
    booted.install(deb("usher"), deb("usher-module-ndpi"), deb("libusher-handover0"), deb("libusher-handover-dev"))
    check_user(booted)
    assert booted.unit() | {"MainPID": ""} == {"ActiveState": "active", "SubState": "running", "Result": "success", "MainPID": ""}
    assert booted.run("systemctl is-enabled usher.service").strip() == "enabled"
    assert booted.run("systemctl is-enabled usher.socket", status=1).strip() == "disabled"
    assert booted.unit("usher.socket")["ActiveState"] == "inactive"
    check_processes(booted)
    assert {line for line in booted.listeners() if not line.endswith(":0016")} == LOOPBACK_ONLY, "but for sshd's"
    assert booted.talk(4443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
    wait_until(lambda: "end=" in booted.run("journalctl -q -u usher"), 5, "the connection in the journal")
    assert booted.run("dpkg -L usher-module-ndpi | grep ndpi.so") == "/usr/lib/usher/modules/ndpi.so\n", "as usher.conf(5) says"
    configure(booted, '{ name = "x"; match = "bittorrent"; reject = "close"; }', more='identifiers = ( { module = "ndpi"; } );')
    booted.run("usher check")

    master = booted.unit()["MainPID"]
    booted.run("mkdir /etc/usher/mine && systemctl stop usher && systemctl start usher")
    assert booted.unit()["MainPID"] != master
    booted.run("dpkg -r usher-module-ndpi usher")
    assert not booted.processes() and not booted.path(UNIT).exists() and booted.path(CONFIGURATION).exists()
    assert booted.unit()["ActiveState"] == "inactive"
    booted.run("touch /var/log/usher/usher.log /run/usher-access.rates")
    booted.run("rmdir /etc/usher/mine && dpkg -P usher usher-module-ndpi libusher-handover-dev libusher-handover0")
    assert "\n0 unit files" in booted.run("systemctl list-unit-files 'usher*'", status=None).stdout
    check_purged(booted)


def version(system):
    return json.loads(system.run("usher status --json"))["version"].encode()


def is_new(system, master):
    """The same process, of the new file, and workers as well."""
    assert system.unit() | {"Result": ""} == {"ActiveState": "active", "SubState": "running", "MainPID": master, "Result": ""}
    wait_until(lambda: system.images() == {"/usr/sbin/usher"}, 10, "the old workers to go")
    assert version(system) == NEXT
    return True


def test_an_upgrade_keeps_the_configuration_and_serves_again(booted, next_version):
    start_of(booted)
    master = booted.unit()["MainPID"]
    mine = booted.path(CONFIGURATION).read_text() + "# mine\n"
    booted.path(CONFIGURATION).write_text(mine)
    assert version(booted) == VERSION
    booted.install(next_version())
    assert booted.path(CONFIGURATION).read_text() == mine
    assert is_new(booted, master)

    # A new one from us as well: what is the administrator's stays, and ours lies beside it.
    ours = mine.replace("# mine", "# theirs")
    booted.run("sed -i 's/+next$/+earlier/' /var/lib/dpkg/status")
    booted.install(next_version(ours), options="--force-confdef --force-confold")
    assert booted.path(CONFIGURATION).read_text() == mine
    assert booted.path(CONFIGURATION + ".dpkg-dist").read_text() == ours
    assert is_new(booted, master)
    booted.run("dpkg -P usher")
    check_purged(booted)


LIVE = """
protocols = ( { name = "cat"; string = "cat"; } );
decide_timeout = 120.0;  control = { path = "/run/usher/control.sock"; };
"""


def ids_of_sessions(system):
    return sorted(json.loads(line)["id"] for line in system.run("usher sessions --json").splitlines())


def test_connections_outlive_an_upgrade(booted, next_version):
    """A session of ssh that is relayed, a program that runs on its client's socket, and a client that has said nothing yet."""
    start_of(booted)
    configure(booted, '{ name = "ssh"; match = "ssh"; connect = "127.0.0.1:22"; }, '
              '{ name = "cat"; match = "cat"; exec = [ "/bin/cat" ]; }', more=LIVE)
    booted.run(f"systemctl restart usher && {KEYS}")
    master = booted.unit()["MainPID"]
    sessions = [booted.session(f"{SSH} cat"), booted.session("nc -N 127.0.0.1 4443")]
    assert all(session.echoes("cat, before") for session in sessions)
    silent = booted.session("nc -N 127.0.0.1 4443")
    # The program's is not usher's own any more.
    wait_until(lambda: len(ids_of_sessions(booted)) == 2, 10, "the other two")
    before = ids_of_sessions(booted)
    printed = booted.run(f"dpkg -i {booted.bring(next_version())} 2>&1")
    assert "usher: " not in printed, printed
    assert is_new(booted, master)
    assert booted.unit("usher.service", "NRestarts") == {"NRestarts": "0"}
    assert ids_of_sessions(booted) == before
    assert all(session.echoes("after") for session in sessions)
    assert silent.echoes("cat, at last")
    assert booted.talk(4443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
    assert [session.end() for session in (*sessions, silent)] == [0, 0, 0]
    log = booted.run("journalctl -q -u usher")
    assert "upgrade refused" not in log and "Stopping" not in log.split("upgrade: ")[-1], log


REFUSES = f"""#!/bin/sh
[ -z "${{USHER_TRIAL-}}" ] || {{ echo "not this one" >&2; exit 1; }}
exec {PROGRAM} "$@"
"""


def test_a_version_that_the_running_one_cannot_become_is_started(booted, next_version):
    start_of(booted)
    master = booted.unit()["MainPID"]
    printed = booted.run(f"dpkg -i {booted.bring(next_version(wrapper=REFUSES))} 2>&1")
    assert "it is restarted" in printed
    assert "upgrade refused: the new binary ended with status 1: not this one" in booted.run("journalctl -q -u usher")
    assert booted.unit()["ActiveState"] == "active" and booted.unit()["MainPID"] != master
    assert booted.images() == {PROGRAM} and version(booted) == NEXT
    assert booted.talk(4443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")


def test_what_would_not_serve_or_may_not_leaves_the_old_version(booted, next_version):
    start_of(booted)
    master = booted.unit()["MainPID"]
    old = {"/usr/sbin/usher (deleted)"}

    def goes_on():
        return (booted.unit()["MainPID"] == master and booted.unit()["ActiveState"] == "active" and booted.images() == old and
                booted.talk(4443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH"))

    # A configuration with an error in it.
    good = booted.path(CONFIGURATION).read_text()
    booted.path(CONFIGURATION).write_text(good.replace('match = "ssh"', 'match = "shh"'))
    printed = booted.run(f"dpkg -i {booted.bring(next_version())} 2>&1")
    assert "did you mean `ssh'" in printed and "the old one goes on" in printed
    assert goes_on()
    booted.path(CONFIGURATION).write_text(good)
    # An administrator who wants no service touched.
    policy = booted.path("/usr/sbin/policy-rc.d")
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    booted.install(next_version())
    assert goes_on()
    policy.unlink()
    booted.run("systemctl kill --kill-whom=main --signal=USR2 usher")
    wait_until(lambda: old & booted.images() == set(), 10, "the new version")
    assert is_new(booted, master)


def test_a_configuration_that_is_nobodys_is_replaced(booted, next_version):
    start_of(booted)
    ours = booted.path(CONFIGURATION).read_text() + "# theirs\n"
    booted.install(next_version(ours))
    assert booted.path(CONFIGURATION).read_text() == ours


def test_reload_is_refused_with_an_error_and_taken_without(booted):
    start_of(booted)
    master = booted.unit()["MainPID"]
    configure(booted, '{ name = "a"; match = "shh"; reject = "close"; }')
    assert "usher.service" in booted.run("systemctl reload usher", status=None).stderr
    assert booted.unit()["ActiveState"] == "active"
    assert "did you mean `ssh'" in booted.run("journalctl -q -u usher")
    assert booted.talk(4443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
    configure(booted, '{ name = "a"; match = "ssh"; connect = "127.0.0.1:22"; }', listen='"127.0.0.1:4444"')
    booted.run("systemctl reload usher")
    wait_until(lambda: booted.talk(4444, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH"), 5, "the new listener")
    assert booted.unit()["MainPID"] == master
    configure(booted, '{ name = "a"; match = "shh"; reject = "close"; }')
    booted.run("systemctl restart usher", status=1)
    assert booted.unit("usher.service", "ExecMainStatus", "NRestarts") == {"ExecMainStatus": "2", "NRestarts": "0"}


STRICT = """
protocols = ( { name = "word"; regex = "^h[aeiou]llo"; } );
user = "usher"; workers = 2; pid_file = "/run/usher/usher.pid"; log = { to = "/var/log/usher/usher.log"; };
"""


def check_locked_in(system, log):
    """By system calls, in a filter of their own besides the unit's; and by Landlock, where its absence would be logged."""
    assert re.search(r"sandbox here: seccomp, Landlock ABI \d+", system.run("usher --version"))
    assert "notice sandbox: " not in log, log
    filters = {}
    for pid, user in system.processes().items():
        status = dict(re.findall(r"(?m)^(\w+):\s+(.*)$", system.run(f"cat /proc/{pid}/status")))
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
        filters.setdefault(user, set()).add(int(status["Seccomp_filters"]))
    assert min(filters["usher"]) > max(filters["root"]) > 0, filters


def test_it_serves_under_the_strict_policy(booted, next_version):
    start_of(booted)
    configure(booted, '{ name = "ssh"; match = "ssh"; connect = "localhost:22"; }, '
              '{ name = "word"; match = "word"; handover = "/run/usher/none.sock"; fallback = "ssh"; }',
              listen='"127.0.0.1:443", "unix:/run/usher/in.sock"', more=STRICT)
    booted.run("install -D -m 644 /usr/share/doc/usher/examples/systemd/usher-strict.conf "
               "/etc/systemd/system/usher.service.d/strict.conf && systemctl daemon-reload && systemctl restart usher")
    check_processes(booted)
    for _ in range(2):
        assert booted.talk(443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
        assert booted.talk(443, r"hello\r\n").startswith("SSH-2.0-OpenSSH")
        booted.run("systemctl reload usher")
        wait_until(lambda: len(booted.processes()) <= 5, 10, "the old workers to go")
    log = booted.path("/var/log/usher/usher.log").read_text()
    assert log.count("notice serving: ") == 3 and "error" not in log.replace("error=", ""), log
    assert "end=finished" in log
    check_locked_in(booted, log)
    master = booted.unit()["MainPID"]
    booted.install(next_version())
    assert booted.unit()["MainPID"] == master
    wait_until(lambda: booted.images() == {"/usr/sbin/usher"}, 10, "the old workers to go")
    assert "upgrade refused" not in booted.path("/var/log/usher/usher.log").read_text()
    check_locked_in(booted, log)
    assert booted.talk(443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
    booted.run("mv /var/log/usher/usher.log /var/log/usher/usher.log.1 && systemctl kill -s USR1 --kill-who=main usher")
    wait_until(lambda: booted.path("/var/log/usher/usher.log").exists(), 5, "another log")
    booted.run("kill -KILL $(pgrep -x 'usher: worker' 2>/dev/null || grep -l 'usher: worker' /proc/[0-9]*/comm | cut -d/ -f3 | head -n 1)")
    wait_until(lambda: booted.talk(443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH"), 5, "another worker")
    booted.run("systemctl stop usher")
    assert booted.unit()["Result"] == "success" and not booted.processes()
    denied = booted.run("journalctl -q -u usher")
    assert "denied" not in denied and "not permitted" not in denied, denied


def test_systemd_hands_the_port_over(booted, next_version):
    start_of(booted)
    booted.run("systemctl stop usher")
    configure(booted, '{ name = "ssh"; match = "ssh"; connect = "127.0.0.1:22"; }', listen='"0.0.0.0:443", "[::]:443"')
    booted.run("systemctl enable --now usher.socket")
    assert booted.unit()["ActiveState"] == "inactive"
    # The first connection starts it.
    assert booted.talk(443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
    assert booted.talk(443, r"SSH-2.0-test\r\n", host="::1").startswith("SSH-2.0-OpenSSH")
    assert booted.unit()["ActiveState"] == "active"
    # A client that comes while it is restarted waits.
    booted.run("systemctl stop usher.service")
    assert booted.talk(443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
    # An upgrade of the package changes nothing about that.
    master = booted.unit()["MainPID"]
    booted.install(next_version())
    assert booted.unit("usher.socket")["ActiveState"] == "active" and booted.unit()["MainPID"] == master
    wait_until(lambda: booted.images() == {"/usr/sbin/usher"}, 10, "the new version")
    assert booted.talk(443, r"SSH-2.0-test\r\n", host="::1").startswith("SSH-2.0-OpenSSH")
    # Neither root nor a capability is needed then.
    booted.run("mkdir -p /etc/systemd/system/usher.service.d && cd /etc/systemd/system/usher.service.d && "
               "sed 's/^#   \\(User=.*\\|CapabilityBoundingSet=\\)$/\\1/' "
               "/usr/share/doc/usher/examples/systemd/usher-strict.conf >strict.conf && grep -q ^User=usher strict.conf && "
               "systemctl daemon-reload && systemctl restart usher")
    assert booted.talk(443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH")
    assert set(booted.processes().values()) == {"usher"}
    booted.run("dpkg -r usher")
    assert booted.unit("usher.socket")["ActiveState"] != "active"


def test_sessions_of_an_sshd_outlive_it(booted):
    """The unit as it stands takes nothing from whom an sshd lets in."""
    start_of(booted)
    configure(booted, '{ name = "ssh"; match = "ssh"; exec = [ "/usr/sbin/sshd", "-i" ]; }', more='user = "usher";')
    booted.run(f"systemctl restart usher && {KEYS}")
    told = booted.run(f"{SSH} 'cat /proc/self/cgroup; grep -E \"^(CapBnd|NoNewPrivs|Seccomp):\" /proc/self/status; readlink /proc/self/ns/mnt'")
    here = booted.run("grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/1/status; readlink /proc/1/ns/mnt")
    assert "\n0::/user.slice/user-0.slice/session-" in "\n" + told, "pam_systemd moved it out of the unit"
    assert told.endswith(here)
    booted.run(f"({SSH} 'echo began; sleep 8; echo ended' >/var/tmp/session 2>&1 &) ; sleep 2; systemctl restart usher; grep began /var/tmp/session")
    wait_until(lambda: "ended" in booted.path("/var/tmp/session").read_text(), 15, "the session to end by itself")
    booted.run("systemctl stop usher")
    assert not booted.processes()


JAIL = """
[usher]
action = dummy
maxretry = 3
ignoreself = false
ignoreip =
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_fail2ban_bans_who_is_refused(booted, form):
    """With the filter as it is installed and the jail from the examples, on the journal."""
    start_of(booted)
    configure(booted, '{ name = "web"; match = "http"; connect = "127.0.0.1:80"; deny = "127.0.0.0/8"; }, '
              '{ name = "ssh"; match = "ssh"; connect = "127.0.0.1:22"; }', more=f'log = {{ to = "stderr"; format = "{form}"; }};')
    booted.run("cd /etc/fail2ban/jail.d && rm defaults-debian.conf && cp /usr/share/doc/usher/examples/fail2ban/jail.d/usher.conf .")
    booted.path("/etc/fail2ban/jail.d/usher.local").write_text(JAIL)
    booted.run("systemctl restart usher && systemctl start fail2ban")
    banned = lambda: "127.0.0.1" in booted.run("fail2ban-client get usher banned", status=None).stdout
    wait_until(lambda: booted.run("fail2ban-client status usher", status=None).returncode == 0, 20, "fail2ban")
    for _ in range(5):
        booted.talk(4443, r"SSH-2.0-test\r\n")
    for _ in range(2):
        booted.talk(4443, HTTP)
    time.sleep(3)
    assert not banned()
    booted.talk(4443, HTTP)
    wait_until(banned, 20, "the ban: " + booted.run("fail2ban-client status usher; tail -n 20 /var/log/fail2ban.log"))


# ---- without


def test_it_installs_serves_and_goes_without_systemd(chroot, next_version):
    chroot.install(deb("usher"))
    check_user(chroot)
    assert not chroot.processes()
    chroot.start()
    check_processes(chroot)
    assert chroot.listeners() == LOOPBACK_ONLY
    chroot.run("(echo 'SSH-2.0-server' | nc -N -l 127.0.0.1 22 >/dev/null 2>&1 &)")
    assert chroot.talk(4443, r"SSH-2.0-test\r\n") == "SSH-2.0-server\n"
    mine = chroot.path(CONFIGURATION).read_text() + "# mine\n"
    chroot.path(CONFIGURATION).write_text(mine)
    chroot.install(next_version())
    assert chroot.path(CONFIGURATION).read_text() == mine
    chroot.stop()
    chroot.start()
    chroot.stop()
    chroot.run("dpkg -r usher")
    assert chroot.path(CONFIGURATION).read_text() == mine and not chroot.path("/usr/sbin/usher").exists()
    chroot.run("dpkg -P usher")
    check_purged(chroot)


def test_a_server_is_built_against_the_library(chroot):
    """What pkg-config, headers and the library say and hold fits together; compiled here, run there."""
    chroot.install(deb("libusher-handover0"), deb("libusher-handover-dev"))
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libusher-handover"], check=True, capture_output=True, text=True,
                           env={**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(chroot.root), "PKG_CONFIG_LIBDIR": ":".join(
                               map(str, chroot.root.glob("usr/lib/*/pkgconfig")))}).stdout.split()
    source = os.path.join(os.path.dirname(__file__), "../../examples/receiver.c")
    library = next(chroot.root.glob("usr/lib/*/libusher-handover.so")).parent
    subprocess.run(["cc", "-I", chroot.path("/usr/include"), source, "-o", chroot.path("/var/tmp/receiver"), "-L", library, *flags],
                   check=True)
    assert "libusher-handover.so.0 => /lib" in chroot.run("ldd /var/tmp/receiver").replace("=> /usr/lib", "=> /lib")
