"""usher as a container's engine runs it: a root directory that cannot be written, no /proc, another user, no capabilities, no new
privileges and the engines' filter of system calls; and what Containerfile, the compose files and the manifests say.

The root directory is made of this build and its libraries. `make test-container' has buildah make the image, and names it by
USHER_IMAGE_ROOT."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest
from harness import BINARY, BUILD, IS_ROOT, SOURCE, connect, descendants, free_port, process_title, run_usher, slow, wait_until

yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")
IMAGE_ROOT = os.environ.get("USHER_IMAGE_ROOT")
REFUSE = BUILD / "tests/faults/refuse"
UID = 65532

# What the filters of Docker, Podman and containerd refuse to a container without capabilities.
REFUSED = """acct add_key bpf clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick
    init_module io_uring_setup io_uring_enter io_uring_register ioperm iopl kcmp kexec_load keyctl lookup_dcookie mount mount_setattr
    move_mount name_to_handle_at open_by_handle_at open_tree perf_event_open pivot_root process_vm_readv process_vm_writev quotactl
    reboot request_key setdomainname sethostname setns settimeofday swapoff swapon sysfs syslog umount2 unshare uselib userfaultfd
    vhangup""".split()

# Inside: mounts, then what cannot be had back.
ENTER = """
import ctypes, os, sys
root, conf, uid, kept = sys.argv[1], sys.argv[2], int(sys.argv[3]), [int(word) for word in sys.argv[4].split(",") if word]
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags, data=None):
    if libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), data) != 0:
        raise OSError(ctypes.get_errno(), target)
