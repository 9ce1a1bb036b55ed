#!/usr/bin/python3
"""Records what real clients send first.

    record.py --root ROOT [--tag TAG] [--only GLOB] [PROTOCOL ...]   run the recipes, keep the bytes
    record.py --packages [PROTOCOL ...]                              print the Debian packages that they need
    record.py --show PROTOCOL ...                                    print what is kept, to be read by eye

A recipe (recipes/PROTOCOL.toml) is a client's command. The client runs inside ROOT, a directory with a Debian system in it,
in a network of its own that has nothing but loopback, against a listener that keeps what arrives and answers nothing (or
only what the recipe says). Kept are the segments as they came, until the client was silent for 300 ms, closed, or sent enough.
Needs root, for the namespaces. README.md beside this file tells what a recipe may say.
"""

import argparse
import contextlib
import fcntl
import fnmatch
import ipaddress
import json
import os
import pathlib
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
HOME = "/home/alice"
NPM = "opt/npm"
SILENCE = 0.3
ENOUGH = 16384
HOSTS = """127.0.0.1 localhost client.example.com client
127.0.0.1 example.com www.example.com shop.example.com mail.example.com ssh.example.com chat.example.com vpn.example.com
127.0.0.1 example.org www.example.org db.example.org files.example.org realm.example.org
127.0.0.1 xn--bcher-kva.example a-host-with-a-rather-long-name.and.several.labels.example.net
::1 ip6-localhost six.example.com
"""
DEFAULTS = {
    "transport": "tcp", "host": "127.0.0.1", "port": 0, "client": None, "package": [], "install": [], "setup": "", "files": {},
    "stdin": "", "env": {}, "answer": [], "expect": "", "flows_kept": 1, "wait": 8.0, "keep": 4096, "protocol": None,
    "silence": SILENCE, "greeting": "",
}


class Recipe:
    """One command of a recipe file: the section's settings, with those of the command itself over them."""

    def __init__(self, name, protocol, settings):
        unknown = settings.keys() - DEFAULTS.keys() - {"command"}
        if unknown:
            raise ValueError(f"{name}: no such setting: {', '.join(sorted(unknown))}")
        self.name = name
        self.__dict__.update(DEFAULTS | {"protocol": protocol} | settings)
        self.package = [self.package] if isinstance(self.package, str) else self.package


def read_recipes(protocol):
    with open(HERE / "recipes" / f"{protocol}.toml", "rb") as file:
        table = tomllib.load(file)
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    recipes = []
    for section, settings in table.items():
        if not isinstance(settings, dict):
            continue
        flows = settings.pop("flows")
        for name, command in flows.items():
            own = command if isinstance(command, dict) else {"command": command}
            label = common.get("protocol", protocol)
            recipes.append(Recipe(f"{protocol}-{section}-{name}", label, {**common, **settings, **own}))
    return recipes


class Listener:
    """Takes connections (or datagrams, by source) and keeps what each sends, in the order in which they began."""

    def __init__(self, recipe):
        self.recipe = recipe
        family = socket.AF_INET6 if ":" in recipe.host else socket.AF_INET
        kind = socket.SOCK_STREAM if recipe.transport == "tcp" else socket.SOCK_DGRAM
        self.socket = socket.socket(family, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((recipe.host, recipe.port))
        if family == socket.AF_INET and ipaddress.ip_address(recipe.host).is_multicast:
            group = socket.inet_aton(recipe.host) + socket.inet_aton("127.0.0.1")
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        self.port = self.socket.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.socket, selectors.EVENT_READ)
        self.flows = []
        if recipe.transport == "tcp":
            self.socket.listen(64)

    def close(self):
        for flow in self.flows:
            flow.close()
        self.selector.close()
        self.socket.close()

    def turn(self, timeout):
        for key, _ in self.selector.select(timeout):
            if key.fileobj is not self.socket:
                key.data.read(self.selector)
            elif self.recipe.transport == "tcp":
                connection, _ = self.socket.accept()
                flow = Flow(self.recipe, connection)
                self.flows.append(flow)
                self.selector.register(connection, selectors.EVENT_READ, flow)
            else:
                data, source = self.socket.recvfrom(65536)
                flow = next((flow for flow in self.flows if flow.source == source), None)
                if flow is None:
                    flow = Flow(self.recipe, None, source, self.socket)
                    self.flows.append(flow)
                if data:
                    flow.take(data)
        for flow in self.flows:
            flow.answer_if_due()

    def kept(self):
        return [flow for flow in self.flows if flow.segments][: self.recipe.flows_kept]

    def finished(self):
        kept = self.kept()
        return len(kept) == self.recipe.flows_kept and all(flow.ended() for flow in kept)


