"""A small Debian of its own, made by debootstrap: booted with its systemd by systemd-nspawn, or as a mere chroot.

Neither has a network but its own loopback. The tree that debootstrap makes is kept beside the packages, as root.tar, for
the next time. Needs root.
"""

import hashlib
import os
import pathlib
import platform
import re
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

DEBS = pathlib.Path(os.environ.get("DEBS", "build/deb")).resolve()
# Beside what the packages need: what the tests use in there.
TOOLS = ["systemd", "systemd-sysv", "libpam-systemd", "dbus", "netcat-openbsd", "openssh-server", "openssh-client",
         "fail2ban", "python3-systemd"]
OWN = re.compile(r"usher|libusher-handover")


def deb(name):
    """The built package of this name."""
    (path,) = DEBS.glob(f"{name}_*.deb")
    return path


def wait_until(condition, timeout, what):
    end = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(0.1)
    return result


def needed_packages():
    """What our packages depend on; of alternatives the first."""
    found = set()
    for path in DEBS.glob("*.deb"):
        fields = subprocess.run(["dpkg-deb", "-f", path, "Depends"], check=True, capture_output=True, text=True).stdout
        found |= {re.split(r"[ (|]", part.strip())[0] for part in fields.split(",")}
    return sorted(name for name in found if name and not OWN.match(name))


def make_tree():
    """The archive of a fresh system; made once for a list of packages."""
    include = ",".join(TOOLS + needed_packages())
    archive = DEBS / f"root-{hashlib.sha256(include.encode()).hexdigest()[:12]}.tar"
    if archive.exists():
        return archive
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    mirror = [os.environ["MIRROR"]] if "MIRROR" in os.environ else []
    root = pathlib.Path(tempfile.mkdtemp(prefix="usher-debootstrap-"))
    try:
        made = subprocess.run(["debootstrap", "--variant=minbase", f"--include={include}", suite, root, *mirror],
                              capture_output=True, text=True, check=False)
        assert made.returncode == 0, "debootstrap: " + made.stdout[-3000:] + made.stderr[-3000:]
        for part in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / part)
        subprocess.run(["tar", "-C", root, "-cf", f"{archive}.new", "."], check=True)
        for old in DEBS.glob("root-*.tar"):
            old.unlink()
        os.rename(f"{archive}.new", archive)
    finally:
        shutil.rmtree(root)
    return archive


class Session:
    """A command in there that runs on, with lines to it and from it."""

    def __init__(self, prefix, command):
        self.process = subprocess.Popen([*prefix, "/bin/bash", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self):
        assert select.select([self.process.stdout], [], [], 15)[0], "waited 15 s in vain for a line"
        return self.process.stdout.readline()

    def echoes(self, line):
        self.say(line)
        return self.hear() == line + "\n"

    def end(self):
        """Its status, after the end of what it is told."""
        self.process.stdin.close()
        status = self.process.wait(15)
        self.process.stdout.close()
        return status


class System:
    """A tree under .root, and run(command) inside of what was made of it."""

    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="usher-root-"))
        subprocess.run(["tar", "-C", self.root, "-xf", make_tree()], check=True)
        self.root.chmod(0o755)
        # It is for one test alone, and stops badly while it is starting.
        (self.root / "etc/systemd/system/multi-user.target.wants/fail2ban.service").unlink(missing_ok=True)
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")

    def prefix(self):
        raise NotImplementedError

    def run(self, command, status=0):
        """Standard output of a shell command; `status` None: whichever, and the whole result."""
        result = subprocess.run([*self.prefix(), "/bin/bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, errors="replace", check=False, timeout=90,
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})
        if status is None:
            return result
        assert result.returncode == status, f"{command}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def session(self, command):
        return Session(self.prefix(), "exec " + command)

    def bring(self, *packages):
        """Copies packages in; their names there."""
        place = self.root / "var/tmp"
        for package in packages:
            shutil.copy(package, place)
        return " ".join(f"/var/tmp/{package.name}" for package in packages)

    def install(self, *packages, options=""):
        return self.run(f"dpkg {options} -i {self.bring(*packages)}")

    def path(self, name):
        return self.root / name.lstrip("/")

    def files(self, word):
        """Every path with the word in it, but for logs and lists that others keep."""
        others = ("/proc/", "/sys/", "/var/tmp/", "/var/lib/dpkg/", "/var/log/", "/run/")
        found = {"/" + str(path.relative_to(self.root)) for path in self.root.rglob(f"*{word}*")}
        return {name for name in found if not name.startswith(others)}

    def processes(self):
        """{pid: user} of usher's processes in there."""
        script = ('for p in /proc/[0-9]*; do read -r name <$p/comm && [[ $name == usher* ]] && '
                  'echo ${p#/proc/} $(stat -c %U $p); done 2>/dev/null; :')
        return dict(line.split() for line in self.run(script).splitlines())

    def images(self):
        """Which files usher's processes are of."""
        return {self.run(f"readlink /proc/{pid}/exe", status=None).stdout.strip() for pid in self.processes()} - {""}

    def listeners(self):
        """TCP addresses that are listened on, as the kernel writes them."""
        tables = self.run("cat /proc/net/tcp /proc/net/tcp6")
        return {line.split()[1] for line in tables.splitlines() if len(line.split()) > 3 and line.split()[3] == "0A"}

    def talk(self, port, text, host="127.0.0.1"):
        """What comes back for these bytes."""
        return self.run(f"printf %b {shlex.quote(text)} | timeout 15 nc -N {host} {port}", status=None).stdout

    def close(self):
        shutil.rmtree(self.root)


