"""The Debian packages in a system of their own: installed, started, upgraded, removed, purged, and what is left.

Not part of `make test`: `make test-deb` builds the packages and runs this, as root.
"""

import os
import re
import subprocess
import time

import pytest
from system import DEBS, Booted, Chroot, deb, wait_until

CONFIGURATION = "/etc/usher/usher.conf"
UNIT = "/lib/systemd/system/usher.service"
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
    """next_version(configuration=None): the package once more as a later version, perhaps with another configuration."""

    def make(configuration=None):
        place = tmp_path_factory.mktemp("next")
        subprocess.run(["dpkg-deb", "-R", deb("usher"), place / "tree"], check=True)
        control = place / "tree/DEBIAN/control"
        control.write_text(re.sub(r"(?m)^(Version: .*)", r"\1+next", control.read_text()))
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
    module = booted.run("dpkg -L usher-module-ndpi | grep ndpi.so").strip()
    configure(booted, '{ name = "x"; match = "bittorrent"; reject = "close"; }', more=f'identifiers = ( {{ module = "{module}"; }} );')
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


def test_an_upgrade_keeps_the_configuration_and_serves_again(booted, next_version):
    start_of(booted)
    before = booted.unit()["MainPID"]
    mine = booted.path(CONFIGURATION).read_text() + "# mine\n"
    booted.path(CONFIGURATION).write_text(mine)
    booted.install(next_version())
    assert booted.path(CONFIGURATION).read_text() == mine
    wait_until(lambda: booted.unit()["ActiveState"] == "active", 10, "the service")
    assert booted.unit()["MainPID"] not in ("0", before)

    # A new one from us as well: what is the administrator's stays, and ours lies beside it.
    ours = mine.replace("# mine", "# theirs")
    booted.run("sed -i 's/+next$/+earlier/' /var/lib/dpkg/status")
    booted.install(next_version(ours), options="--force-confdef --force-confold")
    assert booted.path(CONFIGURATION).read_text() == mine
    assert booted.path(CONFIGURATION + ".dpkg-dist").read_text() == ours
    booted.run("dpkg -P usher")
    check_purged(booted)


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


def test_it_serves_under_the_strict_policy(booted):
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
    booted.run("mv /var/log/usher/usher.log /var/log/usher/usher.log.1 && systemctl kill -s USR1 --kill-who=main usher")
    wait_until(lambda: booted.path("/var/log/usher/usher.log").exists(), 5, "another log")
    booted.run("kill -KILL $(pgrep -x 'usher: worker' 2>/dev/null || grep -l 'usher: worker' /proc/[0-9]*/comm | cut -d/ -f3 | head -n 1)")
    wait_until(lambda: booted.talk(443, r"SSH-2.0-test\r\n").startswith("SSH-2.0-OpenSSH"), 5, "another worker")
    booted.run("systemctl stop usher")
    assert booted.unit()["Result"] == "success" and not booted.processes()
    denied = booted.run("journalctl -q -u usher")
    assert "denied" not in denied and "not permitted" not in denied, denied


def test_systemd_hands_the_port_over(booted):
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
    booted.run("systemctl restart usher && mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 && "
               "cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys")
    ssh = "ssh -p 4443 -o StrictHostKeyChecking=no -o LogLevel=ERROR 127.0.0.1"
    told = booted.run(f"{ssh} 'cat /proc/self/cgroup; grep -E \"^(CapBnd|NoNewPrivs|Seccomp):\" /proc/self/status; readlink /proc/self/ns/mnt'")
    here = booted.run("grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/1/status; readlink /proc/1/ns/mnt")
    assert "\n0::/user.slice/user-0.slice/session-" in "\n" + told, "pam_systemd moved it out of the unit"
    assert told.endswith(here)
    booted.run(f"({ssh} 'echo began; sleep 8; echo ended' >/var/tmp/session 2>&1 &) ; sleep 2; systemctl restart usher; grep began /var/tmp/session")
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