class Flow:
    def __init__(self, recipe, connection, source=None, reply_socket=None):
        self.recipe = recipe
        self.connection = connection
        self.source = source
        self.reply_socket = reply_socket
        self.segments = []
        self.closed = False
        self.last = time.monotonic()
        self.answers = list(recipe.answer)
        if recipe.greeting:
            with contextlib.suppress(OSError):
                connection.sendall(recipe.greeting.encode("latin-1"))

    def read(self, selector):
        try:
            data = self.connection.recv(65536)
        except OSError:
            data = b""
        if data:
            self.take(data)
        else:
            self.closed = True
            selector.unregister(self.connection)

    def take(self, data):
        self.last = time.monotonic()
        room = self.recipe.keep - sum(map(len, self.segments))
        if room > 0:
            self.segments.append(data[:room] if self.connection else data)

    def answer_if_due(self):
        """Each answer follows a silence of the client, or what the recipe expects of it."""
        if not self.answers or self.closed or not self.segments:
            return
        expected = self.recipe.expect.encode("latin-1")
        if time.monotonic() - self.last < self.recipe.silence and not (expected and re.search(expected, self.segments[-1], re.S)):
            return
        answer = self.answers.pop(0).encode("latin-1")
        self.last = time.monotonic()
        with contextlib.suppress(OSError):
            if self.connection:
                self.connection.sendall(answer)
            else:
                self.reply_socket.sendto(answer, self.source)

    def ended(self):
        size = sum(map(len, self.segments))
        silent = time.monotonic() - self.last >= self.recipe.silence and not self.answers
        return self.closed or silent or size >= min(self.recipe.keep, ENOUGH)

    def close(self):
        if self.connection:
            self.connection.close()


class Root:
    """The Debian system that the clients are run in."""

    def __init__(self, path):
        self.path = path
        listing = subprocess.run(
            ["dpkg-query", f"--admindir={path}/var/lib/dpkg", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"],
            check=True, capture_output=True, text=True).stdout
        self.versions = {line.split()[0]: line.split()[1] for line in listing.splitlines() if line.endswith(" installed")}
        modules = path / NPM / "node_modules"
        for file in [*modules.glob("*/package.json"), *modules.glob("@*/*/package.json")]:
            self.versions[f"npm:{file.parent.relative_to(modules)}"] = json.loads(file.read_text()).get("version", "")

    def enter(self):
        """Inside the new namespaces: nothing of the machine but ROOT is to be seen by a client."""
        subprocess.run(["ip", "link", "set", "lo", "up", "multicast", "on"], check=True)
        subprocess.run(["ip", "route", "add", "224.0.0.0/4", "dev", "lo"], check=True)
        socket.sethostname("client")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        for kind, source, place in (("proc", "proc", "proc"), ("sysfs", "sys", "sys"), ("tmpfs", "home", "home"),
                                    ("tmpfs", "tmp", "tmp"), ("tmpfs", "run", "run")):
            subprocess.run(["mount", "-t", kind, source, self.path / place], check=True)
        self.make_devices()
        for name, text in (("hosts", HOSTS), ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")):
            (self.path / "tmp" / name).write_text(text)
            (self.path / "etc" / name).touch()
            subprocess.run(["mount", "--bind", self.path / "tmp" / name, self.path / "etc" / name], check=True)

    def make_devices(self):
        """The machine's own /dev has sockets, of the system's log for one."""
        subprocess.run(["mount", "-t", "tmpfs", "dev", self.path / "dev"], check=True)
        for name in ("null", "zero", "full", "random", "urandom", "tty", "net/tun"):
            if os.path.exists(f"/dev/{name}"):
                (self.path / "dev" / name).parent.mkdir(exist_ok=True)
                (self.path / "dev" / name).touch()
                subprocess.run(["mount", "--bind", f"/dev/{name}", self.path / "dev" / name], check=True)
        for name in ("pts", "shm"):
            (self.path / "dev" / name).mkdir()
        subprocess.run(["mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", self.path / "dev/pts"], check=True)
        for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
            (self.path / "dev" / name).symlink_to(target)

    def missing(self, recipe):
        missing = [name for name in [*recipe.package, *recipe.install] if name not in self.versions]
        return f"not installed: {' '.join(missing)}" if missing else None

    def client(self, recipe):
        return recipe.client or ", ".join(f"{name} {self.versions[name]}" for name in recipe.package)

    def start(self, recipe, values, output):
        home = self.path / HOME.lstrip("/")
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        if "relay.py" in recipe.command:
            shutil.copy(HERE / "relay.py", home)
        for name, text in recipe.files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(fill(text, values))
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games", "HOME": HOME, "USER": "alice", "LOGNAME": "alice",
            "LANG": "C.UTF-8", "TERM": "xterm", "NODE_PATH": f"/{NPM}/node_modules",
            **{name: fill(value, values) for name, value in recipe.env.items()}}
        steps = fill(f"{recipe.setup}\n{recipe.command}", values)
        return subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={self.path}/proc", "chroot", self.path,
             "sh", "-c", f"cd {HOME}\n{steps}"],
            env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True)


def fill(text, values):
    return re.sub(r"\{(port|host|dir)\}", lambda found: str(values[found.group(1)]), text)


