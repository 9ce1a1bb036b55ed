#!/usr/bin/python3
"""How often usher is right about the corpus, beside sslh: a confusion matrix.

Each recorded flow goes through `usher explain --batch` without a configuration, so that every built-in probe is tried, and each
TCP flow over a socket, segment by segment, to a real sslh-select that has a listener for each protocol it knows. The table has
a row for each real protocol; what is wrong is named. Right is: its name, or for what the program has no probe for, no name.

    accuracy.py [--usher FILE] [--sslh COMMAND]... [--readme FILE]

--readme writes the table between its two marks in that file
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "corpus"
# sslh's options, and what the corpus calls that. socks4 has no probe in sslh.
SSLH_NAMES = {"ssh": "ssh", "openvpn": "openvpn", "tinc": "tinc", "xmpp": "xmpp", "http": "http", "tls": "tls", "adb": "adb",
              "socks5": "socks5", "syslog": "syslog", "msrdp": "rdp", "anyprot": None}
LOST = object()
MARKS = "<!-- accuracy: begin -->\n", "<!-- accuracy: end -->\n"


def read_corpus():
    return [json.loads(line) for path in sorted(CORPUS.glob("*.jsonl")) for line in path.read_text().splitlines()]


class Usher:
    def __init__(self, binary):
        self.binary = binary
        self.name = "usher"
        self.lost = 0

    def knows(self, label):
        """Whether it is a built-in protocol: a configuration that asks for it compiles."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
            config.write(f'listen = ["127.0.0.1:1"]; services = ({{ name = "a"; match = "{label}"; connect = "127.0.0.1:2"; }});')
            config.flush()
            return subprocess.run([self.binary, "check", "-c", config.name], capture_output=True, check=False).returncode == 0

    def answers(self, flows):
        lines = "".join(json.dumps({key: flow[key] for key in ("id", "transport", "segments")}) + "\n" for flow in flows)
        result = subprocess.run([self.binary, "explain", "--batch", "-"], input=lines, capture_output=True, text=True, check=True)
        return {answer["id"]: answer["protocol"] for answer in map(json.loads, result.stdout.splitlines())}