mount("none", "/", None, 0x4000 | 0x40000)                       # private, with all below
mount(root, root, None, 0x1000)
mount("/dev", root + "/dev", None, 0x1000)
mount(conf, root + "/etc/usher", None, 0x1000)
mount("tmpfs", root + "/run/usher", b"tmpfs", 0, b"mode=0700,uid=%d,gid=%d" % (uid, uid))
mount("none", root + "/etc/usher", None, 0x1000 | 0x20 | 0x1)    # read-only
mount("none", root, None, 0x1000 | 0x20 | 0x1)
os.chroot(root)
os.chdir("/")
for capability in range(64):
    if capability not in kept:
        libc.prctl(24, capability, 0, 0, 0)                      # PR_CAPBSET_DROP
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
libc.prctl(38, 1, 0, 0, 0)                                       # PR_SET_NO_NEW_PRIVS
os.execve(sys.argv[5], sys.argv[5:], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
"""


def may_make_namespaces():
    return IS_ROOT and subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not may_make_namespaces(), reason="needs root: mount and pid namespaces")


def libraries(*programs):
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True)
    return set(re.findall(r"(?:=> |^\s*)(/\S+) \(", done.stdout, re.M))


@pytest.fixture
def image(place):
    """The root directory of an image."""
    if IMAGE_ROOT:
        yield pathlib.Path(IMAGE_ROOT)
        return
    root = place / "root"
    for folder in ("usr/sbin", "etc/usher", "run/usher", "dev", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(BINARY, root / "usr/sbin/usher")
    for library in libraries(BINARY, REFUSE):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    yield root


CONFIG = """
listen = "127.0.0.1:{port}"; control = "/run/usher/control.sock"; workers = 1; drain_timeout = 600;
services = ( { name = "%s"; match = "http"; connect = "{echo}"; } );
"""


class Container:
    def __init__(self, image, conf):
        self.image, self.conf = image, conf
        self.uid, self.kept = UID, ""
        self.log_path = conf.parent / "container.log"

    @contextlib.contextmanager
    def running(self, *words):
        command = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", sys.executable, "-c", ENTER, self.image,
                   self.conf, str(self.uid), self.kept, "/etc/usher/refuse", "1", *REFUSED, "--", "/usr/sbin/usher", *words]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield self
        finally:
            if self.process.poll() is None:
                for pid in descendants(self.process.pid)[:1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)  # the first process of its namespace: all others go with it
                self.process.wait(slow(10))

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, text):
        wait_until(lambda: text in self.log() or self.process.poll() is not None, 60, text)
        assert text in self.log(), self.log()

    def first(self):
        """The master's number outside."""
        return next(pid for pid in descendants(self.process.pid) if process_title(pid).startswith("usher: master"))

    def inside(self, *command):
        return subprocess.run(["nsenter", "--target", str(self.first()), "--mount", "--pid", "--root", "--wd", f"--setuid={self.uid}",
                               f"--setgid={self.uid}", *command], capture_output=True, text=True, check=False, timeout=slow(10))


@pytest.fixture
def container(image, place):
    place.chmod(0o755)
    conf = place / "conf"
    conf.mkdir()
    shutil.copy(REFUSE, conf / "refuse")
    return Container(image, conf)


@needs_namespaces
def test_it_serves_reloads_is_healthy_and_drains_in_a_container(container, echo):
    port = free_port()

    def configure(name):
        (container.conf / "next").write_text((CONFIG % name).replace("{port}", str(port)).replace("{echo}", echo.tcp4))
        (container.conf / "next").rename(container.conf / "usher.conf")

    configure("first")
    with container.running("run", "--watch", "-c", "/etc/usher/usher.conf"):
        container.wait_log("serving: 1 workers")
        with connect(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"GET /")
            health = container.inside("/usr/sbin/usher", "status")
            assert (health.returncode, health.stderr) == (0, ""), container.log()
            assert "first" in health.stdout

            configure("second")
            wait_until(lambda: "second" in container.inside("/usr/sbin/usher", "status").stdout, 60, "the reload")
            status = pathlib.Path(f"/proc/{container.first()}/status").read_text()
            for wanted in (f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "NSpid:\t"):
                assert wanted in status
            assert not os.path.exists(f"/proc/{container.first()}/root/proc/self")

            os.kill(container.first(), signal.SIGTERM)
            container.wait_log("ending: no new connections")
            client.sendall(b"still here")
            assert client.recv(100) == b"still here"
        assert container.process.wait(slow(10)) == 0
        assert "cannot" not in container.log()


@needs_namespaces
def test_root_with_few_capabilities_serves_and_its_workers_are_somebody_else(container, echo):
    """As the compose file and the DaemonSet of the host's network start it."""
    port = free_port()
    container.uid, container.kept = 0, "5,6,7,10"  # KILL, SETGID, SETUID, NET_BIND_SERVICE
    (container.conf / "usher.conf").write_text((CONFIG % "web").replace("{port}", str(port)).replace("{echo}", echo.tcp4) + 'user = "nobody";\n')
    with container.running("run", "--watch", "-c", "/etc/usher/usher.conf"):
        container.wait_log("serving: 1 workers")
        with connect(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"GET /")
        worker = next(pid for pid in descendants(container.process.pid) if process_title(pid).startswith("usher: worker"))
        assert "Uid:\t65534\t65534" in pathlib.Path(f"/proc/{worker}/status").read_text()
        assert container.inside("/usr/sbin/usher", "status").returncode == 0
        os.kill(container.first(), signal.SIGTERM)
        assert container.process.wait(slow(10)) == 0
        assert "cannot" not in container.log()


@needs_namespaces
def test_without_a_configuration_it_says_which_file_is_missing(container):
    with container.running("run", "--watch", "-c", "/etc/usher/usher.conf"):
        assert container.process.wait(slow(10)) == 2
    assert "/etc/usher/usher.conf: cannot be read: No such file or directory" in container.log()


# ---- what is written


def instructions():
    text = re.sub(r"^#.*\n", "", (SOURCE / "Containerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


def test_the_image_is_small_and_not_of_root():
    lines = instructions()
    last = lines[max(i for i, (word, _) in enumerate(lines) if word == "FROM"):]
    said = dict(last)
    assert said["USER"] == f"{UID}:{UID}"
    assert json.loads(said["ENTRYPOINT"]) == ["/usr/sbin/usher"]
    assert run_usher("help", json.loads(said["CMD"])[0]).stdout.count("--watch")
    assert said["HEALTHCHECK"].endswith('CMD ["/usr/sbin/usher", "status"]')
    assert not [rest for word, rest in last if word == "COPY" or "make" in rest.split()]


@pytest.mark.skipif("USHER_IMAGE" not in os.environ, reason="make test-container builds the image")
def test_the_image_that_was_built_says_so():
    config = json.loads(pathlib.Path(os.environ["USHER_IMAGE"]).read_text())["Docker"]["config"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/sbin/usher", "status"]
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == (f"{UID}:{UID}", ["/usr/sbin/usher"], ["run", "--watch"])
    assert not (pathlib.Path(IMAGE_ROOT) / "usr/bin/gcc").exists()


@pytest.mark.parametrize("file", sorted((SOURCE / "examples").glob("*/**/usher.conf")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_configurations_of_containers_are_right(file):
    if "user = " in file.read_text() and not IS_ROOT:
        pytest.skip("needs root, to run workers as another user")
    checked = run_usher("check", "-c", file)
    assert checked.returncode == 0
    assert "error" not in checked.stderr


@pytest.mark.parametrize("file", sorted((SOURCE / "examples/container").rglob("compose.yaml")), ids=lambda file: file.parent.name)
def test_compose_files_name_what_is_there(file):
    usher = yaml.safe_load(file.read_text())["services"]["usher"]
    assert (file.parent / usher["build"]["context"] / usher["build"]["dockerfile"]).resolve() == SOURCE / "Containerfile"
    (mount,) = usher["volumes"]
    folder, inside, mode = mount.split(":")
    assert (file.parent / folder / "usher.conf").is_file()
    assert (inside, mode, usher["read_only"], usher["cap_drop"]) == ("/etc/usher", "ro", True, ["ALL"])
    drain = re.search(r"drain_timeout = (\d+)", (file.parent / folder / "usher.conf").read_text())
    assert int(usher["stop_grace_period"].rstrip("s")) > int(drain.group(1))


def test_the_transparent_container_has_the_capabilities_that_usher_asks_for():
    folder = SOURCE / "examples/container/transparent"
    given = {f"cap_{name.lower()}" for name in yaml.safe_load((folder / "compose.yaml").read_text())["services"]["usher"]["cap_add"]}
    if IS_ROOT:
        asked = set(re.findall(r"\bcap_\w+", run_usher("check", "-c", folder / "usher.conf.d/usher.conf").stdout))
        # Files and folders are root's own, or can be read by all.
        assert given == asked - {"cap_dac_read_search", "cap_dac_override", "cap_fowner"}


# ---- Kubernetes

KUBERNETES = sorted((SOURCE / "examples/kubernetes").glob("*/kustomization.yaml"))


def rendered(folder):
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False, timeout=slow(20))
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.parent.name)
def test_manifests_render_and_fit_the_configuration_in_them(file, place):
    objects = {item["kind"]: item for item in rendered(file.parent)}
    text = objects["ConfigMap"]["data"]["usher.conf"]
    (place / "usher.conf").write_text(text)
    if IS_ROOT or "user = " not in text:
        assert run_usher("check", "-c", place / "usher.conf").returncode == 0

    workload = objects.get("Deployment") or objects["DaemonSet"]
    pod = workload["spec"]["template"]["spec"]
    (one,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    assert re.search(rf'"\S+:{ports["shared"]}"', text)
    assert re.search(rf'metrics = "\S+:{ports["metrics"]}"', text)
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert (one[probe]["httpGet"]["path"], one[probe]["httpGet"]["port"]) == (path, "metrics")
    # The name of the map is that of the volume, also after kustomize: usher follows it.
    assert {volume.get("configMap", {}).get("name") for volume in pod["volumes"]} == {objects["ConfigMap"]["metadata"]["name"], None}
    wait = int(one["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= wait + int(re.search(r"drain_timeout = (\d+)", text).group(1))
    assert one["securityContext"]["readOnlyRootFilesystem"] and one["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert set(workload["spec"]["selector"]["matchLabels"].items()) <= set(workload["spec"]["template"]["metadata"]["labels"].items())


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_the_deployment_is_complete():
    kinds = {item["kind"] for item in rendered(SOURCE / "examples/kubernetes/deployment")}
    assert kinds == {"Namespace", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"}


# ---- the workflow


def test_the_workflow_runs_what_every_change_must_pass():
    workflow = yaml.safe_load((SOURCE / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["debian"]
    assert job["strategy"]["matrix"]["release"] == ["bookworm", "trixie"]
    assert job["container"]["image"] == "debian:${{ matrix.release }}"
    assert job["steps"][-1]["run"] == ".ci/run"
    assert os.access(SOURCE / ".ci/run", os.X_OK)