def record(root, recipe):
    """The kept flows of one recipe, each a list of segments, and what the client printed."""
    listener = Listener(recipe)
    values = {"port": listener.port, "host": recipe.host, "dir": HOME}
    with tempfile.TemporaryFile() as output:
        client = root.start(recipe, values, output)
        try:
            give_input(client, fill(recipe.stdin, values).encode("latin-1"))
            watch(listener, client, time.monotonic() + recipe.wait)
        finally:
            end(client)
        output.seek(0)
        said = output.read().decode(errors="replace")
    flows = [flow.segments for flow in listener.kept()]
    listener.close()
    return flows, said


def give_input(client, data):
    """Input stays open where there is some: a client that sees its end may leave before it has sent anything."""
    with contextlib.suppress(BrokenPipeError):
        client.stdin.write(data)
        client.stdin.flush()
        if not data:
            client.stdin.close()


def watch(listener, client, deadline):
    while time.monotonic() < deadline and not listener.finished():
        listener.turn(0.02)
        if client.poll() is not None and not any(flow.connection and not flow.closed for flow in listener.flows):
            deadline = min(deadline, time.monotonic() + 0.1)


def end(client):
    """unshare takes all that the client started with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(client.pid, signal.SIGKILL)
    client.wait()
    with contextlib.suppress(BrokenPipeError):
        client.stdin.close()


def lines_of(root, recipe, tag, flows):
    for number, segments in enumerate(flows, 1):
        name = recipe.name if recipe.flows_kept == 1 else f"{recipe.name}-{number}"
        line = {
            "id": f"{name}-{tag}" if tag else name, "transport": recipe.transport, "protocol": recipe.protocol,
            "client": root.client(recipe), "command": recipe.command.strip()}
        if recipe.greeting or recipe.answer:
            line["answered"] = [recipe.greeting, *recipe.answer] if recipe.greeting else recipe.answer
        yield line | {"segments": [without_release(segment).hex() for segment in segments]}


def load(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kept_in(label):
    return HERE / ("strangers.jsonl" if label == "unknown" else f"{label}.jsonl")


def keep(path, line):
    """Puts the flow among the kept, in the place of what had its id. Returns the id of another that has the very same bytes:
    once is enough."""
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        others = [other for other in load(path) if other["id"] != line["id"]]
        same = next((other["id"] for other in others if content(other) == content(line)), None)
        lines = others if same else [*others, line]
        file.truncate(0)
        file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in sorted(lines, key=lambda each: each["id"]))
    return same


def content(line):
    """Of a stream the bytes, however they were cut; of datagrams each."""
    return line["transport"], "".join(line["segments"]) if line["transport"] == "tcp" else line["segments"]


def without_release(segment):
    """Some clients tell the kernel's release: that of the recording machine gives way to another of the same length."""
    release = os.uname().release.encode()
    return segment.replace(release, (b"6.1.0-" + b"44".rjust(len(release) - 12, b"0") + b"-amd64")[: len(release)])


def run_recipes(root, protocols, tag, only):
    root.enter()
    for protocol in protocols:
        for recipe in read_recipes(protocol):
            if not fnmatch.fnmatch(recipe.name, only):
                continue
            problem = root.missing(recipe)
            if problem:
                print(f"{protocol} {recipe.name}: {problem}")
                continue
            flows, said = record(root, recipe)
            if not flows:
                print(f"{protocol} {recipe.name}: sent nothing; said: {said[-500:].strip()!r}", flush=True)
            for line in lines_of(root, recipe, tag, flows):
                same = keep(kept_in(line["protocol"]), line)
                print(f"{line['protocol']} {describe(line)}{f' as {same}' if same else ''}", flush=True)


def describe(line):
    data = b"".join(map(bytes.fromhex, line["segments"]))
    sizes = "+".join(str(len(segment) // 2) for segment in line["segments"][:6])
    start = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:48])
    return f"{line['id']} [{sizes}] {start}"


def main():
    parser = argparse.ArgumentParser(description="Records what real clients send first.")
    parser.add_argument("--root", type=pathlib.Path, help="the directory with the Debian system that has the clients")
    parser.add_argument("--tag", default="", help="what is appended to each id: which Debian it was")
    parser.add_argument("--only", default="*", help="only recipes whose name fits")
    parser.add_argument("--packages", action="store_true", help="print the packages of the recipes")
    parser.add_argument("--show", action="store_true", help="print what is kept")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("protocols", nargs="*", metavar="PROTOCOL", help="recipes/PROTOCOL.toml; default all")
    args = parser.parse_args()
    protocols = args.protocols or sorted(path.stem for path in (HERE / "recipes").glob("*.toml"))
    if args.packages:
        recipes = [recipe for protocol in protocols for recipe in read_recipes(protocol)]
        names = {name for recipe in recipes for name in [*recipe.package, *recipe.install]}
        print(*sorted(name for name in names if not name.startswith("npm:")), sep="\n")
    elif args.show:
        for protocol in protocols:
            for line in load(HERE / f"{protocol}.jsonl"):
                print(protocol, describe(line))
    elif not args.root:
        parser.error("--root is needed to record")
    elif not args.inside:
        os.execvp("unshare", ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                              sys.executable, __file__, "--inside", *sys.argv[1:]])
    else:
        run_recipes(Root(args.root.resolve()), protocols, args.tag, args.only)


if __name__ == "__main__":
    main()
