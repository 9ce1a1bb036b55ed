"""What reading and compiling a large configuration costs, beside what libconfig alone needs for the same file, and how long the
master is busy with a reload itself. Processor time: a busy machine changes little of it."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import time

import processes
import report

SERVICES = 100_000
ADDRESSES = 1_000_000
RELOAD_LIMIT = 3.0  # times libconfig's own time, of all that a reload of so many services takes, the end of the old worker included
MASTER_LIMIT = 0.1  # of libconfig's own time, of what the master is busy with in a reload
ROUNDS = 3


def service(kind, i):
    """(how its protocol is defined, what it matches)."""
    if kind == "names":
        return "", f'{{ protocol = "tls"; sni = "host{i}.example.org"; }}'
    if kind == "strings":
        return f'{{ name = "p{i}"; string = "proto-{i}-hello"; }}', f'"p{i}"'
    if kind == "hosts":
        return "", f'{{ protocol = "http"; host = "web{i}.example.net"; }}'
    if kind == "globs":
        return "", f'{{ protocol = "tls"; sni = [ "*.dom{i}.example.com", "dom{i}.example.com" ]; alpn = "h2"; }}'
    return service(("names", "strings", "hosts", "globs")[i % 4], i)


KINDS = "names", "strings", "hosts", "globs", "mixed"


def configuration(directory, kind):
    head = [f'listen = "unix:{directory}/socket"; control = "{directory}/control"; workers = 1;']
    protocols, services = [], []
    for i in range(SERVICES):
        protocol, match = service(kind, i)
        protocols += [protocol] if protocol else []
        services.append(f'  {{ name = "s{i}"; match = {match}; connect = "192.0.2.1:{1 + i % 65535}"; }}')
    if protocols:
        head.append("protocols = (\n" + ",\n".join(protocols) + " );")
    return "\n".join(head) + "\nservices = (\n" + ",\n".join(services) + " );\n"


def address_configuration(directory):
    """One service that admits a million addresses."""
    addresses = directory / "addresses"
    with addresses.open("w", encoding="ascii") as to:
        for i in range(ADDRESSES):
            to.write(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n")
    return (f'listen = "unix:{directory}/socket"; control = "{directory}/control"; workers = 1;\n'
            f'services = ( {{ name = "s"; match = "ssh"; connect = "192.0.2.1:1"; allow = "file:{addresses}"; }} );\n')


def cpu_ms(command):
    """Of a command that ends by itself."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    if status:
        raise processes.Failed(f"{command[0]} ended with {status}", {})
    return 1000 * (usage.ru_utime + usage.ru_stime)


def ask(path, word):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(word + b"\n")
        answer = b""
        while piece := client.recv(1 << 20):
            answer += piece
        return answer


def own_ms(pid):
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e6


def children_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) * 1000 / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(usher, file, control):
    with subprocess.Popen([usher, "run", "-c", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 120
            while not control.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise processes.Failed("usher does not serve", {})
                time.sleep(0.05)
            time.sleep(0.5)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def reload_costs(pid, control):
    """Of one: (what the master itself does, what its children do that end with it), ms of processor time."""
    own, children = own_ms(pid), children_ms(pid)
    if b"reloaded" not in ask(control, b"reload"):
        raise processes.Failed("a reload failed", {})
    time.sleep(0.5)  # until the old worker is gone
    return own_ms(pid) - own, children_ms(pid) - children


def measure_file(bench, directory, text):
    usher, alone = bench.tools.parent / "src/usher", bench.tools / "libconfig_bench"
    file = directory / "usher.conf"
    file.write_text(text, encoding="ascii")
    found = {"libconfig": [], "check": [], "master": [], "reload": []}
    with serving(usher, file, directory / "control") as pid:
        for _ in range(ROUNDS):
            lone = json.loads(subprocess.run([alone, file], stdout=subprocess.PIPE, check=True).stdout)
            found["libconfig"].append(lone["read_ms"] + lone["destroy_ms"])
            found["check"].append(cpu_ms([usher, "check", "-c", file]))
            master, children = reload_costs(pid, directory / "control")
            found["master"].append(master)
            found["reload"].append(master + children)
    return {key: statistics.median(values) for key, values in found.items()}


def measure_all(bench):
    """{kind: {what: ms of processor time}}."""
    found = {}
    for kind in (*KINDS, "addresses"):
        directory = pathlib.Path(bench.ground.directory) / f"compile-{kind}"
        directory.mkdir()
        text = address_configuration(directory) if kind == "addresses" else configuration(directory, kind)
        found[kind] = measure_file(bench, directory, text)
    return found


def too_slow(found):
    """In words; what is read of a list of addresses is not libconfig's."""
    words = []
    for kind, ms in found.items():
        if kind == "addresses":
            continue
        if ms["reload"] > RELOAD_LIMIT * ms["libconfig"]:
            words.append(f"a reload of {kind} {ms['reload'] / ms['libconfig']:.2f} times libconfig")
        if ms["master"] > MASTER_LIMIT * ms["libconfig"]:
            words.append(f"the master {ms['master']:.1f} ms in one of {kind}")
    return words


def as_text(found):
    rows = [[kind, f"{ms['libconfig']:,.0f}", f"{ms['check']:,.0f}", f"{ms['reload']:,.0f}", f"{ms['master']:.1f}",
             "-" if kind == "addresses" else f"{ms['reload'] / ms['libconfig']:.2f}"] for kind, ms in found.items()]
    head = ["ms of processor time", "libconfig alone", "check", "reload", "of it the master", "reload : libconfig"]
    slow = too_slow(found)
    verdict = (f"*** TOO SLOW *** {', '.join(slow)}\n" if slow else
               f"Held: a reload takes at most {RELOAD_LIMIT:g} times what libconfig alone does, the master itself a "
               f"{1 / MASTER_LIMIT:.0f}th of that.\n")
    title = f"A configuration of {SERVICES:,} services, or with a list of {ADDRESSES:,} addresses:"
    return report.table(title, head, rows) + "\n" + verdict