class Booted(System):
    """With systemd as its first process."""

    def __init__(self):
        super().__init__()
        self.console = open(self.root / "var/tmp/console", "wb")
        command = ["systemd-nspawn", "--quiet", "--boot", "--directory", self.root, "--private-network", "--register=no",
                   "--keep-unit", f"--machine=usher{os.getpid()}", "--console=pipe", "--link-journal=no",
                   # systemd-nspawn would refuse it to all in there.
                   "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self"]
        # With the second hierarchy of control groups alone, as systemd is run nowadays.
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console,
                                        env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        self.leader = None
        try:
            wait_until(self._booted, 60, "systemd to boot")
        except AssertionError as error:
            console = self.path("var/tmp/console").read_text(errors="replace")[-3000:]
            self.close()
            raise AssertionError(f"{error}:\n{console}") from None

    def _booted(self):
        assert self.process.poll() is None, "systemd-nspawn ended"
        if not self.leader:
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            # Not the helper of nspawn's own: the first process in there.
            self.leader = next((pid for pid in children if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n"), None)
            return False
        return self.run("systemctl is-system-running", status=None).stdout.strip() in ("running", "degraded")

    def prefix(self):
        return ["nsenter", "--target", self.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd=/"]

    def unit(self, name="usher.service", *properties):
        """{property: value}"""
        wanted = ",".join(properties or ("ActiveState", "SubState", "MainPID", "Result"))
        return dict(line.split("=", 1) for line in self.run(f"systemctl show -p {wanted} {name}").splitlines())

    def close(self):
        if self.process.poll() is None:
            # The first process in there does not survive this, and takes all others with it.
            if self.leader:
                os.kill(int(self.leader), signal.SIGKILL)
            else:
                self.process.terminate()
            self.process.wait(30)
        self.console.close()
        super().close()


class Chroot(System):
    """Without systemd: processes and network of its own, a first process that only waits."""

    def __init__(self):
        super().__init__()
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc",
             "chroot", self.root, "/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"],
            stdin=subprocess.DEVNULL)
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.leader = wait_until(lambda: children.read_text().strip(), 5, "unshare")
        wait_until(lambda: pathlib.Path(f"/proc/{self.leader}/comm").read_text() == "sh\n", 5, "the first process")
        subprocess.run(["nsenter", "--target", self.leader, "--net", "ip", "link", "set", "lo", "up"], check=True)

    def prefix(self):
        return ["nsenter", "--target", self.leader, "--mount", "--net", "--pid", "--root", "--wd=/"]

    def start(self):
        """The unit's own command, as the unit would; it serves when it returns."""
        unit = self.path("/lib/systemd/system/usher.service").read_text()
        self.run(re.search(r"^ExecStart=(.*)", unit, re.M).group(1) + " -d")

    def stop(self):
        master = min(map(int, self.processes()))
        self.run(f"kill {master}; for i in {{1..100}}; do [ -e /proc/{master} ] || exit 0; sleep 0.1; done; exit 1")

    def close(self):
        self.process.kill()
        self.process.wait()
        super().close()
