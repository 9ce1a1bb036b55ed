#!/usr/bin/python3
"""What a new connection costs when nginx accepts it from usher (usher-accept), beside nginx reached directly and by usher's relay.

    bench/accept.py

The same nginx with one worker, usher with one worker, connload with 64 clients, in turns. CPU time is that of nginx and of usher,
per 10,000 connections; of direct it is nginx' alone. Ratios are to direct, of medians. Exit status: 0, 1 when something was not
as it should be, 2 when something is not there.

Environment: BUILD (build), ROUNDS (5), SECONDS a measurement (2), CLIENTS at a time (64).
"""

import contextlib
import getpass
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import contenders
import processes

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "2"))
CLIENTS = int(os.environ.get("CLIENTS", "64"))
NEEDED = BUILD / "src/usher", BUILD / "bench/connload", BUILD / "lib/usher-accept", pathlib.Path("/usr/sbin/nginx")

NGINX = """
daemon off;  worker_processes 1;  pid {folder}/{name}.pid;  error_log stderr crit;  {user}  worker_rlimit_nofile 4096;
events {{ worker_connections 2000; }}
http {{
	access_log off;  server_tokens off;
	server {{ listen 127.0.0.1:{port} backlog=4096;  location /small {{ return 200 "{body}"; }} }}
}}
"""
USHER = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  log = {{ level = "warning"; }};  max_undecided_per_source = 0;
services = ( {{ name = "web"; match = "http"; {delivery} }} );
"""


class Case:
    def __init__(self, name, port, roots):
        self.name, self.port, self.roots = name, port, roots
        self.rates, self.costs = [], {root: [] for root in roots}

    def measure(self, seconds):
        before = {root: processes.cpu_seconds(process.pid) for root, process in self.roots.items()}
        done = subprocess.run([BUILD / "bench/connload", str(self.port), str(int(seconds * 1000)), str(CLIENTS), "/small",
                               contenders.BODY], capture_output=True, text=True, check=True)
        result = json.loads(done.stdout.strip().splitlines()[-1])
        if result["errors"]:
            raise processes.Failed(f"{self.name}: {result['errors']} errors, the first: {result['first_error']}")
        time.sleep(0.1)
        self.rates.append(result["per_second"])
        for root, process in self.roots.items():
            self.costs[root].append((processes.cpu_seconds(process.pid) - before[root]) * 10_000 / result["connections"])

    def cost(self, root):
        return statistics.median(self.costs[root]) if root in self.costs else 0.0


@contextlib.contextmanager
def served(folder):
    """The three, once they answer."""
    with contextlib.ExitStack() as stack:
        def run(name, *argv):
            return stack.enter_context(processes.running([str(word) for word in argv], folder / f"{name}.log"))

        def nginx(name, *before):
            port = int(before[-2].split("=")[0].rpartition(":")[2]) if before else processes.free_port()
            config = folder / f"{name}.conf"
            user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""
            config.write_text(NGINX.format(folder=folder, name=name, port=port, body=contenders.BODY, user=user))
            return port, run(name, *before, "/usr/sbin/nginx", "-c", config, "-p", folder)

        def usher(name, delivery):
            port = processes.free_port()
            config = folder / f"{name}.conf"
            config.write_text(USHER.format(port=port, delivery=delivery))
            return port, run(name, BUILD / "src/usher", "run", "-c", config)

        port, server = nginx("nginx")
        cases = [Case("direct", port, {"nginx": server})]
        _, accepting = nginx("accepting", BUILD / "lib/usher-accept", "--listen",
                             f"127.0.0.1:{processes.free_port()}={folder}/web.sock", "--")
        handing, mux = usher("handing", f'handover = "{folder}/web.sock";')
        cases.append(Case("usher-accept", handing, {"nginx": accepting, "usher": mux}))
        relaying, mux = usher("relaying", f'connect = "127.0.0.1:{port}";')
        cases.append(Case("relay", relaying, {"nginx": server, "usher": mux}))
        for case in cases:
            processes.wait_until(lambda port=case.port: contenders.answers(port), 10, f"{case.name} gives no right answer")
        yield cases


def main():
    for needed in NEEDED:
        if not needed.exists():
            print(f"bench: no {needed}: build it, or set BUILD", file=sys.stderr)
            return 2
    try:
        with tempfile.TemporaryDirectory(prefix="usher-bench-") as name:
            folder = pathlib.Path(name)
            folder.chmod(0o755)
            with served(folder) as cases:
                for case in cases:
                    case.measure(0.2)
                    case.rates.clear()
                    for costs in case.costs.values():
                        costs.clear()
                for _ in range(ROUNDS):
                    for case in cases:
                        case.measure(SECONDS)
    except (processes.Failed, subprocess.CalledProcessError) as error:
        print(f"bench: {error} {getattr(error, 'stdout', '')}", file=sys.stderr)
        return 1
    direct = cases[0]
    print("              new conn/s             CPU s per 10,000 connections, and beside direct")
    print("              median    of direct    nginx  usher  both")
    for case in cases:
        rate, both = statistics.median(case.rates), case.cost("nginx") + case.cost("usher")
        print(f"{case.name:13} {rate:7.0f}   {rate / statistics.median(direct.rates):6.2f}       "
              f"{case.cost('nginx'):6.3f} {case.cost('usher'):6.3f} {both:6.3f}  {both / direct.cost('nginx'):5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