class Sslh:
    """Listeners that send their name to each client, and sslh before them: the name tells to which one sslh gave the client."""

    AT_ONCE = 64
    WAIT = 20  # far longer than sslh waits for bytes before it gives a connection to `on-timeout'

    def __init__(self, command):
        self.command = command
        text = subprocess.run([*command, "-V"], capture_output=True, text=True, check=False)
        said = text.stdout + text.stderr
        usage = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
        self.options = [name for name in SSLH_NAMES if re.search(rf"--{name}\b", usage.stdout + usage.stderr)]
        if not self.options:
            sys.exit(f"{shlex.join(command)}: {said.strip() or 'no sslh'}")
        found = re.search(r"[0-9]+\.[0-9]+[0-9.]*", said)
        self.name = f"sslh {found.group(0)}" if found else "sslh"
        self.lost = 0

    def knows(self, label):
        return label in {SSLH_NAMES[option] for option in self.options}

    def answers(self, flows):
        streams = [flow for flow in flows if flow["transport"] == "tcp"]
        return asyncio.run(self.ask_all(streams))

    async def ask_all(self, flows):
        servers = []
        arguments = []
        for option in self.options:
            servers.append(await asyncio.start_server(self.greeter(option), "127.0.0.1", 0))
            arguments += [f"--{option}", "127.0.0.1:%d" % servers[-1].sockets[0].getsockname()[1]]
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *self.command, "-f", "-n", "--on-timeout", "anyprot", "-p", f"127.0.0.1:{port}", *arguments,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await until_served(port)
            room = asyncio.Semaphore(self.AT_ONCE)
            answers = await asyncio.gather(*(self.ask(room, port, flow) for flow in flows))
            answers = [await self.ask(room, port, flow) if answer is LOST else answer for flow, answer in zip(flows, answers)]
            if process.returncode is not None:
                sys.exit(f"{self.name} ended on its way with status {process.returncode}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            for server in servers:
                server.close()
        self.lost = answers.count(LOST)
        return {flow["id"]: None if answer is LOST else answer for flow, answer in zip(flows, answers)}

    @staticmethod
    def greeter(name):
        async def greet(reader, writer):
            writer.write(f"{name}\n".encode())
            with contextlib.suppress(OSError):
                while await reader.read(65536):
                    pass
            writer.close()

        return greet

    async def ask(self, room, port, flow):
        """The segments, with time between them to be read one by one. LOST where no listener got them: that says nothing of what
        it was taken for, so it is asked again, alone."""
        async with room:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for segment in flow["segments"]:
                    writer.write(bytes.fromhex(segment))
                    await writer.drain()
                    await asyncio.sleep(0.01)
                name = await asyncio.wait_for(reader.readline(), self.WAIT)
                if name:
                    return SSLH_NAMES[name.decode().strip()]
            except (OSError, asyncio.TimeoutError):
                pass
            finally:
                writer.transport.abort()
        return LOST


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def until_served(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.transport.abort()
            return
        await asyncio.sleep(0.05)
    sys.exit("sslh does not serve")


class Row:
    """What one program said about the flows of one protocol."""

    def __init__(self):
        self.right = 0
        self.unknown = 0
        self.wrong = collections.Counter()

    def add(self, label, answer, known):
        if answer == (label if known else None):
            self.right += 1
        elif answer is None:
            self.unknown += 1
        else:
            self.wrong[answer] += 1

    def cells(self):
        names = ", ".join(f"{count} {name}" for name, count in self.wrong.most_common())
        return f"{self.right} | {self.unknown} | {names or '0'}"


def judge(program, flows):
    """{label: Row} of the flows that the program answered."""
    answers = program.answers(flows)
    known = {label: label != "unknown" and program.knows(label) for label in {flow["protocol"] for flow in flows}}
    rows = collections.defaultdict(Row)
    for flow in flows:
        if flow["id"] in answers:
            rows[row_of(flow)].add(flow["protocol"], answers[flow["id"]], known[flow["protocol"]])
    return rows, known


def row_of(flow):
    return flow["protocol"] + (" (UDP)" if flow["transport"] == "udp" else "")


def table(programs, flows):
    judged = [(program, *judge(program, flows)) for program in programs]
    labels = collections.Counter(map(row_of, flows))
    order = sorted(labels, key=lambda label: (label.startswith("unknown"), label))
    head = "".join(f" {program.name}: right | no name | wrong |" for program in programs)
    lines = [f"| what it is | flows |{head}", "|---|---|" + "---|" * 3 * len(programs)]
    for label in order:
        cells = [f" {rows[label].cells()} |" if label in rows else " | | |" for _, rows, _ in judged]
        lines.append(f"| {label} | {labels[label]} |{''.join(cells)}")
    return lines, [share(*each) for each in judged]


def share(program, rows, known):
    """One line over all, and one over what the program has probes for."""
    def of(labels):
        right, unknown = (sum(getattr(rows[label], key) for label in labels) for key in ("right", "unknown"))
        wrong = sum(rows[label].wrong.total() for label in labels)
        total = right + unknown + wrong or 1
        return f"{100 * right / total:.2f} % right, {100 * unknown / total:.2f} % without a name, {100 * wrong / total:.2f} % wrong of {total}"

    own = [label for label in rows if known.get(label.removesuffix(" (UDP)"))]
    lost = f" {program.lost} were given to nobody, twice." if program.lost else ""
    return f"{program.name}: {of(list(rows))} flows; of the protocols that it has a probe for: {of(own)}.{lost}"


def write_readme(path, text):
    readme = path.read_text()
    begin, end = (readme.index(mark) for mark in MARKS)
    path.write_text(readme[: begin + len(MARKS[0])] + text + readme[end:])


def main():
    parser = argparse.ArgumentParser(description="usher and sslh on the corpus: a confusion matrix.")
    parser.add_argument("--usher", default=os.environ.get("USHER", "build/src/usher"))
    parser.add_argument("--sslh", action="append", help="the command, with `chroot DIRECTORY' before it for another Debian's; once for each")
    parser.add_argument("--readme", type=pathlib.Path)
    args = parser.parse_args()
    flows = read_corpus()
    programs = [Usher(args.usher), *(Sslh(shlex.split(command)) for command in args.sslh or ["sslh-select"])]
    lines, shares = table(programs, flows)
    text = "\n".join(lines) + "\n\n" + "\n".join(f"- {line}" for line in shares) + "\n"
    print(text, end="")
    if args.readme:
        write_readme(args.readme, text)


if __name__ == "__main__":
    main()
