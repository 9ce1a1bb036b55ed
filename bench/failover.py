"""What clients notice when one of three backends dies under 500 connections a second, and when one hangs: how many usher and HAProxy fail.

    killed   the backend is killed twice, and each time it is back five seconds later: its port refuses meanwhile
    hangs    in the place of the backend there is a socket whose queue is full: connects to it get no answer, for ten seconds

A client connects, asks, reads to the end and compares. What is open at a backend at the moment of its death is lost with it, whatever is in front:
such clients are counted apart. The others are what the program in front has failed. `serve PORT` as arguments: this file is the backend.
"""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import report

PER_SECOND = 500
BACKENDS = 3
SECONDS = 22
CLIENT_SECONDS = 20      # after which a client that has no answer yet is failed
DEATH_SECONDS = 0.1      # connections that break so soon after a death were open at the backend
SLOW_SECONDS = 1
TRIALS_MOST = 3         # in ten seconds, of a back-off that doubles from 1 s
HANG_SECONDS = 3, 13
DEATHS_SECONDS = (3, 8), (13, 18)
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\n\r\n" + b"the same small answer for everyone"
CONTENDERS = (
    ("usher", "usher.conf", "usher, as it is"),
    ("haproxy", "haproxy.cfg", "HAProxy with option redispatch, no checks"),
    ("haproxy-check", "haproxy-check.cfg", "the same with a check each second, down after two"),
    ("haproxy-observe", "haproxy-observe.cfg", "the same, and observe layer4: one error takes a server down"),
)


# ---- a backend


async def answer(reader, writer):
    with contextlib.suppress(OSError, EOFError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


async def serve(port):
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1000, reuse_address=True)
    async with server:
        await server.serve_forever()


class Backend:
    def __init__(self):
        self.process = None
        self.holes = []
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self):
        self.process = subprocess.Popen([sys.executable, __file__, "serve", str(self.port)], start_new_session=True)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def hang(self):
        """Nobody accepts, and one more than the queue has room for fills it: further connects are dropped."""
        self.kill()
        hole = socket.socket()
        hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hole.bind(("127.0.0.1", self.port))
        hole.listen(0)
        self.holes = [hole]
        for _ in range(2):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))
            self.holes.append(client)

    def fill_no_more(self):
        for one in reversed(self.holes):
            one.close()
        self.holes = []
        self.start()


# ---- clients


async def ask(port, results):
    begun = time.monotonic()
    error, got = "", b""
    try:
        async with asyncio.timeout(CLIENT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            got = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as failure:
        error = type(failure).__name__
    if not error and got != ANSWER:
        error = "closed"
    results.append((begun, time.monotonic() - begun, error))


async def load(port, events):
    """500 clients a second, whatever becomes of them; [(when, how long, what was wrong)], and when each event was."""
    results, tasks, moments = [], set(), []
    begun = time.monotonic()
    for i in range(PER_SECOND * SECONDS):
        due = begun + i / PER_SECOND
        while events and time.monotonic() - begun >= events[0][0]:
            events.pop(0)[1]()
            moments.append(time.monotonic())
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(ask(port, results))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return results, moments


def count(results, moments):
    failed = [begun + took for begun, took, error in results if error]
    lost = [end for end in failed if any(moment <= end <= moment + DEATH_SECONDS for moment in moments)]
    return {"clients": len(results), "failed": len(failed) - len(lost), "lost": len(lost),
            "slow": sum(took > SLOW_SECONDS for _, took, error in results if not error),
            "worst_ms": 1000 * max(took for _, took, _ in results)}


# ---- the runs


def events_of(scenario, backend):
    if scenario == "hangs":
        return [(HANG_SECONDS[0], backend.hang), (HANG_SECONDS[1], backend.fill_no_more)]
    return [event for death, back in DEATHS_SECONDS for event in ((death, backend.kill), (back, backend.start))]


def configuration(file, port, backends, directory):
    servers = [f"127.0.0.1:{backend.port}" for backend in backends]
    if file == "usher.conf":
        listed = ", ".join(f'"{server}"' for server in servers)
        return (f'listen = "127.0.0.1:{port}"; workers = 1; control = "{directory}/control"; log = {{ level = "notice"; }};\n'
                f'services = ( {{ name = "web"; match = "http"; balance = "roundrobin"; connect = [ {listed} ]; }} );\n')
    checks = {"haproxy.cfg": "", "haproxy-check.cfg": " check inter 1s fall 2 rise 1",
              "haproxy-observe.cfg": " check inter 1s fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down"}[file]
    lines = "".join(f"\tserver s{i} {server}{checks}\n" for i, server in enumerate(servers))
    return ("global\n\tnbthread 1\n\tmaxconn 9500\ndefaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 60s\n\ttimeout server 60s\n"
            f"\toption redispatch 1\n\tretries 3\nlisten web\n\tbind 127.0.0.1:{port} backlog 4096\n\tbalance roundrobin\n{lines}")


def wait_for(port):
    end = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > end:
            raise RuntimeError(f"nothing listens on port {port}")
        time.sleep(0.02)


def run_one(usher, directory, name, file, scenario):
    backends = [Backend() for _ in range(BACKENDS)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = pathlib.Path(directory) / f"failover-{file}"
    path.write_text(configuration(file, port, backends, directory), encoding="ascii")
    argv = [usher, "run", "-c", path] if name == "usher" else [os.environ.get("HAPROXY", "/usr/sbin/haproxy"), "-db", "-f", path]
    with contextlib.ExitStack() as stack:
        for backend in backends:
            backend.start()
            stack.callback(lambda one=backend: (one.fill_no_more() if one.holes else None, one.kill()))
            wait_for(backend.port)
        log = stack.enter_context(open(f"{path}.log", "wb"))
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_for(port)
        results, moments = asyncio.run(load(port, events_of(scenario, backends[1])))
        # Of the events each second one is a return.
        return count(results, moments[::2])


def measure(bench):
    """{what happens: {contender: counts}}."""
    usher = bench.tools.parent / "src/usher"
    return {scenario: {name: run_one(usher, bench.ground.directory, name, file, scenario) for name, file, _ in CONTENDERS}
            for scenario in ("killed", "hangs")}


def failed_by_usher(found):
    """Its bar: none where the backend refuses, and where it hangs at most one for each time that it is tried."""
    return bool(found) and (found["killed"]["usher"]["failed"] > 0 or found["hangs"]["usher"]["failed"] > TRIALS_MOST)


def as_text(found):
    text = ""
    for what, title in ("killed", "killed twice, back after 5 s"), ("hangs", "hangs for 10 s: no answer to connects"):
        rows = [[name, *(f"{found[what][name][key]:,.0f}" for key in ("clients", "failed", "lost", "slow", "worst_ms"))]
                for name, _, _ in CONTENDERS]
        text += report.table(f"One of {BACKENDS} backends, {PER_SECOND} new connections a second, {title}:",
                             ["", "clients", "failed", "open at the death", f"served after more than {SLOW_SECONDS} s", "slowest ms"], rows) + "\n"
    text += "".join(f"{name}: {about}\n" for name, _, about in CONTENDERS)
    verdict = "*** NOT HELD ***" if failed_by_usher(found) else "Held:"
    return text + f"{verdict} usher fails no client where the backend refuses, and at most {TRIALS_MOST} where it hangs.\n"


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[2])))
